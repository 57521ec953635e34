"""What the ledger says of limits that no counter counts: soft ones, and new ones before a call.

A query for each period that they are in, however many they are.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Count, F, Q, Sum

from billing.models import LedgerEntry, Limit, Per, SpendTotal, Unit, Window
from billing.periods import Period, period_of

# By team, then by key: what was used, by unit.
Spent = dict[int, dict[int, dict[str, int]]]


def uncounted_use(limits: Iterable[Limit], now: datetime) -> dict[int, dict[str, int]]:
    """By limit, what each of its subjects has used in the period that runs.

    Args:
        limits: of teams and keys, none of them on calls at once.
    """
    in_period: dict[Period, list[Limit]] = {}
    for limit in limits:
        in_period.setdefault(period_of(limit.window, limit.timezone, now), []).append(limit)
    found: dict[int, dict[str, int]] = {}
    for period, members in in_period.items():
        spent = _spent(members[0].window, period, {limit.team_id for limit in members})
        for limit in members:
            found[limit.pk] = _by_subject(limit, spent.get(limit.team_id, {}))
    return found


def _by_subject(limit: Limit, by_key: dict[int, dict[str, int]]) -> dict[str, int]:
    if limit.key_id is not None:
        by_key = {key_id: use for key_id, use in by_key.items() if key_id == limit.key_id}
    if limit.per == Per.KEY:
        return {str(key_id): use[limit.unit] for key_id, use in by_key.items()}
    return {"": sum(use[limit.unit] for use in by_key.values())}


def _spent(window: str, period: Period, team_ids: set[int]) -> Spent:
    """Totals are of quarters of an hour; a minute is looked up in the ledger."""
    minute = window == Window.MINUTE
    rows = LedgerEntry.objects.all() if minute else SpendTotal.objects.all()
    column = "started_at" if minute else "quarter"
    rows = rows.filter(**{"team_id__in": team_ids, f"{column}__gte": period.start})
    if period.end is not None:
        rows = rows.filter(**{f"{column}__lt": period.end})
    grouped = rows.order_by().values("team_id", "key_id")
    summed = grouped.annotate(
        calls=Count("id", filter=Q(entry=0)) if minute else Sum("requests"),
        tokens=Sum(F("input_tokens") + F("output_tokens")),
        cost=Sum("cost_nano_usd", default=0),
    )
    spent: Spent = {}
    columns = ("team_id", "key_id", "calls", "tokens", "cost")
    for team_id, key_id, calls, tokens, cost in summed.values_list(*columns):
        spent.setdefault(team_id, {})[key_id] = {
            Unit.REQUESTS: int(calls),
            Unit.TOKENS: int(tokens),
            Unit.USD: int(cost),
        }
    return spent
