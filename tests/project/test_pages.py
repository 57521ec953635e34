"""The console's pages, as a signed-in administrator gets them."""

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import product

import pytest
from django.core.management import call_command
from django.test import Client

from billing.entries import Attempt
from billing.limit_edits import create_limit
from billing.models import RefusedCall
from keys.issuing import issue_key
from keys.models import Team, User
from routing.models import Model, Provider
from tests.billing.ledger_filling import call, fill

pytestmark = pytest.mark.django_db

SCRIPT = "<script>alert(1)</script>"
PAGES = ["/", "/logs/", "/logs/refused/", "/costs/", "/admin/"]
COSTS = "/costs/?first=2026-03-01&last=2026-03-31"


@pytest.fixture
def administrator() -> User:
    return User.objects.create_superuser("ada")


@pytest.fixture
def console(administrator) -> Client:
    client = Client()
    client.force_login(administrator)
    return client


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="research", timezone="Asia/Tokyo")


def text_of(console, address, *, status=200):
    """What a page shows, without its tags; every run of white space is one space."""
    response = console.get(address)
    assert response.status_code == status
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())


def refuse(**changes):
    return RefusedCall.objects.create(
        **{
            "request_id": "req_refused",
            "at": datetime(2026, 3, 10, 12, tzinfo=UTC),
            "team": "research",
            "key_name": "ci",
            "address": "/v1/chat/completions",
            "requested_model": "gpt-4o",
            "code": "insufficient_quota",
            "message": "The budget of 5.00 USD per day of team research is used up.",
            **changes,
        }
    )


@pytest.mark.parametrize("address", [*PAGES, "/logs/req_1/"])
def test_a_page_asks_to_sign_in_first(address):
    response = Client().get(address)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("address", [*PAGES, "/logs/req_1/"])
def test_a_page_is_for_administrators_alone(address):
    client = Client()
    client.force_login(User.objects.create_user("mallory"))
    assert client.get(address).status_code == 302


@pytest.mark.parametrize("address", PAGES)
def test_no_page_is_kept_in_any_cache(console, address):
    assert "no-store" in console.get(address)["Cache-Control"]


def test_an_empty_dashboard_tells_a_newcomer_the_first_steps(console):
    shown = text_of(console, "/")
    for words in ("Make a team", "Add a provider", "Issue a key", "curl -sS", "$GATEWAY_KEY"):
        assert words in shown
    assert "There is one." not in shown


def test_steps_that_are_done_are_marked_and_the_curl_line_names_a_model(console, team):
    Provider.objects.create(name="openai", kind="openai")
    issue_key(team, "ci")
    Model.objects.create(name="gpt-4o")
    shown = text_of(console, "/")
    assert shown.count("There is one.") == 3
    assert '"model": "gpt-4o"' in shown


def test_the_first_steps_go_once_there_is_a_call(console):
    fill(call(started_at=datetime.now(UTC)))
    assert "First steps" not in text_of(console, "/")


def test_the_dashboard_shows_what_was_spent_by_whom(console):
    now = datetime.now(UTC)
    fill(
        call(started_at=now, cost_nano_usd=1_234_567_890),
        call(started_at=now, team_id=2, team="app", status="error", cost_nano_usd=0),
        call(started_at=now, requested_model="o3", cost_nano_usd=None),
    )
    shown = text_of(console, "/")
    assert "Today $1.23 3 requests" in shown
    assert "Errors, 30 days 33.3 % 1 request" in shown
    assert "Unpriced, 30 days 1 set their prices" in shown
    assert "Team Requests Cost research 2 $1.23 app 1 $0.00" in shown
    assert "gpt-4o 2 $1.23" in shown
    assert "o3 1 unknown" in shown
    assert "median; p95 500 ms" in shown
    assert "20 % of input cached" in shown
    assert "As of" in shown


def test_the_dashboard_says_where_it_leaves_lines_out(console):
    now = datetime.now(UTC)
    fill(*(call(started_at=now, team_id=n, team=f"team {n}") for n in range(1, 9)))
    page = console.get("/?days=7").content.decode()
    (link,) = re.findall(r'<a href="([^"]*)">6 of 8</a>', page)
    assert "team 8" in text_of(console, unescape(link))
    assert page.count("6 of") == 1


def test_a_day_of_unknown_cost_has_no_bar_and_no_zero(console):
    fill(call(started_at=datetime.now(UTC), cost_nano_usd=None))
    page = console.get("/")
    assert json.loads(page.context["chart"].data)["datasets"][0]["data"][-1] is None
    assert "unknown" in page.content.decode()


def test_a_call_is_on_the_dashboard_as_soon_as_it_is_in_the_ledger(console):
    fill(call(started_at=datetime.now(UTC)))
    assert "Today $0.000725 1 request" in text_of(console, "/")
    fill(call(started_at=datetime.now(UTC)))
    assert "Today $0.00145 2 requests" in text_of(console, "/")


def test_the_range_and_the_team_can_be_chosen(console, team):
    now = datetime.now(UTC)
    fill(
        call(started_at=now - timedelta(days=20), team_id=team.pk),
        call(started_at=now, team_id=999, team="other"),
    )
    assert "7 days $0.00 0 requests" in text_of(console, "/?days=7&team=research")
    assert "90 days $0.000725 1 request" in text_of(console, "/?days=90&team=research")


def test_times_are_shown_in_the_chosen_zone_and_else_in_the_teams(console, team):
    assert "UTC" in text_of(console, "/").split("As of")[1][:30]
    assert "JST" in text_of(console, "/?team=research").split("As of")[1][:30]
    assert "JST" in text_of(console, "/?timezone=Asia/Tokyo").split("As of")[1][:30]
    assert "UTC" in text_of(console, "/?team=research&timezone=UTC").split("As of")[1][:30]


def test_limits_are_shown_with_what_is_used(console, team):
    create_limit(team, unit="usd", window="month", ceiling=5_000_000_000)
    create_limit(team, unit="requests", window="minute", ceiling=0)
    shown = text_of(console, "/")
    assert "research requests per minute 0 of 0 100 %" in shown
    assert "research budget per month $0.00 of $5.00 0 %" in shown


@pytest.mark.parametrize(
    "address",
    [
        "/?days=8",
        "/?team=nobody",
        "/?timezone=Mars/Olympus",
        "/logs/?status=fine",
        "/logs/?start=yesterday",
        "/logs/?cursor=x",
        "/logs/?key=7",
        "/logs/?end_user=%00",
        "/costs/?first=2026-13-01",
        "/costs/?first=2026-03-02&last=2026-03-01",
        "/costs/?first=2020-01-01&last=2026-03-01",
        "/costs/?first=0001-01-01&last=0001-01-02",
    ],
)
def test_a_wrong_choice_is_told_and_harms_nothing(console, address):
    assert console.get(address).status_code == 400


def test_the_log_shows_calls_newest_first_with_their_receipts(console):
    old, new = call(), call(started_at=call().started_at + timedelta(minutes=5))
    fill(old, new)
    page = console.get("/logs/").content.decode()
    links = re.findall(r'href="/logs/(req_\d+)/"', page)
    assert links == [new.request_id, old.request_id]


def test_the_log_goes_on_where_its_page_ended(console):
    fill(*(call(end_user=f"user-{number}.") for number in range(60)))
    first = console.get("/logs/?team=").content.decode()
    (older,) = re.findall(r'href="([^"]*cursor[^"]*)" rel="next"', first)
    second = console.get(f"/logs/{unescape(older)}").content.decode()
    shown = re.findall(r"user-\d+\.", first) + re.findall(r"user-\d+\.", second)
    assert (len(shown), len(set(shown))) == (60, 60)
    assert 'rel="next"' not in second


def test_the_log_is_narrowed_by_a_key_and_by_a_moment_of_the_chosen_zone(console, team):
    key, _ = issue_key(team, "ci")
    one = call(key_id=key.pk, started_at=datetime(2026, 3, 10, 0, 30, tzinfo=UTC))
    fill(one, call(key_id=key.pk), call(started_at=one.started_at))
    # 9:00 to 10:00 in Tokyo is midnight to 1:00 in UTC.
    day = "start=2026-03-10T09:00&end=2026-03-10T10:00&timezone=Asia/Tokyo"
    page = console.get(f"/logs/?key={key.pk}&{day}").content.decode()
    assert re.findall(r'href="/logs/(req_\d+)/"', page) == [one.request_id]


def test_refused_calls_name_the_rule_that_decided(console):
    refuse()
    assert "The budget of 5.00 USD per day of team research" in text_of(console, "/logs/refused/")
    assert "No refused call" in text_of(console, "/logs/refused/?status=model_not_found")


def test_a_refused_call_has_a_page_of_its_own(console):
    refuse()
    shown = text_of(console, "/logs/req_refused/")
    assert "insufficient_quota The budget of 5.00 USD" in shown
    assert "nothing: no provider was asked" in shown


def test_a_receipt_shows_the_cost_to_nine_decimals_and_every_attempt(console):
    at = call().started_at
    attempts = (
        Attempt("slow", "m", "failed", "upstream_timeout", at, 60_000),
        Attempt("openai-main", "m", "served", "", at, 420),
    )
    entry = call(attempts=attempts, cost_nano_usd=725_001, tags={"project": "alpha"})
    fill(entry)
    shown = text_of(console, f"/logs/{entry.request_id}/")
    assert "Cost $0.000725001" in shown
    assert "slow m failed upstream_timeout 1 min 0 s" in shown
    assert "openai-main m served 420 ms" in shown
    assert "project=alpha" in shown


def test_a_receipt_tells_time_as_the_team_does(console):
    entry = call(timezone="Asia/Tokyo")
    fill(entry)
    assert "2026-03-10 21:00:00.000000 JST" in text_of(console, f"/logs/{entry.request_id}/")


def test_an_unknown_request_has_no_receipt(console):
    assert console.get("/logs/req_unknown/").status_code == 404


def test_what_callers_sent_is_shown_as_text(console):
    entry = call(requested_model=SCRIPT, end_user=SCRIPT, tags={SCRIPT: SCRIPT}, error_code=SCRIPT)
    fill(entry)
    refuse(requested_model=SCRIPT, end_user=SCRIPT, message=SCRIPT)
    Model.objects.create(name=SCRIPT)
    for address in ("/", "/logs/", "/logs/refused/", "/logs/req_refused/", COSTS,
                    f"/logs/{entry.request_id}/"):  # fmt: skip
        page = console.get(address).content.decode()
        assert SCRIPT not in page
        assert "&lt;script&gt;alert(1)" in page


def test_costs_are_summed_by_day_team_and_model(console):
    fill(
        call(cost_nano_usd=1_500_000_000),
        call(started_at=call().started_at + timedelta(days=1), requested_model="o3"),
    )
    shown = text_of(console, COSTS)
    assert "Cost $1.50 $1.500725000" in shown
    assert "2026-03-11 1 100 50 $0.000725 2026-03-10 1 100 50 $1.50" in shown
    assert "research 2 $1.50" in shown
    assert "o3 1 $0.000725" in shown


def test_costs_without_calls_say_so(console):
    assert "No calls in these days." in text_of(console, COSTS)


def test_the_download_is_byte_for_byte_what_api_and_command_give(console, team, tmp_path):
    fill(call(team_id=team.pk), call(team_id=999, team="other"))
    page = console.get(f"{COSTS}&team=research").content.decode()
    links = [unescape(link) for link in re.findall(r'href="(/api/costs.csv[^"]*)"', page)]
    for link, options in zip(links, ([], ["--excel"]), strict=True):
        file = tmp_path / "costs.csv"
        call_command(
            "export_costs", "--from=2026-03-01", "--to=2026-03-31", "--team=research",
            f"--output={file}", *options,
        )  # fmt: skip
        sent = b"".join(console.get(link).streaming_content)
        assert sent == file.read_bytes()
        assert sent.count(b"\r\n") == 2


def test_the_summary_is_downloaded_for_the_days_that_are_shown(console):
    fill(call())
    page = console.get(COSTS).content.decode()
    form = page[page.index('action="/api/costs/summary.csv"') :]
    asked = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
    summary = console.get("/api/costs/summary.csv", {**asked, "group_by": "day,team"})
    assert b"2026-03-10,research,1,100,20,50,0.000725000" in b"".join(summary.streaming_content)


@pytest.mark.parametrize(("address", "most"), [("/", 16), ("/logs/", 8), (COSTS, 6)])
def test_a_page_takes_few_queries_however_much_there_is(
    console, team, django_assert_max_num_queries, address, most
):
    now = datetime.now(UTC)
    windows = ("minute", "hour", "day", "week")
    for number, (unit, window) in enumerate(product(("requests", "tokens"), windows)):
        create_limit(team, unit=unit, window=window, ceiling=number)
        issue_key(team, f"key-{number}")
    fill(*(call(started_at=now - timedelta(days=number)) for number in range(40)))
    with django_assert_max_num_queries(most):
        console.get(address)


def test_a_receipt_takes_few_queries(console, django_assert_max_num_queries):
    entry = call()
    fill(entry, *(call(request_id=entry.request_id, entry=number) for number in range(1, 9)))
    with django_assert_max_num_queries(8):
        console.get(f"/logs/{entry.request_id}/")


def test_the_sidebar_leads_to_pages_that_are_there(console):
    page = console.get("/admin/").content.decode()
    links = set(re.findall(r'href="(/(?:admin|api|logs|costs)/[^"?]*)"', page))
    assert {"/admin/keys/stafftoken/", "/admin/billing/ledgerentry/", "/logs/"} <= links
    assert {console.get(link).status_code for link in links - {"/admin/logout/"}} == {200}


def test_only_the_page_that_is_shown_is_lit_in_the_sidebar(console):
    lit = re.findall(r'<a href="([^"]*)"[^>]* active"', console.get("/logs/").content.decode())
    assert lit == ["/logs/"]


def test_a_teams_page_shows_its_keys_and_its_limits(console, team):
    key, _ = issue_key(team, "nightly")
    create_limit(team, unit="requests", window="minute", ceiling=4321)
    page = console.get(f"/admin/keys/team/{team.pk}/change/").content.decode()
    assert f'<a href="/admin/keys/apikey/{key.pk}/change/">nightly</a>' in page
    assert "4321" in page


def test_after_a_team_comes_its_first_key(console):
    no_limits = {"limits-TOTAL_FORMS": "0", "limits-INITIAL_FORMS": "0"}
    form = {"name": "app", "timezone": "UTC", "allowed_models": "", **no_limits}
    page = console.post("/admin/keys/team/add/", form, follow=True).content.decode()
    team = Team.objects.get()
    assert f'Next: <a href="/admin/keys/apikey/add/?team={team.pk}">issue a key</a>' in page


def test_a_new_key_comes_with_how_to_use_it(console, team):
    form = {"team": team.pk, "name": "ci", "allowed_models": "", "allowed_ips": "", "tags": "",
            "limits-TOTAL_FORMS": "0", "limits-INITIAL_FORMS": "0"}  # fmt: skip
    page = console.post("/admin/keys/apikey/add/", form).content.decode()
    assert "Authorization: Bearer gw_" in page
    assert "/v1/models" in page
