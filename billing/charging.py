"""Moves counters and holdings by ledger rows, so that the books stay equal.

`counter.taken = ledger rows of its period + what workers hold`. A row raises the first part of
every counter that covers it; the charges it carries say which of that its worker held already.
So `taken` moves by what the rows amount to less what the holdings give up, whatever a charge
claims: a holding that is smaller, or gone, or a counter the worker did not know, changes nothing
in the equation.
"""

from collections import Counter as Tally
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from billing.entries import Entry
from billing.models import Counter, Holding, Per, Unit

# Any number, the same in all processes: names the lock between posting and new counters.
_POSTING_LOCK = 7_309_412_086


@dataclass(frozen=True, slots=True)
class OpenCounter:
    """A counter, and which entries it covers."""

    id: int
    unit: str
    per: str
    team_id: int
    key_id: int | None
    subject: str
    period_start: datetime
    period_end: datetime | None

    def is_of(self, team_id: int, key_id: int, end_user: str) -> bool:
        return (
            self.team_id == team_id
            and self.key_id in (None, key_id)
            and self.subject == self._subject(key_id, end_user)
        )

    def is_open_at(self, at: datetime) -> bool:
        return self.period_start <= at and (self.period_end is None or at < self.period_end)

    def _subject(self, key_id: int, end_user: str) -> str:
        if self.per == Per.END_USER:
            return end_user
        return "" if self.per == Per.TEAM and self.key_id is None else str(key_id)


def amount_of(entry: Entry, unit: str) -> int:
    """What an entry takes from a counter of a unit."""
    if unit == Unit.REQUESTS:
        return 0 if entry.entry else 1
    if unit == Unit.USD:
        return entry.cost_nano_usd or 0
    return entry.input_tokens + entry.output_tokens


def lock_posting() -> None:
    """Wait, in a transaction that posts, for counters that are being opened (see below)."""
    _advisory_lock("pg_advisory_xact_lock_shared")


def lock_new_counters() -> None:
    """Wait, in a transaction that opens a counter from the ledger of its period, for all that is
    being posted: those rows would be in neither the sum nor the counter. SQLite has one writer.
    """
    _advisory_lock("pg_advisory_xact_lock")


def charge(entries: Sequence[Entry], worker_id: int | None) -> None:
    """Move every counter that covers a row that was just posted, inside its transaction.

    Args:
        worker_id: whose holdings the charges lower; None when nobody held anything.
    """
    covered = Tally[int]()
    for entry in entries:
        for charged in entry.charges:
            covered[charged.counter_id] += charged.amount - charged.excess
    changes = Tally[int](_amounts(entries))
    # Counters before holdings, both in order of id, as whoever takes or gives back does.
    there = _locked_counters({*changes, *covered})
    lowered = _lowered(worker_id, {id: covered[id] for id in there if covered[id]})
    changes.subtract(lowered)
    _add_to_counters({id: changes[id] for id in there if changes[id]})
    if worker_id is not None and lowered:
        _lower_holdings(worker_id, lowered)


def open_counters(entries: Iterable[Entry]) -> list[OpenCounter]:
    """Counters that may cover one of the entries: of their teams, subjects and time."""
    entries = list(entries)
    started = [entry.started_at for entry in entries]
    subjects = {""}
    subjects.update(str(entry.key_id) for entry in entries)
    subjects.update(entry.end_user for entry in entries)
    rows = (
        Counter.objects.filter(
            limit__team_id__in={entry.team_id for entry in entries},
            subject__in=subjects,
            period_start__lte=max(started),
        )
        .exclude(limit__unit=Unit.CONCURRENT)
        .exclude(period_end__lte=min(started))
        .values_list(
            "id",
            "limit__unit",
            "limit__per",
            "limit__team_id",
            "limit__key_id",
            "subject",
            "period_start",
            "period_end",
        )
    )
    return [OpenCounter(*row) for row in rows]


def _amounts(entries: Sequence[Entry]) -> dict[int, int]:
    counters = open_counters(entries)
    if not counters:
        return {}
    of_caller: dict[tuple[int, int, str], list[OpenCounter]] = {}
    amounts = dict.fromkeys([counter.id for counter in counters], 0)
    for entry in entries:
        caller = (entry.team_id, entry.key_id, entry.end_user)
        theirs = of_caller.get(caller)
        if theirs is None:
            theirs = of_caller[caller] = [c for c in counters if c.is_of(*caller)]
        for counter in theirs:
            if counter.is_open_at(entry.started_at):
                amounts[counter.id] += amount_of(entry, counter.unit)
    return amounts


def _locked_counters(ids: set[int]) -> list[int]:
    """Those that still exist."""
    if not ids:
        return []
    rows = Counter.objects.select_for_update(no_key=True).filter(id__in=ids).order_by("id")
    return list(rows.values_list("id", flat=True))


def _lowered(worker_id: int | None, covered: dict[int, int]) -> dict[int, int]:
    """How much each holding gives up: what the charges say, at most what is there."""
    if worker_id is None or not covered:
        return {}
    rows = (
        Holding.objects.select_for_update(no_key=True)
        .filter(worker_id=worker_id, counter_id__in=covered)
        .order_by("counter_id")
    )
    held = dict(rows.values_list("counter_id", "amount"))
    return {id: min(held[id], amount) for id, amount in covered.items() if held.get(id)}


def release_holdings(worker_id: int, units: Collection[str] = tuple(Unit)) -> int:
    """Give back all that a worker holds, which must be dead or done; returns how many holdings.

    Call it in a transaction: what the worker spent must be posted by then.

    Args:
        units: holdings of limits on others stay.
    """
    holdings = Holding.objects.filter(worker_id=worker_id)
    of_units = holdings.filter(counter__limit__unit__in=units)
    counter_ids = set(of_units.values_list("counter_id", flat=True))
    _locked_counters(counter_ids)
    holdings = holdings.filter(counter_id__in=counter_ids)
    held = dict(
        holdings.select_for_update(no_key=True)
        .order_by("counter_id")
        .values_list("counter_id", "amount")
    )
    _add_to_counters({id: -amount for id, amount in held.items() if amount})
    holdings.delete()
    return len(held)


def _add_to_counters(changes: dict[int, int]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(
                "UPDATE billing_counter SET taken = taken + %s WHERE id = %s",
                [(change, id) for id, change in changes.items()],
            )
        elif changes:
            cursor.execute(
                "UPDATE billing_counter SET taken = taken + by.change"
                " FROM unnest(%s::bigint[], %s::bigint[]) AS by(id, change)"
                " WHERE billing_counter.id = by.id",
                [list(changes), list(changes.values())],
            )


def _lower_holdings(worker_id: int, lowered: dict[int, int]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(
                "UPDATE billing_holding SET amount = amount - %s"
                " WHERE counter_id = %s AND worker_id = %s",
                [(amount, id, worker_id) for id, amount in lowered.items()],
            )
        else:
            cursor.execute(
                "UPDATE billing_holding SET amount = amount - by.lowered"
                " FROM unnest(%s::bigint[], %s::bigint[]) AS by(id, lowered)"
                " WHERE counter_id = by.id AND worker_id = %s",
                [list(lowered), list(lowered.values()), worker_id],
            )


def _advisory_lock(function: str) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(%s)", [_POSTING_LOCK])
