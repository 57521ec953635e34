"""A range of days looked at from every side: by day, by team, by model and by provider."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from billing.day_range import DayRange, local_day
from billing.spend import SpendLine, Sums, spend, spend_by_quarter


@dataclass(frozen=True, slots=True)
class DaySpend:
    day: date
    sums: Sums


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What a range of days comes to.

    Attributes:
        days: every day in order, those without calls too.
        teams, models, providers: the dearest first; among equals those with more requests.
    """

    whole: Sums
    days: tuple[DaySpend, ...]
    teams: tuple[SpendLine, ...]
    models: tuple[SpendLine, ...]
    providers: tuple[SpendLine, ...]


def breakdown(days: DayRange, *, team_id: int | None = None) -> Breakdown:
    """All sides from two queries, however long the range is."""
    by_day = spend_by_day(days, team_id=team_id)
    lines = spend(days, ("team", "model", "provider"), team_id=team_id)
    return Breakdown(
        whole=sum((day.sums for day in by_day), Sums()),
        days=by_day,
        teams=_dearest(lines, 0),
        models=_dearest(lines, 1),
        providers=_dearest(lines, 2),
    )


def spend_by_day(days: DayRange, *, team_id: int | None = None) -> tuple[DaySpend, ...]:
    """Every day of the range in order, those without calls too."""
    known: dict[date, Sums] = defaultdict(Sums)
    for quarter, sums in spend_by_quarter(days, team_id=team_id):
        known[local_day(quarter, days.zone)] += sums
    return tuple(DaySpend(day.first, known[day.first]) for day in days.days())


def _dearest(lines: list[SpendLine], side: int) -> tuple[SpendLine, ...]:
    """Lines summed over all but one of their labels; teams of one name stay apart by their ids."""
    grouped: dict[tuple[str, tuple[int, ...]], Sums] = defaultdict(Sums)
    for line in lines:
        grouped[line.labels[side], line.ids if side == 0 else ()] += line.sums
    found = [SpendLine((label,), ids, sums) for (label, ids), sums in grouped.items()]
    found.sort(key=lambda line: (-line.sums.cost_nano_usd, -line.sums.requests, line.labels))
    return tuple(found)
