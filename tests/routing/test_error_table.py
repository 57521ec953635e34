"""Every error leaves with the status, code and type that the API promises."""

import orjson
import pytest

from billing.errors import BudgetExceededError, LimitExceededError
from keys import errors as keys
from keys.errors import GatewayError
from routing import error_table as table
from routing import errors as routing

OPENAI, ANTHROPIC = "openai_chat", "anthropic_messages"


@pytest.mark.parametrize(
    ("error", "status", "code", "openai_type", "anthropic_status", "anthropic_type"),
    [
        (
            keys.InvalidKeyError("x"),
            401,
            "invalid_api_key",
            "authentication_error",
            401,
            "authentication_error",
        ),
        (
            keys.TooManyFailedKeysError("x"),
            429,
            "too_many_failed_keys",
            "rate_limit_error",
            429,
            "rate_limit_error",
        ),
        (
            keys.ModelNotAllowedError("x"),
            403,
            "model_not_allowed",
            "permission_error",
            403,
            "permission_error",
        ),
        (
            keys.AddressNotAllowedError("x"),
            403,
            "ip_not_allowed",
            "permission_error",
            403,
            "permission_error",
        ),
        (
            routing.ModelNotFoundError("x"),
            404,
            "model_not_found",
            "invalid_request_error",
            404,
            "not_found_error",
        ),
        (
            routing.ModelNotPricedError("x"),
            403,
            "model_not_priced",
            "permission_error",
            403,
            "permission_error",
        ),
        (
            LimitExceededError("x"),
            429,
            "rate_limit_exceeded",
            "rate_limit_error",
            429,
            "rate_limit_error",
        ),
        (
            keys.InvalidRequestError("x"),
            400,
            "invalid_request_error",
            "invalid_request_error",
            400,
            "invalid_request_error",
        ),
        (
            table.BodyTooLargeError("x"),
            413,
            "request_too_large",
            "invalid_request_error",
            413,
            "request_too_large",
        ),
        (
            table.MediaTypeError("x"),
            415,
            "unsupported_media_type",
            "invalid_request_error",
            415,
            "invalid_request_error",
        ),
        (
            routing.UpstreamAuthError("x"),
            502,
            "upstream_auth_failed",
            "upstream_error",
            502,
            "api_error",
        ),
        (
            routing.UpstreamUnreachableError("x"),
            502,
            "upstream_unreachable",
            "upstream_error",
            502,
            "api_error",
        ),
        (
            routing.UpstreamFailingError("x"),
            502,
            "upstream_error",
            "upstream_error",
            502,
            "api_error",
        ),
        (
            routing.UpstreamProtocolError("x"),
            502,
            "upstream_protocol_error",
            "upstream_error",
            502,
            "api_error",
        ),
        (
            routing.UpstreamRateLimitedError("x"),
            429,
            "upstream_rate_limited",
            "rate_limit_error",
            429,
            "rate_limit_error",
        ),
        (
            routing.UpstreamOverloadedError("x"),
            503,
            "upstream_overloaded",
            "upstream_error",
            529,
            "overloaded_error",
        ),
        (
            routing.NoTargetAvailableError("x"),
            503,
            "no_target_available",
            "upstream_error",
            529,
            "overloaded_error",
        ),
        (
            routing.UpstreamTimeoutError("x"),
            504,
            "upstream_timeout",
            "upstream_error",
            504,
            "timeout_error",
        ),
        (
            keys.ServiceUnavailableError("x"),
            503,
            "service_unavailable",
            "api_error",
            503,
            "api_error",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GatewayError) else None,
)
def test_an_error_leaves_as_the_contract_says(
    error, status, code, openai_type, anthropic_status, anthropic_type
):
    said = orjson.loads(table.body_of(error, OPENAI, "req_1"))["error"]
    assert (table.status_of(error, OPENAI), said["code"], said["type"]) == (
        status,
        code,
        openai_type,
    )
    assert said["request_id"] == "req_1"
    heard = orjson.loads(table.body_of(error, ANTHROPIC, "req_1"))
    assert (table.status_of(error, ANTHROPIC), heard["error"]["type"]) == (
        anthropic_status,
        anthropic_type,
    )
    assert heard["type"] == "error"
    assert heard["request_id"] == "req_1"


def test_a_refused_request_keeps_the_providers_status_and_words():
    error = routing.UpstreamRefusedRequestError(
        "too long", status=422, type="some_type", code="context_length_exceeded", param="messages"
    )
    said = orjson.loads(table.body_of(error, OPENAI, "req_1"))["error"]
    assert table.status_of(error, OPENAI) == 422
    assert (said["type"], said["code"], said["param"]) == (
        "some_type",
        "context_length_exceeded",
        "messages",
    )


@pytest.mark.parametrize(
    "error",
    [
        LimitExceededError("x"),
        keys.ServiceUnavailableError("x"),
        keys.TooManyFailedKeysError("x"),
        routing.UpstreamRateLimitedError("x"),
        routing.UpstreamOverloadedError("x"),
        routing.NoTargetAvailableError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_OAI_07_errors_that_pass_say_when_to_come_back(error):
    assert int(table.headers_of(error)["Retry-After"]) >= 1


def test_retry_after_is_whole_seconds_rounded_up():
    error = routing.UpstreamRateLimitedError("x", retry_after_seconds=1.2)
    assert table.headers_of(error)["Retry-After"] == "2"


def test_OAI_09_a_spent_budget_is_not_to_be_retried():
    spent = BudgetExceededError("x", retriable=False, retry_after_seconds=3600)
    assert table.headers_of(spent) == {"Retry-After": "3600", "x-should-retry": "false"}


def test_a_budget_that_only_running_calls_hold_may_be_retried():
    held = BudgetExceededError("x", retriable=True, retry_after_seconds=1)
    assert table.headers_of(held) == {"Retry-After": "1"}


def test_nobody_is_made_to_sleep_for_more_than_two_minutes():
    soon = LimitExceededError("x", retry_after_seconds=120)
    late = LimitExceededError("x", retry_after_seconds=121)
    assert table.headers_of(soon) == {"Retry-After": "120"}
    assert table.headers_of(late) == {"Retry-After": "121", "x-should-retry": "false"}


def test_a_refused_credential_of_ours_is_not_to_be_retried():
    assert table.headers_of(routing.UpstreamAuthError("x"))["x-should-retry"] == "false"


def test_an_error_frame_names_its_event_on_anthropic_addresses_only():
    error = routing.StreamBrokenError("x")
    assert table.frame_of(error, ANTHROPIC, "r").startswith(b"event: error\ndata: {")
    assert table.frame_of(error, OPENAI, "r").startswith(b'data: {"error"')


def test_a_subclass_without_a_row_leaves_as_its_parent():
    class OddKeyError(keys.InvalidKeyError):
        pass

    assert table.status_of(OddKeyError("x"), OPENAI) == 401
