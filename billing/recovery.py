"""Finishes what dead workers left: their journals into the ledger, their holdings back.

A worker is dead when the locks on its journal can be taken; whoever recovers holds one meanwhile.
Every step may be repeated: entries are posted once each, and the last posting and the release of
the holdings are one transaction. Then the files go, then the worker's row. When the database
fails in between, the next start begins again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from django.db import transaction

from billing.charging import amount_of, release_holdings
from billing.entries import Charge, Entry, Unfinished
from billing.journal_folder import lock_path, segment_paths, taken_over, workers_in
from billing.journal_lines import follow, read_lines
from billing.ledger import post
from billing.models import EntryStatus, LedgerEntry, Unit, Worker
from billing.pricing import Price, cost
from billing.usage import Usage
from billing.workers import host_of, retire

BATCH_ROWS = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What recovery found.

    Attributes:
        workers: dead workers, with or without a journal.
        ended: entries that had ended and were not in the ledger yet.
        unfinished: requests that had not ended and are `recovered` now.
        damaged_lines: journal lines that could not be believed.
        rejected: entries that the database would not take; their journals are kept.
    """

    workers: int = 0
    ended: int = 0
    unfinished: int = 0
    damaged_lines: int = 0
    rejected: int = 0

    def __add__(self, other: "Recovered") -> "Recovered":
        return Recovered(
            self.workers + other.workers,
            self.ended + other.ended,
            self.unfinished + other.unfinished,
            self.damaged_lines + other.damaged_lines,
            self.rejected + other.rejected,
        )


def recover_leftovers(directory: Path) -> Recovered:
    """Recover every journal in a folder whose worker is dead.

    Raises:
        django.db.Error: the database is away; nothing is lost, call it again.
    """
    found = Recovered()
    for worker in sorted(workers_in(directory)):
        found += _recover_if_dead(directory, worker)
    for row in Worker.objects.filter(host=host_of(directory)):
        files = (lock_path(directory, row.name), *segment_paths(directory, row.name))
        if not any(path.exists() for path in files):
            retire(row.pk)
            found += Recovered(workers=1)
    if found.workers:
        log.warning("journals_recovered", **_figures(found))
    return found


def recovered_entries(call: Unfinished) -> list[Entry]:
    """What a request that never ended is billed: entry 0 is its last attempt, then those before
    that cost something. An attempt that was over is billed what it cost; one that was running
    its input as estimated and its output as seen."""
    paid = list(call.paid)
    if call.is_between:
        first = replace(paid.pop(), status=EntryStatus.RECOVERED.value, error_code="")
    else:
        first = _as_seen(call)
    entries = [replace(one, entry=number, attempts=()) for number, one in enumerate(paid, start=1)]
    return _charged([first, *entries], call.admission.holds)


def _as_seen(call: Unfinished) -> Entry:
    admission, template = call.admission, call.admission.template
    charged: int | None = None
    if admission.input_price is not None and admission.output_price is not None:
        price = Price(id=0, input=admission.input_price, output=admission.output_price)
        usage = Usage(input_tokens=template.input_tokens, output_tokens=call.output_tokens)
        charged = cost(usage, price)
    return replace(
        template,
        output_tokens=call.output_tokens,
        cost_nano_usd=charged,
        flags=(*template.flags, "uncertain"),
    )


def _charged(entries: Sequence[Entry], holds: Sequence[tuple[int, str, int]]) -> list[Entry]:
    """Give each entry its own part of what the call held; what goes beyond it is excess."""
    left = {counter_id: held for counter_id, unit, held in holds if unit != Unit.CONCURRENT}
    charged = []
    for entry in entries:
        charges = []
        for counter_id, unit, _ in holds:
            if counter_id in left and (amount := amount_of(entry, unit)):
                covered = min(amount, left[counter_id])
                left[counter_id] -= covered
                charges.append(Charge(counter_id, amount, excess=amount - covered))
        charged.append(replace(entry, charges=tuple(charges)))
    return charged


def _recover_if_dead(directory: Path, worker: str) -> Recovered:
    try:
        with taken_over(directory, worker) as is_dead:
            return _recover(directory, worker) if is_dead else Recovered()
    except (OSError, TypeError, ValueError) as error:
        # Whatever it is about this one, the others must not wait for it.
        _tell_once("journal_not_recovered", journal=worker, error=repr(error))
        return Recovered()


def _recover(directory: Path, worker: str) -> Recovered:
    row = Worker.objects.filter(name=worker).first()
    worker_id = row.pk if row else None
    paths = segment_paths(directory, worker)
    found, unfinished, damaged = _post_ended(paths, worker_id)
    posted_already = _in_ledger(unfinished)
    with transaction.atomic():
        entries = [
            entry
            for call in unfinished
            if call.admission.template.request_id not in posted_already
            for entry in recovered_entries(call)
        ]
        posted = post(entries, worker_id=worker_id)
        if worker_id is not None:
            release_holdings(worker_id)
    requests = sum(entry.entry == 0 for entry in posted.entries)
    found += Recovered(1, unfinished=requests, rejected=len(posted.rejected))
    if not found.rejected:
        for path in damaged:
            # What it says beside may be worth money to somebody who can read it.
            path.rename(path.with_suffix(".damaged"))
        for path in [*paths, lock_path(directory, worker)]:
            path.unlink(missing_ok=True)
        if worker_id is not None:
            retire(worker_id)
    return found


def _in_ledger(calls: Sequence[Unfinished]) -> set[str]:
    """Requests whose end was posted, and went with its segment while another call needed the one
    that tells of their beginning."""
    found: set[str] = set()
    for start in range(0, len(calls), BATCH_ROWS):
        templates = [call.admission.template for call in calls[start : start + BATCH_ROWS]]
        rows = LedgerEntry.objects.filter(
            started_at__in={template.started_at for template in templates},
            request_id__in={template.request_id for template in templates},
            entry=0,
        )
        found.update(rows.values_list("request_id", flat=True))
    return found


def _post_ended(
    paths: list[Path], worker_id: int | None
) -> tuple[Recovered, list[Unfinished], list[Path]]:
    """What was posted, what had not ended, and which files hold damage."""
    running: dict[str, Unfinished] = {}
    found = Recovered()
    damaged: list[Path] = []
    batch: list[Entry] = []
    for path in paths:
        lines = 0
        for record in read_lines(path.read_bytes()):
            ended = _followed(record, running)
            lines += ended is None
            batch += ended or ()
            if len(batch) >= BATCH_ROWS:
                found += _post_batch(batch, worker_id)
                batch = []
        if lines:
            _tell_once("journal_lines_damaged", journal=path.name, lines=lines)
            found += Recovered(damaged_lines=lines)
            damaged.append(path)
    return found + _post_batch(batch, worker_id), list(running.values()), damaged


def _followed(record: dict[str, Any] | None, running: dict[str, Unfinished]) -> list[Entry] | None:
    """The entries that a record ends with; None where it cannot be understood."""
    if record is None:
        return None
    try:
        return follow(record, running)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _post_batch(batch: list[Entry], worker_id: int | None) -> Recovered:
    posted = post(batch, worker_id=worker_id)
    return Recovered(ended=len(posted.entries), rejected=len(posted.rejected))


def _figures(found: Recovered) -> dict[str, int]:
    return {name: getattr(found, name) for name in Recovered.__slots__}


@cache  # Recovery comes back every few seconds; the log hears of one thing once.
def _tell_once(event: str, **figures: str | int) -> None:
    log.error(event, **figures)
