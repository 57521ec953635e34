"""The API's error table against a running gateway: what the stock SDKs raise, and when."""

import itertools
from typing import Any, cast

import anthropic
import openai
import pytest

from keys.secrets import make_secret
from tests.fake_provider import Behaviour
from tests.journeys import configuration
from tests.journeys.receipts import get, receipt

SECRET = make_secret()
ASK = [{"role": "user", "content": "Hello?"}]
BEHIND = ("fake-openai", "plain")

# What the provider does: status, code and type on OpenAI's addresses; status and type on
# Anthropic's.
BEFORE_THE_ANSWER = {
    "status-401": (502, "upstream_auth_failed", "upstream_error", 502, "api_error"),
    "status-402": (502, "upstream_auth_failed", "upstream_error", 502, "api_error"),
    "status-403": (502, "upstream_auth_failed", "upstream_error", 502, "api_error"),
    "status-429": (429, "upstream_rate_limited", "rate_limit_error", 429, "rate_limit_error"),
    "status-429-ms": (429, "upstream_rate_limited", "rate_limit_error", 429, "rate_limit_error"),
    "status-429-date": (429, "upstream_rate_limited", "rate_limit_error", 429, "rate_limit_error"),
    "status-429-bare": (429, "upstream_rate_limited", "rate_limit_error", 429, "rate_limit_error"),
    "status-500": (502, "upstream_error", "upstream_error", 502, "api_error"),
    "status-503": (503, "upstream_overloaded", "upstream_error", 529, "overloaded_error"),
    "status-529": (503, "upstream_overloaded", "upstream_error", 529, "overloaded_error"),
    "reset": (502, "upstream_unreachable", "upstream_error", 502, "api_error"),
    "close": (502, "upstream_unreachable", "upstream_error", 502, "api_error"),
    "stall": (504, "upstream_timeout", "upstream_error", 504, "timeout_error"),
    "html": (502, "upstream_protocol_error", "upstream_error", 502, "api_error"),
    "not-json": (502, "upstream_protocol_error", "upstream_error", 502, "api_error"),
    "empty": (502, "upstream_protocol_error", "upstream_error", 502, "api_error"),
    "status-204": (502, "upstream_protocol_error", "upstream_error", 502, "api_error"),
}
REFUSED = {"status-400": 400, "status-404": 404, "status-413": 413, "status-422": 422}
RETRY_AFTER = {"status-429": 7, "status-429-ms": 2, "status-429-bare": 1, "status-503": 3}
BROKEN_STREAMS = [
    "stall-mid-stream",
    "cut-mid-stream",
    "half-frame",
    "no-finish",
    "half-frame-end",
    "error-mid-stream",
    "malformed-frame",
]
ODD_BUT_WHOLE = ["odd-bytes", "crlf", "comments", "no-done", "usage-in-every-chunk"]
WRONG_USAGE = ["negative-usage", "huge-usage", "text-usage"]


@pytest.fixture(scope="module")
def gateway(install, upstream):
    config = {
        "providers": configuration.providers(upstream),
        "models": [
            configuration.every_behaviour("openai"),
            configuration.every_behaviour("anthropic"),
            configuration.model("retried", ("fake-openai", "scripted"), max_attempts=3),
            configuration.model("falls-back", ("fake-openai", "status-500"), BEHIND),
            configuration.model("breaks-late", ("fake-openai", "cut-mid-stream"), BEHIND),
            configuration.model("redirected", ("fake-openai", "redirected"), max_attempts=1),
        ],
        "prices": [configuration.price("fake-openai"), configuration.price("fake-anthropic")],
        "teams": [configuration.team("faults", SECRET)],
    }
    return install(config=config).start()


@pytest.fixture
def secret():
    return SECRET


_numbers = itertools.count()


def _fresh(kind, behaviour):
    """A model of the fake provider that no test has asked for: a target that never failed."""
    return f"{kind}/{behaviour}+{next(_numbers)}"


def _ask(client, model, *, stream=False):
    return client.chat.completions.with_raw_response.create(
        model=model, messages=ASK, stream=stream
    )


def _message(client, model, *, stream=False):
    return client.messages.with_raw_response.create(
        model=model, messages=ASK, max_tokens=100, stream=stream
    )


def _text_of(stream):
    return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", BEFORE_THE_ANSWER)
def test_openai_sdk_gets_a_real_status_before_the_answer(openai_client, fault, kind, stream):
    status, code, error_type, *_ = BEFORE_THE_ANSWER[fault]
    with pytest.raises(openai.APIStatusError) as raised:
        _ask(openai_client, _fresh(kind, fault), stream=stream)
    error, body = raised.value, cast(dict[str, Any], raised.value.body)
    assert (error.status_code, error.code, error.type) == (status, code, error_type)
    assert body["request_id"] == error.request_id
    assert "127.0.0.1" not in error.message


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", BEFORE_THE_ANSWER)
def test_anthropic_sdk_gets_a_real_status_before_the_answer(anthropic_client, fault, stream):
    *_, status, error_type = BEFORE_THE_ANSWER[fault]
    with pytest.raises(anthropic.APIStatusError) as raised:
        _message(anthropic_client, _fresh("anthropic", fault), stream=stream)
    error, body = raised.value, cast(dict[str, Any], raised.value.body)
    assert (error.status_code, body["error"]["type"]) == (status, error_type)
    assert body["request_id"] == error.request_id


@pytest.mark.parametrize("fault", REFUSED)
def test_the_providers_own_refusal_passes(openai_client, fault):
    with pytest.raises(openai.APIStatusError) as raised:
        _ask(openai_client, _fresh("openai", fault))
    assert raised.value.status_code == REFUSED[fault]
    assert "the fake" in raised.value.message


@pytest.mark.parametrize("fault", RETRY_AFTER)
def test_retry_after_is_never_less_than_the_providers_OAI07(openai_client, fault):
    with pytest.raises(openai.APIStatusError) as raised:
        _ask(openai_client, _fresh("openai", fault))
    assert int(raised.value.response.headers["retry-after"]) >= RETRY_AFTER[fault]


def test_a_refused_credential_is_not_worth_a_retry(openai_client):
    with pytest.raises(openai.APIStatusError) as raised:
        _ask(openai_client, _fresh("openai", "status-401"))
    assert raised.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", BROKEN_STREAMS)
def test_a_stream_that_breaks_ends_with_an_error(gateway, openai_client, fault, kind):
    response = _ask(openai_client, _fresh(kind, fault), stream=True)
    with pytest.raises(openai.APIError):
        _text_of(response.parse())
    entry = receipt(gateway, response.headers["x-request-id"], SECRET)["entries"][0]
    assert (entry["status"], entry["usage_source"]) == ("error", "estimated")
    assert entry["output_tokens"] > 0


@pytest.mark.parametrize("fault", BROKEN_STREAMS)
def test_a_message_stream_that_breaks_ends_with_an_error(gateway, anthropic_client, fault):
    response = _message(anthropic_client, _fresh("anthropic", fault), stream=True)
    with pytest.raises(anthropic.APIError):
        list(response.parse())
    entry = receipt(gateway, response.headers["request-id"], SECRET)["entries"][0]
    assert entry["status"] == "error"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("oddity", ODD_BUT_WHOLE)
def test_an_odd_stream_is_whole_and_billed_exactly(gateway, upstream, openai_client, oddity, kind):
    response = _ask(openai_client, _fresh(kind, oddity), stream=True)
    seen_text = _text_of(response.parse())
    seen = upstream.seen[-1]
    assert seen_text == seen.behaviour.text
    entry = receipt(gateway, response.headers["x-request-id"], SECRET)["entries"][0]
    assert (entry["status"], entry["usage_source"]) == ("ok", "provider")
    assert entry["input_tokens"] == seen.input_tokens
    assert entry["output_tokens"] == seen.output_tokens


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_an_answer_without_usage_is_estimated_F16(gateway, openai_client, kind, stream):
    response = _ask(openai_client, _fresh(kind, "no-usage"), stream=stream)
    response.http_response.read()
    entry = receipt(gateway, response.headers["x-request-id"], SECRET)["entries"][0]
    assert (entry["status"], entry["usage_source"]) == ("ok", "estimated")
    assert entry["output_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("oddity", WRONG_USAGE)
def test_impossible_usage_is_no_credit_and_an_estimate_stands_beside_it_F20(
    gateway, openai_client, oddity, kind, stream
):
    response = _ask(openai_client, _fresh(kind, oddity), stream=stream)
    response.http_response.read()
    bill = receipt(gateway, response.headers["x-request-id"], SECRET)
    [entry] = bill["entries"]
    assert entry["output_tokens"] >= 0
    assert not bill["total_cost"].startswith("-")
    assert "usage_suspect" in entry["flags"]
    [estimate] = [flag for flag in entry["flags"] if flag.startswith("estimate=")]
    input_tokens, output_tokens = map(int, estimate.removeprefix("estimate=").split("+"))
    assert 0 < input_tokens < 100
    assert 0 < output_tokens < 100


def test_a_retry_that_helps_is_one_answer(gateway, upstream, openai_client):
    upstream.script("scripted", Behaviour(status=500), Behaviour(status=500), Behaviour())
    response = _ask(openai_client, "retried")
    assert response.headers["x-gateway-attempts"] == "3"
    outcomes = receipt(gateway, response.headers["x-request-id"], SECRET)["attempts"]
    assert [attempt["outcome"] for attempt in outcomes] == ["failed", "failed", "served"]


def test_a_failing_target_falls_back(openai_client):
    response = _ask(openai_client, "falls-back")
    assert response.headers["x-gateway-model"] == "plain"


def test_there_is_no_fallback_after_the_first_byte_F11(upstream, openai_client):
    before = len(upstream.seen_of("plain"))
    with pytest.raises(openai.APIError):
        _text_of(_ask(openai_client, "breaks-late", stream=True).parse())
    assert len(upstream.seen_of("plain")) == before


def test_a_redirect_is_not_followed_R5(upstream, decoy, openai_client):
    elsewhere = Behaviour(status=307, headers=(("location", decoy.openai_url),), body=b"")
    upstream.script("redirected", elsewhere)
    with pytest.raises(openai.APIStatusError) as raised:
        _ask(openai_client, "redirected")
    assert raised.value.code == "upstream_protocol_error"


@pytest.mark.parametrize("field", ["api_base", "base_url", "custom_host", "api_key", "headers"])
def test_no_field_of_a_body_steers_the_call_R1(upstream, decoy, openai_client, field):
    openai_client.chat.completions.create(
        model="openai/plain", messages=ASK, extra_body={field: decoy.openai_url}
    )
    sent = upstream.seen[-1].request.headers["authorization"]
    assert sent == "Bearer sk-fake-openai-credential"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_reader_who_leaves_closes_the_provider_and_pays_F14(
    gateway, upstream, openai_client, kind
):
    response = _ask(openai_client, _fresh(kind, "endless"), stream=True)
    stream = response.parse()
    for _ in range(5):
        next(stream)
    stream.close()
    upstream.wait_for(lambda fake: fake.seen[-1].left_at is not None, "the provider is told")
    entry = receipt(gateway, response.headers["x-request-id"], SECRET)["entries"][0]
    assert entry["status"] == "cancelled"
    assert float(entry["cost"]) > 0


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("model", ["cached", "cache-written", "reasoning"])
def test_every_kind_of_token_is_billed_once_OAI28(gateway, upstream, openai_client, model, kind):
    response = _ask(openai_client, _fresh(kind, model))
    seen = upstream.seen[-1]
    entry = receipt(gateway, response.headers["x-request-id"], SECRET)["entries"][0]
    written = seen.behaviour.written if kind == "anthropic" else 0
    assert entry["input_tokens"] == seen.input_tokens
    assert entry["cached_input_tokens"] == seen.behaviour.cached
    assert entry["cache_write_tokens"] == written
    assert entry["output_tokens"] == seen.output_tokens + seen.behaviour.reasoning


def test_the_books_agree_after_all_of_this(gateway):
    assert get(gateway, "/v1/rate-limit", SECRET)["limits"] == []
    gateway.manage("check_books")
