"""Moves ended entries from memory into the ledger, in a thread with a connection of its own.

While the database is away the entries wait here, and in the journal should the process die; the
writer tries again for ever. An outcome that is unknown is posted again. In a long outage what
memory need not hold is left in the journal, and read back when its turn comes. A row that the
database refuses for itself alone is set aside and tried again now and then, a batch at a time.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from django.db import connection, connections

from billing.entries import Charge, Entry
from billing.journal import Journal
from billing.ledger import post

BATCH_SECONDS = 0.25
BATCH_ROWS = 1000
SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
# Some 100 MB; what is beyond stays in the journal alone.
MOST_WAITING = 50_000
ASIDE_SECONDS = 60.0

log = structlog.get_logger(__name__)


class LedgerWriter:
    """The background writer of one worker.

    Args:
        journal: told which requests the ledger has, so that it can forget them.
        on_posted: called in the writer's thread after each commit, with the charges by which
            this worker's holdings were lowered.
        worker_id: whose holdings these are; None in a process that holds nothing.
    """

    def __init__(
        self,
        journal: Journal,
        on_posted: Callable[[Sequence[Charge]], object],
        *,
        worker_id: int | None,
    ) -> None:
        self._journal = journal
        self._on_posted = on_posted
        self._worker_id = worker_id
        self._queue: deque[Entry] = deque()
        self._left_in_journal: deque[str] = deque()  # request ids
        self._set_aside: deque[Entry] = deque()
        self._aside_in_journal: deque[str] = deque()  # request ids
        self._aside_until = 0.0
        self._arrived = threading.Event()
        self._hurry = threading.Event()
        self._draining = threading.Event()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, entries: Sequence[Entry]) -> None:
        """Hand over the entries of a request that ended, after the journal has them."""
        if len(self._queue) >= MOST_WAITING and self._journal.has_end_of(entries[0].request_id):
            self._left_in_journal.append(entries[0].request_id)
        else:
            self._queue.extend(entries)
        if not self._arrived.is_set():
            self._arrived.set()
        if len(self._queue) >= BATCH_ROWS or _goes_beyond(entries):
            self._hurry.set()

    def waiting(self) -> int:
        """Entries in memory that are not in the ledger yet, but for the batch being written."""
        return len(self._queue)

    def set_aside(self) -> tuple[int, int]:
        """Refused entries that wait in memory, and requests of others that the journal keeps."""
        return len(self._set_aside), len(self._aside_in_journal)

    def drain(self, timeout_seconds: float) -> bool:
        """Write what is left and end the thread; False when time ran out first. What was not
        written is in the journal and is recovered at the next start."""
        self._draining.set()
        self._arrived.set()
        self._hurry.set()
        self._thread.join(timeout_seconds)
        self._abandoned.set()
        return not self._thread.is_alive() and not any(self.set_aside())

    def _run(self) -> None:
        try:
            while not self._abandoned.is_set() and not self._is_done():
                try:
                    self._take_a_turn()
                except Exception:
                    # A journal that cannot be read now, say: nobody else would write the rest.
                    log.exception("ledger_writer_stumbled")
                    self._abandoned.wait(LONGEST_PAUSE_SECONDS)
        finally:
            connections.close_all()

    def _is_done(self) -> bool:
        return self._draining.is_set() and not self._queue and not self._left_in_journal

    def _take_a_turn(self) -> None:
        batch = self._next_batch()
        if batch:
            self._write(batch)
        elif self._left_in_journal:
            self._read_back()
        if self._set_aside and time.monotonic() >= self._aside_until:
            self._try_again()

    def _next_batch(self) -> list[Entry]:
        self._arrived.wait(ASIDE_SECONDS if self._set_aside else None)
        self._hurry.wait(BATCH_SECONDS)
        if not self._draining.is_set():
            self._hurry.clear()
            self._arrived.clear()
        batch: list[Entry] = []
        # The entries of one request stay together: the journal forgets it as a whole.
        while self._queue and (
            len(batch) < BATCH_ROWS or self._queue[0].request_id == batch[-1].request_id
        ):
            batch.append(self._queue.popleft())
        if self._queue or self._left_in_journal:
            self._arrived.set()
        return batch

    def _read_back(self) -> None:
        left = {self._left_in_journal.popleft() for _ in range(len(self._left_in_journal))}
        batch: list[Entry] = []
        try:
            for entries in self._journal.ends_of(left):
                batch += entries
                if len(batch) >= BATCH_ROWS:
                    self._write(batch)
                    batch = []
        except OSError:
            # All of them again: posting twice is harmless.
            self._left_in_journal.extend(left)
            raise
        if batch:
            self._write(batch)

    def _write(self, batch: list[Entry]) -> None:
        pause = SHORTEST_PAUSE_SECONDS
        while not self._abandoned.is_set():
            try:
                rejected = post(batch, worker_id=self._worker_id).rejected
            except Exception:
                # Whatever it is, the entries must not be lost.
                log.warning("ledger_not_written", entries=len(batch), exc_info=True)
                connection.close()
                self._abandoned.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                self._keep_aside(rejected)
                self._tell(rejected, batch)
                return

    def _keep_aside(self, rejected: Sequence[Entry]) -> None:
        for entry in rejected:
            if len(self._set_aside) >= MOST_WAITING and self._journal.has_end_of(entry.request_id):
                self._aside_in_journal.append(entry.request_id)
            else:
                self._set_aside.append(entry)
        if rejected:
            self._aside_until = time.monotonic() + ASIDE_SECONDS

    def _try_again(self) -> None:
        again = [self._set_aside.popleft() for _ in range(min(BATCH_ROWS, len(self._set_aside)))]
        self._write(again)
        if time.monotonic() >= self._aside_until:
            # None was refused: whatever it was is over for the others too.
            self._left_in_journal += self._aside_in_journal
            self._aside_in_journal.clear()
            self._arrived.set()

    def _tell(self, rejected: Sequence[Entry], batch: list[Entry]) -> None:
        refused = {(entry.request_id, entry.entry) for entry in rejected}
        incomplete = {entry.request_id for entry in rejected}
        # All of the batch, not only rows that were new: an earlier try may have committed unheard.
        written = [entry for entry in batch if (entry.request_id, entry.entry) not in refused]
        try:
            self._on_posted([charge for entry in written for charge in entry.charges])
            self._journal.posted({entry.request_id for entry in written} - incomplete)
        except Exception:
            log.exception("posted_entries_not_told")


def _goes_beyond(entries: Sequence[Entry]) -> bool:
    """Whether no holding covers all of it: until it is posted other workers see false room."""
    return any(charge.excess for entry in entries for charge in entry.charges)
