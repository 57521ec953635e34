"""The only door to the outside: every byte that leaves for a provider leaves here.

Redirects are not followed, proxies and cookies of the environment do not exist, certificates are
always verified, answers are asked for uncompressed, and only checked addresses are connected to.
Whatever goes wrong comes out as one of `routing.errors`.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Final, Self

import httpx2
import structlog

from routing.base_urls import host_and_port
from routing.connection import Connection, ConnectionLostError
from routing.errors import (
    StreamBrokenError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from routing.outbound import AddressBook, LookupFailedError, OutboundRefusedError

log = structlog.get_logger("gateway.outbound")

LARGEST_ANSWER_BYTES: Final = 64 * 1024 * 1024
# Less than what servers commonly keep an idle connection for.
IDLE_SECONDS: Final = 55.0
# A connection that the server had closed shows that at once; a later end is an end of work.
STALE_SECONDS: Final = 1.0
# What the cancelling of an exchange says while its connection is being made.
NOTHING_SENT: Final = "nothing was sent"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds. `first_byte`: to the head, and to the first byte of a whole answer's body."""

    connect: float
    first_byte: float
    idle: float
    total: float


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def render_head(method: str, url: httpx2.URL, headers: Iterable[tuple[str, str]]) -> bytes:
    """A request's head up to where its length goes; the same for every request to a path.

    Raises:
        ValueError: a name or value that cannot be in a head.
    """
    lines = [f"{method} {url.raw_path.decode('ascii')} HTTP/1.1", f"host: {url.netloc.decode()}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append("accept-encoding: identity")
    if not all(line.isascii() and line.isprintable() for line in lines):
        raise ValueError("A header holds a character that HTTP does not allow.")
    return "\r\n".join(lines).encode("ascii") + b"\r\ncontent-length: "


class Transport:
    """Connections to one origin, for one provider: never shared, as they carry its credential."""

    def __init__(self, origin: httpx2.URL, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._host, self._port = host_and_port(origin)
        self._tls = origin.scheme == "https"
        self._addresses = AddressBook(self._host, self._port)
        self._idle: deque[Connection] = deque()
        self._closed = False

    async def ask(self, head: bytes, body: bytes) -> Answer:
        """One exchange, with the whole answer whatever its status.

        Raises:
            UpstreamUnreachableError, UpstreamTimeoutError, UpstreamProtocolError.
        """
        exchange = Exchange(self, head, body)
        async with exchange:
            return Answer(exchange.status, exchange.headers, await exchange.read())

    def exchange(self, head: bytes, body: bytes) -> "Exchange":
        """One exchange, entered at the answer's head."""
        return Exchange(self, head, body)

    async def close(self) -> None:
        """Close what is idle; what is in use closes when its exchange ends."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    async def opened(self, request: bytes, deadline: float) -> Connection:
        """A connection on which the request is sent and the head of its answer is there."""
        loop = asyncio.get_running_loop()
        if (connection := self._take_idle(loop.time())) is not None:
            sent_at = loop.time()
            try:
                return await self._sent(connection, request, deadline)
            except ConnectionLostError as error:
                # The server had closed it while it lay idle, and has seen nothing of this.
                if error.answered or loop.time() - sent_at > STALE_SECONDS:
                    raise
        try:
            connection = await self._connect()
        except asyncio.CancelledError as left:
            left.args = (NOTHING_SENT,)
            raise
        return await self._sent(connection, request, deadline)

    def release(self, connection: Connection) -> None:
        connection.finish()
        if self._closed:
            connection.abort()
        elif connection.reusable:
            self._idle.append(connection)

    def _take_idle(self, now: float) -> Connection | None:
        # The one used last is the likeliest to be open still.
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    async def _sent(self, connection: Connection, request: bytes, deadline: float) -> Connection:
        connection.send(request)
        try:
            await connection.head(deadline)
        except BaseException:
            # Also for a caller who left: the provider is told at this moment.
            connection.abort()
            connection.finish()
            raise
        return connection

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self.timeouts.connect):
                return await self._connect_to_first(await self._addresses.addresses())
        except OutboundRefusedError as error:
            log.warning("outbound_refused", reason=str(error))
            raise UpstreamUnreachableError(
                "The provider's address is one that this gateway may not connect to."
            ) from error
        except LookupFailedError as error:
            raise UpstreamUnreachableError("The provider's name has no address.") from error
        except TimeoutError as error:
            raise UpstreamUnreachableError("The provider did not accept a connection.") from error
        except ssl.SSLError as error:
            raise UpstreamUnreachableError("No secure connection to the provider.") from error
        except OSError as error:
            raise UpstreamUnreachableError("The provider cannot be reached.") from error

    async def _connect_to_first(self, addresses: tuple[str, ...]) -> Connection:
        loop = asyncio.get_running_loop()
        failure: OSError = OSError("no address")
        for address in addresses:
            try:
                _, connection = await loop.create_connection(
                    Connection,
                    address,
                    self._port,
                    ssl=_verifying_context() if self._tls else None,
                    server_hostname=self._host if self._tls else None,
                )
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
            else:
                return connection
        raise failure


class Exchange:
    """One request and its answer. Enter to get the head; leave early to close the connection."""

    def __init__(self, transport: Transport, head: bytes, body: bytes) -> None:
        self._transport = transport
        self._timeouts = transport.timeouts
        self._request = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        self._started = False
        self._deadline = 0.0
        self._loop = asyncio.get_running_loop()

    @property
    def status(self) -> int:
        return self._connection.status

    @property
    def headers(self) -> Mapping[str, str]:
        return {k.decode("latin-1"): v.decode("latin-1") for k, v in self._connection.headers}

    async def __aenter__(self) -> Self:
        now = self._loop.time()
        self._deadline = now + self._timeouts.total
        first_byte = min(now + self._timeouts.first_byte, self._deadline)
        try:
            self._connection = await self._transport.opened(self._request, first_byte)
        except (ConnectionLostError, TimeoutError) as error:
            raise self._failure(error) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transport.release(self._connection)

    async def read(self) -> bytes:
        """The whole body, up to 64 MiB."""
        first_byte = self._timeouts.first_byte
        pieces, size = [], 0
        try:
            while (piece := await self._connection.chunk(self._until(first_byte))) is not None:
                pieces.append(piece)
                size += len(piece)
                if size > LARGEST_ANSWER_BYTES:
                    raise UpstreamProtocolError("The provider's answer is too large.")
        except (ConnectionLostError, TimeoutError) as error:
            raise self._failure(error, whole=True) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes of a stream.

        Raises:
            StreamBrokenError: it broke or stalled after its first bytes.
            UpstreamTimeoutError, UpstreamUnreachableError: before them.
        """
        try:
            piece = await self._connection.chunk(self._until(self._timeouts.idle))
        except (ConnectionLostError, TimeoutError) as error:
            raise self._failure(error) from error
        if piece is None:
            raise StopAsyncIteration
        self._started = True
        return piece

    def _until(self, seconds: float) -> float:
        return min(self._loop.time() + seconds, self._deadline)

    def _failure(self, error: Exception, *, whole: bool = False) -> UpstreamError:
        timed_out = isinstance(error, TimeoutError)
        if self._started:
            return StreamBrokenError(
                "The provider's stream stalled." if timed_out else "The provider's stream broke."
            )
        if timed_out:
            return UpstreamTimeoutError("The provider did not answer in time.")
        if isinstance(error, ConnectionLostError) and error.malformed:
            return UpstreamProtocolError("The provider's answer is not HTTP.")
        if whole:
            cut = UpstreamProtocolError("The provider's answer was cut short.")
            cut.maybe_billed = True
            return cut
        return UpstreamUnreachableError("The provider closed the connection without an answer.")


@cache
def _verifying_context() -> ssl.SSLContext:
    """Certificates against the system's authorities, or those that SSL_CERT_FILE names."""
    return httpx2.create_ssl_context()
