"""Responses of the gateway's addresses: bytes that are ready, or a stream of them."""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import orjson
from django.http import HttpResponse

from billing.pricing import format_usd
from keys.errors import GatewayError
from routing.error_table import body_of, headers_of, status_of
from routing.gateway_api.request import GatewayRequest
from routing.pipeline import Served

_UNSAFE = re.compile(r"[^A-Za-z0-9._:/@ -]")


@dataclass(frozen=True, slots=True)
class ServedResponse:
    """What a provider answered, ready to go out as it is.

    Not Django's `HttpResponse`: building and encoding one header by header costs a tenth of all
    that the gateway does for a call.

    Attributes:
        headers: lower case, encoded, without the content type's and the request's own.
        body: whole; or a stream's parts, which the handler closes whatever happens, and which
            settle the call when they are closed.
    """

    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncGenerator[bytes, None]


def json_response(data: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(data), status=status, content_type="application/json")


def error_response(error: GatewayError, request: GatewayRequest) -> HttpResponse:
    wire_format = format_of(request)
    return HttpResponse(
        body_of(error, wire_format, request.request_id),
        status=status_of(error, wire_format),
        headers=dict(headers_of(error)),
        content_type="application/json",
    )


def served_headers(served: Served, *, with_cost: bool = False) -> list[tuple[bytes, bytes]]:
    """Who served a call, after how many attempts, at what cost, and what is left of the limits."""
    target, running = served.target, served.running
    headers = [
        (b"x-gateway-provider", header_value(target.provider.name)),
        (b"x-gateway-model", header_value(target.upstream_model)),
        (b"x-gateway-attempts", b"%d" % served.attempts),
        (b"x-gateway-cache", b"miss"),
    ]
    if with_cost and running.cost_nano_usd is not None:
        headers.append((b"x-gateway-cost-usd", format_usd(running.cost_nano_usd).encode()))
    if served.max_tokens_set is not None:
        headers.append((b"x-gateway-max-tokens", b"%d" % served.max_tokens_set))
    left = running.books.limits.tightest(
        running.caller, running.arrival.at, running.arrival.end_user
    )
    for unit, state in ((b"requests", left.requests), (b"tokens", left.tokens)):
        if state is not None:
            headers.append((b"x-ratelimit-limit-" + unit, b"%d" % state.ceiling))
            headers.append((b"x-ratelimit-remaining-" + unit, b"%d" % state.remaining))
            if state.reset_at is not None:
                seconds = (state.reset_at - running.arrival.at).total_seconds()
                headers.append((b"x-ratelimit-reset-" + unit, go_duration(seconds).encode()))
    return headers


def go_duration(seconds: float) -> str:
    """`6m0s`, as OpenAI writes the time to a reset."""
    whole = max(0, ceil(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"


@lru_cache(maxsize=4096)
def header_value(text: str) -> bytes:
    """Names are an admin's or a caller's free text; a header takes only what can break none."""
    return _UNSAFE.sub("_", text)[:200].encode()


def format_of(request: GatewayRequest) -> str:
    """The wire format that the caller of an address speaks."""
    anthropic = request.path.startswith("/v1/messages") or (
        request.path.startswith("/v1/models") and "HTTP_ANTHROPIC_VERSION" in request.META
    )
    return "anthropic_messages" if anthropic else "openai_chat"
