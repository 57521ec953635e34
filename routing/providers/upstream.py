"""What every provider is to the rest of the gateway: a thing that answers bytes with bytes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from routing.credentials import Secret


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """A provider's row as its client needs it; equal configurations share a live client.

    Attributes:
        base_url: as the provider's own SDK takes it; empty means the SDK's own.
        secret: the credential in clear; empty where the server wants none.
        credential_fault: why the stored credential cannot be used; such a provider refuses
            every call instead of stopping the others.
    """

    id: int
    name: str
    kind: str
    base_url: str
    secret: Secret
    connect_timeout_seconds: float
    timeout_seconds: float
    stream_idle_timeout_seconds: float
    total_timeout_seconds: float
    on_disconnect: str
    credential_fault: str = ""


class Upstream(Protocol):
    """One configured provider, live.

    `ask` and `stream` raise the errors of `routing.errors` and nothing else. Cancelling the task
    that waits in `ask`, or leaving a stream before its end, closes the connection at once.
    """

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def formats(self) -> frozenset[str]: ...
    @property
    def on_disconnect(self) -> str: ...
    @property
    def total_timeout_seconds(self) -> float: ...

    async def ask(self, format: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """The whole body of a 2xx answer. Of `headers` only the kind's allow-list is sent."""

    def stream(
        self, format: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Enters once a 2xx head is there; then the bytes as they arrive.

        The iterator may be picked up again by another task after a cancelled read.
        """

    async def check(self) -> None:
        """Ask the provider something free of charge with our credential; raises as `ask`."""

    async def close(self) -> None:
        """Close idle connections now, and those in use when their exchange ends."""
