"""A request to one of the gateway's addresses, whose body is still on the wire."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from time import monotonic
from typing import Any, cast

from django.core.handlers.asgi import ASGIRequest

from routing.error_table import BodyTooLargeError, MediaTypeError
from routing.request_id import new_request_id

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

LARGEST_BODY_BYTES = 20 * 1024 * 1024
DISCARDED_BEYOND_BYTES = 1024 * 1024
DISCARD_SECONDS = 5.0
URLCONF = "routing.gateway_api.urls"
# Django's request wants a file; ours reads from the connection instead.
NO_BODY_FILE = BytesIO()


class ClientLeftError(Exception):
    """The client closed its connection before its body was complete."""


class GatewayRequest(ASGIRequest):
    """A request whose body is still on the wire.

    Attributes:
        request_id: ours; on every response.
        arrived_at, arrived_monotonic: the one reading of both clocks for this request; the wall
            clock is the database's.
    """

    urlconf = URLCONF

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, NO_BODY_FILE)
        self.path_info = self.path.rstrip("/")
        self._receive = receive
        self.arrived_at: datetime = scope["state"]["services"].now()
        self.arrived_monotonic = monotonic()
        self.request_id = new_request_id(self.arrived_at)

    async def read_json_body(self) -> bytes:
        """The whole body, bounded by what is received and not by what a header says.

        Raises:
            BodyTooLargeError: over 20 MiB. HTTP 413.
            MediaTypeError: compressed, or declared as something else than JSON. HTTP 415.
        """
        if self.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
            raise MediaTypeError("Compressed request bodies are not accepted.")
        if self.content_type not in ("application/json", ""):
            raise MediaTypeError("Send the body as Content-Type: application/json.")
        declared = self.META.get("CONTENT_LENGTH", "0")
        if declared.isdigit():
            _refuse_beyond_bound(int(declared))
        message = await self._next_message()
        body: bytes = message.get("body", b"")
        _refuse_beyond_bound(len(body))
        if not message.get("more_body"):
            return body
        parts = bytearray(body)
        while message.get("more_body"):
            message = await self._next_message()
            parts += message.get("body", b"")
            _refuse_beyond_bound(len(parts))
        return bytes(parts)

    async def discard_rest(self) -> None:
        """Let a refused client finish sending, within bounds, so that it reads the refusal.

        Closing on unread bytes resets the connection, and the answer is lost with it.
        """
        left = LARGEST_BODY_BYTES + DISCARDED_BEYOND_BYTES
        with suppress(ClientLeftError, TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while left > 0:
                    message = await self._next_message()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        return

    def elapsed_ms(self) -> int:
        return int((monotonic() - self.arrived_monotonic) * 1000)

    async def disconnected(self) -> None:
        """Returns once the client is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next_message(self) -> Mapping[str, Any]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        return message

    def close(self) -> None:
        """Nothing was opened."""


def _refuse_beyond_bound(size: int) -> None:
    if size > LARGEST_BODY_BYTES:
        raise BodyTooLargeError("The request body is over 20 MiB.")


class closing_when_client_leaves:  # noqa: N801 - used as a word in `async with`
    """Cancel what runs inside once the client is gone, and then raise ClientLeftError.

    uvicorn cancels nothing by itself: without this an abandoned upstream call would run on.
    """

    __slots__ = ("_request", "_watching", "_working")

    def __init__(self, request: GatewayRequest) -> None:
        self._request = request

    async def __aenter__(self) -> None:
        self._working = cast("asyncio.Task[None]", asyncio.current_task())
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        await self._request.disconnected()
        self._working.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        # Cancelled by somebody else than the watcher: go on being cancelled.
        left = self._watching.done() and not self._watching.cancelled()
        if left and isinstance(error, asyncio.CancelledError):
            self._working.uncancel()
            raise ClientLeftError from None
        self._watching.cancel()
