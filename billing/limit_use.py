"""How limits stand now: what is used of them in the period that runs, by counters where there are
any, else by the ledger. A few queries, however many limits there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest
from typing import Any

from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    F,
    Func,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import Coalesce, RowNumber

from billing.ledger_use import may_be_in_ledger
from billing.models import Counter, Holding, Limit, Per, Unit
from billing.periods import period_of
from billing.uncounted_use import uncounted_use, uncounted_users
from keys.models import ApiKey

# In whole numbers, as both databases divide them.
_FIFTH = Func(
    F("ceiling"),
    Value(5),
    arg_joiner=" / ",
    template="(%(expressions)s)",
    output_field=BigIntegerField(),
)
MOST_SHOWN = 5
NO_END_USER = "calls without an end user"
Uses = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A limit and what a subject has used of it now: nano-dollars for usd, else a count.

    Attributes:
        subject: the key's or end user's name where each has a limit of its own; empty for a team.
        used: without what workers hold, except of calls at once, which are nothing but held.
        held: what workers hold for running calls, and keep ready for the next ones.
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
    held: int
    reset_at: datetime | None

    @property
    def percent(self) -> int:
        """Used of the ceiling, whole percent; a ceiling of nothing is full."""
        return self.used * 100 // self.ceiling if self.ceiling else 100

    @property
    def remaining(self) -> int:
        return max(0, self.ceiling - self.used)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands now.

    Attributes:
        shared: all its calls count together, so `most` has exactly one.
        subjects: how many keys or end users have used something.
        near: how many of them have used 80 % or more.
        most: those that have used the most, at most MOST_SHOWN.
    """

    shared: bool
    subjects: int
    near: int
    most: tuple[LimitUse, ...]
    reset_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Crowd:
    subjects: int
    near: int
    most: list[tuple[str, int]]


def limits_in_use(now: datetime, *, team_id: int | None = None) -> tuple[LimitUse, ...]:
    """Limits of teams and keys in their present period; those per end user are left out."""
    limits = Limit.objects.exclude(per=Per.END_USER).select_related("team", "key")
    if team_id is not None:
        limits = limits.filter(team_id=team_id)
    return tuple(_uses(list(limits.order_by("team__name", "pk")), now))


def standings(limits: Sequence[Limit], now: datetime) -> dict[int, Standing]:
    """How each of some limits stands, by its id.

    Args:
        limits: read together with their team and key.
    """
    uses: dict[int, list[LimitUse]] = {}
    for use in _uses([limit for limit in limits if limit.per != Per.END_USER], now):
        uses.setdefault(use.limit_id, []).append(use)
    crowds = _crowds([limit for limit in limits if limit.per == Per.END_USER], now)
    return {
        limit.pk: _of_users(limit, crowds[limit.pk], now)
        if limit.pk in crowds
        else _of_owner(limit, uses[limit.pk])
        for limit in limits
    }


def _of_owner(limit: Limit, uses: Sequence[LimitUse]) -> Standing:
    shared = limit.per == Per.TEAM or limit.key is not None
    used = [use for use in uses if use.used]
    near = sum(use.used >= _near(limit) for use in used)
    most = uses if shared else nlargest(MOST_SHOWN, used, key=lambda use: use.used)
    return Standing(shared, len(used), near, tuple(most), uses[0].reset_at)


def _of_users(limit: Limit, crowd: _Crowd, now: datetime) -> Standing:
    reset_at = period_of(limit.window, limit.timezone, now).end
    most = tuple(
        _limit_use(limit, subject or NO_END_USER, used, 0, reset_at) for subject, used in crowd.most
    )
    return Standing(
        shared=False, subjects=crowd.subjects, near=crowd.near, most=most, reset_at=reset_at
    )


def _uses(limits: Sequence[Limit], now: datetime) -> Iterator[LimitUse]:
    """Of limits on teams and keys, each subject of each."""
    counters: dict[int, list[Any]] = {}
    for counter in (
        Counter.objects.filter(_current(now), limit__in=limits)
        .annotate(held=Sum("holdings__amount"))
        .order_by("subject")
    ):
        counters.setdefault(counter.limit_id, []).append(counter)
    names = _key_names(limits)
    ledger = uncounted_use([row for row in limits if _is_uncounted(row, counters, now)], now)
    for limit in limits:
        counted = {c.subject: _counted(limit, c) for c in counters.get(limit.pk, [])}
        used = {subject: (use, 0) for subject, use in ledger.get(limit.pk, {}).items()} or counted
        reset_at = period_of(limit.window, limit.timezone, now).end
        for subject, (use, held) in used.items() or [("", (0, 0))]:
            name = limit.key.name if limit.key else names.get(subject, subject)
            yield _limit_use(limit, name, use, held, reset_at)


def _current(now: datetime) -> Q:
    return Q(period_start__lte=now) & (Q(period_end=None) | Q(period_end__gt=now))


def _is_uncounted(limit: Limit, counters: Mapping[int, Any], now: datetime) -> bool:
    """Nothing counts a soft limit, nor a new one before the first call under it."""
    start = period_of(limit.window, limit.timezone, now).start
    return limit.soft or (limit.pk not in counters and may_be_in_ledger(limit, start))


def _counted(limit: Limit, counter: Any) -> tuple[int, int]:
    """What is used, and what workers hold."""
    held = int(counter.held or 0)
    # What workers hold is not yet used, but for calls at once: those are nothing but held.
    return (counter.taken if limit.unit == Unit.CONCURRENT else counter.taken - held), held


def _key_names(limits: Sequence[Limit]) -> dict[str, str]:
    teams = {limit.team_id for limit in limits if limit.per == Per.KEY}
    rows = ApiKey.objects.filter(team__in=teams).values_list("pk", "name")
    return {str(key_id): name for key_id, name in rows}


def _limit_use(
    limit: Limit, subject: str, used: int, held: int, reset_at: datetime | None
) -> LimitUse:
    return LimitUse(
        limit_id=limit.pk,
        team_id=limit.team_id,
        team=limit.team.name,
        subject=subject,
        unit=limit.unit,
        window=limit.window,
        soft=limit.soft,
        ceiling=limit.ceiling,
        used=used,
        held=held,
        reset_at=reset_at,
    )


def _crowds(limits: Sequence[Limit], now: datetime) -> dict[int, _Crowd]:
    """Of limits on each end user: there may be a great many, so only the foremost are read."""
    # Of a new limit the ledger knows the users, too, who have not called since it was made.
    in_ledger = [limit for limit in limits if _is_uncounted(limit, {}, now)]
    found = {limit.pk: _Crowd(0, 0, []) for limit in limits}
    for limit, uses in uncounted_users(in_ledger, now):
        found[limit.pk] = _crowd_of(limit, uses)
    counted = {limit.pk for limit in limits} - {limit.pk for limit in in_ledger}
    for row in _foremost(counted, now) if counted else ():
        crowd = found[row.limit_id]
        found[row.limit_id] = _Crowd(
            row.subjects, row.near, [*crowd.most, (row.subject, int(row.used))]
        )
    return found


def _crowd_of(limit: Limit, uses: Uses) -> _Crowd:
    used = [(subject, use) for subject, use in uses.items() if use > 0]
    near = sum(use >= _near(limit) for _, use in used)
    return _Crowd(len(used), near, nlargest(MOST_SHOWN, used, key=lambda pair: pair[1]))


def _near(limit: Limit) -> int:
    """80 % of the ceiling, rounded up; multiplied, the largest ones would pass a column's range."""
    return limit.ceiling - limit.ceiling // 5


def _foremost(limit_ids: set[int], now: datetime) -> Any:
    holdings = Holding.objects.filter(counter=OuterRef("pk")).order_by().values("counter")
    held = holdings.annotate(sum=Sum("amount")).values("sum")
    unused = Case(
        When(limit__unit=Unit.CONCURRENT, then=0),
        default=Coalesce(Subquery(held), 0, output_field=BigIntegerField()),
        output_field=BigIntegerField(),
    )
    near = Q(used__gte=F("ceiling") - _FIFTH)
    return (
        Counter.objects.filter(_current(now), limit__in=limit_ids)
        .annotate(used=F("taken") - unused)
        .filter(used__gt=0)
        .annotate(
            rank=Window(RowNumber(), partition_by="limit_id", order_by=[F("used").desc(), "pk"]),
            subjects=Window(Count("pk"), partition_by="limit_id"),
            near=Window(Count("pk", filter=near), partition_by="limit_id"),
        )
        .filter(rank__lte=MOST_SHOWN)
        .order_by("limit_id", "rank")
    )
