"""The supervisor's children: places that are always filled, and the processes that fill them."""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass

from gateway_project import lifeline
from gateway_project.heartbeat import Pulse

_LONGEST_RESTART_DELAY_SECONDS = 5.0
_SHORTEST_RESTART_DELAY_SECONDS = 0.25
# One without a pulse that ran this long was well; its next death starts counting anew.
_WELL_AFTER_SECONDS = 60.0
# A process whose event loop says nothing for so long is stopped or hung.
SILENCE_SECONDS = 60.0


@dataclass(slots=True)
class Running:
    """One process, leader of its own process group.

    Attributes:
        pulse: None where it says nothing (Celery).
        kill_at: monotonic time at which its drain must be over.
    """

    name: str
    process: subprocess.Popen[bytes]
    started_at: float
    pulse: Pulse | None
    kill_at: float | None = None

    def look(self, now: float) -> int | None:
        """Hear what it says, end it if it is overdue; its exit code once it has ended."""
        if self.pulse is not None:
            self.pulse.listen(now)
        if self.is_silent(now) or (self.kill_at is not None and now > self.kill_at):
            self.kill()
        code = self.process.poll()
        if code is not None:
            # What it leaves behind (Celery's beat) goes with it.
            self.kill()
            if self.pulse is not None:
                self.pulse.close()
        return code

    def is_silent(self, now: float) -> bool:
        return self.pulse is not None and now - self.pulse.heard_at > SILENCE_SECONDS

    def was_well(self, now: float) -> bool:
        if self.pulse is not None:
            return self.pulse.ready
        return now - self.started_at > _WELL_AFTER_SECONDS

    def signal(self, number: int) -> None:
        # Not after its end has been seen: the number may be another process's by then.
        if self.process.returncode is None:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@dataclass(slots=True)
class Place:
    """One child that there always is; it is started again when it ends.

    Attributes:
        descriptors: what the process inherits beside the lifeline and its heart.
        has_pulse: it is told where to say that it lives, as `--heart FD`.
        start_at: monotonic time of the next start while it is empty.
        deaths: in a row, each before the process was well.
    """

    name: str
    command: list[str]
    descriptors: tuple[int, ...] = ()
    has_pulse: bool = False
    running: Running | None = None
    start_at: float = 0.0
    deaths: int = 0

    @property
    def is_ready(self) -> bool:
        return bool(self.running and self.running.pulse and self.running.pulse.ready)

    def start(self, lifeline_end: int, now: float) -> None:
        command, descriptors = self.command, (lifeline_end, *self.descriptors)
        pulse = Pulse(now) if self.has_pulse else None
        if pulse is not None:
            command = [*command, "--heart", str(pulse.speaking_end)]
            descriptors += (pulse.speaking_end,)
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            env={**os.environ, lifeline.VARIABLE: str(lifeline_end)},
            # Ctrl-C reaches the whole terminal group; these hear from the supervisor alone.
            start_new_session=True,
        )
        if pulse is not None:
            pulse.started()
        self.running = Running(self.name, process, now, pulse)

    def look(self, now: float) -> int | None:
        """The exit code of a process that has ended; the next start is then set."""
        running = self.running
        code = running.look(now) if running else None
        if running is None or code is None:
            return None
        self.running = None
        self.deaths = 1 if running.was_well(now) else self.deaths + 1
        delay = _SHORTEST_RESTART_DELAY_SECONDS * 2 ** (self.deaths - 1)
        self.start_at = now + min(_LONGEST_RESTART_DELAY_SECONDS, delay)
        return code

    def give_up(self, now: float) -> Running | None:
        """Let the process go, to be replaced at once."""
        gone, self.running, self.start_at = self.running, None, now
        return gone
