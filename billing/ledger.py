"""The door into the ledger: rows, totals, counters and holdings move in one transaction.

Posting the same entries twice is harmless: only rows that were not there move anything. A batch
that the database refuses for what is in it is halved until the bad row stands alone; that row
loses what it says before it loses what it cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from django.db import transaction

from billing.charging import charge, lock_posting
from billing.entries import Entry
from billing.ledger_rows import insert_rows
from billing.row_errors import is_about_the_rows
from billing.sanitizing import is_clean, sanitized, without_details
from billing.totals import add_to_totals

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of entries.

    Attributes:
        entries: the rows that were new, as they were stored.
        rejected: the entries that even without details the database would not take.
    """

    entries: tuple[Entry, ...]
    rejected: tuple[Entry, ...] = ()


def post(entries: Sequence[Entry], *, worker_id: int | None) -> Posted:
    """Write entries, once each, and move totals, counters and holdings with those that are new.

    Args:
        worker_id: the worker whose holdings cover the charges; None when nothing was held.

    Raises:
        django.db.Error: the database is away, or in no state to write. Whether anything was
            written is unknown: post the same entries again.
    """
    return _post([entry if is_clean(entry) else sanitized(entry) for entry in entries], worker_id)


def _post(entries: list[Entry], worker_id: int | None) -> Posted:
    try:
        return Posted(tuple(_post_together(entries, worker_id)))
    except Exception as error:
        if not is_about_the_rows(error):
            raise
        if len(entries) == 1:
            return _post_bare(entries[0], worker_id)
    middle = len(entries) // 2
    first = _post(entries[:middle], worker_id)
    second = _post(entries[middle:], worker_id)
    return Posted(first.entries + second.entries, first.rejected + second.rejected)


def _post_together(entries: list[Entry], worker_id: int | None) -> list[Entry]:
    if not entries:
        return []
    with transaction.atomic():
        lock_posting()
        fresh = insert_rows(entries)
        if fresh:
            add_to_totals(fresh)
            charge(fresh, worker_id)
    return fresh


def _post_bare(entry: Entry, worker_id: int | None) -> Posted:
    bare = replace(without_details([entry])[0], end_user="", error_code="")
    try:
        return Posted(tuple(_post_together([bare], worker_id)))
    except Exception as error:
        if not is_about_the_rows(error):
            raise
        log.error("ledger_entry_rejected", request_id=entry.request_id, error=str(error))
        return Posted((), (entry,))
