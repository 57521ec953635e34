"""Answers that are not quite JSON: read as leniently as the SDKs read them, and always billed."""

import json

import pytest

from billing.pricing import parse_usd
from keys.secrets import make_secret
from tests.fake_provider.behaviour import Behaviour
from tests.journeys import configuration
from tests.journeys.raw_http import Answer, post
from tests.journeys.receipts import Json, receipt
from tests.routing.wire.streams import chunk

SECRET = make_secret()
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
PLAIN = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":%b,"completion_tokens":10,"total_tokens":110}}'
)
READABLE = {
    "half-emoji": PLAIN % (rb"half \ud83d", b"100"),
    "not-utf-8": PLAIN % (b"half \xff", b"100"),
    "beyond-floats": PLAIN % (b"fine", b"1e400"),
}
UNREADABLE = {
    "more-after-it": PLAIN % (b"fine", b"100") + b"}",
    "cut": (PLAIN % (b"fine", b"100"))[:-9],
}
EVENT_STREAM = (("content-type", "text/event-stream"),)
HALF_EMOJI = (
    chunk({"content": "Hello "})
    + rb'data: {"choices":[{"index":0,"delta":{"content":"\ud83d"}}]}'
    + b"\n\n"
    + chunk({}, finish="stop")
    + chunk(usage={"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110})
    + b"data: [DONE]\n\n"
)
ERROR = rb'{"error":{"message":"\ud83d","type":"server_error"},"usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110}}'  # noqa: E501
COST = 100 * 2_500 + 10 * 10_000


@pytest.fixture(scope="module")
def gateway(install, upstream):
    scripts = {name: Behaviour(body=body) for name, body in (READABLE | UNREADABLE).items()}
    scripts["streamed"] = Behaviour(headers=EVENT_STREAM, body=HALF_EMOJI)
    scripts["error"] = Behaviour(status=500, body=ERROR)
    for name, behaviour in scripts.items():
        upstream.script(name, behaviour)
    config = {
        "providers": configuration.providers(upstream)[:1],
        "models": [
            configuration.model(name, ("fake-openai", name), max_attempts=1) for name in scripts
        ],
        "prices": [configuration.price("fake-openai")],
        "teams": [configuration.team("t", SECRET)],
    }
    return install(config=config).start()


def ask(gateway, model: str, path: str, **fields: object) -> tuple[Answer, Json]:
    """The answer, and the ledger's one entry of it."""
    asked = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answer = post(gateway, path, json.dumps(asked | fields).encode(), SECRET)
    (entry,) = receipt(gateway, answer.headers["x-request-id"], SECRET)["entries"]
    return answer, entry


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("model", READABLE)
def test_OAI_30_an_answer_that_a_client_could_read_is_served_and_charged(gateway, model, path):
    answer, entry = ask(gateway, model, path)
    assert answer.status == 200, answer.body
    assert "half" in str(json.loads(answer.body.decode(errors="replace"))) or model != "half-emoji"
    assert entry["usage_source"] == "provider"
    assert entry["input_tokens"] == (10**9 if model == "beyond-floats" else 100)
    assert model == "beyond-floats" or parse_usd(entry["cost"]) == COST


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_OAI_30_half_an_emoji_in_a_stream_breaks_nothing(gateway, path):
    answer, entry = ask(gateway, "streamed", path, stream=True)
    assert answer.status == 200
    assert b'"error"' not in answer.body
    assert (entry["status"], parse_usd(entry["cost"])) == ("ok", COST)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("model", UNREADABLE)
def test_an_answer_that_nobody_can_read_is_billed_its_input(gateway, model, path):
    answer, entry = ask(gateway, model, path)
    assert answer.status == 502
    assert (entry["status"], entry["usage_source"]) == ("error", "estimated")
    assert entry["input_tokens"] > 0


def test_usage_in_an_error_with_odd_text_is_charged(gateway):
    answer, entry = ask(gateway, "error", CHAT)
    assert answer.status == 502
    assert parse_usd(entry["cost"]) == COST
