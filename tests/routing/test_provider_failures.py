"""What a provider's refusals become."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.usage import Usage
from routing import errors
from routing.provider_failures import clean, failure, retry_after_seconds

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def failed(status: int, body: Any = None, **headers: str) -> errors.UpstreamError:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    return failure("main", status, names, raw, NOW, "api.example.com")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.UpstreamRefusedRequestError),
        (404, errors.UpstreamRefusedRequestError),
        (413, errors.UpstreamRefusedRequestError),
        (422, errors.UpstreamRefusedRequestError),
        (401, errors.UpstreamAuthError),
        (402, errors.UpstreamAuthError),
        (403, errors.UpstreamAuthError),
        (429, errors.UpstreamRateLimitedError),
        (503, errors.UpstreamOverloadedError),
        (529, errors.UpstreamOverloadedError),
        (500, errors.UpstreamFailingError),
        (502, errors.UpstreamFailingError),
        (504, errors.UpstreamFailingError),
        (408, errors.UpstreamFailingError),
        (409, errors.UpstreamFailingError),
        (201, errors.UpstreamProtocolError),
        (204, errors.UpstreamProtocolError),
        (302, errors.UpstreamProtocolError),
        (418, errors.UpstreamProtocolError),
    ],
)
def test_a_status_means_one_error(status: int, expected: type[Exception]):
    assert type(failed(status)) is expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "1"}, 1),
        ({"retry-after": "30.5"}, 30.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Tue, 24 Nov 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Tue, 24 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"}, 600),
        ({"retry-after": "99999999999"}, 600),
        ({"retry-after": "1e400"}, 600),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "inf"}, 600),
        ({}, None),
    ],
)
def test_f1_retry_after_is_read_and_bounded(headers: dict[str, str], seconds: float | None):
    assert retry_after_seconds(headers, NOW) == seconds


def test_an_openai_refusal_keeps_its_own_words():
    body = {"error": {"message": "too long", "type": "t", "param": "messages", "code": "c"}}
    error = failed(400, body)
    assert isinstance(error, errors.UpstreamRefusedRequestError)
    said = (error.status, error.message, error.type, error.param, error.code)
    assert said == (400, "too long", "t", "messages", "c")


def test_an_anthropic_refusal_keeps_its_own_words():
    body = {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}}
    error = failed(404, body)
    assert isinstance(error, errors.UpstreamRefusedRequestError)
    assert (error.message, error.type) == ("model: x", "not_found_error")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"error":7}', b'{"error":"x"}'])
def test_a_refusal_in_any_shape_is_understood(body: bytes):
    assert failed(400, body).message


def test_usage_in_an_error_is_kept():
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    assert failed(500, {"error": {}, "usage": usage}).usage == Usage(
        input_tokens=5, output_tokens=2
    )


def test_f2_an_account_without_funds_is_left_alone_for_a_while():
    assert failed(429, {"error": {"code": "insufficient_quota"}}).retry_after_seconds == 60
    assert failed(429, {"error": {"code": "rate_limit_exceeded"}}).retry_after_seconds is None


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdef123456",
        "sk-ant-api03-abcdef",
        "https://api.example.com/v1?key=1",
        "api.example.com",
        "10.1.2.3:8000",
        "localhost:11434",
        "gw_abcdefghijkl",
    ],
)
def test_no_message_shows_a_host_or_a_key(secret: str):
    assert secret not in clean(f"Incorrect key {secret} provided.", "api.example.com")


def test_a_message_is_bounded():
    assert len(clean("x" * 1_000_000, "")) <= 2000


def test_an_ordinary_message_stays_as_it_is():
    text = "max_tokens is too large: 200000. This model supports at most 16384 (see 'limits')."
    assert clean(text, "api.example.com") == text
