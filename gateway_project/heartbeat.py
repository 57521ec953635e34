"""What a gateway process tells its supervisor, byte by byte through a pipe.

A process that is stopped or hung cannot say so: it is known by its silence.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field

ALIVE, READY, DRAINING = b".", b"r", b"d"
BEAT_SECONDS = 1.0


class Heart:
    """The process's end of the pipe. Without a supervisor there is none, and nothing is said."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_blocking(descriptor, False)

    def say(self, word: bytes) -> None:
        if self._descriptor is not None:
            # A supervisor that does not listen, or is gone, is not our concern here.
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(self._descriptor, word)


@dataclass(slots=True)
class Pulse:
    """The supervisor's end.

    Attributes:
        heard_at: monotonic time of the last byte; of the start before the first one.
    """

    heard_at: float
    ready: bool = False
    draining: bool = False
    ends: tuple[int, int] = field(default_factory=os.pipe)

    @property
    def speaking_end(self) -> int:
        return self.ends[1]

    @property
    def listening_end(self) -> int:
        return self.ends[0]

    def started(self) -> None:
        """The process has its end; ours of it would hide that it is gone."""
        os.close(self.ends[1])
        os.set_blocking(self.ends[0], False)

    def listen(self, now: float) -> None:
        with suppress(BlockingIOError):
            while said := os.read(self.ends[0], 4096):
                self.heard_at = now
                self.ready = self.ready or READY in said
                self.draining = self.draining or DRAINING in said

    def close(self) -> None:
        os.close(self.ends[0])
