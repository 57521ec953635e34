"""A developer with the stock SDKs, on a model of an openai and one of an anthropic provider."""

from typing import Any

import anthropic
import openai
import pytest

from keys.secrets import make_secret
from tests.journeys import configuration, developer
from tests.journeys.raw_http import post

SECRET, POOR, SLOW = make_secret(), make_secret(), make_secret()
ASK = developer.ASK
MODELS = ["gpt", "claude"]


@pytest.fixture(scope="module")
def gateway(install, upstream):
    config = {
        "providers": configuration.providers(upstream),
        "models": [
            configuration.model("gpt", ("fake-openai", "gpt-up")),
            configuration.model("claude", ("fake-anthropic", "claude-up")),
        ],
        "prices": [configuration.price("fake-openai"), configuration.price("fake-anthropic")],
        "teams": [
            configuration.team(
                "rich", SECRET, {"unit": "usd", "window": "month", "ceiling": "100.00"}
            ),
            configuration.team(
                "poor", POOR, {"unit": "usd", "window": "month", "ceiling": "0.0022"}
            ),
            configuration.team("slow", SLOW, {"unit": "requests", "window": "day", "ceiling": 1}),
        ],
    }
    return install(config=config).start()


@pytest.fixture
def secret():
    return SECRET


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("does", developer.EVERYTHING, ids=lambda does: does.__name__)
def test_the_openai_sdk(openai_client, does, model):
    does(openai_client, model)


@pytest.mark.parametrize("model", MODELS)
def test_the_anthropic_sdk(anthropic_client, model):
    if model == "claude":
        developer.writes_messages(anthropic_client, model)
    answer = anthropic_client.messages.create(model=model, max_tokens=100, messages=ASK)
    assert answer.usage.output_tokens == 12


def test_the_same_format_passes_byte_for_byte(gateway, upstream):
    body = (
        b'{"model":"claude", "max_tokens": 100,  "x_new":1.50,'
        b' "messages":[{"role":"user","content":"h\\u00e9"}]}'
    )
    answer = post(gateway, "/v1/messages", body, SECRET)
    assert answer.status == 200
    sent = upstream.seen_of("claude-up")[-1].request.body
    assert sent == body.replace(b'"model":"claude"', b'"model":"claude-up"')


def test_the_provider_never_sees_the_gateways_key(openai_client, upstream):
    developer.asks(openai_client, "gpt")
    request = upstream.seen_of("gpt-up")[-1].request
    assert SECRET not in str(request.headers)


def test_a_wrong_key(gateway):
    with (
        openai.OpenAI(base_url=gateway.openai_url, api_key=make_secret(), max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        client.models.list()
    assert (raised.value.code, raised.value.type) == ("invalid_api_key", "authentication_error")


def test_a_wrong_key_with_the_anthropic_sdk(gateway):
    with (
        anthropic.Anthropic(base_url=gateway.base_url, api_key="gw_no", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError) as raised,
    ):
        client.messages.create(model="claude", max_tokens=10, messages=ASK)
    body: Any = raised.value.body
    assert body["error"]["type"] == "authentication_error"


def test_an_unknown_model(openai_client):
    with pytest.raises(openai.NotFoundError) as raised:
        openai_client.chat.completions.create(model="no-such", messages=ASK)
    assert raised.value.code == "model_not_found"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"model": "gpt", "model": "gpt", "messages": []}',
        b'{"model": "gpt", "messages": "hello"}',
        b'{"model": "gpt", "messages": [{"role": "user", "content": "x"}], "n": 0}',
        b'{"model": "gpt", "messages": [{"role": "user", "content": "x"}], "max_tokens": -1}',
        b'{"model": "gpt", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    ],
)
def test_a_malformed_body(gateway, body):
    answer = post(gateway, "/v1/chat/completions", body, SECRET)
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request_error")


def test_a_budget_that_is_spent(gateway, upstream):
    with openai.OpenAI(base_url=gateway.openai_url, api_key=POOR) as client:
        client.chat.completions.create(model="gpt", messages=ASK, max_tokens=50)
        before = len(upstream.seen)
        with pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(model="gpt", messages=ASK, max_tokens=90)
    assert raised.value.code == raised.value.type == "insufficient_quota"
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert len(upstream.seen) == before


def test_a_request_limit(gateway):
    with openai.OpenAI(base_url=gateway.openai_url, api_key=SLOW, max_retries=0) as client:
        client.chat.completions.create(model="gpt", messages=ASK)
        with pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(model="gpt", messages=ASK)
    assert raised.value.code == "rate_limit_exceeded"
    assert int(raised.value.response.headers["retry-after"]) >= 1


def test_only_the_callable_models_are_listed(openai_client):
    assert {model.id for model in openai_client.models.list()} >= set(MODELS)
