"""One HTTP/1.1 connection to a provider: one exchange at a time, pushed by the event loop.

Written on the event loop itself because two things must be certain: a caller who leaves closes
the provider's connection at that moment, also while the provider is still thinking, and a chunk
of a stream costs no thread hop. The parser is llhttp, by httptools, at its strict setting.
"""

import asyncio
from typing import Final, cast

import httptools

LARGEST_HEAD_BYTES: Final = 128 * 1024
# Above this much unread body the provider is made to wait; read empty, it goes on.
PAUSE_BYTES: Final = 256 * 1024


class ConnectionLostError(Exception):
    """The connection ended, or said something that is not HTTP, before the answer was complete.

    Attributes:
        answered: at least one byte of an answer had come.
        malformed: it was not HTTP.
    """

    def __init__(self, *, answered: bool, malformed: bool = False) -> None:
        super().__init__()
        self.answered = answered
        self.malformed = malformed


class Connection(asyncio.Protocol):
    """An open connection. `send`, then `head`, then `chunk` until it gives None."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._fault: Exception | None = None
        self._busy = False
        self._spoiled = False
        self.used = False
        self.idle_since = 0.0
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._head_complete = False
        self._complete = False
        self._framed = False
        self._body: list[bytes] = []
        self._unread = 0
        self._paused = False

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow on it."""
        return not (self._busy or self._spoiled or self._fault)

    @property
    def is_complete(self) -> bool:
        """The whole answer has arrived, read or not."""
        return self._complete

    def send(self, request: bytes) -> None:
        """Begin an exchange."""
        self._begin()
        self._busy = True
        if self._fault is None:
            self._transport.write(request)

    async def head(self, deadline: float) -> None:
        """Wait for `status` and `headers`.

        Raises:
            ConnectionLostError, TimeoutError.
        """
        while not self._head_complete:
            await self._wait(deadline)

    async def chunk(self, deadline: float) -> bytes | None:
        """What has arrived of the body since the last call, at least one byte; None at its end.

        Raises:
            ConnectionLostError, TimeoutError.
        """
        while not self._body:
            if self._complete:
                return None
            await self._wait(deadline)
        body, self._body = self._body, []
        self._unread = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return body[0] if len(body) == 1 else b"".join(body)

    def finish(self) -> None:
        """End the exchange. Before the answer was complete, this closes the connection."""
        if not self._complete or self._spoiled:
            self.abort()
        self._stop_timer()
        self._busy = False
        self.used = True
        self.idle_since = self._loop.time()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._spoiled = True
        self._transport.abort()

    async def _wait(self, deadline: float) -> None:
        if self._fault is not None:
            raise self._fault
        self._deadline = deadline
        if self._timer is None or self._timer.when() > deadline:
            self._stop_timer()
            self._timer = self._loop.call_at(deadline, self._on_timer)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_timer(self) -> None:
        # Set again only where it is needed: a deadline moves with every chunk, the timer need not.
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        else:
            self._waiter.set_exception(TimeoutError())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            # Nobody asked: whatever this is, no later exchange may take it for its answer.
            self.abort()
            return
        if not self._head_complete:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(malformed=True)
            return
        if not self._head_complete and self._head_bytes > LARGEST_HEAD_BYTES:
            self._fail(malformed=True)
            return
        if self._unread > PAUSE_BYTES and not self._paused and not self._complete:
            self._paused = True
            self._transport.pause_reading()
        if self._head_complete:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._spoiled = True
        if not self._busy or self._complete:
            self._fault = ConnectionLostError(answered=False)
        elif self._head_complete and not self._framed and exc is None:
            # Neither a length nor chunks: the end of the connection is the end of the body.
            self._complete = True
        else:
            self._fail(malformed=False)
        self._wake()

    def _fail(self, *, malformed: bool) -> None:
        self._fault = self._fault or ConnectionLostError(
            answered=self._head_bytes > 0, malformed=malformed
        )
        self.abort()
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._complete:
            # More than the one answer that was asked for.
            self._spoiled = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._complete:
            return
        name = name.lower()
        self._framed = self._framed or name in (b"content-length", b"transfer-encoding")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._complete or 100 <= status < 200:
            return
        self.status = status
        self._head_complete = True

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._body.append(body)
            self._unread += len(body)

    def on_message_complete(self) -> None:
        if not self._head_complete:
            # An interim answer (100, 103): the real one follows.
            self.headers, self._framed = [], False
            return
        self._complete = True
        self._spoiled = self._spoiled or not self._parser.should_keep_alive()
