"""How an official SDK and our transport work together.

The SDK knows addresses, authentication and versions, so it builds each kind of request once; a
capturing client keeps the head. Every call then sends that head with its own body over the
transport. Calls that are not hot go through the SDK whole, over the same transport.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

import httpx2

from keys.errors import InvalidRequestError
from routing.base_urls import base_url_of, parse_base_url
from routing.errors import UpstreamAuthError, UpstreamError, UpstreamProtocolError
from routing.provider_failures import failure
from routing.providers.upstream import ProviderConfig
from routing.transport import Answer, Exchange, Timeouts, Transport, render_head

# What a request needs besides its credential; an SDK's telemetry stays behind.
_PLAIN_HEADERS: Final = frozenset({"accept", "content-type", "user-agent"})
_CREDENTIAL_HEADERS: Final = frozenset({"authorization", "x-api-key"})
# The SDKs do not start without a key; a server that wants none gets no such header at all.
PLACEHOLDER_KEY: Final = "none"

_NOT_A_STREAM: Final = ("application/json", "text/html")

Posting = Callable[[httpx2.AsyncClient, str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class _Head:
    """A request as the SDK built it; `plain` is it rendered, for calls that add no header."""

    url: httpx2.URL
    headers: dict[str, str]
    plain: bytes


class SdkUpstream:
    """An upstream whose requests an official SDK has built.

    Args:
        paths: where each format goes, relative to the base URL.
        sent: header names of the SDK's own that are sent, besides the plain ones.
        passed: header names of callers that are sent on.
        post: has the SDK send an empty POST to a path through the client it is given.
        list_models: has the SDK list models through the client it is given.
    """

    def __init__(
        self,
        config: ProviderConfig,
        *,
        paths: Mapping[str, str],
        sent: frozenset[str],
        passed: frozenset[str],
        post: Posting,
        list_models: Callable[[httpx2.AsyncClient], Awaitable[object]],
    ) -> None:
        self.id = config.id
        self.name = config.name
        self.kind = config.kind
        self.formats = frozenset(paths)
        self.on_disconnect = config.on_disconnect
        self.total_timeout_seconds = config.total_timeout_seconds
        self._fault = config.credential_fault
        self._paths = paths
        self._sent = _PLAIN_HEADERS | sent
        if config.secret:
            self._sent |= _CREDENTIAL_HEADERS
        self._passed = passed
        self._post = post
        self._list_models = list_models
        self._base_url = parse_base_url(base_url_of(config.kind, config.base_url))
        self._heads: dict[str, _Head] = {}
        self._transport = Transport(
            self._base_url,
            Timeouts(
                connect=config.connect_timeout_seconds,
                first_byte=config.timeout_seconds,
                idle=config.stream_idle_timeout_seconds,
                total=config.total_timeout_seconds,
            ),
        )

    async def ask(self, format: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        answer = await self._transport.ask(await self._head(format, headers), body)
        if answer.status != 200:
            raise self._failure(answer)
        return answer.body

    def stream(self, format: str, body: bytes, headers: Mapping[str, str]) -> "_Stream":
        return _Stream(self, format, body, headers)

    async def check(self) -> None:
        self._refuse_without_credential()
        guarded = _Guarded(self._transport, self._sent)
        async with self._client(guarded) as client:
            await self._list_models(client)
        if guarded.answer.status != 200:
            raise self._failure(guarded.answer)

    async def close(self) -> None:
        await self._transport.close()

    async def open(self, format: str, body: bytes, headers: Mapping[str, str]) -> Exchange:
        """An exchange entered at its 200; the one who asked for it releases it."""
        exchange = self._transport.exchange(await self._head(format, headers), body)
        await exchange.__aenter__()
        if exchange.status == 200:
            return exchange
        try:
            raise self._failure(Answer(exchange.status, exchange.headers, await exchange.read()))
        finally:
            await exchange.__aexit__(None, None, None)

    async def _head(self, format: str, headers: Mapping[str, str]) -> bytes:
        head = self._heads.get(format)
        if head is None:
            head = self._heads[format] = await self._capture(self._paths[format])
        added = {
            name: value
            for name, value in ((name.lower(), value) for name, value in headers.items())
            if name in self._passed
        }
        if not added:
            return head.plain
        try:
            return render_head("POST", head.url, (head.headers | added).items())
        except ValueError as error:
            raise InvalidRequestError(str(error)) from error

    async def _capture(self, path: str) -> _Head:
        self._refuse_without_credential()
        capture = _Capture()
        async with self._client(capture) as client:
            await self._post(client, path)
        request = capture.requests[0]
        headers = {name: value for name, value in request.headers.items() if name in self._sent}
        return _Head(request.url, headers, render_head("POST", request.url, headers.items()))

    def _client(self, transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)

    def _refuse_without_credential(self) -> None:
        if self._fault:
            raise UpstreamAuthError(
                f"The credential of the provider {self.name} has to be entered again."
            )

    def _failure(self, answer: Answer) -> UpstreamError:
        host = self._base_url.host
        now = datetime.now(UTC)
        return failure(self.name, answer.status, answer.headers, answer.body, now, host)


class _Stream:
    """The context manager that `SdkUpstream.stream` gives."""

    def __init__(
        self, upstream: SdkUpstream, format: str, body: bytes, headers: Mapping[str, str]
    ) -> None:
        self._opening = (upstream, format, body, headers)

    async def __aenter__(self) -> Exchange:
        upstream, format, body, headers = self._opening
        self._exchange = await upstream.open(format, body, headers)
        content = self._exchange.headers.get("content-type", "")
        if content.startswith(_NOT_A_STREAM):
            await self._exchange.__aexit__(None, None, None)
            raise UpstreamProtocolError(f"The provider {upstream.name} did not answer in a stream.")
        return self._exchange

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exchange.__aexit__(kind, error, traceback)


class _Capture(httpx2.AsyncBaseTransport):
    """Keeps what an SDK would have sent, and sends nothing."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return httpx2.Response(200, json={})


class _Guarded(httpx2.AsyncBaseTransport):
    """Sends an SDK's request over our transport, so that the same address guard holds.

    The SDK gets an empty page of models whatever came: the true answer is kept for us to judge.
    """

    def __init__(self, transport: Transport, sent: frozenset[str]) -> None:
        self._transport = transport
        self._sent = sent
        self.answer = Answer(0, {}, b"")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = [(name, value) for name, value in request.headers.items() if name in self._sent]
        head = render_head(request.method, request.url, headers)
        self.answer = await self._transport.ask(head, await request.aread())
        return httpx2.Response(200, json={"data": [], "has_more": False})
