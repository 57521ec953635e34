"""Proves that ledger, totals, counters, holdings and the cost CSV say the same.

All of it is read as of one moment, so it holds while calls are running. The ledger is right by
definition; whatever differs from it is a difference.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Count, Max, Min, Q, Sum

from billing.day_range import DayRange
from billing.exports import Export, costs_csv
from billing.ledger_use import ledger_use
from billing.models import Counter, LabelTotal, LedgerEntry, SpendTotal, Unit
from billing.one_moment import one_moment
from billing.pricing import parse_usd
from billing.totals import (
    LABEL_KEY,
    LABEL_SUMS,
    SPEND_KEY,
    SPEND_SUMS,
    day_of,
    label_sums,
    labels_of,
    quarter_of,
    spend_key,
    spend_sums,
)

ROWS_AT_ONCE = 2000
# No zone's date lies further from UTC's than this.
_ZONES_AHEAD, _ZONES_BEHIND = timedelta(hours=14), timedelta(hours=12)
_CSV_SUMS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)

_ONE_DAY = timedelta(days=1)

Sums = dict[Any, list[int]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Two figures that should be one.

    Attributes:
        what: the total, counter or column.
        ledger: what it is by the ledger (and, of a counter, the holdings).
        found: what it says.
    """

    what: str
    ledger: int
    found: int

    def __str__(self) -> str:
        return f"{self.what}: by the ledger {self.ledger}, found {self.found}"


def check_books(first: date | None, last: date | None) -> list[Difference]:
    """Compare everything that covers some days, both included, with the ledger.

    Args:
        first, last: UTC days; for labels, days of the team's zone. None: as far as there are rows.
    """
    with one_moment():
        days = _days(first, last)
        return [
            *_spend_differences(days),
            *_label_differences(days),
            *_counter_differences(days),
            *_csv_differences(days),
        ]


def _days(first: date | None, last: date | None) -> DayRange:
    """Where no end is given, a day more than there are rows: a zone may be ahead or behind."""
    ledger = LedgerEntry.objects.aggregate(oldest=Min("started_at"), newest=Max("started_at"))
    totals = SpendTotal.objects.aggregate(oldest=Min("quarter"), newest=Max("quarter"))
    moments = [moment for moment in (*ledger.values(), *totals.values()) if moment]
    moments = moments or [datetime.now(UTC)]
    return DayRange(
        first or min(moments).date() - _ONE_DAY,
        last or max(moments).date() + _ONE_DAY,
        ZoneInfo("UTC"),
    )


def _spend_differences(days: DayRange) -> Iterator[Difference]:
    for day in days.days():
        by_ledger: Sums = defaultdict(lambda: [0] * len(SPEND_SUMS))
        for row in _entries(day.start, day.end):
            _add(by_ledger[spend_key(row)], spend_sums(row))
        totals = SpendTotal.objects.filter(quarter__gte=day.start, quarter__lt=day.end)
        yield from _compared("total", by_ledger, _stored(totals, SPEND_KEY, SPEND_SUMS), SPEND_SUMS)
        for total in totals.iterator(ROWS_AT_ONCE):
            calls = sum(total.latency_histogram)
            if calls != total.requests:
                what = f"latency histogram of total {total.pk}"
                yield Difference(what, total.requests, calls)


def _label_differences(days: DayRange) -> Iterator[Difference]:
    by_ledger: Sums = defaultdict(lambda: [0] * len(LABEL_SUMS))
    for row in _entries(days.start - _ZONES_AHEAD, days.end + _ZONES_BEHIND):
        day = day_of(quarter_of(row.started_at), row.timezone)
        if days.first <= day <= days.last:
            for kind, label in labels_of(row):
                _add(by_ledger[day, kind, label, row.team_id], label_sums(row))
    totals = LabelTotal.objects.filter(day__gte=days.first, day__lte=days.last)
    yield from _compared("label", by_ledger, _stored(totals, LABEL_KEY, LABEL_SUMS), LABEL_SUMS)


def _counter_differences(days: DayRange) -> Iterator[Difference]:
    counters = (
        Counter.objects.filter(period_start__lt=days.end)
        .exclude(period_end__lte=days.start)
        .select_related("limit")
        .annotate(held=Sum("holdings__amount"))
    )
    for counter in counters.iterator(ROWS_AT_ONCE):
        limit = counter.limit
        expected = counter.held or 0
        if limit.unit != Unit.CONCURRENT:
            expected += ledger_use(limit, counter.subject, counter.period_start, counter.period_end)
        if expected != counter.taken:
            whose = f" of {counter.subject!r}" if counter.subject else ""
            what = f"counter {counter.pk} ({limit}{whose} from {counter.period_start:%F %R})"
            yield Difference(f"{what}, with {counter.held or 0} held", expected, counter.taken)


def _csv_differences(days: DayRange) -> Iterator[Difference]:
    rows = LedgerEntry.objects.filter(started_at__gte=days.start, started_at__lt=days.end)
    by_ledger = rows.aggregate(
        rows=Count("id"),
        unpriced=Count("id", filter=Q(cost_nano_usd=None)),
        cost_nano_usd=Sum("cost_nano_usd", default=0),
        **{column: Sum(column, default=0) for column in _CSV_SUMS},
    )
    found = dict.fromkeys(by_ledger, 0)
    for row in csv.DictReader(_lines(costs_csv(Export(days)))):
        found["rows"] += 1
        found["unpriced"] += not row["cost_usd"]
        found["cost_nano_usd"] += _nano_usd(row["cost_usd"] or "0")
        for column in _CSV_SUMS:
            found[column] += int(row[column])
    for column, figure in by_ledger.items():
        if found[column] != figure:
            yield Difference(f"cost CSV, {column}", figure, found[column])


def _entries(start: datetime, end: datetime) -> Iterator[LedgerEntry]:
    rows = LedgerEntry.objects.filter(started_at__gte=start, started_at__lt=end)
    return rows.defer("attempts", "charges").iterator(ROWS_AT_ONCE)


def _add(sums: list[int], more: Sequence[int]) -> None:
    for place, figure in enumerate(more):
        sums[place] += figure


def _stored(rows: Any, key: Sequence[str], sums: Sequence[str]) -> Sums:
    values = rows.values_list(*key, *sums).iterator(ROWS_AT_ONCE)
    return {row[: len(key)]: list(row[len(key) :]) for row in values}


def _compared(
    what: str, by_ledger: Sums, found: Sums, columns: Sequence[str]
) -> Iterator[Difference]:
    nothing = [0] * len(columns)
    for key in {**by_ledger, **found}:
        right, said = by_ledger.get(key, nothing), found.get(key, nothing)
        if right != said:
            name = " / ".join(map(str, key))
            for column, figure, other in zip(columns, right, said, strict=True):
                if figure != other:
                    yield Difference(f"{what} {name}, {column}", figure, other)


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    """The CSV's lines, newlines inside quoted cells left in place, as it is made."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece.decode()).split("\n")
        yield from (f"{line}\n" for line in lines)
    if rest:
        yield rest


def _nano_usd(text: str) -> int:
    return -parse_usd(text[1:]) if text.startswith("-") else parse_usd(text)
