"""A broken build: answers first, and writes calls down in the background, a little later."""

import threading
import time
from types import ModuleType
from typing import Any

LATER_SECONDS = 1.0


def _later(journal: ModuleType) -> None:
    admit, finish = journal.Journal.admit, journal.Journal.finish

    def write_in_background(self: Any, *args: Any) -> None:
        def write() -> None:
            time.sleep(LATER_SECONDS)
            for function, argument in self.unwritten.pop(args[0].template.request_id):
                function(self, argument)

        if not hasattr(self, "unwritten"):
            self.unwritten = {}
        self.unwritten[args[0].template.request_id] = [(admit, args[0])]
        threading.Thread(target=write, daemon=True).start()

    def note(self: Any, entries: Any) -> None:
        waiting = self.unwritten.get(entries[0].request_id)
        if waiting is None:
            finish(self, entries)
        else:
            waiting.append((finish, entries))

    journal.Journal.admit = write_in_background
    journal.Journal.finish = note


def _post_later(writer: ModuleType) -> None:
    put = writer.LedgerWriter.put

    def put_later(self: Any, entries: Any) -> None:
        threading.Timer(LATER_SECONDS, put, (self, entries)).start()

    writer.LedgerWriter.put = put_later


PATCHES = [("billing.journal", _later), ("billing.ledger_writer", _post_later)]
