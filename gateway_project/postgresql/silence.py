"""Finds out when PostgreSQL has gone silent: frozen, or on a host that is gone without a word.

Its connections stay open then and nothing answers, so whoever asked would wait as long as it
lasts; libpq itself bounds no wait for an answer. One thread of the process asks for next to
nothing twice a second. When even that stays without an answer, every wait of the process is
ended with an OperationalError and no connection is begun, until there is an answer again. Nor
are connections from before used after it: what swallowed their words may do so for ever. What
is merely slow is waited for as ever.
"""

import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
import structlog
from django.db import connection
from psycopg.abc import PQGen

ASK_SECONDS = 0.5
# A server that is loaded beyond reason may take that long for nothing.
LONGEST_ANSWER_SECONDS = 2.5

Answer = TypeVar("Answer")
log = structlog.get_logger(__name__)


class Silence:
    """What a process knows of it; one that does not watch its database knows of none."""

    def __init__(self) -> None:
        self.is_on = False
        self.count = 0

    def begin(self) -> None:
        self.count += 1
        self.is_on = True

    def end(self) -> None:
        self.is_on = False


silence = Silence()


class SilentDatabaseError(psycopg.OperationalError):
    """PostgreSQL answers nothing to anybody; whether it does what it was told is unknown."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose waits end when PostgreSQL is silent. It is closed then."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._silences_before = silence.count

    def is_from_before(self) -> bool:
        """Whether PostgreSQL has been silent since it was opened."""
        return self._silences_before != silence.count

    def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:
        try:
            return super().wait(self._bounded(gen), *args, **kwargs)
        except SilentDatabaseError:
            self.close()
            raise

    def _bounded(self, gen: PQGen[Answer]) -> Generator[Any, Any, Answer]:
        if self.is_from_before():
            raise SilentDatabaseError("PostgreSQL was silent in between.")
        began = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                # psycopg comes back every tenth of a second, with nothing when nothing came.
                if not (ready := (yield wanted)) and self._waits_in_vain(began):
                    raise SilentDatabaseError("PostgreSQL is silent.")
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: Answer = end.value
            return answer

    def _waits_in_vain(self, began: float) -> bool:
        return silence.is_on


class _WatchConnection(BoundedConnection):
    def _waits_in_vain(self, began: float) -> bool:
        return time.monotonic() - began > LONGEST_ANSWER_SECONDS


class SilenceWatch:
    """The thread that asks, with a connection that is nobody else's.

    Args:
        parameters: of the connection, as Django would make it.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._parameters = parameters
        self._connection: _WatchConnection | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="silence-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it, without waiting for an answer that may never come."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(ASK_SECONDS):
            is_silent = self._is_silent()
            if is_silent and not silence.is_on:
                log.warning("database_silent")
                silence.begin()
            elif not is_silent:
                silence.end()
        self._close()

    def _is_silent(self) -> bool:
        try:
            if self._connection is None:
                self._connection = _WatchConnection.connect(**self._parameters, autocommit=True)
            self._connection.execute("SELECT 1")
        except (SilentDatabaseError, psycopg.errors.ConnectionTimeout):
            self._close()
            return True
        except psycopg.Error:
            # A refusal is an answer, and so is the end of a connection.
            self._close()
        return False

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def watch_silence() -> SilenceWatch | None:
    """Start to watch the database of this process; None where there is no server to watch."""
    if connection.vendor != "postgresql":
        return None
    watch = SilenceWatch(connection.get_connection_params())
    watch.start()
    return watch
