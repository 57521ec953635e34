"""The built-in demo provider: no network, no credential, answers at once in either format.

It echoes the last user message. It calls the first tool given when the last user message says
"tool", "call" or that tool's name; answers with a small instance when a JSON schema is asked for;
stops at the output bound. Tokens are counted as a word or mark each; of a prompt longer than
`CACHED_FROM_TOKENS` all but its last message counts as read from the cache.

`demo-slow` takes three seconds (its stream spreads over them), `demo-flaky` fails every second
call with an overload, `demo-down` fails always.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import orjson

from routing.errors import UpstreamOverloadedError, UpstreamRefusedRequestError
from routing.providers import demo_wire
from routing.providers.demo_answer import DemoRequest, answer
from routing.providers.upstream import ProviderConfig, Upstream

SLOW_SECONDS = 3.0
FORMATS = {
    "openai_chat": demo_wire.OPENAI_CHAT,
    "anthropic_messages": demo_wire.ANTHROPIC_MESSAGES,
}


def build(config: ProviderConfig) -> Upstream:
    return DemoUpstream(config)


class DemoUpstream:
    def __init__(self, config: ProviderConfig) -> None:
        self.id = config.id
        self.name = config.name
        self.kind = config.kind
        self.formats = frozenset(FORMATS)
        self.on_disconnect = config.on_disconnect
        self.total_timeout_seconds = config.total_timeout_seconds
        self._numbers = count(1)
        self._flaky_calls = count(1)

    async def ask(self, format: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        wire, request = self._begin(format, body)
        if request.model == "demo-slow":
            await asyncio.sleep(SLOW_SECONDS)
        return orjson.dumps(wire.whole(request, answer(request), next(self._numbers)))

    def stream(
        self, format: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._stream(format, body)

    async def check(self) -> None:
        """There is nothing that could be away."""

    async def close(self) -> None:
        """There is nothing open."""

    @asynccontextmanager
    async def _stream(self, format: str, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        wire, request = self._begin(format, body)
        frames = wire.frames(request, answer(request), next(self._numbers))
        pause = SLOW_SECONDS / len(frames) if request.model == "demo-slow" else 0.0
        yield _Frames(frames, pause)

    def _begin(self, format: str, body: bytes) -> tuple[demo_wire.DemoWire, DemoRequest]:
        wire = FORMATS[format]
        try:
            content: Any = orjson.loads(body)
            request = wire.read(content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UpstreamRefusedRequestError(
                "The demo provider cannot read this request.",
                status=400,
                type="invalid_request_error",
            ) from error
        fails = request.model == "demo-down" or (
            request.model == "demo-flaky" and next(self._flaky_calls) % 2 == 0
        )
        if fails:
            raise UpstreamOverloadedError(f"The provider {self.name} is overloaded.")
        return wire, request


class _Frames:
    """Frames one by one, each at least one turn of the event loop after the one before."""

    def __init__(self, frames: list[bytes], pause: float) -> None:
        self._frames = iter(frames)
        self._pause = pause

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(self._pause)
        for frame in self._frames:
            return frame
        raise StopAsyncIteration
