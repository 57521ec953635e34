"""What the subjects of a limit used in a period, for alerts: from totals, so that a look every few
seconds costs little; from ledger rows only for short windows and where totals cannot tell.
"""

from collections.abc import Collection
from datetime import timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Count, F, Q, QuerySet, Sum

from billing.limit_rules import LimitRule
from billing.models import LabelTotal, LedgerEntry, Per, SpendTotal, Unit, Window
from billing.periods import Period

Uses = dict[str, int]
# A team that moves may have days of two zones beside one another, which differ by up to 26 hours.
_ZONES_APART = timedelta(days=2)
_CLOCK_MARGIN = timedelta(minutes=1)
_AT_ONCE = 500


def uses_of(
    rule: LimitRule, period: Period, subjects: Collection[str] | None, least: Fraction
) -> Uses:
    """The subjects that used something, and at least so much, in the limit's unit.

    Args:
        subjects: None for all that there are.
    """
    if rule.window == Window.MINUTE or (rule.per == Per.END_USER and rule.window == Window.HOUR):
        found = _by_ledger(rule, period, subjects)
    elif rule.per == Per.END_USER:
        found = _of_end_users(rule, period, subjects, least)
    else:
        found = _by_spend_totals(rule, period, subjects)
    return {subject: int(use) for subject, use in found.items() if 0 < use >= least}


def _of_end_users(
    rule: LimitRule, period: Period, subjects: Collection[str] | None, least: Fraction
) -> Uses:
    """Daily totals tell all of an end user, but not of one key, nor of a team that may have moved
    to another zone since the period began. There they only tell whom to look up.
    """
    same_days = period.end is None or rule.created_at + _CLOCK_MARGIN <= period.start
    told = rule.key_id is None and same_days
    margin = timedelta() if told else _ZONES_APART
    found = _by_label_totals(rule, period, subjects, margin)
    unsure = [] if told else [subject for subject, use in found.items() if use >= least]
    if subjects is None or "" in subjects:
        # Calls that name no end user have no daily total; they are part of their owner's.
        unsure += [""] if sum(_spend_by_key(rule, period).values()) >= least else []
    return (found if told else {}) | (_by_ledger(rule, period, unsure) if unsure else {})


def _by_spend_totals(rule: LimitRule, period: Period, subjects: Collection[str] | None) -> Uses:
    found = _spend_by_key(rule, period)
    if rule.scope == Per.TEAM:
        return {"": sum(found.values())}
    return {key: use for key, use in found.items() if subjects is None or key in subjects}


def _spend_by_key(rule: LimitRule, period: Period) -> Uses:
    rows = _within(SpendTotal.objects.filter(**_owner(rule)), "quarter", period)
    summed = rows.order_by().values("key_id").annotate(use=_summed_total(rule.unit))
    return {str(key): use for key, use in summed.values_list("key_id", "use")}


def _by_label_totals(
    rule: LimitRule, period: Period, subjects: Collection[str] | None, margin: timedelta
) -> Uses:
    rows = LabelTotal.objects.filter(kind=LabelTotal.Kind.END_USER, team_id=rule.team_id)
    if period.end is not None:
        zone = ZoneInfo(rule.timezone)
        last = (period.end - timedelta(seconds=1)).astimezone(zone).date() + margin
        rows = rows.filter(day__range=(period.start.astimezone(zone).date() - margin, last))
    summed = rows.order_by().values("label").annotate(use=_summed_total(rule.unit))
    return _each(summed, "label", subjects)


def _by_ledger(rule: LimitRule, period: Period, subjects: Collection[str] | None) -> Uses:
    rows = _within(LedgerEntry.objects.filter(**_owner(rule)), "started_at", period)
    summed = {
        Unit.REQUESTS.value: Count("id", filter=Q(entry=0)),
        Unit.TOKENS.value: Sum(F("input_tokens") + F("output_tokens")),
        Unit.USD.value: Sum("cost_nano_usd", default=0),
    }[rule.unit]
    if rule.scope == Per.TEAM:
        return {"": rows.aggregate(use=summed)["use"] or 0}
    by = "key_id" if rule.scope == Per.KEY else "end_user"
    return _each(rows.order_by().values(by).annotate(use=summed), by, subjects)


def _each(rows: QuerySet[Any, Any], by: str, subjects: Collection[str] | None) -> Uses:
    if subjects is None:
        return {str(subject): use for subject, use in rows.values_list(by, "use")}
    wanted, found = sorted(subjects), Uses()
    for first in range(0, len(wanted), _AT_ONCE):
        some = rows.filter(**{f"{by}__in": wanted[first : first + _AT_ONCE]})
        found.update((str(subject), use) for subject, use in some.values_list(by, "use"))
    return found


def _owner(rule: LimitRule) -> dict[str, int]:
    of_team = {"team_id": rule.team_id}
    return of_team if rule.key_id is None else of_team | {"key_id": rule.key_id}


def _within(rows: QuerySet[Any], column: str, period: Period) -> QuerySet[Any]:
    rows = rows.filter(**{f"{column}__gte": period.start})
    return rows if period.end is None else rows.filter(**{f"{column}__lt": period.end})


def _summed_total(unit: str) -> Sum:
    return {
        Unit.REQUESTS.value: Sum("requests"),
        Unit.TOKENS.value: Sum(F("input_tokens") + F("output_tokens")),
        Unit.USD.value: Sum("cost_nano_usd"),
    }[unit]
