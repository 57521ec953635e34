"""Periods tile time in every zone: no gap, no overlap, whatever the clocks do."""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo, available_timezones

import pytest

from billing.periods import ENDLESS, Period, first_instant, period_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2028, 1, 1, tzinfo=UTC)
ZONES = sorted(available_timezones() - {"localtime"})
TICK = timedelta(microseconds=1)


utc = partial(datetime, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        ("minute", utc(2026, 11, 24, 12, 34), utc(2026, 11, 24, 12, 35)),
        ("hour", utc(2026, 11, 24, 12), utc(2026, 11, 24, 13)),
        ("day", utc(2026, 11, 23, 23), utc(2026, 11, 24, 23)),
        ("week", utc(2026, 11, 22, 23), utc(2026, 11, 29, 23)),
        ("month", utc(2026, 10, 31, 23), utc(2026, 11, 30, 23)),
    ],
)
def test_a_window_begins_and_ends(window, start, end):
    at = datetime(2026, 11, 24, 12, 34, 56, 789, tzinfo=UTC)
    assert period_of(window, "Europe/Paris", at) == Period(start, end)


@pytest.mark.parametrize("window", ["total", ""])
def test_what_has_no_window_never_ends(window):
    assert period_of(window, "Europe/Paris", BEGIN) == ENDLESS


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Paris", date(2026, 3, 29), 23),
        ("Europe/Paris", date(2026, 10, 25), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Africa/Cairo", date(2026, 4, 24), 23),
        ("America/Havana", date(2026, 11, 1), 25),
    ],
)
def test_F43_a_day_is_as_long_as_its_clocks_make_it(zone, day, hours):
    start = first_instant(day, ZoneInfo(zone))
    period = period_of("day", zone, start)
    assert period.end == start + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "day"), [("Africa/Cairo", date(2026, 4, 24)), ("America/Havana", date(2026, 3, 8))]
)
def test_F43_a_day_without_midnight_begins_at_one(zone, day):
    start = first_instant(day, ZoneInfo(zone))
    assert start.astimezone(ZoneInfo(zone)).isoformat()[:16] == f"{day}T01:00"
    assert (start - TICK).astimezone(ZoneInfo(zone)).date() == day - timedelta(days=1)


def test_a_day_that_was_left_out_belongs_to_nobody():
    samoa = "Pacific/Apia"
    before = period_of("day", samoa, utc(2011, 12, 30, 9))
    assert before.end == period_of("day", samoa, utc(2011, 12, 30, 10)).start


def test_a_clock_set_back_over_midnight_does_not_bring_yesterday_back():
    zone = ZoneInfo("America/St_Johns")  # 2009: at 00:01 on 1 November back to 23:01
    midnight = first_instant(date(2009, 11, 1), zone)
    again = midnight + timedelta(minutes=30)
    assert again.astimezone(zone).date() == date(2009, 10, 31)
    assert period_of("day", zone.key, again).start == midnight


@pytest.mark.parametrize("window", ["week", "month"])
def test_G10_weeks_and_months_of_all_zones_tile_two_years(window):
    for zone in ZONES:
        assert_tiled(window, zone, BEGIN, END)


def test_G10_days_of_all_zones_tile_around_every_change_of_clocks():
    for zone in ZONES:
        for change in changes_of_clocks(ZoneInfo(zone)):
            assert_tiled("day", zone, change - timedelta(days=3), change + timedelta(days=3))


@pytest.mark.faults
@pytest.mark.once
def test_G10_all_days_of_all_zones_tile_two_years():
    for zone in ZONES:
        assert_tiled("day", zone, BEGIN, END)


@pytest.mark.parametrize("window", ["minute", "hour"])
def test_G10_minutes_and_hours_tile_across_a_change_of_clocks(window):
    change = utc(2026, 10, 25)
    assert_tiled(window, "Europe/Paris", change, change + timedelta(hours=3))


def assert_tiled(window: str, zone: str, begin: datetime, end: datetime) -> None:
    period = period_of(window, zone, begin)
    while period.end is not None and period.end < end:
        following = period_of(window, zone, period.end)
        assert following.start == period.end > period.start, zone
        assert period_of(window, zone, period.end - TICK) == period, zone
        period = following


def changes_of_clocks(zone: ZoneInfo) -> list[datetime]:
    """Days in which a zone's offset changes, to a day."""
    days = [BEGIN + timedelta(days=n) for n in range((END - BEGIN).days + 1)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    return [day for day, a, b in zip(days[1:], offsets, offsets[1:], strict=False) if a != b]
