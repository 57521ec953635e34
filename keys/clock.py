"""What time it is, by the database: every worker and every host then agree on a limit's period.

The database's time is heard a few times a second and carried in between by the monotonic clock,
so that neither a stepped wall clock nor a database that is away moves a period.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

# Less is the network's delay and the clocks' own drift.
_APART_SECONDS = 1.0


class DatabaseClock:
    """The wall clock of one worker. Until the database is heard it is the machine's own."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.fromtimestamp(self._offset + self._monotonic(), UTC)

    def hear(self, told: float, asked_at: float) -> None:
        """Take the database's time where it is not what is carried.

        Args:
            told: seconds since 1970, by the database.
            asked_at: monotonic time of the question; the answer has just come.
        """
        answered_at = self._monotonic()
        behind = self._offset + asked_at - told
        ahead = told - (self._offset + answered_at)
        if behind > _APART_SECONDS or ahead > _APART_SECONDS:
            self._offset = told - (asked_at + answered_at) / 2

    def machine_is_off_by(self) -> float:
        """Seconds between this machine's wall clock and the database's."""
        return abs(self._wall() - self._offset - self._monotonic())
