"""The main job, end to end, in order: start, set up in a browser, call, see the costs, restart.

Each step goes on where the one before it ended.
"""

import csv
import io
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest
from playwright.sync_api import APIResponse, Browser, Page, expect

from keys.secrets import make_secret
from tests.journeys import administrator, developer
from tests.journeys.raw_http import Answer, post
from tests.journeys.receipts import get, receipt
from tests.loopback import wait_until
from tests.running_gateway import RunningGateway

PASSWORD = "a much better password"
OPENAI_CREDENTIAL = "sk-fake-credential-of-the-openai-account"
ANTHROPIC_CREDENTIAL = "sk-fake-credential-of-the-anthropic-account"
TEAM, BUDGET = "research", "100.00"
GPT, CLAUDE = "gpt-4o", "claude-sonnet-5-5"
BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello?"}]}'


@dataclass
class Handed:
    """What the pages showed once, and people have kept since."""

    key: str = ""
    staff_token: str = ""


@pytest.fixture(scope="module")
def handed() -> Handed:
    return Handed()


@pytest.fixture(scope="module")
def gateway(install: Any) -> RunningGateway:
    fresh: RunningGateway = install(environment={"ADMIN_PASSWORD": ""}).start()
    wait_until(lambda: "Try it: " in fresh.output, "the greeting")
    return fresh


@pytest.fixture(scope="module")
def tab(browser: Browser, gateway: RunningGateway) -> Iterator[Page]:
    """One tab for the whole story."""
    context = browser.new_context(
        base_url=gateway.base_url, permissions=["clipboard-read", "clipboard-write"]
    )
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def days() -> tuple[str, str]:
    """The first and the last day of the story; one to either side, should it pass midnight."""
    today = datetime.now(UTC).date()
    return f"{today - timedelta(1)}", f"{today + timedelta(1)}"


@pytest.fixture
def secret(handed: Handed) -> str:
    return handed.key


def test_1_the_first_start_prints_a_line_that_answers(gateway):
    assert gateway.printed("Console: (.*)") == f"{gateway.base_url}/"
    line = gateway.printed("Try it: (.*)")
    assert line.startswith("curl ")
    assert first_key(gateway) in line
    answered = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True, text=True)
    assert "You said: Hello" in answered.stdout


def test_2_an_administrator_changes_the_one_time_password(gateway, tab):
    one_time = gateway.printed("Administrator: admin, one-time password: (.*)")
    administrator.sign_in(tab, one_time)
    tab.goto("/logs/")
    expect(tab).to_have_title(re.compile("Password change"))
    administrator.change_password(tab, one_time, PASSWORD)
    tab.goto("/logs/")
    expect(tab).to_have_title(re.compile("Logs"))


def test_2_providers_bring_their_usual_models(tab, upstream):
    administrator.add_provider(tab, "openai", "openai-main", upstream.openai_url, OPENAI_CREDENTIAL)
    administrator.add_provider(
        tab, "anthropic", "anthropic-main", upstream.anthropic_url, ANTHROPIC_CREDENTIAL
    )
    assert GPT in administrator.models_of(tab, "openai-main")
    assert CLAUDE in administrator.models_of(tab, "anthropic-main")


def test_2_a_team_gets_limits_and_a_key_that_is_shown_once(tab, handed):
    limits = [("usd", "month", BUDGET), ("requests", "minute", "500")]
    administrator.make_team(tab, TEAM, limits)
    handed.key = administrator.issue_key(tab, "notebook")
    assert re.fullmatch("gw_[0-9A-Za-z]{43}", handed.key)
    tab.get_by_role("link", name="notebook").click()
    expect(tab).to_have_title(re.compile("notebook"))
    assert handed.key not in tab.content()
    handed.staff_token = administrator.issue_staff_token(tab, "finance")


def test_3_a_developer_is_told_the_limits(gateway, secret):
    limits = get(gateway, "/v1/rate-limit", secret)["limits"]
    told = {(limit["unit"], limit["window"]): Decimal(limit["ceiling"]) for limit in limits}
    assert told == {("usd", "month"): Decimal(BUDGET), ("requests", "minute"): 500}


@pytest.mark.parametrize("model", [GPT, CLAUDE])
@pytest.mark.parametrize("does", developer.EVERYTHING, ids=lambda does: does.__name__)
def test_3_a_developer_uses_the_openai_sdk(openai_client, does, model):
    does(openai_client, model)


def test_3_a_developer_uses_the_anthropic_sdk(anthropic_client):
    developer.writes_messages(anthropic_client, CLAUDE)


def test_3_a_wrong_key(gateway):
    with (
        openai.OpenAI(base_url=gateway.openai_url, api_key=make_secret()) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        developer.asks(client, GPT)
    assert (raised.value.code, raised.value.type) == ("invalid_api_key", "authentication_error")


def test_3_an_unknown_model(openai_client, anthropic_client):
    with pytest.raises(openai.NotFoundError) as raised:
        developer.asks(openai_client, "no-such-model")
    assert raised.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError):
        developer.writes_messages(anthropic_client, "no-such-model")


def test_3_a_malformed_body(gateway, secret):
    answer = post(gateway, "/v1/chat/completions", b'{"model": "gpt-4o",', secret)
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request_error")


def test_3_a_spent_budget_refuses_until_it_is_raised(gateway, tab, upstream, secret):
    set_budget(gateway, tab, secret, budget(gateway, secret)["used"])
    asked = len(upstream.seen)
    # As it comes: an SDK that retried would ask again.
    with openai.OpenAI(base_url=gateway.openai_url, api_key=secret) as client:
        with pytest.raises(openai.RateLimitError) as raised:
            developer.asks(client, GPT)
        assert raised.value.code == raised.value.type == "insufficient_quota"
        assert raised.value.response.headers["x-should-retry"] == "false"
        assert len(upstream.seen) == asked
        set_budget(gateway, tab, secret, BUDGET)
        developer.asks(client, GPT)


def test_4_a_call_is_in_the_log_and_on_the_dashboard_within_two_seconds(gateway, tab, secret):
    request_id, _ = called(post(gateway, "/v1/chat/completions", BODY, secret))
    within_two_seconds(lambda: request_id in newest_logged(tab), "the call in the log")
    before = administrator.spend_on_dashboard(tab)
    _, cost = called(post(gateway, "/v1/chat/completions", BODY, secret))
    within_two_seconds(lambda: administrator.spend_on_dashboard(tab) == before + cost, "the spend")


def test_4_the_log_shows_every_call_that_a_provider_answered(tab, upstream):
    answered = [seen for seen in upstream.seen if "model" in seen.json]
    expect(administrator.logged_calls(tab, TEAM)).to_have_count(len(answered))


def test_4_a_receipt_opens_from_the_log(gateway, tab, secret):
    request_id, cost = called(post(gateway, "/v1/chat/completions", BODY, secret))
    told = receipt(gateway, request_id, secret)
    assert Decimal(told["total_cost"]) == cost
    assert administrator.open_receipt(tab, request_id) == f"${told['total_cost']}"


def test_4_every_sum_of_the_costs_is_the_same(gateway, tab, handed, days, tmp_path):
    first, last = days
    downloaded, on_page = administrator.download_costs(tab, first, last)
    file = tmp_path / "costs.csv"
    gateway.manage("export_costs", "--from", first, "--to", last, "--output", str(file))
    assert downloaded == file.read_bytes()
    assert downloaded == managed(tab, handed, f"/api/costs.csv?from={first}&to={last}").body()

    rows = csv.DictReader(io.StringIO(downloaded.decode()))
    in_file = sum((Decimal(row["cost_usd"]) for row in rows), Decimal())
    assert in_file > 0
    assert in_file == in_ledger(tab, handed) == on_page == administrator.spend_on_dashboard(tab)
    assert "The books agree." in gateway.manage("check_books")


def test_4_what_is_secret_is_on_no_page(gateway, tab, handed):
    for address in addresses(tab):
        page = tab.request.get(address)
        assert page.ok
        for secret in (OPENAI_CREDENTIAL, ANTHROPIC_CREDENTIAL, handed.key, handed.staff_token):
            assert secret not in page.text()


def test_5_a_second_start_has_all_of_it_and_prints_no_secret(gateway, tab, days):
    before = administrator.download_costs(tab, *days)
    printed = len(gateway.output)
    assert gateway.stop(number=signal.SIGINT) == 0
    gateway.start()
    wait_until(lambda: "Another key: " in gateway.output[printed:], "the second greeting")
    assert not re.search("gws?_[0-9A-Za-z]|password", gateway.output[printed:])

    tab.context.clear_cookies()
    administrator.sign_in(tab, PASSWORD)
    assert administrator.download_costs(tab, *days) == before
    assert GPT in administrator.models_of(tab, "openai-main")


def test_5_the_keys_still_work(gateway, handed):
    for key, model in ((first_key(gateway), "demo"), (handed.key, GPT), (handed.key, CLAUDE)):
        with openai.OpenAI(base_url=gateway.openai_url, api_key=key) as client:
            answer = client.chat.completions.create(model=model, messages=developer.ASK)
        assert answer.choices[0].message.content
        assert receipt(gateway, str(answer._request_id), key)["total_cost"]


def test_5_nothing_secret_is_logged(gateway, handed):
    logged = gateway.output
    for secret in (OPENAI_CREDENTIAL, ANTHROPIC_CREDENTIAL, handed.key, handed.staff_token):
        assert secret not in logged
    assert "capital of France" not in logged


def first_key(gateway: RunningGateway) -> str:
    return gateway.printed("Key: (gw_[0-9A-Za-z]{43})")


def called(answer: Answer) -> tuple[str, Decimal]:
    """The request id of a call, and its cost."""
    assert answer.status == 200, answer.body
    return answer.headers["x-request-id"], Decimal(answer.headers["x-gateway-cost-usd"])


def budget(gateway: RunningGateway, secret: str) -> dict[str, Any]:
    limits = get(gateway, "/v1/rate-limit", secret)["limits"]
    return next(limit for limit in limits if limit["unit"] == "usd")


def set_budget(gateway: RunningGateway, tab: Page, secret: str, ceiling: str) -> None:
    """In the console, and until the gateway has heard of it."""
    administrator.set_budget(tab, TEAM, ceiling)
    wanted = Decimal(ceiling)
    within_two_seconds(
        lambda: Decimal(budget(gateway, secret)["ceiling"]) == wanted, f"a budget of {ceiling}"
    )


def within_two_seconds(so: Callable[[], bool], what: str) -> None:
    wait_until(so, what, seconds=2)


def newest_logged(tab: Page) -> str:
    return administrator.logged_calls(tab, TEAM).first.inner_html()


def managed(tab: Page, handed: Handed, address: str) -> APIResponse:
    """Ask the management API, with the staff token."""
    return tab.request.get(address, headers={"Authorization": f"Bearer {handed.staff_token}"})


def in_ledger(tab: Page, handed: Handed) -> Decimal:
    page = managed(tab, handed, "/api/ledger/?rows=1000").json()
    assert page["older"] is None
    return sum((Decimal(entry["cost_usd"]) for entry in page["results"]), Decimal())


def addresses(tab: Page) -> list[str]:
    """Where a secret could show: every page that is about keys, providers and calls."""
    found = ["/", "/logs/", "/logs/refused/", "/costs/", "/admin/", "/api/providers/", "/api/keys/"]
    for listed in ("routing/provider", "keys/apikey", "keys/team", "keys/stafftoken", "keys/user"):
        tab.goto(f"/admin/{listed}/")
        links = tab.locator("#result_list th a")
        rows = [str(link.get_attribute("href")).partition("?")[0] for link in links.all()]
        assert rows
        found += [f"/admin/{listed}/", *rows, *(row.replace("change", "history") for row in rows)]
    return found
