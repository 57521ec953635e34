"""Finds the limits whose ledger use has reached a share that somebody wants to hear of.

Only what new ledger entries touched is summed, in whichever period they fall, so a look that
comes late misses nothing; after an edit of the configuration all periods that run are summed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from django.db.models import Q

from billing.alert_use import uses_of
from billing.alert_words import Crossing, who_is
from billing.limit_rules import LimitRule, rule_of
from billing.models import LedgerEntry, Limit, Per, Unit
from billing.periods import Period, period_of
from keys.models import ApiKey

# A soft limit would otherwise do nothing at all.
SOFT_DEFAULT = (Decimal(1),)


@dataclass(frozen=True, slots=True)
class Watched:
    """A limit that alerts, and the shares of its ceiling that it alerts at, lowest first."""

    rule: LimitRule
    team: str
    shares: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something may have been crossed; `subjects` is None for all that there are."""

    watched: Watched
    period: Period
    subjects: frozenset[str] | None


def watched_limits() -> list[Watched]:
    """Read the limits that alert; one query."""
    rows = Limit.objects.filter(Q(soft=True) | ~Q(alert_at=[])).exclude(unit=Unit.CONCURRENT)
    return [
        Watched(
            rule_of(row),
            row.team.name,
            tuple(sorted(Decimal(str(share)) for share in row.alert_at)) or SOFT_DEFAULT,
        )
        for row in rows.select_related("team", "key").order_by("id")
    ]


def running_places(limits: Iterable[Watched], now: datetime) -> list[Place]:
    return [Place(watched, watched.rule.period(now), None) for watched in limits]


def touched_places(
    limits: Iterable[Watched], after: int, upto: int, oldest: datetime
) -> list[Place]:
    """Where the ledger entries between two ids count.

    Args:
        oldest: periods that ended before are left alone: a correction of long ago is no news.
    """
    by_team: dict[int, list[Watched]] = {}
    for watched in limits:
        by_team.setdefault(watched.rule.team_id, []).append(watched)
    found: dict[tuple[int, Period], tuple[Watched, set[str]]] = {}
    for team_id, key_id, end_user, minute in _touched_minutes(by_team, after, upto):
        for watched in by_team[team_id]:
            rule = watched.rule
            if not rule.binds(team_id, key_id):
                continue
            period = _period(rule.window, rule.timezone, minute)
            if period.end is None or period.end > max(oldest, rule.created_at):
                _, subjects = found.setdefault((rule.id, period), (watched, set()))
                subjects.add(rule.subject(key_id, end_user))
    return [
        Place(watched, period, frozenset(subjects))
        for (_, period), (watched, subjects) in found.items()
    ]


# Every period begins with a minute, and many calls fall in each.
_period = lru_cache(maxsize=10_000)(period_of)


def _touched_minutes(
    team_ids: Iterable[int], after: int, upto: int
) -> set[tuple[int, int, str, datetime]]:
    rows = LedgerEntry.objects.filter(id__gt=after, id__lte=upto, team_id__in=list(team_ids))
    columns = rows.values_list("team_id", "key_id", "end_user", "started_at")
    return {
        (team_id, key_id, end_user, started_at.replace(second=0, microsecond=0))
        for team_id, key_id, end_user, started_at in columns.iterator()
    }


def crossings_at(place: Place) -> list[Crossing]:
    """Every share that is used up there, for each subject the lowest first."""
    watched, rule = place.watched, place.watched.rule
    least = Fraction(watched.shares[0]) * rule.ceiling
    uses = uses_of(rule, place.period, place.subjects, least)
    names = _key_names(rule, uses)
    return [
        Crossing(
            rule=rule,
            team=watched.team,
            subject=subject,
            who=who_is(rule, subject, watched.team, names.get(subject, "")),
            period=place.period,
            used=use,
            share=share,
        )
        for subject, use in uses.items()
        for share in watched.shares
        if use >= Fraction(share) * rule.ceiling
    ]


def _key_names(rule: LimitRule, subjects: Iterable[str]) -> dict[str, str]:
    if rule.key_id is not None:
        name = rule.owner.removeprefix("key ")
        return dict.fromkeys(subjects, name)
    if rule.scope != Per.KEY:
        return {}
    keys = ApiKey.objects.filter(pk__in=[int(subject) for subject in subjects])
    return {str(pk): name for pk, name in keys.values_list("pk", "name")}
