"""Starts the gateway processes and the Celery worker, keeps them running, and ends them.

`manage.py up` and `serve` become this program when everything is prepared: it imports the
standard library alone and takes a tenth of the memory. A child that dies is started again,
a little later each time; a gateway process that says nothing for a minute is killed first.
SIGTERM or SIGINT drains; a second signal ends at once.

A gateway process that gets a SIGTERM of its own is replaced at once while it drains. SIGUSR2
replaces all of them, one by one, each told to drain when its replacement is ready.
"""

import argparse
import http.client
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway_project.children import Place, Running
from gateway_project.environment import Environment, reachable, read_environment

_TICK_SECONDS = 0.25
_STARTS_BEFORE_GIVING_UP = 3
# After the drain a worker still writes its last ledger rows.
_SECONDS_AFTER_DRAIN = 20
_SECONDS_AFTER_SECOND_SIGNAL = 5
# `make` passes on a signal that the whole terminal group has had already: one wish, not two.
_ONE_SIGNAL_SECONDS = 0.5


@dataclass(slots=True)
class Signals:
    """The signals that ask for something, received through a pipe that wakes the loop.

    Attributes:
        received: when an end was asked for.
        roll: a rolling restart is asked for.
    """

    wake: socket.socket
    received: list[float] = field(default_factory=list)
    roll: bool = False

    @classmethod
    def listen(cls) -> "Signals":
        wake, ring = socket.socketpair()
        ring.setblocking(False)
        signal.set_wakeup_fd(ring.detach())
        signals = cls(wake)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signals._note)
        signal.signal(signal.SIGUSR2, signals._note_roll)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return signals

    def _note(self, *_: object) -> None:
        now = time.monotonic()
        if not self.received or now - self.received[-1] > _ONE_SIGNAL_SECONDS:
            self.received.append(now)

    def _note_roll(self, *_: object) -> None:
        self.roll = True

    def sleep(self, seconds: float, words: Iterable[int] = ()) -> None:
        """Sleep, but wake for a signal, a child's end, or something to read at `words`."""
        if self.wake.fileno() in select.select([self.wake.fileno(), *words], [], [], seconds)[0]:
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
            Place(f"gateway {number}", _gateway_command(listening), (listening.fileno(),), True)
            for number in range(1, environment.workers + 1)
        ]
        self._places = list(self._gateways)
        # Processes that were replaced and finish what they have.
        self._leaving: list[Running] = []
        # A rolling restart: the places still to come, and who leaves when the place is ready.
        self._to_replace: list[Place] = []
        self._replaced: tuple[Place, Running] | None = None

    def run(self) -> int:
        """The exit code: 0 after a drain, 1 when the gateway cannot start at all."""
        self._listening.listen(2048)
        while not self._signals.received:
            now = time.monotonic()
            self._start_what_is_due(now)
            for place in self._places:
                self._look_after(place, now)
            self._look_after_the_leaving(now)
            self._roll(now)
            if not self._ready and self._cannot_start():
                self._end_at_once()
                self._greet()
                _say("the gateway cannot start; the reason is above.")
                return 1
            if not self._ready and _is_ready(self._environment):
                self._announce()
            self._signals.sleep(_TICK_SECONDS, self._words())
        return self._drain()

    def _words(self) -> list[int]:
        pulses = [running.pulse for running in self._all_running()]
        return [pulse.listening_end for pulse in pulses if pulse is not None]

    def _all_running(self) -> list[Running]:
        filled = [place.running for place in self._places if place.running is not None]
        return [*filled, *self._leaving]

    def _start_what_is_due(self, now: float) -> None:
        for place in self._places:
            if place.running is None and place.start_at <= now:
                place.start(self._lifeline_end, now)

    def _look_after(self, place: Place, now: float) -> None:
        code = place.look(now)
        if code is not None:
            _say(f"{place.name} ended with {code}; starting it again.")
        elif place.running and place.running.pulse and place.running.pulse.draining:
            # Somebody told this one alone to go: another takes its place meanwhile.
            self._let_go(place, now)

    def _let_go(self, place: Place, now: float) -> None:
        leaving = place.give_up(now)
        if leaving is not None:
            leaving.kill_at = now + self._environment.drain_seconds + _SECONDS_AFTER_DRAIN
            self._leaving.append(leaving)
            self._start_what_is_due(now)

    def _look_after_the_leaving(self, now: float) -> None:
        for leaving in list(self._leaving):
            if leaving.look(now) is not None:
                self._leaving.remove(leaving)

    def _roll(self, now: float) -> None:
        """One step of a rolling restart: never fewer processes than places."""
        if self._signals.roll and self._ready:
            self._signals.roll = False
            self._to_replace = list(self._gateways)
        if self._replaced is not None:
            place, old = self._replaced
            if place.is_ready:
                old.signal(signal.SIGTERM)
                old.kill_at = now + self._environment.drain_seconds + _SECONDS_AFTER_DRAIN
                self._replaced = None
        elif self._to_replace:
            place = self._to_replace.pop(0)
            leaving = place.give_up(now)
            self._start_what_is_due(now)
            if leaving is not None:
                self._leaving.append(leaving)
                self._replaced = place, leaving

    def _cannot_start(self) -> bool:
        return any(place.deaths >= _STARTS_BEFORE_GIVING_UP for place in self._gateways)

    def _announce(self) -> None:
        self._ready = True
        if self._with_celery:
            self._places.append(Place("celery", _celery_command(self._environment)))
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
        for running in self._all_running():
            running.kill()
            running.process.wait()

    def _signal_all(self, number: int) -> None:
        for running in self._all_running():
            running.signal(number)

    def _alive(self) -> bool:
        now = time.monotonic()
        for place in self._places:
            place.look(now)
        self._look_after_the_leaving(now)
        return bool(self._all_running())


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
