"""What callers are told of their own team: a day of use, and receipts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from billing.entries import Attempt, Charge
from billing.models import Counter, Limit, Price
from billing.reports import receipt, usage_day
from keys.caller import Caller
from keys.errors import InvalidRequestError
from keys.models import ApiKey, Team
from tests.billing.ledger_filling import NOON, call, fill

pytestmark = pytest.mark.django_db

CALLER = Caller(
    key_id=11, key_name="ci", key_prefix="gw_abcdef", team_id=1, team_name="research",
    timezone="UTC",
)  # fmt: skip


def day(caller=CALLER, text=None, scope="team", end_user="", now=NOON):
    return usage_day(caller, text, scope=scope, end_user=end_user, now=now)


def test_a_day_has_its_sums_and_its_records():
    fill(call(request_id="r1", end_user="alice"))
    assert day() == {
        "date": "2026-03-10",
        "total_cost": "0.000725000",
        "total_tokens": 150,
        "request_count": 1,
        "records": [
            {
                "request_id": "r1",
                "entry": 0,
                "started_at": "2026-03-10T12:00:00+00:00",
                "provider": "openai-main",
                "model": "gpt-4o",
                "upstream_model": "gpt-4o-2024-08-06",
                "input_tokens": 100,
                "cached_input_tokens": 20,
                "output_tokens": 50,
                "cost": "0.000725000",
                "status": "ok",
                "latency_ms": 420,
                "end_user": "alice",
                "key_name": "ci",
                "cached": False,
            }
        ],
    }


def test_a_day_without_calls_is_empty():
    assert day(text="2026-01-01") == {
        "date": "2026-01-01", "total_cost": "0.000000000", "total_tokens": 0, "request_count": 0,
        "records": [],
    }  # fmt: skip


def test_sums_cover_the_whole_day_past_the_hundred_newest_records():
    fill(*(call(started_at=NOON + timedelta(seconds=n), latency_ms=n) for n in range(130)))
    usage = day()
    assert usage["request_count"] == 130
    assert usage["total_tokens"] == 130 * 150
    assert [record["latency_ms"] for record in usage["records"]] == list(range(129, 29, -1))


def test_another_team_is_not_in_it():
    fill(call(team_id=2, team="other"))
    assert day()["request_count"] == 0


def test_an_unknown_cost_is_null():
    fill(call(cost_nano_usd=None))
    assert day()["records"][0]["cost"] is None


@pytest.mark.parametrize("scope", ["team", "key"])
@pytest.mark.parametrize("end_user", ["", "alice"])
def test_a_day_of_unknown_cost_has_no_total(scope, end_user):
    fill(call(end_user="alice", cost_nano_usd=None))
    usage = day(scope=scope, end_user=end_user)
    assert (usage["total_cost"], usage["request_count"]) == (None, 1)
    # What is known is told, though more is unknown.
    fill(call(end_user="alice"))
    assert day(scope=scope, end_user=end_user)["total_cost"] == "0.000725000"


@pytest.mark.parametrize("end_user", ["", "alice"])
def test_a_day_that_was_priced_at_nothing_later_on_costs_nothing(end_user):
    unpriced = call(end_user="alice", cost_nano_usd=None)
    fill(unpriced)
    free = replace(unpriced, entry=1, status="correction", cost_nano_usd=0)
    fill(replace(free, flags=("backfilled", "corrects_0")))
    assert day(end_user=end_user)["total_cost"] == "0.000000000"
    shown = receipt(CALLER, unpriced.request_id)
    assert shown
    assert shown["total_cost"] == "0.000000000"


@pytest.mark.parametrize("end_user", ["", "alice"])
def test_a_day_of_calls_that_cost_nothing_has_a_total(end_user):
    fill(call(end_user="alice", cost_nano_usd=0))
    assert day(end_user=end_user)["total_cost"] == "0.000000000"


def test_a_further_paid_attempt_costs_but_is_not_another_request():
    fill(call(request_id="r"), call(request_id="r", entry=1))
    assert (day()["request_count"], day()["total_cost"]) == (1, "0.001450000")


def test_scope_key_narrows_to_this_key():
    fill(call(), call(key_id=12))
    assert day(scope="key")["request_count"] == 1
    assert len(day(scope="key")["records"]) == 1


@pytest.mark.parametrize(("scope", "requests"), [("team", 2), ("key", 1)])
def test_an_end_user_narrows_too(scope, requests):
    fill(call(end_user="alice"), call(end_user="alice", key_id=12), call(end_user="bob"))
    usage = day(scope=scope, end_user="alice")
    assert usage["request_count"] == requests
    assert usage["total_tokens"] == requests * 150
    assert len(usage["records"]) == requests


def test_the_day_is_the_teams_and_today_if_not_said():
    caller = replace(CALLER, timezone="Asia/Tokyo")
    fill(
        call(started_at=datetime(2026, 3, 10, 14, 59, tzinfo=UTC), timezone="Asia/Tokyo"),
        call(started_at=datetime(2026, 3, 10, 15, 0, tzinfo=UTC), timezone="Asia/Tokyo"),
    )
    usage = day(caller, now=datetime(2026, 3, 10, 16, tzinfo=UTC))
    assert usage["date"] == "2026-03-11"
    assert [record["started_at"] for record in usage["records"]] == ["2026-03-11T00:00:00+09:00"]
    assert usage["request_count"] == 1


@pytest.mark.parametrize(
    "text", ["", "today", "2026-3-1", "2026-02-30", "9999-12-31", "20260301", "2026-W48-2"]
)
def test_a_bad_date_is_refused(text):
    with pytest.raises(InvalidRequestError) as refused:
        day(text=text)
    assert refused.value.param == "date"


def test_a_bad_scope_is_refused():
    with pytest.raises(InvalidRequestError) as refused:
        day(scope="world")
    assert refused.value.param == "scope"


def test_an_unknown_request_has_no_receipt():
    assert receipt(CALLER, "req_none") is None


def test_another_teams_request_has_no_receipt():
    fill(call(request_id="r", team_id=2))
    assert receipt(CALLER, "r") is None


def test_any_key_of_the_team_gets_the_receipt():
    fill(call(request_id="r", key_id=99))
    assert receipt(CALLER, "r")


def test_a_receipt_lists_entries_attempts_prices_and_limits():
    team = Team.objects.create(name="research")
    key = ApiKey.objects.create(team=team, name="ci", secret_hash="h", prefix="gw_abcdef")
    price = Price.objects.create(
        kind="openai", model="gpt-4o", effective_from=NOON, input=2_500_000_000,
        output=10_000_000_000, cached_input=0, above_input_tokens=200_000,
    )  # fmt: skip
    counters = [
        Counter.objects.create(
            limit=Limit.objects.create(team=team, ceiling=10**9, **limit),
            period_start=NOON,
            ceiling=10**9,
            taken=10**8,
        )
        for limit in (
            {"unit": "usd", "window": "month"},
            {"unit": "tokens", "window": "minute", "key": key},
            {"unit": "concurrent", "window": ""},
        )
    ]
    failed = Attempt("a", "x", "failed", "upstream_overloaded", NOON, 30)
    charges = [Charge(c.pk, amount) for c, amount in zip(counters, (700_000, 120, 0), strict=True)]
    fill(
        call(
            request_id="r", team_id=team.pk, price_version=str(price.pk), attempts=(failed,),
            charges=tuple(charges),
        ),
        call(
            request_id="r", team_id=team.pk, entry=1, cost_nano_usd=None, price_version="",
            charges=(Charge(counters[1].pk, 30, 30),),
        ),
    )  # fmt: skip
    shown = receipt(replace(CALLER, team_id=team.pk), "r")
    assert shown
    assert (shown["request_id"], shown["team"], shown["key_name"]) == ("r", "research", "ci")
    assert shown["total_cost"] == "0.000725000"
    first, second = shown["entries"]
    assert first["cost"] == "0.000725000"
    assert first["price_version"] == str(price.pk)
    assert first["prices"] == {
        "input": "2.500000000", "output": "10.000000000", "cached_input": "0.000000000",
        "above_input_tokens": 200_000,
    }  # fmt: skip
    assert (second["cost"], second["prices"]) == (None, None)
    assert shown["attempts"] == [
        {
            "provider": "a", "upstream_model": "x", "outcome": "failed",
            "reason": "upstream_overloaded", "started_at": "2026-03-10T12:00:00+00:00",
            "latency_ms": 30,
        }
    ]  # fmt: skip
    assert [(x["scope"], x["unit"], x["window"], x["charged"]) for x in shown["limits"]] == [
        ("team", "usd", "month", "0.000700000"),
        ("key", "tokens", "minute", 150),
        ("team", "concurrent", None, 0),
    ]


def test_a_failed_attempt_that_cost_nothing_makes_no_unknown_price_known():
    fill(call(request_id="r", cost_nano_usd=0), call(request_id="r", entry=1, cost_nano_usd=None))
    shown = receipt(CALLER, "r")
    assert shown
    assert shown["total_cost"] is None


def test_a_request_of_unknown_price_has_no_total():
    fill(call(request_id="r", cost_nano_usd=None))
    shown = receipt(CALLER, "r")
    assert shown
    assert shown["total_cost"] is None
