"""Writes calls that were turned away to the database, for the log page, in a thread of its own.

Refusals are no money: when they come faster than they can be written, or the database is away,
the newest are dropped and counted, and nothing waits for them.
"""

import threading
from collections import deque
from operator import attrgetter
from typing import Any

import structlog
from django.db import Error, connections
from django.db.models import CharField

from billing.entries import Refusal
from billing.models import RefusedCall
from billing.sanitizing import storable

MOST_WAITING = 10_000
WRITE_SECONDS = 0.5

_COLUMNS = tuple(Refusal.__slots__)
_LENGTHS: dict[str, int] = {
    column.name: column.max_length
    for column in RefusedCall._meta.concrete_fields
    if isinstance(column, CharField) and column.max_length
}
_LONGEST_MESSAGE = 2_000
_values = attrgetter(*_COLUMNS)

log = structlog.get_logger(__name__)


class RefusalWriter:
    """The background writer of refusals of one worker."""

    def __init__(self) -> None:
        self._queue: deque[Refusal] = deque()
        self._dropped = 0
        self._arrived = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, refusal: Refusal) -> None:
        if len(self._queue) >= MOST_WAITING:
            self._dropped += 1
            return
        self._queue.append(refusal)
        self._arrived.set()

    def stop(self, timeout_seconds: float) -> None:
        """Write what waits, once, and end the thread; or leave it behind when time runs out."""
        self._stopping.set()
        self._arrived.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._arrived.wait()
                self._stopping.wait(WRITE_SECONDS)
                self._arrived.clear()
                self._write()
        finally:
            connections.close_all()

    def _write(self) -> None:
        batch = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            RefusedCall.objects.bulk_create([_row(refusal) for refusal in batch], batch_size=500)
        except (Error, ValueError) as error:
            self._dropped += len(batch)
            log.warning("refusals_not_written", error=str(error))
            connections.close_all()
        if self._dropped:
            log.warning("refusals_dropped", count=self._dropped)
            self._dropped = 0


def _row(refusal: Refusal) -> RefusedCall:
    fields: dict[str, Any] = dict(zip(_COLUMNS, _values(refusal), strict=True))
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = storable(value, _LENGTHS.get(name, _LONGEST_MESSAGE))
    return RefusedCall(**fields)
