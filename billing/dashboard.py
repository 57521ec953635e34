"""The figures of the dashboard, answered from totals and counters; each answer says "as of"."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, Sum

from billing.breakdown import Breakdown, breakdown
from billing.day_range import DayRange, local_day
from billing.ledger_use import may_be_in_ledger
from billing.models import Counter, Limit, Per, SpendTotal, Unit
from billing.periods import period_of
from billing.spend import Sums, total
from billing.totals import LATENCY_BUCKETS_MS
from billing.uncounted_use import uncounted_use

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of answers, as the upper edge of the bucket they fall in.

    Attributes:
        p50_ms, p95_ms, p99_ms: None beyond the last edge.
    """

    requests: int
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A limit and what is used of it now: nano-dollars for usd, else a count.

    Attributes:
        subject: the key's name for a limit on keys; empty for the team.
        reset_at: None where the window never ends.
    """

    limit_id: int
    team_id: int
    team: str
    subject: str
    unit: str
    window: str
    soft: bool
    ceiling: int
    used: int
    reset_at: datetime | None

    @property
    def percent(self) -> int:
        """Used of the ceiling, whole percent; a ceiling of nothing is full."""
        return self.used * 100 // self.ceiling if self.ceiling else 100


@dataclass(frozen=True, slots=True)
class Overview:
    """The dashboard's figures.

    Attributes:
        latency: of today's calls; None while there are none.
        range: the days asked for, today the last of them.
        limits: the fullest first.
    """

    as_of: datetime
    today: Sums
    month: Sums
    latency: Latency | None
    range: Breakdown
    limits: tuple[LimitUse, ...]


def overview(
    now: datetime, zone: ZoneInfo, *, days: int = 30, team_id: int | None = None
) -> Overview:
    """Everything on the dashboard, for one team or for all.

    Args:
        days: how many local days, today included.
    """
    today = local_day(now, zone)
    this_day = DayRange(today, today, zone)
    limits = limits_in_use(now, team_id=team_id)
    return Overview(
        as_of=now,
        today=total(this_day, team_id=team_id),
        month=total(DayRange(today.replace(day=1), today, zone), team_id=team_id),
        latency=latency(this_day, team_id=team_id),
        range=breakdown(DayRange(today - timedelta(days=days - 1), today, zone), team_id=team_id),
        limits=tuple(sorted(limits, key=lambda use: -use.percent)),
    )


def latency(days: DayRange, *, team_id: int | None = None) -> Latency | None:
    """Percentiles over a range; None without requests."""
    rows = SpendTotal.objects.filter(quarter__gte=days.start, quarter__lt=days.end)
    if team_id is not None:
        rows = rows.filter(team_id=team_id)
    counts = [0] * (len(LATENCY_BUCKETS_MS) + 1)
    for histogram in rows.values_list("latency_histogram", flat=True).iterator():
        for bucket, count in enumerate(histogram):
            counts[bucket] += count
    requests = sum(counts)
    if not requests:
        return None
    return Latency(requests, *(_percentile(counts, requests, percent) for percent in PERCENTILES))


def limits_in_use(now: datetime, *, team_id: int | None = None) -> tuple[LimitUse, ...]:
    """Limits of teams and keys in their present period; those per end user are left out."""
    limits = Limit.objects.exclude(per=Per.END_USER).select_related("team", "key")
    if team_id is not None:
        limits = limits.filter(team_id=team_id)
    current = Q(period_start__lte=now) & (Q(period_end=None) | Q(period_end__gt=now))
    counters: dict[int, list[Any]] = {}
    for counter in (
        Counter.objects.filter(current, limit__in=limits)
        .annotate(held=Sum("holdings__amount"))
        .order_by("subject")
    ):
        counters.setdefault(counter.limit_id, []).append(counter)
    names = _key_names(limits)
    rows = list(limits.order_by("team__name", "pk"))
    uncounted = uncounted_use([row for row in rows if _is_uncounted(row, counters, now)], now)
    return tuple(
        use
        for row in rows
        for use in _limit_uses(
            row, uncounted.get(row.pk) or _counted(row, counters.get(row.pk, [])), names, now
        )
    )


def _is_uncounted(limit: Limit, counters: Mapping[int, Any], now: datetime) -> bool:
    """Nothing counts a soft limit, nor a new one before the first call under it."""
    start = period_of(limit.window, limit.timezone, now).start
    return limit.soft or (limit.pk not in counters and may_be_in_ledger(limit, start))


def _counted(limit: Limit, counters: Sequence[Any]) -> dict[str, int]:
    # What workers hold is not yet used, but for calls at once: those are nothing but held.
    at_once = limit.unit == Unit.CONCURRENT
    return {
        counter.subject: counter.taken - (0 if at_once else int(counter.held or 0))
        for counter in counters
    }


def _key_names(limits: Any) -> dict[str, str]:
    rows = limits.filter(per=Per.KEY).values_list("team__keys__pk", "team__keys__name")
    return {str(key_id): name for key_id, name in rows}


def _limit_uses(
    limit: Limit, used: Mapping[str, int], names: Mapping[str, str], now: datetime
) -> Iterator[LimitUse]:
    for subject, use in used.items() or [("", 0)]:
        yield LimitUse(
            limit_id=limit.pk,
            team_id=limit.team_id,
            team=limit.team.name,
            subject=limit.key.name if limit.key else names.get(subject, subject),
            unit=limit.unit,
            window=limit.window,
            soft=limit.soft,
            ceiling=limit.ceiling,
            used=use,
            reset_at=period_of(limit.window, limit.timezone, now).end,
        )


def _percentile(counts: list[int], requests: int, percent: int) -> int | None:
    rank = -(-requests * percent // 100)
    seen = 0
    for edge, count in zip(LATENCY_BUCKETS_MS, counts, strict=False):
        seen += count
        if seen >= rank:
            return edge
    return None
