"""Django's ASGI handler without what the gateway's addresses do not need.

Kept: the URL resolver, the conversion of exceptions, `HttpRequest` and `HttpResponse`. Left out,
because each costs more than the gateway's own work: request signals, thread hops, the
thread-sensitive context, the body's trip through a temporary file. Nothing here touches the ORM.
A body is read only when its view asks for it, so that a bad key is refused before a byte of it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from io import BytesIO
from time import monotonic
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, get_resolver

from keys.errors import InvalidRequestError
from routing.error_table import BodyTooLargeError, MediaTypeError
from routing.gateway_api.responses import ServedResponse, error_response, format_of_path
from routing.request_id import new_request_id

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

LARGEST_BODY_BYTES = 20 * 1024 * 1024
DISCARDED_BEYOND_BYTES = 1024 * 1024
DISCARD_SECONDS = 5.0
NO_CONTENT, TOO_LARGE = 204, 413
URLCONF = "routing.gateway_api.urls"
_CORS_HEADERS = "authorization, content-type, x-api-key, api-key, x-user-id, anthropic-version"


# Django's request wants a file; ours reads from the connection instead.
NO_BODY_FILE = BytesIO()


class ClientLeftError(Exception):
    """The client closed its connection before its body was complete."""


class GatewayRequest(ASGIRequest):
    """A request whose body is still on the wire.

    Attributes:
        request_id: ours; on every response.
        arrived_at, arrived_monotonic: the one reading of both clocks for this request.
    """

    urlconf = URLCONF

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, NO_BODY_FILE)
        self.path_info = self.path.rstrip("/")
        self._receive = receive
        self.arrived_at = datetime.now(UTC)
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


class GatewayHandler(ASGIHandler):
    """Serves the gateway's addresses; everything else goes through Django's stock handler."""

    def __init__(self) -> None:
        super().__init__()
        # Import the views now: a mistake in them must stop the start, not the first request.
        get_resolver(URLCONF).url_patterns  # noqa: B018 - a cached property
        self._fixed_addresses: dict[str, ResolverMatch] = {}
        self._known_hosts: set[str] = set()
        self._cors_origins = frozenset(settings.CORS_ALLOWED_ORIGINS)

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        # The chain has one link: from the address to its view, its exceptions made responses.
        get_response: Any = self._get_response_async  # type: ignore[attr-defined]  # not in stubs
        self._middleware_chain: Any = convert_exception_to_response(get_response)

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """As Django's; the addresses without parameters are few and are resolved once."""
        match = self._fixed_addresses.get(request.path_info)
        if match is None:
            match = super().resolve_request(request)
            if not match.kwargs:
                self._fixed_addresses[request.path_info] = match
        return match

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = GatewayRequest(scope, receive)
        except UnicodeDecodeError:
            await self._refuse_undecodable(scope, send)
            return
        try:
            response = await self._respond(request)
            await self._send(request, response, send)
        except ClientLeftError:
            return

    async def _respond(self, request: GatewayRequest) -> HttpResponse | ServedResponse:
        host = request.META.get("HTTP_HOST", "")
        if host not in self._known_hosts:
            try:
                request.get_host()
            except DisallowedHost:
                return error_response(
                    InvalidRequestError("This host name is not one of the gateway's."), request
                )
            if len(self._known_hosts) < 1000:
                self._known_hosts.add(host)
        if request.method == "OPTIONS" and "HTTP_ORIGIN" in request.META:
            return HttpResponse(status=NO_CONTENT)
        response: HttpResponse | ServedResponse = await self._middleware_chain(request)
        return response

    async def _send(
        self, request: GatewayRequest, response: HttpResponse | ServedResponse, send: Send
    ) -> None:
        if isinstance(response, ServedResponse):
            status, headers, body = 200, response.headers, response.body
        else:
            status, body = response.status_code, response.content
            headers = [
                (name.lower().encode(), value.encode("latin-1")) for name, value in response.items()
            ]
        headers.append((b"x-request-id", request.request_id.encode()))
        headers.append((b"cache-control", b"no-store"))
        if format_of_path(request.path) == "anthropic_messages":
            headers.append((b"request-id", request.request_id.encode()))
        if self._cors_origins:
            headers += self._cors_headers(request)
        if isinstance(body, bytes) and status != NO_CONTENT:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if isinstance(body, bytes):
            out = b"" if request.method == "HEAD" else body
            if status == TOO_LARGE:
                await send({"type": "http.response.body", "body": out, "more_body": True})
                await request.discard_rest()
                out = b""
            await send({"type": "http.response.body", "body": out})
        else:
            await _relay(request, body, send)

    def _cors_headers(self, request: GatewayRequest) -> list[tuple[bytes, bytes]]:
        origin = request.META.get("HTTP_ORIGIN", "")
        headers = [(b"vary", b"Origin")]
        if origin not in self._cors_origins and "*" not in self._cors_origins:
            return headers
        headers += [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", b"*"),
        ]
        if request.method == "OPTIONS":
            asked = request.META.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", _CORS_HEADERS)
            headers += [
                (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
                (b"access-control-allow-headers", asked.encode("latin-1")),
                (b"access-control-max-age", b"600"),
            ]
        return headers

    async def _refuse_undecodable(self, scope: Scope, send: Send) -> None:
        scope = {**scope, "query_string": b""}
        request = GatewayRequest(scope, _nothing)
        response = error_response(InvalidRequestError("The query string is not UTF-8."), request)
        await self._send(request, response, send)


async def _nothing() -> Mapping[str, Any]:
    return {"type": "http.disconnect"}


async def _relay(request: GatewayRequest, parts: AsyncGenerator[bytes, None], send: Send) -> None:
    """Send a stream part by part; a client that leaves ends it at once."""
    async with closing_when_client_leaves(request), aclosing(parts):
        async for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


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
        if isinstance(error, asyncio.CancelledError) and self._watching.done():
            self._working.uncancel()
            raise ClientLeftError from None
        self._watching.cancel()
