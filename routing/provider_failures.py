"""What a provider's refusal means: its status, headers and body as one of `routing.errors`.

Source: the error tables of platform.openai.com/docs/guides/error-codes and
docs.anthropic.com/en/api/errors, August 2026.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from billing.usage import Usage
from routing.errors import (
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailingError,
    UpstreamOverloadedError,
    UpstreamProtocolError,
    UpstreamRateLimitedError,
    UpstreamRefusedRequestError,
)
from routing.wire.provider_json import parse
from routing.wire.usage_reading import (
    read_anthropic_usage,
    read_openai_usage,
    usage_in_error,
)

LONGEST_RETRY_AFTER_SECONDS: Final = 600.0
# An account without funds does not recover while a caller waits.
ACCOUNT_TROUBLE_SECONDS: Final = 60.0
LONGEST_MESSAGE: Final = 2000

_REFUSED_REQUEST = frozenset({400, 404, 413, 422})
_REFUSED_US = frozenset({401, 402, 403})
_OVERLOADED = frozenset({503, 529})
_ACCOUNT_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_error"})

_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>)]+", re.IGNORECASE)
_ADDRESS = re.compile(
    r"\b(?:\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|(?:[a-z0-9-]+\.)+(?:com|net|org|io|ai|dev|internal|local)"
    r"(?::\d+)?|localhost:\d+)\b",
    re.IGNORECASE,
)
_KEY = re.compile(r"\b(?:sk|pk|key|gw|org|proj|Bearer)[-_ ][\w*.-]{6,}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Said:
    message: str
    type: str | None
    code: str | None
    param: str | None
    usage: Usage | None


def failure(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, now: datetime, host: str
) -> UpstreamError:
    """The error of an answer that is not 200.

    Args:
        provider: the configured provider's name, which messages may show.
        host: the upstream's host, which messages may not show.
    """
    said = _said(body, host)
    if status in _REFUSED_REQUEST:
        return UpstreamRefusedRequestError(
            said.message or f"The provider {provider} refused the request.",
            status=status,
            type=said.type,
            code=said.code,
            param=said.param,
            usage=said.usage,
        )
    kind, message = _ours(status)
    retry_after = retry_after_seconds(headers, now)
    if status == 429 and retry_after is None and _ACCOUNT_CODES & {said.code, said.type}:
        retry_after = ACCOUNT_TROUBLE_SECONDS
    return kind(
        f"The provider {provider} {message}.", retry_after_seconds=retry_after, usage=said.usage
    )


def _ours(status: int) -> tuple[type[UpstreamError], str]:
    if status in _REFUSED_US:
        return UpstreamAuthError, "refused the gateway's credential"
    if status == 429:
        return UpstreamRateLimitedError, "is limiting this gateway"
    if status in _OVERLOADED:
        return UpstreamOverloadedError, "is overloaded"
    if status >= 500 or status in (408, 409):
        return UpstreamFailingError, f"failed (HTTP {status})"
    return UpstreamProtocolError, f"answered with HTTP {status}"


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """What a provider asks us to wait, between 0 and 600 seconds; None for nothing usable."""
    if (text := headers.get("retry-after-ms")) is not None:
        return _bounded(text, scale=0.001)
    text = headers.get("retry-after")
    if text is None:
        return None
    if (seconds := _bounded(text, scale=1)) is not None:
        return seconds
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max((date - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _bounded(text: str, *, scale: float) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if math.isnan(number) or number < 0:
        return None
    return min(number * scale, LONGEST_RETRY_AFTER_SECONDS)


def _said(body: bytes, host: str) -> _Said:
    """What an error body of either format says, in words that may be shown."""
    try:
        content: Any = parse(body)
    except ValueError:
        content = None
    error = content.get("error", content) if isinstance(content, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        error = {}

    def text(name: str) -> str | None:
        value = error.get(name)
        return clean(value, host) if isinstance(value, str) else None

    return _Said(text("message") or "", text("type"), text("code"), text("param"), _usage(content))


def _usage(answer: object) -> Usage | None:
    reported = usage_in_error(answer)
    return read_openai_usage(reported) or read_anthropic_usage(reported)


def clean(message: str, host: str) -> str:
    """A provider's words without addresses, keys and control characters, at a bounded length."""
    # The bound comes first: the patterns are not to be run over megabytes.
    message = message[:LONGEST_MESSAGE]
    message = _KEY.sub("[key]", _ADDRESS.sub("[address]", _URL.sub("[address]", message)))
    if host:
        message = message.replace(host, "[address]")
    return "".join(c if c.isprintable() or c == "\n" else " " for c in message)
