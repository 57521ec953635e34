"""Usage that a provider reports with an error inside a stream, on the ledger."""

import json

import pytest

from billing.pricing import parse_usd
from keys.secrets import make_secret
from tests.fake_provider.behaviour import Behaviour
from tests.journeys import configuration
from tests.journeys.raw_http import Answer, post
from tests.journeys.receipts import Json, receipt
from tests.routing.wire.streams import chunk, data, event

SECRET = make_secret()
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
OPENAI = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
ERROR = {"message": "boom", "type": "server_error"}
COST = 1000 * 2_500 + 500 * 10_000
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "usage": {"input_tokens": 1000, "output_tokens": 0},
    },
}
STREAMS = {
    "beside": data({"error": ERROR, "usage": OPENAI}),
    "inside": data({"error": ERROR | {"usage": OPENAI}}),
    "before": data({"choices": [], "usage": OPENAI}) + data({"error": ERROR}),
    "content": chunk({"content": "Hello"}) + data({"error": ERROR | {"usage": OPENAI}}),
    "message": event(START) + event({"type": "error", "error": {"type": "api_error"}}),
}
BEFORE_THE_FIRST_BYTE = ("beside", "inside", "before")


@pytest.fixture(scope="module")
def gateway(install, upstream):
    for name, frames in STREAMS.items():
        kind = (("content-type", "text/event-stream"),)
        upstream.script(name, Behaviour(headers=kind, body=frames))
    config = {
        "providers": configuration.providers(upstream),
        "models": [
            *(
                configuration.model(name, ("fake-openai", name), max_attempts=1)
                for name in STREAMS
                if name != "message"
            ),
            configuration.model("message", ("fake-anthropic", "message"), max_attempts=1),
            *(
                configuration.model(f"{name}-again", ("fake-openai", name), ("fake-openai", "ok"))
                for name in BEFORE_THE_FIRST_BYTE
            ),
        ],
        "prices": [configuration.price("fake-openai"), configuration.price("fake-anthropic")],
        "teams": [configuration.team("t", SECRET)],
    }
    return install(config=config).start()


def stream(gateway, model: str, path: str = CHAT) -> tuple[Answer, list[Json]]:
    """The answer, and the ledger's entries of it."""
    asked = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answer = post(gateway, path, json.dumps(asked | {"stream": True}).encode(), SECRET)
    return answer, receipt(gateway, answer.headers["x-request-id"], SECRET)["entries"]


def figures(entry: Json) -> tuple[int, int, int]:
    return entry["input_tokens"], entry["output_tokens"], parse_usd(entry["cost"])


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("model", BEFORE_THE_FIRST_BYTE)
def test_MON_04_usage_with_an_error_before_the_first_byte_is_charged(gateway, model, path):
    answer, (entry,) = stream(gateway, model, path)
    assert answer.status == 502
    assert figures(entry) == (1000, 500, COST)
    assert entry["usage_source"] == "provider"


@pytest.mark.parametrize("model", BEFORE_THE_FIRST_BYTE)
def test_MON_04_an_attempt_whose_stream_began_with_an_error_is_paid_beside_the_one_that_served(
    gateway, model
):
    answer, (served, failed) = stream(gateway, f"{model}-again")
    assert answer.status == 200
    assert answer.headers["x-gateway-attempts"] == "2"
    assert served["usage_source"] == failed["usage_source"] == "provider"
    assert figures(failed) == (1000, 500, COST)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_MON_04_usage_with_an_error_after_content_is_charged(gateway, path):
    answer, (entry,) = stream(gateway, "content", path)
    assert answer.status == 200
    assert b"error" in answer.body
    assert figures(entry) == (1000, 500, COST)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_MON_04_the_input_that_a_message_began_with_is_charged_when_an_error_follows(gateway, path):
    _, (entry,) = stream(gateway, "message", path)
    assert figures(entry) == (1000, 0, 1000 * 2_500)
