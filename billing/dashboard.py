"""The figures of the dashboard, answered from totals and counters; each answer says "as of"."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from billing.breakdown import Breakdown, breakdown
from billing.day_range import DayRange, local_day
from billing.limit_use import LimitUse, limits_in_use
from billing.models import SpendTotal
from billing.spend import Sums, total
from billing.totals import LATENCY_BUCKETS_MS

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


def _percentile(counts: list[int], requests: int, percent: int) -> int | None:
    rank = -(-requests * percent // 100)
    seen = 0
    for edge, count in zip(LATENCY_BUCKETS_MS, counts, strict=False):
        seen += count
        if seen >= rank:
            return edge
    return None
