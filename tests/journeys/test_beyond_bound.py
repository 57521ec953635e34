"""What a provider reports beyond a call's bound counts everywhere before the call is answered."""

import json
from typing import Any

import httpx2
import openai
import pytest

from keys.secrets import make_secret
from tests.journeys import configuration
from tests.journeys.raw_http import post

CEILING = 1500
TEAMS = {f"team-{number}": make_secret() for number in range(8)}


@pytest.fixture(scope="module")
def gateway(install, upstream):
    # Nothing is held ahead for an end user, which would cover what goes beyond a bound.
    limit = {"unit": "tokens", "window": "total", "ceiling": CEILING, "per": "end_user"}
    config = {
        "providers": configuration.providers(upstream)[:1],
        # Reports a thousand tokens of input, whatever it was sent.
        "models": [configuration.model("talkative", ("fake-openai", "cached"))],
        "prices": [configuration.price("fake-openai")],
        "teams": [configuration.team(name, secret, limit) for name, secret in TEAMS.items()],
    }
    return install(environment={"WORKERS": "2"}, config=config).start()


def call(gateway, secret: str, *, stream: bool) -> int:
    body = {"model": "talkative", "max_tokens": 5, "stream": stream}
    body |= {"messages": [{"role": "user", "content": "hi"}]}
    return post(gateway, "/v1/chat/completions", json.dumps(body).encode(), secret).status


def rate_limits(gateway, secret: str) -> Any:
    with openai.OpenAI(base_url=gateway.openai_url, api_key=secret) as client:
        return client.get("/rate-limit", cast_to=httpx2.Response).json()["limits"]


@pytest.mark.parametrize("stream", [False, True])
def test_G1_no_worker_admits_a_call_for_room_that_another_one_took_beyond_its_bound(
    gateway, stream
):
    names = list(TEAMS)[stream::2]
    for name in names:
        secret = TEAMS[name]
        assert [call(gateway, secret, stream=stream) for _ in range(2)] == [200, 200]
        # A new connection each time: both workers are asked.
        assert {call(gateway, secret, stream=stream) for _ in range(8)} == {429}
        (limit,) = rate_limits(gateway, secret)
        assert (limit["used"] > 2000, limit["remaining"]) == (True, 0)
