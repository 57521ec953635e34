"""Spend of a range of days, grouped: the one source of every total on pages and in exports.

Sums come from the quarter-hour totals. Only end users and tags, which the totals do not know,
are summed from the ledger itself, by the database.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Model, Q, QuerySet, Sum

from billing.day_range import DayRange, local_day
from billing.models import EntryStatus, LedgerEntry, SpendTotal
from billing.totals import BACKFILLED

PERIODS = ("day", "month")
DIMENSIONS = (*PERIODS, "team", "key", "end_user", "tag", "model", "provider")

# Ids go along: two keys of one name are two lines.
_TOTAL_COLUMNS = {
    "team": ("team_id", "team"),
    "key": ("key_id", "key_name"),
    "model": ("model",),
    "provider": ("provider",),
}
_LEDGER_COLUMNS = {
    **_TOTAL_COLUMNS,
    "model": ("requested_model",),
    "end_user": ("end_user",),
    "tag": ("tags",),
}
_TOTAL_SUMS = {
    "sum_requests": Sum("requests"),
    "sum_errors": Sum("requests", filter=Q(status=EntryStatus.ERROR)),
    "sum_input": Sum("input_tokens"),
    "sum_cached": Sum("cached_input_tokens"),
    "sum_output": Sum("output_tokens"),
    "sum_cost": Sum("cost_nano_usd"),
    "sum_unpriced": Sum("unpriced_entries"),
}
# A correction that priced an entry later on takes it off again.
UNPRICED_IN_LEDGER = Count("id", filter=Q(cost_nano_usd=None)) - Count(
    "id", filter=Q(flags__icontains=BACKFILLED)
)
_LEDGER_SUMS = {
    **_TOTAL_SUMS,
    "sum_requests": Count("id", filter=Q(entry=0)),
    "sum_errors": Count("id", filter=Q(entry=0, status=EntryStatus.ERROR)),
    "sum_unpriced": UNPRICED_IN_LEDGER,
}
_SUMS = tuple(_TOTAL_SUMS)


@dataclass(frozen=True, slots=True)
class Sums:
    """What a group of ledger entries comes to.

    Attributes:
        requests: every request once, whatever it took. errors: of them, those that failed.
        input_tokens: cached_input_tokens included.
        cost_nano_usd: of the entries whose price is known.
        unpriced_entries: those whose price is unknown; nothing of them is in the cost.
    """

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    unpriced_entries: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.requests + other.requests,
            self.errors + other.errors,
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_nano_usd + other.cost_nano_usd,
            self.unpriced_entries + other.unpriced_entries,
        )

    @property
    def cost_known(self) -> bool:
        """False where nothing but unpriced entries is behind the cost: it is not zero then."""
        return self.cost_nano_usd != 0 or self.unpriced_entries == 0

    @property
    def error_percent(self) -> str:
        """Failed requests of all, with one decimal."""
        tenths = self.errors * 1000 // self.requests if self.requests else 0
        return f"{tenths // 10}.{tenths % 10}"

    @property
    def cached_percent(self) -> int:
        """Input tokens read from a provider's cache, of all input tokens."""
        return self.cached_input_tokens * 100 // self.input_tokens if self.input_tokens else 0


@dataclass(frozen=True, slots=True)
class SpendLine:
    """One group: a label for each dimension asked for, and what it comes to.

    Attributes:
        labels: days as YYYY-MM-DD, months as YYYY-MM, tags as name=value; what is not set, such
            as no end user, is empty.
        ids: of the team and the key, where they were asked for.
    """

    labels: tuple[str, ...]
    ids: tuple[int, ...]
    sums: Sums


def spend(
    days: DayRange, group_by: Sequence[str] = (), *, team_id: int | None = None
) -> list[SpendLine]:
    """What was spent, one line a group, sorted by labels; groups without entries are left out.

    An entry with several tags counts for each of them, so lines by tag may add up to more.

    Args:
        group_by: of DIMENSIONS, in the order of the labels.
        team_id: None for all teams.
    """
    source = _LedgerSource if {"end_user", "tag"} & set(group_by) else _TotalSource
    grouped: dict[tuple[tuple[str, ...], tuple[int, ...]], Sums] = defaultdict(Sums)
    for period in _periods(days, group_by, source, team_id):
        for labels, ids, sums in _sums(source, period, group_by, team_id):
            grouped[labels, ids] += sums
    return [SpendLine(labels, ids, sums) for (labels, ids), sums in sorted(grouped.items())]


def total(days: DayRange, *, team_id: int | None = None) -> Sums:
    """What a range of days comes to in all."""
    lines = spend(days, team_id=team_id)
    return lines[0].sums if lines else Sums()


def unpriced_entries() -> int:
    """How many ledger entries still have no known price."""
    return int(SpendTotal.objects.aggregate(n=Sum("unpriced_entries"))["n"] or 0)


def spend_by_quarter(
    days: DayRange, *, team_id: int | None = None
) -> Iterator[tuple[datetime, Sums]]:
    """Every UTC quarter-hour with entries: one query, and days of any zone are sums of these."""
    rows = _rows(_TotalSource, days.start, days.end, team_id)
    for row in rows.order_by("quarter").values("quarter").annotate(**_TOTAL_SUMS).iterator():
        yield row["quarter"], _sums_of(row)


class _TotalSource:
    model: type[Model] = SpendTotal
    moment = "quarter"
    columns: dict[str, tuple[str, ...]] = _TOTAL_COLUMNS
    sums: dict[str, Any] = _TOTAL_SUMS


class _LedgerSource(_TotalSource):
    model = LedgerEntry
    moment = "started_at"
    columns = _LEDGER_COLUMNS
    sums = _LEDGER_SUMS


def _rows(
    source: type[_TotalSource], start: datetime, end: datetime, team_id: int | None
) -> QuerySet[Any]:
    within: dict[str, Any] = {f"{source.moment}__gte": start, f"{source.moment}__lt": end}
    if team_id is not None:
        within["team_id"] = team_id
    return source.model._default_manager.filter(**within)


def _periods(
    days: DayRange, group_by: Sequence[str], source: type[_TotalSource], team_id: int | None
) -> Iterator[DayRange]:
    """The stretches that are summed apart: the database need not know about time zones."""
    if not set(PERIODS) & set(group_by):
        yield days
        return
    # A range of centuries costs no more than the days that have entries.
    ends = _rows(source, days.start, days.end, team_id).aggregate(
        first=Min(source.moment), last=Max(source.moment)
    )
    if ends["first"] is None:
        return
    used = DayRange(
        local_day(ends["first"], days.zone), local_day(ends["last"], days.zone), days.zone
    )
    yield from used.days() if "day" in group_by else used.months()


def _sums(
    source: type[_TotalSource], period: DayRange, group_by: Sequence[str], team_id: int | None
) -> Iterator[tuple[tuple[str, ...], tuple[int, ...], Sums]]:
    rows = _rows(source, period.start, period.end, team_id)
    names = [name for name in group_by if name not in PERIODS]
    columns = [column for name in names for column in source.columns[name]]
    counted = {**source.sums, "lines": Count("id")}
    found: Any = (
        rows.order_by().values(*columns).annotate(**counted)
        if columns
        else [rows.aggregate(**counted)]
    )
    for row in found:
        if row["lines"]:
            ids = tuple(row[c] for c in columns if c.endswith("_id"))
            for labels in _labels(row, group_by, source, period):
                yield labels, ids, _sums_of(row)


def _sums_of(row: dict[str, Any]) -> Sums:
    # A sum of large integers is a decimal to PostgreSQL.
    return Sums(*(int(row[name] or 0) for name in _SUMS))


def _labels(
    row: dict[str, Any], group_by: Sequence[str], source: type[_TotalSource], period: DayRange
) -> Iterator[tuple[str, ...]]:
    texts = {"day": f"{period.first}", "month": f"{period.first:%Y-%m}"}
    for name in group_by:
        if name not in PERIODS:
            texts[name] = row[source.columns[name][-1]]
    tags = row["tags"] if "tag" in group_by else {}
    for tag in [f"{name}={value}" for name, value in sorted(tags.items())] or [""]:
        yield tuple(tag if name == "tag" else texts[name] for name in group_by)
