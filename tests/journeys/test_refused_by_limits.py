"""What the stock SDKs, with their own retries, make of a limit's refusal."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import anthropic
import openai
import pytest

from keys.secrets import make_secret
from tests.journeys import configuration
from tests.journeys.raw_http import post
from tests.loopback import wait_until

ASK: list[Any] = [{"role": "user", "content": "hi"}]
LIMITS: dict[str, dict[str, Any]] = {
    "usd-day": {"unit": "usd", "window": "day", "ceiling": "0.000001"},
    "usd-month": {"unit": "usd", "window": "month", "ceiling": "0.000001"},
    "usd-total": {"unit": "usd", "window": "total", "ceiling": "0.000001"},
    "tokens-day": {"unit": "tokens", "window": "day", "ceiling": 5},
    "tokens-minute": {"unit": "tokens", "window": "minute", "ceiling": 5},
    "requests-day": {"unit": "requests", "window": "day", "ceiling": 0},
    "requests-month": {"unit": "requests", "window": "month", "ceiling": 0},
    "requests-total": {"unit": "requests", "window": "total", "ceiling": 0},
    "concurrent": {"unit": "concurrent", "ceiling": 0},
    "per-user": {"unit": "requests", "window": "day", "ceiling": 0, "per": "end_user"},
}
SECRETS = {name: make_secret() for name in (*LIMITS, "soon", "granted", "free")}
BUDGETS = [name for name in LIMITS if name.startswith("usd")]


@pytest.fixture(scope="module")
def gateway(install, upstream):
    teams = [
        configuration.team(name, SECRETS[name], limit, timezone="Asia/Kathmandu")
        for name, limit in LIMITS.items()
    ]
    config = {
        "providers": configuration.providers(upstream),
        "models": [
            configuration.model("gpt", ("fake-openai", "gpt-up"), max_output_tokens=700),
            configuration.model("claude", ("fake-anthropic", "claude-up")),
        ],
        "prices": [configuration.price("fake-openai"), configuration.price("fake-anthropic")],
        "teams": [
            *teams,
            configuration.team(
                "soon", SECRETS["soon"], {"unit": "requests", "window": "minute", "ceiling": 1}
            ),
            configuration.team(
                "granted", SECRETS["granted"], {"unit": "usd", "window": "day", "ceiling": "0.004"}
            ),
            configuration.team(
                "free",
                SECRETS["free"],
                {"unit": "requests", "window": "day", "ceiling": 100},
                {"unit": "usd", "window": "day", "ceiling": "0.000001", "soft": True},
            ),
        ],
    }
    return install(config=config).start()


def refusals(gateway, team: str) -> int:
    """How many calls of a team the gateway says that it turned away."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", gateway.output)
    lines = [line for line in plain.splitlines() if re.search(r"\brefused\b", line)]
    return sum(bool(re.search(rf'team["\']?[=:] ?["\']?{team}\b(?!-)', line)) for line in lines)


@pytest.mark.parametrize("name", BUDGETS)
def test_F40_a_budgets_refusal_reaches_the_gateway_once_from_the_openai_sdk(gateway, name):
    before = refusals(gateway, name)
    with (
        openai.OpenAI(base_url=gateway.openai_url, api_key=SECRETS[name]) as client,
        pytest.raises(openai.RateLimitError) as raised,
    ):
        client.chat.completions.create(model="gpt", messages=ASK, max_tokens=10)
    assert (raised.value.code, raised.value.type) == ("insufficient_quota", "insufficient_quota")
    wait_until(lambda: refusals(gateway, name) > before, "the note of the refusal")
    assert refusals(gateway, name) - before == 1


@pytest.mark.parametrize("name", BUDGETS)
def test_F40_a_budgets_refusal_reaches_the_gateway_once_from_the_anthropic_sdk(gateway, name):
    before = refusals(gateway, name)
    with (
        anthropic.Anthropic(base_url=gateway.base_url, api_key=SECRETS[name]) as client,
        pytest.raises(anthropic.RateLimitError) as raised,
    ):
        client.messages.create(model="claude", messages=ASK, max_tokens=10)
    body: Any = raised.value.body
    assert body["error"]["type"] == "rate_limit_error"
    wait_until(lambda: refusals(gateway, name) > before, "the note of the refusal")
    assert refusals(gateway, name) - before == 1


@pytest.mark.parametrize("name", ["requests-month", "requests-total", "concurrent"])
def test_a_limit_without_room_for_long_is_told_at_once_by_the_anthropic_sdk(gateway, name):
    """At its default of two retries: it would sleep for as long as `Retry-After` says."""
    before = refusals(gateway, name)
    with (
        anthropic.Anthropic(base_url=gateway.base_url, api_key=SECRETS[name]) as client,
        pytest.raises(anthropic.RateLimitError),
    ):
        client.messages.create(model="claude", messages=ASK, max_tokens=10)
    wait_until(lambda: refusals(gateway, name) > before, "the note of the refusal")
    assert refusals(gateway, name) - before == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("name", LIMITS)
def test_F40_every_refusal_says_limit_scope_and_reset(gateway, name, path):
    body = b'{"model":"gpt","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}'
    answer = post(gateway, path, body, SECRETS[name], X_User_ID="ann")
    error, wait = answer.json["error"], answer.headers.get("retry-after", "")
    assert answer.status == 429
    budget = name in BUDGETS
    if path == "/v1/messages":
        assert error["type"] == "rate_limit_error"
    else:
        code = "insufficient_quota" if budget else "rate_limit_exceeded"
        assert (error["code"], error["type"]) == (
            code,
            "insufficient_quota" if budget else "rate_limit_error",
        )
    final = budget or name in ("requests-total", "concurrent") or int(wait) > 120
    assert (answer.headers.get("x-should-retry") == "false") == final
    assert f"of team {name}" in error["message"] or "ann of team per-user" in error["message"]
    if name in ("usd-total", "requests-total", "concurrent"):
        assert "does not reset" in error["message"]
        assert wait == ("" if budget else "3600")
    else:
        said = re.search(r"resets at (\S+)\.", error["message"])
        assert said is not None
        reset = datetime.fromisoformat(said[1])
        left = (reset - datetime.now(UTC)).total_seconds()
        assert abs(int(wait) - max(left, 1)) < 5
        if name != "tokens-minute":
            assert (reset.hour, reset.minute, str(reset.tzinfo)) == (0, 0, "UTC+05:45")


@pytest.mark.faults
@pytest.mark.once
def test_the_openai_sdk_comes_back_by_itself_after_a_request_limit(gateway):
    def near_the_end_of_a_minute() -> bool:
        return 53 <= time.time() % 60 < 57

    wait_until(near_the_end_of_a_minute, "the last seconds of a minute", seconds=61)
    with openai.OpenAI(base_url=gateway.openai_url, api_key=SECRETS["soon"]) as client:
        client.chat.completions.create(model="gpt", messages=ASK)
        began = int(time.time() // 60)
        client.chat.completions.create(model="gpt", messages=ASK)
        assert int(time.time() // 60) == began + 1
    assert refusals(gateway, "soon") == 1


def test_F39_what_max_tokens_the_gateway_set_is_said(gateway, upstream):
    with openai.OpenAI(base_url=gateway.openai_url, api_key=SECRETS["granted"]) as client:
        answer = client.chat.completions.with_raw_response.create(model="gpt", messages=ASK)
        set_to = int(answer.headers["x-gateway-max-tokens"])
        assert 0 < set_to <= 700
        assert upstream.seen_of("gpt-up")[-1].json["max_tokens"] == set_to
        said = client.chat.completions.with_raw_response.create(
            model="gpt", messages=ASK, max_tokens=3
        )
    assert "x-gateway-max-tokens" not in said.headers
    assert said.parse().choices[0].finish_reason == "length"


def test_F39_where_no_hard_limit_asks_no_max_tokens_is_set(gateway, upstream):
    with openai.OpenAI(base_url=gateway.openai_url, api_key=SECRETS["free"]) as client:
        answer = client.chat.completions.with_raw_response.create(model="gpt", messages=ASK)
    assert "x-gateway-max-tokens" not in answer.headers
    assert "max_tokens" not in upstream.seen_of("gpt-up")[-1].json
