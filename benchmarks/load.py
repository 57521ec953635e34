"""A cheap, bounded load generator: raw sockets, kept alive, one request after another on each."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

SECONDS_AT_MOST = 60


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as bytes, and how to know its answer is whole."""

    raw: bytes
    streamed: bool

    @classmethod
    def of(cls, port: int, path: str, key: str, body: bytes, *, streamed: bool) -> "Call":
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return cls(head.encode() + body, streamed)


@dataclass(slots=True)
class Outcome:
    """What a run of calls came to.

    Attributes:
        latencies: seconds, of each call.
        failures: answers that were not 200, or not whole.
    """

    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    seconds: float = 0


class _Caller(asyncio.Protocol):
    """Makes calls on one connection for as long as there are calls left."""

    def __init__(self, call: Call, left: list[int], outcome: Outcome) -> None:
        self._call = call
        self._left = left
        self._outcome = outcome
        self._received = bytearray()
        self._began = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        if not self._left[0]:
            self._transport.close()
            return
        self._left[0] -= 1
        self._received.clear()
        self._began = time.perf_counter()
        self._transport.write(self._call.raw)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._is_whole():
            self._outcome.latencies.append(time.perf_counter() - self._began)
            self._outcome.failures += not self._is_good()
            self._next()

    def _is_whole(self) -> bool:
        if self._received.endswith(b"\r\n0\r\n\r\n"):
            return True
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return False
        lower = self._received[:head].lower()
        at = lower.find(b"content-length:")
        if at < 0:
            return False
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
        return len(self._received) >= head + 4 + length

    def _is_good(self) -> bool:
        whole = not self._call.streamed or b"[DONE]" in self._received
        return whole and self._received.startswith(b"HTTP/1.1 200")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def drive(port: int, call: Call, *, calls: int, connections: int) -> Outcome:
    """Make so many calls over so many connections, as fast as they are answered."""
    loop = asyncio.get_running_loop()
    outcome, left = Outcome(), [calls]
    began = time.perf_counter()
    callers = [_Caller(call, left, outcome) for _ in range(connections)]
    to_start = iter(callers)
    for _ in callers:
        await loop.create_connection(to_start.__next__, "127.0.0.1", port)
    await asyncio.wait([caller.done for caller in callers], timeout=SECONDS_AT_MOST)
    outcome.seconds = time.perf_counter() - began
    outcome.failures += calls - len(outcome.latencies)
    return outcome
