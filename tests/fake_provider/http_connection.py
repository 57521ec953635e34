"""One HTTP/1.1 connection of the fake provider: whole requests in, any bytes out."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast


@dataclass(slots=True)
class Request:
    """A request as it came over the wire; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Serve = Callable[["HttpConnection", Request], Coroutine[Any, Any, None]]


class HttpConnection(asyncio.Protocol):
    """Serves the requests of a connection one after another.

    Attributes:
        closed_at: monotonic; None while open.
        bytes_sent: handed to the socket.
    """

    def __init__(self, serve: Serve, on_open: Callable[["HttpConnection"], None]) -> None:
        self._serve = serve
        self._on_open = on_open
        self._received = bytearray()
        self._running: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport
        self.opened_at = time.monotonic()
        self.closed_at: float | None = None
        self.bytes_sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._on_open(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed_at = time.monotonic()
        self._writable.set()
        if self._running is not None:
            self._running.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._serve_next()

    def _serve_next(self, _: object = None) -> None:
        if self.closed_at is not None or (self._running and not self._running.done()):
            return
        request = self._take_request()
        if request is not None:
            self._running = asyncio.ensure_future(self._serve(self, request))
            self._running.add_done_callback(self._serve_next)

    def _take_request(self) -> Request | None:
        head, found, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not found:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body, used = _unchunked(rest)
        else:
            used = int(headers.get("content-length", 0))
            body = rest[:used] if len(rest) >= used else None
        if body is None:
            return None
        del self._received[: len(head) + 4 + used]
        method, path, _ = first.split(" ", 2)
        return Request(method, path, headers, body)

    async def send(self, data: bytes) -> None:
        """Write, and wait while the reader is slow."""
        self.bytes_sent += len(data)
        self._transport.write(data)
        await self._writable.wait()

    def close(self) -> None:
        self._transport.close()

    def reset(self) -> None:
        """End with a TCP reset instead of a goodbye."""
        raw: socket.socket = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _unchunked(data: bytes) -> tuple[bytes | None, int]:
    body, position = bytearray(), 0
    while (end := data.find(b"\r\n", position)) >= 0:
        size = int(data[position:end].split(b";")[0], 16)
        start = end + 2
        if len(data) < start + size + 2:
            break
        body += data[start : start + size]
        position = start + size + 2
        if size == 0:
            return bytes(body), position
    return None, 0
