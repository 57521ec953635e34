"""Responses of the gateway's addresses: bytes that are ready, or a stream of them."""

from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from keys.errors import GatewayError
from routing.gateway_api.errors import body_of, headers_of, status_of

if TYPE_CHECKING:
    from routing.gateway_api.handler import GatewayRequest


class StreamedResponse(HttpResponseBase):
    """Server-sent events.

    Attributes:
        parts: closed by the handler whatever happens; it settles the call when it is.
    """

    streaming = True

    def __init__(self, parts: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        super().__init__(content_type="text/event-stream", headers=dict(headers))
        self.headers["Cache-Control"] = "no-cache, no-store"
        self.headers["X-Accel-Buffering"] = "no"
        self.parts = parts


def json_response(data: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(data), status=status, content_type="application/json")


def error_response(error: GatewayError, request: "GatewayRequest") -> HttpResponse:
    wire_format = format_of_path(request.path)
    return HttpResponse(
        body_of(error, wire_format, request.request_id),
        status=status_of(error, wire_format),
        headers=dict(headers_of(error)),
        content_type="application/json",
    )


def format_of_path(path: str) -> str:
    """The wire format that the callers of an address speak."""
    return "anthropic_messages" if path.startswith("/v1/messages") else "openai_chat"
