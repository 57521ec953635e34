"""Starts the gateway processes and the Celery worker, keeps them running, and ends them.

`manage.py up` and `serve` become this program when everything is prepared: it imports the
standard library alone and takes a tenth of the memory. A child that dies is started again,
a little later each time. SIGTERM or SIGINT drains; a second signal ends at once.
"""

import argparse
import contextlib
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

from gateway_project import lifeline
from gateway_project.environment import Environment, reachable, read_environment

_TICK_SECONDS = 0.25
_LONGEST_RESTART_DELAY_SECONDS = 5.0
# A child that ran this long was well; its next death starts counting anew.
_WELL_AFTER_SECONDS = 60.0
_STARTS_BEFORE_GIVING_UP = 3
# After the drain a worker still writes its last ledger rows.
_SECONDS_AFTER_DRAIN = 15
_SECONDS_AFTER_SECOND_SIGNAL = 5
# `make` passes on a signal that the whole terminal group has had already: one wish, not two.
_ONE_SIGNAL_SECONDS = 0.5


@dataclass(slots=True)
class Child:
    """One supervised process, leader of its own process group.

    Attributes:
        descriptors: what it inherits beside the lifeline.
        start_at: monotonic time of the next start while it is down.
    """

    name: str
    command: list[str]
    descriptors: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    deaths: int = 0

    def start(self, lifeline_end: int, now: float) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own programs
            self.command,
            stdin=subprocess.DEVNULL,
            pass_fds=(lifeline_end, *self.descriptors),
            env={**os.environ, lifeline.VARIABLE: str(lifeline_end)},
            # Ctrl-C reaches the whole terminal group; these hear from the supervisor alone.
            start_new_session=True,
        )
        self.started_at = now

    def note_death(self, now: float) -> int | None:
        """Its exit code if it has ended since the last look; the next start is then set."""
        code = self.process.poll() if self.process else None
        if self.process is None or code is None:
            return None
        # What it leaves behind (Celery's beat) goes with it.
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process = None
        self.deaths = 1 if now - self.started_at > _WELL_AFTER_SECONDS else self.deaths + 1
        self.start_at = now + min(_LONGEST_RESTART_DELAY_SECONDS, 0.25 * 2**self.deaths)
        return code

    def signal(self, number: int) -> None:
        if self.process is not None:
            os.kill(self.process.pid, number)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


@dataclass(slots=True)
class Signals:
    """The signals that ask for an end, received through a pipe that wakes the loop."""

    wake: socket.socket
    received: list[float] = field(default_factory=list)

    @classmethod
    def listen(cls) -> "Signals":
        wake, ring = socket.socketpair()
        ring.setblocking(False)
        signal.set_wakeup_fd(ring.detach())
        signals = cls(wake)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signals._note)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return signals

    def _note(self, *_: object) -> None:
        now = time.monotonic()
        if not self.received or now - self.received[-1] > _ONE_SIGNAL_SECONDS:
            self.received.append(now)

    def sleep(self, seconds: float) -> None:
        """Sleep, but wake for a signal or a child's end."""
        if select.select([self.wake], [], [], seconds)[0]:
            self.wake.recv(64)


class Supervisor:
    """Keeps the children running until a signal asks for the end."""

    def __init__(
        self,
        environment: Environment,
        listening: socket.socket,
        banner: str,
        *,
        with_celery: bool,
    ) -> None:
        self._environment = environment
        self._listening = listening
        self._banner = banner
        self._ready = False
        self._with_celery = with_celery
        self._signals = Signals.listen()
        self._lifeline_end, self._lifeline_hold = os.pipe()
        self._gateways = [
            Child(f"gateway {number}", _gateway_command(listening), (listening.fileno(),))
            for number in range(1, environment.workers + 1)
        ]
        self._children = list(self._gateways)

    def run(self) -> int:
        """The exit code: 0 after a drain, 1 when the gateway cannot start at all."""
        self._listening.listen(2048)
        while not self._signals.received:
            now = time.monotonic()
            self._start_what_is_due(now)
            for child in self._children:
                self._look_after(child, now)
            if not self._ready and self._cannot_start():
                self._end_at_once()
                self._greet()
                _say("the gateway cannot start; the reason is above.")
                return 1
            if not self._ready and _is_ready(self._environment):
                self._announce()
            self._signals.sleep(_TICK_SECONDS)
        return self._drain()

    def _start_what_is_due(self, now: float) -> None:
        for child in self._children:
            if child.process is None and child.start_at <= now:
                child.start(self._lifeline_end, now)

    def _look_after(self, child: Child, now: float) -> None:
        code = child.note_death(now)
        if code is not None:
            _say(f"{child.name} ended with {code}; starting it again.")

    def _cannot_start(self) -> bool:
        return any(child.deaths >= _STARTS_BEFORE_GIVING_UP for child in self._gateways)

    def _announce(self) -> None:
        self._ready = True
        if self._with_celery:
            self._children.append(Child("celery", _celery_command(self._environment)))
            self._start_what_is_due(time.monotonic())
        self._greet()

    def _greet(self) -> None:
        """Print what holds secrets that are shown once; even when the start comes to nothing."""
        print(self._banner, end="", flush=True)  # noqa: T201 - what the command is for
        self._banner = ""

    def _drain(self) -> int:
        # New connections are refused from here on, not left waiting.
        self._listening.close()
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + self._environment.drain_seconds + _SECONDS_AFTER_DRAIN
        while self._alive() and len(self._signals.received) < 2 and time.monotonic() < deadline:
            self._signals.sleep(_TICK_SECONDS)
        self._end_at_once()
        self._greet()
        return 0

    def _end_at_once(self) -> None:
        self._signal_all(signal.SIGINT)
        deadline = time.monotonic() + _SECONDS_AFTER_SECOND_SIGNAL
        while self._alive() and time.monotonic() < deadline:
            self._signals.sleep(_TICK_SECONDS)
        for child in self._children:
            if child.process is not None:
                _signal_group(child.process.pid, signal.SIGKILL)
                child.process.wait()

    def _signal_all(self, number: int) -> None:
        for child in self._children:
            child.signal(number)

    def _alive(self) -> bool:
        for child in self._children:
            child.note_death(time.monotonic())
        return any(child.process is not None for child in self._children)


def _gateway_command(listening: socket.socket) -> list[str]:
    return [sys.executable, "-m", "gateway_project.worker", "--fd", str(listening.fileno())]


def _celery_command(environment: Environment) -> list[str]:
    # One process runs the tasks and one the schedule: tasks are short sweeps over the database,
    # and a pool of processes would double the memory.
    schedule = environment.data_dir / "celerybeat-schedule"
    return [
        *(sys.executable, "-m", "celery", "--app", "gateway_project", "--quiet", "worker"),
        *("--pool", "solo", "--beat", "--schedule", str(schedule), "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle"),
    ]


def _is_ready(environment: Environment) -> bool:
    connection = http.client.HTTPConnection(
        reachable(environment.host), environment.port, timeout=2
    )
    try:
        # A name that is always allowed, whatever ALLOWED_HOSTS says.
        connection.request("GET", "/readyz", headers={"Host": "localhost"})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _say(text: str) -> None:
    print(f"supervisor: {text}", file=sys.stderr, flush=True)  # noqa: T201 - no logging here


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m gateway_project.supervise")
    parser.add_argument("--fd", type=int, required=True, help="the bound socket")
    parser.add_argument("--banner-fd", type=int, required=True, help="what to print when ready")
    parser.add_argument("--celery", action="store_true", help="with the Celery worker")
    options = parser.parse_args(arguments)
    with os.fdopen(options.banner_fd) as pipe:
        banner = pipe.read()
    supervisor = Supervisor(
        read_environment(os.environ),
        socket.socket(fileno=options.fd),
        banner,
        with_celery=options.celery,
    )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
