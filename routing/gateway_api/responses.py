"""Responses of the gateway's addresses: bytes that are ready, or a stream of them."""

import re
from collections.abc import AsyncGenerator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from billing.pricing import format_usd
from keys.errors import GatewayError
from routing.error_table import body_of, headers_of, status_of
from routing.pipeline import Served

if TYPE_CHECKING:
    from routing.gateway_api.handler import GatewayRequest

_UNSAFE = re.compile(r"[^A-Za-z0-9._:/@ -]")


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


def served_headers(served: Served, *, with_cost: bool = False) -> dict[str, str]:
    """Who served a call, after how many attempts, at what cost, and what is left of the limits."""
    target, running = served.target, served.running
    headers = {
        "x-gateway-provider": header_safe(target.provider.name),
        "x-gateway-model": header_safe(target.upstream_model),
        "x-gateway-attempts": str(served.attempts),
        "x-gateway-cache": "miss",
    }
    if with_cost and running.cost_nano_usd is not None:
        headers["x-gateway-cost-usd"] = format_usd(running.cost_nano_usd)
    if served.max_tokens_set is not None:
        headers["x-gateway-max-tokens"] = str(served.max_tokens_set)
    left = running.books.limits.tightest(running.caller, running.arrival.at)
    for unit, state in (("requests", left.requests), ("tokens", left.tokens)):
        if state is not None:
            headers[f"x-ratelimit-limit-{unit}"] = str(state.ceiling)
            headers[f"x-ratelimit-remaining-{unit}"] = str(state.remaining)
            if state.reset_at is not None:
                seconds = (state.reset_at - running.arrival.at).total_seconds()
                headers[f"x-ratelimit-reset-{unit}"] = go_duration(seconds)
    return headers


def go_duration(seconds: float) -> str:
    """`6m0s`, as OpenAI writes the time to a reset."""
    whole = max(0, ceil(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"


def header_safe(text: str) -> str:
    """Names are an admin's free text; a header takes only what can break none."""
    return _UNSAFE.sub("_", text)[:200]


def format_of_path(path: str) -> str:
    """The wire format that the callers of an address speak."""
    return "anthropic_messages" if path.startswith("/v1/messages") else "openai_chat"
