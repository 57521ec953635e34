"""Counters are made when they are first asked for: one limit's, of one subject in one period.

A limit that is made during a period begins with what the ledger has of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from billing import models
from billing.charging import lock_new_counters
from billing.ledger_use import ledger_use, may_be_in_ledger


@dataclass(frozen=True, slots=True)
class CounterKey:
    """What identifies a counter."""

    limit_id: int
    subject: str
    start: datetime
    end: datetime | None


def find_or_open(keys: Sequence[CounterKey]) -> dict[CounterKey, int]:
    """The ids of counters; those that are not there yet are made. Call it in a transaction.

    A key whose limit is gone is left out.
    """
    found = _find(keys)
    missing = [key for key in keys if key not in found]
    if not missing:
        return found
    # The locks make new counters wait for an edit of their ceiling, and for rows of the ledger
    # that are being posted and would be in neither the sum nor the counter.
    limits = lock_limits(key.limit_id for key in missing)
    if any(may_be_in_ledger(limits[k.limit_id], k.start) for k in missing if k.limit_id in limits):
        lock_new_counters()
    found |= _find(missing)
    for key in missing:
        limit = limits.get(key.limit_id)
        if key not in found and limit is not None:
            counter = models.Counter.objects.create(
                limit=limit,
                subject=key.subject,
                period_start=key.start,
                period_end=key.end,
                ceiling=limit.ceiling,
                taken=_starting_use(limit, key),
            )
            found[key] = counter.pk
    return found


def _starting_use(limit: models.Limit, key: CounterKey) -> int:
    """A limit made during a period counts what came before it."""
    if may_be_in_ledger(limit, key.start):
        return ledger_use(limit, key.subject, key.start, key.end)
    return 0


def _find(keys: Sequence[CounterKey]) -> dict[CounterKey, int]:
    if not keys:
        return {}
    by_identity = {(key.limit_id, key.subject, key.start): key for key in keys}
    rows = models.Counter.objects.filter(
        limit_id__in={key.limit_id for key in keys},
        subject__in={key.subject for key in keys},
        period_start__in={key.start for key in keys},
    ).values_list("limit_id", "subject", "period_start", "id")
    return {by_identity[row[:3]]: row[3] for row in rows if row[:3] in by_identity}


def lock_limits(ids: Iterable[int]) -> dict[int, models.Limit]:
    rows = models.Limit.objects.select_for_update(no_key=True).order_by("id")
    return {limit.pk: limit for limit in rows.filter(id__in=set(ids))}
