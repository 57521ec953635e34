"""What the ledger says of limits that no counter counts: soft ones, and new ones before a call.

A few queries for each period that they are in, however many they are.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Count, F, Q, QuerySet, Sum

from billing.models import LabelTotal, LedgerEntry, Limit, Per, SpendTotal, Unit, Window
from billing.periods import Period, period_of

# What was used, by unit.
Used = dict[str, int]
# By team, then by key.
Spent = dict[int, dict[int, Used]]
_BRIEF = frozenset({Window.MINUTE, Window.HOUR})


def uncounted_use(limits: Iterable[Limit], now: datetime) -> dict[int, dict[str, int]]:
    """By limit, what each of its subjects has used in the period that runs.

    Args:
        limits: of teams and keys, none of them on calls at once.
    """
    found: dict[int, dict[str, int]] = {}
    for period, members in _by_period(limits, now):
        spent = _spent(members[0].window, period, {limit.team_id for limit in members})
        for limit in members:
            found[limit.pk] = _by_subject(limit, spent.get(limit.team_id, {}))
    return found


def uncounted_users(
    limits: Iterable[Limit], now: datetime
) -> Iterator[tuple[Limit, dict[str, int]]]:
    """What each end user has used of each limit; the empty one stands for calls without any.

    Args:
        limits: per end user, none of them on calls at once.
    """
    for period, members in _by_period(limits, now):
        # Daily totals know neither keys nor hours.
        by_days = [x for x in members if x.key_id is None and x.window not in _BRIEF]
        by_rows = [limit for limit in members if limit not in by_days]
        if by_days:
            yield from _users_by_days(by_days, period)
        if by_rows:
            yield from _users_by_rows(by_rows, period)


def _by_period(limits: Iterable[Limit], now: datetime) -> Iterable[tuple[Period, list[Limit]]]:
    in_period: dict[Period, list[Limit]] = {}
    for limit in limits:
        in_period.setdefault(period_of(limit.window, limit.timezone, now), []).append(limit)
    return in_period.items()


def _by_subject(limit: Limit, by_key: dict[int, Used]) -> dict[str, int]:
    if limit.key_id is not None:
        by_key = {key_id: use for key_id, use in by_key.items() if key_id == limit.key_id}
    if limit.per == Per.KEY:
        return {str(key_id): use[limit.unit] for key_id, use in by_key.items()}
    return {"": sum(use[limit.unit] for use in by_key.values())}


def _spent(window: str, period: Period, team_ids: set[int]) -> Spent:
    """Totals are of quarters of an hour; a minute is looked up in the ledger."""
    minute = window == Window.MINUTE
    rows = LedgerEntry.objects.all() if minute else SpendTotal.objects.all()
    rows = _within(rows.filter(team_id__in=team_ids), "started_at" if minute else "quarter", period)
    calls = Count("id", filter=Q(entry=0)) if minute else Sum("requests")
    spent: Spent = {}
    for (team_id, key_id), used in _summed(rows, ("team_id", "key_id"), calls):
        spent.setdefault(team_id, {})[key_id] = used
    return spent


def _users_by_days(
    limits: Sequence[Limit], period: Period
) -> Iterator[tuple[Limit, dict[str, int]]]:
    team_ids = {limit.team_id for limit in limits}
    rows = LabelTotal.objects.filter(kind=LabelTotal.Kind.END_USER, team_id__in=team_ids)
    if period.end is not None:
        # All of them have the same days in this period, whatever their zones are called.
        zone = ZoneInfo(limits[0].timezone)
        last = (period.end - timedelta(seconds=1)).astimezone(zone).date()
        rows = rows.filter(day__range=(period.start.astimezone(zone).date(), last))
    users: dict[int, dict[str, Used]] = {}
    for (team_id, user), used in _summed(rows, ("team_id", "label"), Sum("requests")):
        users.setdefault(team_id, {})[user] = used
    whole = _spent(limits[0].window, period, team_ids)
    for limit in limits:
        uses = {user: use[limit.unit] for user, use in users.get(limit.team_id, {}).items()}
        # Calls that name no end user have no daily total: they are the rest.
        in_all = sum(use[limit.unit] for use in whole.get(limit.team_id, {}).values())
        yield limit, uses | {"": max(0, in_all - sum(uses.values()))}


def _users_by_rows(
    limits: Sequence[Limit], period: Period
) -> Iterator[tuple[Limit, dict[str, int]]]:
    teams = {limit.team_id for limit in limits}
    rows: QuerySet[Any] = LedgerEntry.objects.filter(team_id__in=teams)
    if all(limit.key_id for limit in limits):
        rows = rows.filter(key_id__in={limit.key_id for limit in limits})
    rows = _within(rows, "started_at", period)
    calls = Count("id", filter=Q(entry=0))
    found = list(_summed(rows, ("team_id", "key_id", "end_user"), calls))
    for limit in limits:
        uses: dict[str, int] = {}
        for (team_id, key_id, user), used in found:
            if team_id == limit.team_id and limit.key_id in (None, key_id):
                uses[user] = uses.get(user, 0) + used[limit.unit]
        yield limit, uses


def _within(rows: QuerySet[Any], column: str, period: Period) -> QuerySet[Any]:
    rows = rows.filter(**{f"{column}__gte": period.start})
    return rows if period.end is None else rows.filter(**{f"{column}__lt": period.end})


def _summed(
    rows: QuerySet[Any], by: tuple[str, ...], calls: Count | Sum
) -> Iterator[tuple[tuple[Any, ...], Used]]:
    """What each group of rows used."""
    summed = (
        rows.order_by()
        .values(*by)
        .annotate(
            calls=calls,
            tokens=Sum(F("input_tokens") + F("output_tokens")),
            cost=Sum("cost_nano_usd", default=0),
        )
    )
    for *group, requests, tokens, cost in summed.values_list(*by, "calls", "tokens", "cost"):
        used: Used = {
            Unit.REQUESTS: int(requests),
            Unit.TOKENS: int(tokens),
            Unit.USD: int(cost),
        }
        yield tuple(group), used
