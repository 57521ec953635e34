"""Named points at which a process kills itself, once, when a test has armed one of them.

The file `armed` in the folder GATEWAY_FAULTS says `module:name:before|after nth`. The process
that comes there for the nth time renames it to `struck` and dies.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.faults.injected.wrapping import around

FOLDER = Path(os.environ.get("GATEWAY_FAULTS", "/nonexistent"))
GATEWAY_POINTS = [
    "billing.journal:Journal.admit",
    "billing.journal:Journal.finish",
    "billing.journal:Journal.posted",
    "billing.limits:Limits.settle",
    "billing.limits:Limits.posted",
    "billing.counters:CounterStore.exchange",
    "billing.ledger_writer:LedgerWriter.put",
    "billing.ledger:post",
    "routing.providers.sdk_client:SdkUpstream.ask",
]
# By the task that leads there.
CELERY_POINTS = {
    "billing.counter_sweep:sweep_counters": "billing.sweep_counters",
    "billing.books:check_books": "billing.check_books",
    "billing.price_sync:sync_prices": "billing.sync_prices",
    "billing.spend:unpriced_entries": "routing.price_unpriced_calls",
}
# Only with calls to price. The first is passed once for a page of them.
CORRECTING_TASK = "routing.price_unpriced_calls"
CORRECTION_POINTS = ["billing.corrections:post", "billing.corrections:backfill_prices"]
_passed = Counter[str]()


def strike(point: str) -> None:
    """Die here, if this is the point and the moment."""
    try:
        wanted, nth = (FOLDER / "armed").read_text().split()
    except OSError:
        return
    if point != wanted:
        return
    _passed[point] += 1
    if _passed[point] >= int(nth):
        with suppress(FileNotFoundError):  # another process was first
            (FOLDER / "armed").rename(FOLDER / "struck")
            os.kill(os.getpid(), signal.SIGKILL)


def _at(point: str) -> Callable[..., None]:
    def reached(*_: Any, **__: Any) -> None:
        strike(point)

    return reached


def _patch(point: str) -> Callable[[ModuleType], None]:
    name = point.partition(":")[2]
    before, after = _at(f"{point}:before"), _at(f"{point}:after")
    return lambda module: around(module, name, before=before, after=after)


PATCHES = [
    (point.partition(":")[0], _patch(point))
    for point in (*GATEWAY_POINTS, *CELERY_POINTS, *CORRECTION_POINTS)
]
