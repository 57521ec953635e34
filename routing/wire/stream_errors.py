"""Errors that a provider reports in the middle of a stream, told apart.

The provider's own words stay in: they may name hosts, accounts or keys. Its codes are a
closed vocabulary, and go out.
"""

import re

from routing.errors import (
    UpstreamAuthError,
    UpstreamError,
    UpstreamFailingError,
    UpstreamOverloadedError,
    UpstreamRateLimitedError,
    UpstreamRefusedRequestError,
)

_CODE = re.compile(r"[A-Za-z][A-Za-z_.-]{0,63}|[45][0-9]{2}")
_RATE_LIMITED = {"rate_limit_error", "rate_limit_exceeded", "429"}
_OVERLOADED = {"overloaded_error", "overloaded", "server_overloaded", "503", "529"}
_UNAUTHORIZED = {
    "authentication_error",
    "permission_error",
    "billing_error",
    "invalid_api_key",
    "insufficient_quota",
    "401",
    "402",
    "403",
}
_REFUSED = {
    "invalid_request_error",
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "request_too_large",
    "not_found_error",
    "400",
    "404",
    "413",
    "422",
}


def stream_error(error: object) -> UpstreamError:
    """The error for what a provider sent under `error` in a stream."""
    kind, code = _codes(error)
    said = {kind, code}
    details = ", ".join(dict.fromkeys(word for word in (kind, code) if word))
    message = "The provider reported an error in the middle of its answer"
    if details:
        message = f"{message} ({details})"
    if said & _RATE_LIMITED:
        return UpstreamRateLimitedError(message)
    if said & _OVERLOADED:
        return UpstreamOverloadedError(message)
    if said & _UNAUTHORIZED:
        return UpstreamAuthError(message)
    if said & _REFUSED:
        return UpstreamRefusedRequestError(message, status=400, type=kind, code=code)
    return UpstreamFailingError(message)


def _codes(error: object) -> tuple[str | None, str | None]:
    if type(error) is not dict:
        return None, None
    return _code(error.get("type")), _code(error.get("code"))


def _code(value: object) -> str | None:
    text = str(value) if type(value) in (str, int) else ""
    return text if _CODE.fullmatch(text) else None
