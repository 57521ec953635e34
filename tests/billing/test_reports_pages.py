"""The dashboard's figures and the pages of the log."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from billing.breakdown import breakdown
from billing.call_log import LogFilter, call_page, refused_page
from billing.dashboard import latency, overview
from billing.day_range import DayRange
from billing.limit_use import limits_in_use
from billing.models import Counter, Holding, Limit, RefusedCall, Worker
from keys.errors import InvalidRequestError
from keys.models import Team
from tests.billing.ledger_filling import NOON, call, fill

pytestmark = pytest.mark.django_db

UTC_ZONE = ZoneInfo("UTC")
TODAY = DayRange(NOON.date(), NOON.date(), UTC_ZONE)
YESTERDAY = NOON - timedelta(days=1)


def test_an_overview_sums_today_and_the_month():
    fill(
        call(),
        call(status="error", cost_nano_usd=0),
        call(started_at=YESTERDAY),
        call(started_at=NOON - timedelta(days=10), cost_nano_usd=9),
        call(started_at=NOON - timedelta(days=9), cost_nano_usd=None),
    )
    shown = overview(NOON, UTC_ZONE)
    assert shown.as_of == NOON
    assert (shown.today.requests, shown.today.cost_nano_usd) == (2, 725_000)
    assert (shown.today.errors, shown.today.error_percent) == (1, "50.0")
    assert (shown.month.requests, shown.month.cost_nano_usd) == (4, 1_450_000)
    assert shown.month.unpriced_entries == 1


def test_an_overview_of_nothing_is_zeros():
    shown = overview(NOON, UTC_ZONE)
    assert shown.today.error_percent == "0.0"
    assert (shown.latency, shown.range.teams, shown.limits) == (None, (), ())


def test_the_days_asked_for_are_shown_with_those_that_had_no_calls():
    fill(call(started_at=YESTERDAY), call(started_at=NOON - timedelta(days=7)))
    shown = overview(NOON, UTC_ZONE, days=7).range
    days = shown.days
    assert (len(days), shown.whole.requests) == (7, 1)
    assert [day.sums.requests for day in days[-3:]] == [0, 1, 0]


def test_the_dearest_come_first():
    fill(
        call(requested_model="cheap", cost_nano_usd=1),
        call(requested_model="dear", cost_nano_usd=5),
        call(requested_model="free", cost_nano_usd=0),
    )
    assert [line.labels for line in overview(NOON, UTC_ZONE).range.models] == [
        ("dear",), ("cheap",), ("free",),
    ]  # fmt: skip


def test_an_overview_can_be_of_one_team():
    fill(call(), call(team_id=2, team="other"))
    shown = overview(NOON, UTC_ZONE, team_id=2)
    assert shown.today.requests == 1
    assert [line.labels for line in shown.range.teams] == [("other",)]


def test_latency_is_read_off_the_histogram():
    fill(*(call(latency_ms=ms) for ms in [40] * 94 + [900] * 5 + [10**6]))
    found = latency(TODAY)
    assert found
    assert (found.requests, found.p50_ms, found.p95_ms, found.p99_ms) == (100, 50, 1000, 1000)


def test_latency_beyond_the_last_bucket_has_no_figure():
    fill(call(latency_ms=10**6))
    found = latency(TODAY)
    assert found
    assert found.p50_ms is None


def test_limits_show_what_is_used_without_what_workers_merely_hold():
    team = Team.objects.create(name="research")
    limit = Limit.objects.create(team=team, unit="usd", window="month", ceiling=1000)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    end = datetime(2026, 4, 1, tzinfo=UTC)
    counter = Counter.objects.create(
        limit=limit, period_start=start, period_end=end, ceiling=1000, taken=500
    )
    Counter.objects.create(
        limit=limit, period_start=start - timedelta(days=28), period_end=start, ceiling=1000,
        taken=999,
    )  # fmt: skip
    worker = Worker.objects.create(name="w", host="h", journal="j", started_at=NOON)
    Holding.objects.create(counter=counter, worker=worker, amount=250)
    (use,) = limits_in_use(NOON)
    assert (use.team, use.used, use.ceiling, use.percent, use.reset_at) == (
        "research", 250, 1000, 25, end,
    )  # fmt: skip


def test_a_limit_that_nobody_has_used_yet_shows_zero():
    team = Team.objects.create(name="research")
    Limit.objects.create(team=team, unit="requests", window="minute", ceiling=60)
    Limit.objects.create(team=team, unit="tokens", window="total", ceiling=0)
    assert [(use.used, use.percent) for use in limits_in_use(NOON)] == [(0, 0), (0, 100)]


def test_a_limit_without_a_counter_shows_what_the_ledger_says():
    team = Team.objects.create(name="research")
    soft = {"team": team, "unit": "usd", "window": "month", "soft": True}
    Limit.objects.create(**soft, ceiling=10)
    Limit.objects.create(**soft, ceiling=10, per="key")
    Limit.objects.create(team=team, unit="tokens", window="minute", ceiling=1000, soft=True)
    Limit.objects.create(team=team, unit="requests", window="total", ceiling=4)
    fill(
        call(team_id=team.pk, key_id=1, cost_nano_usd=9),
        call(team_id=team.pk, key_id=2, cost_nano_usd=3),
        call(team_id=team.pk, started_at=NOON - timedelta(days=40)),
    )
    assert sorted((use.soft, use.used, use.percent) for use in limits_in_use(NOON)) == [
        (False, 3, 75),
        (True, 3, 30),
        (True, 9, 90),
        (True, 12, 120),
        (True, 300, 30),
    ]


def walk(wanted, rows):
    cursor, ids = "", []
    while True:
        page = call_page(wanted, cursor, rows=rows)
        ids += [shown.request_id for shown in page.calls]
        if page.older is None:
            return ids
        cursor = page.older


def test_pages_of_the_log_show_each_call_once_newest_first():
    calls = [call(started_at=NOON + timedelta(seconds=n // 3)) for n in range(20)]
    fill(*calls)
    ids = walk(LogFilter(), rows=7)
    assert len(ids) == 20
    assert set(ids) == {entry.request_id for entry in calls}
    assert ids[0] in {entry.request_id for entry in calls[18:]}


def test_a_full_last_page_leads_nowhere():
    fill(call(), call())
    assert call_page(LogFilter(), rows=2).older is None


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        (LogFilter(team_id=2), {"team_id": 2}),
        (LogFilter(key_id=12), {"key_id": 12}),
        (LogFilter(model="o3"), {"requested_model": "o3"}),
        (LogFilter(provider="azure"), {"provider": "azure"}),
        (LogFilter(status="error"), {"status": "error"}),
        (LogFilter(end_user="alice"), {"end_user": "alice"}),
        (LogFilter(request_id="r"), {"request_id": "r"}),
        (LogFilter(start=NOON + timedelta(hours=1)), {"started_at": NOON + timedelta(hours=1)}),
        (LogFilter(end=NOON), {"started_at": NOON - timedelta(microseconds=1)}),
    ],
)
def test_the_log_can_be_narrowed(wanted, changes):
    other = call()
    one = call(**changes)
    fill(other, one)
    assert [shown.request_id for shown in call_page(wanted).calls] == [one.request_id]


@pytest.mark.parametrize(
    "cursor", ["x", "_", "2026-03-10T12:00:00_1", "2026-03-10T12:00:00Z_x", "_1"]
)
def test_a_made_up_cursor_is_refused(cursor):
    with pytest.raises(InvalidRequestError):
        call_page(LogFilter(), cursor)


def test_refusals_have_pages_of_their_own():
    for number in range(5):
        RefusedCall.objects.create(
            request_id=f"r{number}", at=NOON + timedelta(seconds=number), address="/v1/messages",
            code="insufficient_quota", message="the month budget of team research is spent",
        )  # fmt: skip
    first = refused_page(LogFilter(status="insufficient_quota"), rows=3)
    assert first.older
    second = refused_page(LogFilter(), first.older, rows=3)
    assert [r.request_id for r in (*first.refused, *second.refused)] == [
        "r4", "r3", "r2", "r1", "r0",
    ]  # fmt: skip


def test_a_breakdown_takes_two_queries_however_long_the_range(django_assert_num_queries):
    fill(call(), call(started_at=NOON - timedelta(days=300)))
    with django_assert_num_queries(2):
        shown = breakdown(DayRange(NOON.date() - timedelta(days=364), NOON.date(), UTC_ZONE))
    assert (shown.whole.requests, len(shown.days)) == (2, 365)


def test_a_breakdown_cuts_its_days_in_the_zone_of_the_range():
    fill(call(started_at=datetime(2026, 3, 9, 23, 30, tzinfo=UTC)))
    paris = DayRange(NOON.date() - timedelta(days=1), NOON.date(), ZoneInfo("Europe/Paris"))
    assert [day.sums.requests for day in breakdown(paris).days] == [0, 1]


def test_teams_of_one_name_are_two_lines():
    fill(call(cost_nano_usd=1), call(team_id=2, cost_nano_usd=5))
    teams = breakdown(TODAY).teams
    assert [(line.labels, line.ids) for line in teams] == [
        (("research",), (2,)), (("research",), (1,)),
    ]  # fmt: skip


def test_the_fullest_limits_come_first():
    team = Team.objects.create(name="research")
    Limit.objects.create(team=team, unit="requests", window="minute", ceiling=60)
    Limit.objects.create(team=team, unit="tokens", window="total", ceiling=0)
    assert [use.percent for use in overview(NOON, UTC_ZONE).limits] == [100, 0]
