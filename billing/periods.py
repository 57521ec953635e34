"""When a window begins and ends. Pure.

Minutes and hours follow the UTC clock; days, ISO weeks and months the calendar of a zone, where
a day may have 23, 24.5 or 25 hours, and may begin at 01:00 because its midnight does not exist.
A zone's periods tile time: each ends at the instant that the next begins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` up to but without `end`, in UTC; `end` is None where it never ends."""

    start: datetime
    end: datetime | None


# Total budgets and concurrency know no time: all their use is in one period.
ENDLESS = Period(EPOCH, None)


def period_of(window: str, timezone: str, at: datetime) -> Period:
    """The period of a window that an instant falls in.

    Args:
        window: as in `billing.models.Window`; empty for what has no window.
        timezone: IANA name; matters for day, week and month.
    """
    if window in ("", "total"):
        return ENDLESS
    instant = at.astimezone(UTC)
    if window == "minute":
        start = instant.replace(second=0, microsecond=0)
        return Period(start, start + timedelta(minutes=1))
    if window == "hour":
        start = instant.replace(minute=0, second=0, microsecond=0)
        return Period(start, start + timedelta(hours=1))
    return _calendar_period(_CALENDAR[window], ZoneInfo(timezone), instant)


def _calendar_period(
    calendar: tuple[Callable[[date], date], Callable[[date], date]],
    zone: ZoneInfo,
    instant: datetime,
) -> Period:
    first_day, next_first_day = calendar
    day = first_day(instant.astimezone(zone).date())
    end = first_instant(next_first_day(day), zone)
    if end <= instant:
        # The clock went back over midnight: the old date shows again after the new one began.
        day = next_first_day(day)
        end = first_instant(next_first_day(day), zone)
    return Period(first_instant(day, zone), end)


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


_CALENDAR: dict[str, tuple[Callable[[date], date], Callable[[date], date]]] = {
    "day": (lambda day: day, lambda day: day + timedelta(days=1)),
    "week": (lambda day: day - timedelta(days=day.weekday()), lambda day: day + timedelta(days=7)),
    "month": (lambda day: day.replace(day=1), _next_month),
}


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """The first instant, in UTC, at which a zone's calendar shows a day or a later one."""
    midnight = datetime.combine(day, time())
    start = midnight.replace(tzinfo=zone).astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) == midnight:
        return start
    # Midnight is jumped over: the day begins where the clock jumps, between the two readings.
    before = midnight.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while start - before > _SECOND:
        middle = before + (start - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).date() < day:
            before = middle
        else:
            start = middle
    return start
