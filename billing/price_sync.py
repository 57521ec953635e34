"""Brings the price book up to the price list. Safe to repeat: applied twice it changes nothing.

A name whose latest price was set by hand belongs to the administrator and is left alone.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter

from django.db import transaction

from billing import models
from billing.price_book import BookedPrice, booked
from billing.price_edits import is_new, price_row
from billing.price_list import SOURCE, ListedPrice, listed_prices, source


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did, or would do.

    Attributes:
        added: the prices that were added, in the order of the list.
        kept: names, as (kind, model), left alone because their price was set by hand.
    """

    added: tuple[BookedPrice, ...]
    kept: tuple[tuple[str, str], ...]


def sync_prices(now: datetime, *, dry_run: bool = False) -> SyncReport:
    """Add every listed price that the book does not have yet. A dry run takes it all back."""
    with transaction.atomic():
        known = _known_rows()
        listed: dict[tuple[str, str], list[ListedPrice]] = defaultdict(list)
        for price in listed_prices():
            listed[price.kind, price.model].append(price)
        added: list[models.Price] = []
        kept = []
        edition = source()
        for name, steps in listed.items():
            rows = known[name]
            if rows and not rows[-1].source.startswith(f"{SOURCE} "):
                kept.append(name)
            else:
                added += _new_rows(rows, _counting(rows, steps, now), edition, now.date())
        # Some hundreds at the first start: one by one they would be most of it.
        models.Price.objects.bulk_create(added)
        transaction.set_rollback(dry_run)
    return SyncReport(tuple(map(booked, added)), tuple(kept))


def _known_rows() -> dict[tuple[str, str], list[models.Price]]:
    known: dict[tuple[str, str], list[models.Price]] = defaultdict(list)
    for row in models.Price.objects.filter(provider="").order_by("effective_from"):
        known[row.kind, row.model].append(row)
    return known


def _counting(
    rows: list[models.Price], steps: list[ListedPrice], now: datetime
) -> list[ListedPrice]:
    """Steps that count. Once a name has prices its past is settled: only today's and later do."""
    if not rows:
        return steps
    past = [step for step in steps if step.effective_from <= now]
    counting = [step for step in steps if step.effective_from > now]
    if past:
        today, newest = past[-1], max(row.effective_from for row in rows)
        begins = today.effective_from if today.effective_from > newest else now
        counting.insert(0, ListedPrice(today.kind, today.model, begins, today.price))
    return counting


def _new_rows(
    rows: list[models.Price], steps: list[ListedPrice], edition: str, checked_on: date
) -> list[models.Price]:
    """What these steps add to the rows of their name, not saved."""
    added: list[models.Price] = []
    for step in steps:
        row = price_row(
            step.price,
            kind=step.kind,
            model=step.model,
            effective_from=step.effective_from,
            source=edition,
            checked_on=checked_on,
        )
        holding = [one for one in (*rows, *added) if one.effective_from <= row.effective_from]
        if is_new(row, max(holding, key=attrgetter("effective_from"), default=None)):
            added.append(row)
    return added
