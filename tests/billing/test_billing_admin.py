"""The console's pages of limits, prices and the ledger: dollars for people, nothing forged."""

import re
from datetime import UTC, datetime
from html import unescape
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.limit_edits import create_limit
from billing.models import Alert, LedgerEntry, Limit, Price, RefusedCall, SpendTotal
from billing.periods import period_of
from billing.pricing import NANO_PER_USD
from keys.models import ApiKey, Team, User
from tests.billing.ledger_filling import NOON, call, fill

pytestmark = pytest.mark.django_db

LIMITS = "/admin/billing/limit/"
PRICES = "/admin/billing/price/"
PRICE = {"provider": "", "kind": "openai", "model": "gpt-4o", "input": "2.50", "output": "10"}


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    return client


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="research", timezone="Europe/Paris")


@pytest.fixture
def key(team) -> ApiKey:
    return ApiKey.objects.create(team=team, name="ci", secret_hash="h", prefix="gw_abcdef")


def limit_form(team: Team, **changed: str) -> dict[str, str]:
    form = {"team": str(team.pk), "unit": "usd", "window": "month", "per": "team"}
    return {**form, "ceiling": "100.00", "alert_at": "", **changed}


def words_of(console: Client, address: str) -> str:
    text = re.sub(r"<[^>]*>", " ", console.get(address).content.decode())
    return " ".join(unescape(text).split())


def inline_form(prefix: str, **rows: str) -> dict[str, str]:
    count = {"TOTAL_FORMS": "1", "INITIAL_FORMS": "0", "MIN_NUM_FORMS": "0", "MAX_NUM_FORMS": "9"}
    return {
        **{f"{prefix}-{name}": value for name, value in count.items()},
        **{f"{prefix}-0-{name}": value for name, value in rows.items()},
    }


def test_a_budget_is_typed_in_dollars_and_takes_the_teams_zone(console, team):
    console.post(f"{LIMITS}add/", limit_form(team, ceiling="100.5", alert_at="0.5, 1"))
    limit = Limit.objects.get()
    assert (limit.ceiling, limit.timezone) == (100_500_000_000, "Europe/Paris")
    assert limit.alert_at == [0.5, 1]


def test_a_budget_is_shown_in_dollars(console, team):
    limit = Limit.objects.create(team=team, unit="usd", window="month", ceiling=100 * NANO_PER_USD)
    for page in (LIMITS, f"{LIMITS}{limit.pk}/change/"):
        text = console.get(page).content.decode()
        assert "100.00" in text
        assert "100000000000" not in text


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("ceiling", {"ceiling": "-1"}),
        ("ceiling", {"ceiling": "1e3"}),
        ("ceiling", {"unit": "requests", "ceiling": "1.5"}),
        ("ceiling", {"unit": "tokens", "ceiling": "9" * 30}),
        ("window", {"unit": "requests", "ceiling": "1", "window": ""}),
        ("window", {"unit": "concurrent", "ceiling": "1"}),
        ("ceiling", {"unit": "concurrent", "window": "", "ceiling": "5.00"}),
        ("alert_at", {"alert_at": "half"}),
        ("alert_at", {"alert_at": "nan"}),
        ("alert_at", {"alert_at": "0.5, 0.5"}),
        ("soft", {"unit": "concurrent", "window": "", "ceiling": "1", "soft": "on"}),
    ],
)
def test_a_bad_limit_is_refused_by_field(console, team, field, changed):
    answer = console.post(f"{LIMITS}add/", limit_form(team, **changed))
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == [field]
    assert not Limit.objects.exists()


def test_a_limit_on_calls_at_once_with_a_window_is_told_in_words_for_people(console, team):
    wrong = limit_form(team, unit="concurrent", window="day", ceiling="5.00")
    form = console.post(f"{LIMITS}add/", wrong).context["adminform"].form
    assert form.errors == {
        "window": ["A limit on concurrent calls has no window: leave it empty."],
        "ceiling": ["'5.00' is not a whole number of calls."],
    }


def test_the_list_says_what_each_limit_does(console, team):
    of = {"team": team, "unit": "tokens", "window": "day"}
    Limit.objects.create(**of, ceiling=2_000_000, alert_at=[0.8, 0.07])
    Limit.objects.create(**of, ceiling=5, soft=True, per="end_user")
    text = console.get(LIMITS).content.decode()
    hard, soft = ("2,000,000", "refuses", "7 %, 80 %"), ("only alerts", "each end user")
    for words in (*hard, *soft, "100 %"):
        assert words in text


def test_the_list_and_the_page_of_a_limit_say_how_it_stands(console, team):
    of = {"team": team, "timezone": "Europe/Paris"}
    shared = Limit.objects.create(**of, unit="requests", window="day", ceiling=4)
    each = Limit.objects.create(**of, unit="requests", window="total", ceiling=5, per="end_user")
    now = timezone.now()
    made_by = ["alice"] * 4 + ["bob"]
    fill(*(call(team_id=team.pk, end_user=user, started_at=now) for user in made_by))
    listed = words_of(console, LIMITS)
    assert "5 of 4, 125 %" in listed
    assert "alice: 4 of 5, 80 % the most of 2; 1 at 80 % or more" in listed
    page = words_of(console, f"{LIMITS}{shared.pk}/change/")
    assert "Used 5 of 4, 125 % Remaining 0" in page
    tomorrow = period_of("day", "Europe/Paris", now).end
    assert tomorrow
    midnight = tomorrow.astimezone(ZoneInfo("Europe/Paris"))
    assert f"resets at {midnight:%Y-%m-%d} 00:00:00 {midnight:%Z} (Europe/Paris)" in page
    page = words_of(console, f"{LIMITS}{each.pk}/change/")
    assert "never resets 2 end users have used something, 1 of them 80 % or more." in page
    assert "alice 4 of 5 80 % bob 1 of 5 20 %" in page


def test_a_list_of_a_hundred_limits_asks_no_more_than_a_list_of_ten(console, team):
    def make(number: int) -> None:
        other = Team.objects.create(name=f"team {number}")
        kind = {
            "soft": number % 2 == 1,
            "per": ("team", "key", "end_user")[number % 3],
            "window": ("minute", "day", "total")[number // 2 % 3],
        }
        Limit.objects.create(team=other, unit="requests", ceiling=9, **kind)

    asked = []
    for numbers in (range(18), range(18, 100)):
        for number in numbers:
            make(number)
        with CaptureQueriesContext(connection) as queries:
            assert f"{numbers[-1] + 1} limits" in words_of(console, LIMITS)
        asked.append(len(queries))
    assert asked[0] == asked[1] < 40


def test_every_page_of_the_console_says_as_of_when(console, team, key):
    limit = create_limit(team, unit="requests", window="day", ceiling=4)
    lists = ("limit", "alert", "spendtotal", "ledgerentry", "refusedcall", "price")
    pages = [f"/admin/billing/{name}/" for name in lists]
    pages += ["/admin/", "/admin/keys/team/", "/admin/keys/apikey/", "/", "/logs/", "/costs/"]
    now = timezone.now()
    for page in pages:
        assert re.search(rf"As of {now:%Y-%m-}\d\d [\d:]{{8}} UTC", words_of(console, page)), page
    assert re.search(r"As of .{19} CES?T", words_of(console, f"{LIMITS}{limit.pk}/change/"))
    assert "As of" not in words_of(console, f"{LIMITS}add/")


def test_times_are_written_alike_with_their_zone(console):
    at = datetime(2026, 11, 24, 16, 42, 7, tzinfo=UTC)
    fill(call(started_at=at))
    RefusedCall.objects.create(request_id="r", at=at, address="/v1", code="c", message="m")
    for name, shown in (
        ("ledgerentry", "2026-11-24 16:42:07 UTC"),
        ("refusedcall", "2026-11-24 16:42:07 UTC"),
        ("spendtotal", "2026-11-24 16:30:00 UTC"),
    ):
        page = words_of(console, f"/admin/billing/{name}/")
        assert shown in page
        assert "p.m." not in page


def test_calls_at_once_have_no_window(console, team):
    console.post(f"{LIMITS}add/", limit_form(team, unit="concurrent", window="", ceiling="20"))
    assert Limit.objects.get().ceiling == 20


def test_a_limit_cannot_name_a_key_of_another_team(console, team, key):
    other = Team.objects.create(name="other")
    answer = console.post(f"{LIMITS}add/", limit_form(other, key=str(key.pk)))
    assert list(answer.context["adminform"].form.errors) == ["key"]


def test_an_edit_changes_the_ceiling_and_never_what_is_counted(console, team):
    limit = Limit.objects.create(team=team, unit="usd", window="month", ceiling=5)
    forged = limit_form(team, unit="requests", window="day", ceiling="7")
    console.post(f"{LIMITS}{limit.pk}/change/", forged)
    limit.refresh_from_db()
    assert (limit.unit, limit.window, limit.ceiling) == ("usd", "month", 7 * NANO_PER_USD)


def test_a_teams_limits_are_set_on_its_page(console):
    form = {"name": "app", "timezone": "Asia/Tokyo", "allowed_models": ""}
    rows = inline_form("limits", unit="usd", window="month", per="team", ceiling="9", alert_at="")
    console.post("/admin/keys/team/add/", {**form, **rows})
    limit = Limit.objects.get()
    assert (limit.team.name, limit.timezone, limit.ceiling) == (
        "app",
        "Asia/Tokyo",
        9 * NANO_PER_USD,
    )


def test_a_second_limit_that_counts_the_same_is_refused(console, team):
    Limit.objects.create(team=team, unit="usd", window="month", ceiling=5)
    page = console.post(f"{LIMITS}add/", limit_form(team, unit="usd", window="month")).content
    assert b"of the same unit, window" in page
    assert Limit.objects.count() == 1


def test_two_new_limits_of_a_teams_page_that_count_the_same_are_refused(console):
    form = {"name": "app", "timezone": "Asia/Tokyo", "allowed_models": ""}
    row = {"unit": "usd", "window": "month", "per": "team", "ceiling": "9", "alert_at": ""}
    rows = inline_form("limits", **row)
    rows |= {f"limits-1-{name}": value for name, value in row.items()} | {"limits-TOTAL_FORMS": "2"}
    page = console.post("/admin/keys/team/add/", {**form, **rows}).content
    assert b"of the same unit, window" in page
    assert not Limit.objects.exists()


def test_a_keys_limits_are_set_on_its_page(console, key):
    form = {"name": "ci", "allowed_models": "", "allowed_ips": "", "tags": ""}
    rows = inline_form("limits", unit="requests", window="minute", ceiling="60", alert_at="")
    console.post(f"/admin/keys/apikey/{key.pk}/change/", {**form, **rows})
    limit = Limit.objects.get()
    assert (limit.key, limit.team, limit.timezone) == (key, key.team, "Europe/Paris")


def test_the_page_of_a_team_lists_its_own_limits_not_those_of_its_keys(console, team, key):
    Limit.objects.create(team=team, key=key, unit="requests", window="minute", ceiling=4321)
    page = console.get(f"/admin/keys/team/{team.pk}/change/").content.decode()
    assert "4321" not in page


def test_a_price_is_typed_in_dollars(console):
    console.post(f"{PRICES}add/", {**PRICE, "cached_input": "1.25"})
    price = Price.objects.get()
    assert (price.input, price.cached_input, price.cache_write, price.output) == (
        2_500_000_000, 1_250_000_000, None, 10_000_000_000,
    )  # fmt: skip


def test_the_same_price_again_adds_nothing(console):
    for _ in range(2):
        answer = console.post(f"{PRICES}add/", PRICE, follow=True)
    assert Price.objects.count() == 1
    assert "hold already" in answer.content.decode()


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("provider", {"provider": "main"}),
        ("provider", {"kind": ""}),
        ("provider", {"provider": "nowhere", "kind": ""}),
        ("input", {"input": ""}),
        ("input", {"input": "-1"}),
        ("output", {"output": "1000001"}),
        ("above_input", {"above_input": "1"}),
    ],
)
def test_a_bad_price_is_refused_by_field(console, field, changed):
    answer = console.post(f"{PRICES}add/", {**PRICE, **changed})
    assert field in answer.context["adminform"].form.errors
    assert not Price.objects.exists()


def test_a_second_price_of_the_same_instant_is_refused(console):
    at = {"effective_from_0": "2026-01-01", "effective_from_1": "00:00:00"}
    console.post(f"{PRICES}add/", {**PRICE, **at})
    answer = console.post(f"{PRICES}add/", {**PRICE, **at, "input": "3"})
    assert answer.context["adminform"].form.errors
    assert Price.objects.count() == 1


def test_a_price_is_shown_in_dollars_and_cannot_be_changed(console):
    console.post(f"{PRICES}add/", PRICE)
    path = f"{PRICES}{Price.objects.get().pk}/change/"
    text = console.get(path).content.decode()
    assert "2.50" in text
    assert "2500000000" not in text
    assert console.post(path, {**PRICE, "input": "9"}).status_code == 403
    assert Price.objects.get().input == 2_500_000_000


def test_what_happened_can_be_read_and_not_forged(console):
    fill(call(request_id="req_seen", cost_nano_usd=1_500_000_000))
    RefusedCall.objects.create(request_id="r", at=NOON, address="/v1", code="c", message="m")
    for model in (LedgerEntry, SpendTotal, RefusedCall):
        pages = f"/admin/billing/{model._meta.model_name}/"
        row = model._default_manager.get()
        assert console.get(pages).status_code == 200
        assert console.get(f"{pages}{row.pk}/change/").status_code == 200
        for path in (f"{pages}add/", f"{pages}{row.pk}/change/", f"{pages}{row.pk}/delete/"):
            assert console.post(path, {"team": "forged", "post": "yes"}).status_code == 403
        assert model._default_manager.get() == row


def test_an_empty_list_asks_nobody_to_add_what_nobody_can(console):
    for model in (LedgerEntry, SpendTotal, RefusedCall, Alert):
        page = console.get(f"/admin/billing/{model._meta.model_name}/").content.decode()
        assert f"No {model._meta.verbose_name_plural} yet" in page
        assert "Create a new item" not in page
        assert "add/" not in page
    assert "/admin/billing/limit/add/" in console.get(LIMITS).content.decode()
    found = console.get("/admin/billing/ledgerentry/?q=other").content.decode()
    assert "Nothing matches" in found


def test_the_ledger_shows_dollars(console):
    fill(call(request_id="req_seen", cost_nano_usd=1_500_000_000))
    for page in ("", f"{LedgerEntry.objects.get().pk}/change/"):
        text = console.get(f"/admin/billing/ledgerentry/{page}").content.decode()
        assert "1.500000000" in text
        assert "1500000000" not in text


def test_a_total_of_unknown_cost_says_so(console):
    fill(call(cost_nano_usd=None))
    page = console.get("/admin/billing/spendtotal/").content.decode()
    assert "unknown" in page
    assert "0.000000000" not in page


def test_the_ledgers_page_counts_no_further_than_people_page(console, monkeypatch):
    monkeypatch.setattr("billing.read_only_admin.MOST_ROWS_COUNTED", 3)
    fill(*(call() for _ in range(5)))
    assert console.get("/admin/billing/ledgerentry/").context["cl"].paginator.count == 3
