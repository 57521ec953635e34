"""The one table through which every error leaves the gateway, in either provider's shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from billing.errors import BudgetExceededError, LimitExceededError
from keys import errors as keys
from keys.errors import GatewayError
from routing import errors as routing

ANTHROPIC = "anthropic_messages"


class RouteNotFoundError(GatewayError):
    """No such address. HTTP 404."""


class MethodNotAllowedError(GatewayError):
    """The address exists, the method does not. HTTP 405."""


class ReceiptNotFoundError(GatewayError):
    """No such request of this team on the ledger (yet). HTTP 404."""


class BodyTooLargeError(GatewayError):
    """More than 20 MiB. HTTP 413, without reading the rest."""


class MediaTypeError(GatewayError):
    """Not JSON, or compressed. HTTP 415."""


class UnexpectedError(GatewayError):
    """A mistake of ours; the traceback is in the log under the request id. HTTP 500."""


class StreamKeyRevokedError(GatewayError):
    """The key was revoked while its stream was open."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """How one class of error leaves: status and code, and its type in each vocabulary."""

    status: int
    code: str
    openai_type: str
    anthropic_type: str
    anthropic_status: int | None = None
    may_retry: bool = True


_INVALID = "invalid_request_error"
_RATE = "rate_limit_error"
_TABLE: dict[type[GatewayError], Leaving] = {
    keys.InvalidKeyError: Leaving(
        401, "invalid_api_key", "authentication_error", "authentication_error"
    ),
    keys.TooManyFailedKeysError: Leaving(429, "too_many_failed_keys", _RATE, _RATE),
    keys.ModelNotAllowedError: Leaving(
        403, "model_not_allowed", "permission_error", "permission_error"
    ),
    keys.AddressNotAllowedError: Leaving(
        403, "ip_not_allowed", "permission_error", "permission_error"
    ),
    keys.InvalidRequestError: Leaving(400, _INVALID, _INVALID, _INVALID),
    keys.ServiceUnavailableError: Leaving(503, "service_unavailable", "api_error", "api_error"),
    LimitExceededError: Leaving(429, "rate_limit_exceeded", _RATE, _RATE),
    BudgetExceededError: Leaving(429, "insufficient_quota", "insufficient_quota", _RATE),
    routing.ModelNotFoundError: Leaving(404, "model_not_found", _INVALID, "not_found_error"),
    routing.ModelNotPricedError: Leaving(
        403, "model_not_priced", "permission_error", "permission_error"
    ),
    routing.NoTargetAvailableError: Leaving(
        503, "no_target_available", "upstream_error", "overloaded_error", 529
    ),
    routing.UpstreamAuthError: Leaving(
        502, "upstream_auth_failed", "upstream_error", "api_error", may_retry=False
    ),
    routing.UpstreamUnreachableError: Leaving(
        502, "upstream_unreachable", "upstream_error", "api_error"
    ),
    routing.UpstreamFailingError: Leaving(502, "upstream_error", "upstream_error", "api_error"),
    routing.UpstreamProtocolError: Leaving(
        502, "upstream_protocol_error", "upstream_error", "api_error"
    ),
    routing.UpstreamRateLimitedError: Leaving(429, "upstream_rate_limited", _RATE, _RATE),
    routing.UpstreamOverloadedError: Leaving(
        503, "upstream_overloaded", "upstream_error", "overloaded_error", 529
    ),
    routing.UpstreamTimeoutError: Leaving(
        504, "upstream_timeout", "upstream_error", "timeout_error"
    ),
    routing.StreamBrokenError: Leaving(
        502, "upstream_stream_interrupted", "upstream_error", "api_error"
    ),
    RouteNotFoundError: Leaving(404, "not_found", _INVALID, "not_found_error"),
    ReceiptNotFoundError: Leaving(404, "receipt_not_found", _INVALID, "not_found_error"),
    MethodNotAllowedError: Leaving(405, "method_not_allowed", _INVALID, _INVALID),
    BodyTooLargeError: Leaving(413, "request_too_large", _INVALID, "request_too_large"),
    MediaTypeError: Leaving(415, "unsupported_media_type", _INVALID, _INVALID),
    StreamKeyRevokedError: Leaving(
        401, "invalid_api_key", "authentication_error", "authentication_error"
    ),
    UnexpectedError: Leaving(500, "internal_error", "api_error", "api_error"),
}
_REFUSED_ANTHROPIC_TYPES = {404: "not_found_error", 413: "request_too_large"}
# Errors that tell when to come back even when nobody said so.
_DEFAULT_RETRY_AFTER_SECONDS = 1.0
# Some SDKs would sleep for hours when told to: beyond this their caller hears of it at once.
_LONGEST_SLEEP_SECONDS = 120.0
_ALWAYS_RETRY_AFTER = (
    keys.ServiceUnavailableError,
    keys.TooManyFailedKeysError,
    LimitExceededError,
    routing.NoTargetAvailableError,
    routing.UpstreamRateLimitedError,
    routing.UpstreamOverloadedError,
)


def leaving(error: GatewayError) -> Leaving:
    """The row of an error: its own class's, else its nearest ancestor's."""
    if isinstance(error, routing.UpstreamRefusedRequestError):
        return Leaving(
            error.status,
            error.code or _INVALID,
            error.type or _INVALID,
            _REFUSED_ANTHROPIC_TYPES.get(error.status, _INVALID),
        )
    for cls in type(error).__mro__:
        if cls in _TABLE:
            return _TABLE[cls]
    return _TABLE[UnexpectedError]


def code_of(error: GatewayError) -> str:
    """The code for our own records, always one of ours: a provider's refusal may hold any text."""
    if isinstance(error, routing.UpstreamRefusedRequestError):
        return _INVALID
    return leaving(error).code


def status_of(error: GatewayError, wire_format: str) -> int:
    row = leaving(error)
    if wire_format == ANTHROPIC and row.anthropic_status is not None:
        return row.anthropic_status
    return row.status


def body_of(error: GatewayError, wire_format: str, request_id: str) -> bytes:
    return orjson.dumps(_envelope(error, wire_format, request_id))


def frame_of(error: GatewayError, wire_format: str, request_id: str) -> bytes:
    """What ends a stream that broke: one frame, and no `[DONE]` after it."""
    data = b"data: " + body_of(error, wire_format, request_id) + b"\n\n"
    return b"event: error\n" + data if wire_format == ANTHROPIC else data


def headers_of(error: GatewayError) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    seconds = error.retry_after_seconds
    if seconds is None and isinstance(error, _ALWAYS_RETRY_AFTER):
        seconds = _DEFAULT_RETRY_AFTER_SECONDS
    if seconds is not None:
        headers["Retry-After"] = str(max(1, int(-(-seconds // 1))))
    final_budget = isinstance(error, BudgetExceededError) and not error.retriable
    too_long = seconds is not None and seconds > _LONGEST_SLEEP_SECONDS
    if final_budget or too_long or not leaving(error).may_retry:
        headers["x-should-retry"] = "false"
    if isinstance(error, keys.InvalidKeyError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, BodyTooLargeError):
        headers["Connection"] = "close"
    return headers


def _envelope(error: GatewayError, wire_format: str, request_id: str) -> dict[str, Any]:
    row = leaving(error)
    if wire_format == ANTHROPIC:
        return {
            "type": "error",
            "error": {"type": row.anthropic_type, "message": error.message},
            "request_id": request_id,
        }
    return {
        "error": {
            "message": error.message,
            "type": row.openai_type,
            "param": error.param,
            "code": row.code,
            "request_id": request_id,
        }
    }
