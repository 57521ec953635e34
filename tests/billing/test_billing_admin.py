"""The console's pages of limits, prices and the ledger: dollars for people, nothing forged."""

import pytest
from django.test import Client

from billing.models import Alert, LedgerEntry, Limit, Price, RefusedCall, SpendTotal
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


def test_the_list_says_what_each_limit_does(console, team):
    of = {"team": team, "unit": "tokens", "window": "day"}
    Limit.objects.create(**of, ceiling=2_000_000, alert_at=[0.8, 0.07])
    Limit.objects.create(**of, ceiling=5, soft=True, per="end_user")
    text = console.get(LIMITS).content.decode()
    hard, soft = ("2,000,000", "refuses", "7 %, 80 %"), ("only alerts", "each end user")
    for words in (*hard, *soft, "100 %"):
        assert words in text


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
