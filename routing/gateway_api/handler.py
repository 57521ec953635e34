"""Django's ASGI handler without what the gateway's addresses do not need.

Kept: the URL resolver, the conversion of exceptions, `HttpRequest` and `HttpResponse`. Left out,
because each costs more than the gateway's own work: request signals, thread hops, the
thread-sensitive context, the body's trip through a temporary file. Nothing here touches the ORM.
A body is read only when its view asks for it, so that a bad key is refused before a byte of it.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, get_resolver

from keys.errors import InvalidRequestError, ServiceUnavailableError
from routing.gateway_api.request import (
    URLCONF,
    ClientLeftError,
    GatewayRequest,
    Receive,
    Scope,
    Send,
    closing_when_client_leaves,
)
from routing.gateway_api.responses import ServedResponse, error_response, format_of

NO_CONTENT, TOO_LARGE = 204, 413
_CORS_HEADERS = "authorization, content-type, x-api-key, api-key, x-user-id, anthropic-version"


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
        except ClientLeftError:
            return
        except asyncio.CancelledError:
            # The process is told to end at once: say so in words that the caller's SDK reads.
            ending = ServiceUnavailableError("The gateway is stopping. Try again.")
            await self._send(request, error_response(ending, request), send)
            raise
        with suppress(ClientLeftError):
            await self._send(request, response, send)

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
        if format_of(request) == "anthropic_messages":
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
