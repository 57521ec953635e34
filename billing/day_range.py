"""Days on a calendar as instants in UTC: what "from the 1st to the 31st in Paris" means.

Days are local dates, both ends included. A day may have 23, 24.5 or 25 hours, and need not
begin at midnight; the days of a zone always tile the line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from billing.periods import first_instant
from keys.errors import InvalidRequestError

EARLIEST = date(2000, 1, 1)
LATEST = date(2199, 12, 31)
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DayRange:
    """Local days from `first` to `last`, both included."""

    first: date
    last: date
    zone: ZoneInfo

    @property
    def start(self) -> datetime:
        return first_instant(self.first, self.zone)

    @property
    def end(self) -> datetime:
        """The first instant after the last day."""
        return first_instant(self.last + _ONE_DAY, self.zone)

    def days(self) -> Iterator["DayRange"]:
        day = self.first
        while day <= self.last:
            yield DayRange(day, day, self.zone)
            day += _ONE_DAY

    def months(self) -> Iterator["DayRange"]:
        """The months in the range; the first and the last may be parts of one."""
        first = self.first
        while first <= self.last:
            following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
            yield DayRange(first, min(following - _ONE_DAY, self.last), self.zone)
            first = following


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    return instant.astimezone(zone).date()


def parse_day(text: str, param: str) -> date:
    """A date written YYYY-MM-DD.

    Raises:
        InvalidRequestError: it is none, or far from any day that a ledger can have. HTTP 400.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # Python also reads 20260131 and 2026-W05-6.
    if day is None or day.isoformat() != text:
        raise InvalidRequestError(f"{param} must be a date like 2026-01-31.", param=param)
    if not EARLIEST <= day <= LATEST:
        raise InvalidRequestError(f"{param} must lie in {EARLIEST} … {LATEST}.", param=param)
    return day


def parse_zone(text: str, param: str) -> ZoneInfo:
    """A zone by its IANA name.

    Raises:
        InvalidRequestError: there is no such zone. HTTP 400.
    """
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        # An unknown name, a path that leaves the zone files, a folder among them.
        message = f"{param}: there is no time zone {text[:64]!r}."
        raise InvalidRequestError(message, param=param) from None
