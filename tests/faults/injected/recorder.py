"""Writes down when each call of each process began and ceased to hold, on one clock.

A line is written once the call is in the journal, with the moment before that; and before its
end is. So a recorded call really held what it says all the time in between, and what is said of
an instant is never too much.
"""

import os
import time
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from tests.faults.injected.wrapping import around

FOLDER = Path(os.environ.get("GATEWAY_HISTORY", "/nonexistent"))


@cache
def _file() -> int:
    path = FOLDER / f"{os.getpid()}.history"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _write(kind: str, at: int, request_id: str, amounts: Any) -> None:
    # One write: a process that is killed leaves whole lines.
    os.write(_file(), orjson.dumps([at, kind, request_id, amounts]) + b"\n")


def _admissions(journal: ModuleType) -> None:
    admit = journal.Journal.admit

    def recorded(self: Any, admission: Any) -> None:
        at = time.monotonic_ns()
        admit(self, admission)
        holds = [[counter_id, amount] for counter_id, _, amount in admission.holds]
        _write("admit", at, admission.template.request_id, holds)

    journal.Journal.admit = recorded


def _ended(_: Any, entries: Any) -> None:
    charges = [(c.counter_id, c.amount - c.excess) for entry in entries for c in entry.charges]
    _write("end", time.monotonic_ns(), entries[0].request_id, charges)


def _ends(journal: ModuleType) -> None:
    around(journal, "Journal.finish", before=_ended)


def _recoveries(recovery: Any) -> None:
    recovered_entries = recovery.recovered_entries

    def recorded(call: Any) -> Any:
        entries = recovered_entries(call)
        _ended(None, entries)
        return entries

    recovery.recovered_entries = recorded


PATCHES = [
    ("billing.journal", _admissions),
    ("billing.journal", _ends),
    ("billing.recovery", _recoveries),
]
