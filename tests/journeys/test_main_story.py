"""The main job, end to end: a fresh start, keys and budgets in a browser, calls, costs in a CSV."""

import csv
import functools
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import anthropic
import openai
import pytest

from keys.secrets import make_secret
from tests.fake_provider import Behaviour
from tests.journeys import administrator, developer
from tests.journeys.raw_http import post
from tests.journeys.receipts import receipt

CREDENTIAL = "sk-never-shown-again-0123456789"
GPT, CLAUDE = "gpt-4o", "claude-haiku-4-5"
BUDGET = {"unit": "usd", "window": "month", "ceiling": "0.50"}
PACE = {"unit": "requests", "window": "minute", "ceiling": "500"}


@pytest.fixture
def gateway(install):
    return install(environment={"ADMIN_PASSWORD": ""}).start()


def test_the_main_story(gateway, upstream, page):
    first_key = gateway.printed(r"(gw_[0-9A-Za-z]{43})")
    one_time = gateway.printed(r"one-time password: (\S+)")
    _answers_at_once(gateway, first_key)

    secret = _an_admin_sets_up(page, gateway, upstream, one_time)
    _a_developer_calls(gateway, secret)
    _the_errors_are_the_contracts(gateway, secret)
    _the_budget_ends(gateway, upstream, secret)
    _the_admin_sees_a_call(page, gateway, secret)
    _the_totals_are_equal(page, gateway)
    gateway.manage("check_books")

    assert gateway.stop() == 0
    gateway.start()
    _the_totals_are_equal(page, gateway)
    _answers_at_once(gateway, first_key)
    assert CREDENTIAL not in gateway.output
    assert secret not in gateway.output


def _answers_at_once(gateway, key):
    with openai.OpenAI(base_url=gateway.openai_url, api_key=key) as client:
        answer = client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": "Hello"}]
        )
    assert "Hello" in (answer.choices[0].message.content or "")


def _an_admin_sets_up(page, gateway, upstream, one_time):
    administrator.signs_in(page, gateway, one_time)
    administrator.replaces_the_one_time_password(page, one_time)
    for kind, url in (("openai", upstream.openai_url), ("anthropic", upstream.anthropic_url)):
        administrator.adds_a_provider(
            page, gateway, kind=kind, name=f"{kind}-main", base_url=url, credential=CREDENTIAL
        )
    administrator.makes_a_team(page, gateway, "research", BUDGET, PACE)
    return administrator.issues_a_key(page, "notebook")


def _a_developer_calls(gateway, secret):
    with openai.OpenAI(base_url=gateway.openai_url, api_key=secret) as client:
        for does in developer.EVERYTHING:
            does(client, GPT)
            does(client, CLAUDE)
    with anthropic.Anthropic(base_url=gateway.base_url, api_key=secret) as client:
        developer.writes_messages(client, CLAUDE)


def _the_errors_are_the_contracts(gateway, secret):
    with openai.OpenAI(base_url=gateway.openai_url, api_key=make_secret()) as client:
        with pytest.raises(openai.AuthenticationError) as wrong_key:
            developer.asks(client, GPT)
        assert wrong_key.value.code == "invalid_api_key"
    with openai.OpenAI(base_url=gateway.openai_url, api_key=secret) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            developer.asks(client, "no-such-model")
        assert unknown.value.code == "model_not_found"
    malformed = post(gateway, "/v1/chat/completions", b'{"model": "gpt-4o",', secret)
    assert (malformed.status, malformed.json["error"]["type"]) == (400, "invalid_request_error")


def _the_budget_ends(gateway, upstream, secret):
    upstream.script(GPT, Behaviour(words=12_000))
    with openai.OpenAI(base_url=gateway.openai_url, api_key=secret) as client:
        spend = functools.partial(
            client.chat.completions.create, model=GPT, messages=developer.ASK, max_tokens=12_000
        )
        for _ in range(4):  # 0.12 USD each
            spend()
        with pytest.raises(openai.RateLimitError) as spent:
            spend()
    assert spent.value.code == "insufficient_quota"
    assert spent.value.response.headers["x-should-retry"] == "false"


def _the_admin_sees_a_call(page, gateway, secret):
    body = b'{"model": "claude-haiku-4-5", "max_tokens": 20,' + (
        b' "messages": [{"role": "user", "content": "Hello"}]}'
    )
    answer = post(gateway, "/v1/messages", body, secret)
    assert answer.status == 200
    request_id = answer.headers["x-request-id"]
    administrator.finds_the_call(page, gateway, request_id)
    cost = receipt(gateway, request_id, secret)["total_cost"]
    assert answer.headers["x-gateway-cost-usd"] == cost
    assert f"${cost}" in page.locator("dl.figures").inner_text()


def _the_totals_are_equal(page, gateway):
    """Page, download, /api/ and command agree to the nano-dollar."""
    today = datetime.now(UTC).date()
    days = {"from": str(today - timedelta(days=1)), "to": str(today)}
    downloaded, shown = administrator.downloads_the_costs(
        page, gateway, f"first={days['from']}&last={days['to']}"
    )
    from_api = page.request.get(f"{gateway.base_url}/api/costs.csv", params=days).body()
    by_command = gateway.manage("export_costs", "--from", days["from"], "--to", days["to"])
    assert downloaded == from_api
    assert downloaded.decode().replace("\r\n", "\n") == by_command
    rows = list(csv.DictReader(io.StringIO(downloaded.decode())))
    assert len(rows) > 15
    assert shown == f"${sum(Decimal(row['cost_usd']) for row in rows):.9f}"
