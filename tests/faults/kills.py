"""A steady load on a gateway whose processes are killed all the while, and what became of it."""

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from keys.secrets import make_secret
from tests.fake_provider import Behaviour, FakeProvider, Seen
from tests.faults.conftest import Watched
from tests.faults.crowd import Reply, ask, request_bytes
from tests.journeys import configuration
from tests.loopback import wait_until

SECRET, UNPRICED_SECRET = make_secret(), make_secret()
CALLERS = 12
SAMPLE_SECONDS = 0.5
# What a call may be asked for: mostly short answers, some short streams, and a few long ones,
# which are what a kill cuts off.
LONG_WORDS = 400
ROOMY_USD = {"unit": "usd", "window": "total", "ceiling": "1000.00"}
ROOMY: list[dict[str, Any]] = [
    {"unit": "tokens", "window": "total", "ceiling": 10**9},
    {"unit": "requests", "window": "total", "ceiling": 10**6},
    {"unit": "concurrent", "ceiling": 50},
]
_SEND_TASKS = """
import sys
from gateway_project.celery import app
for line in iter(sys.stdin.readline, ""):
    app.send_task(line.strip())
"""


def config(upstream: FakeProvider, *, all_priced: bool = False) -> dict[str, Any]:
    """One of the providers has prices only when `all_priced`."""
    patient = {"timeout_seconds": 30, "stream_idle_timeout_seconds": 30}
    upstream.script("brief", Behaviour(delay_seconds=0.01))
    upstream.script("spoken", Behaviour(words=8, word_seconds=0.005))
    upstream.script("long", Behaviour(words=LONG_WORDS, word_seconds=0.002))
    providers = configuration.providers(upstream, **patient)
    providers.append(providers[0] | {"name": "fake-unpriced"})
    priced = providers if all_priced else providers[:2]
    return {
        "providers": providers,
        "models": [
            configuration.model("brief", ("fake-openai", "brief"), max_attempts=1),
            configuration.model("spoken", ("fake-anthropic", "spoken"), max_attempts=1),
            configuration.model("long", ("fake-openai", "long"), max_attempts=1),
            configuration.model("unpriced", ("fake-unpriced", "brief"), max_attempts=1),
        ],
        "prices": [configuration.price(provider["name"]) for provider in priced],
        "teams": [
            configuration.team("crash", SECRET, ROOMY_USD, *ROOMY),
            # What has no price cannot be held to a budget.
            configuration.team("unbudgeted", UNPRICED_SECRET, *ROOMY),
        ],
    }


def make_prices_known(watched: Watched, upstream: FakeProvider) -> None:
    watched.gateway.configure(config(upstream, all_priced=True))
    watched.gateway.manage("apply_config", str(watched.gateway.config_file))


@dataclass(slots=True)
class Load:
    """Callers that go on until they are told to stop.

    Attributes:
        sent: calls that were begun; each has a name of its own, which provider and ledger know.
    """

    port: int
    sent: int = 0
    replies: Counter[int] = field(default_factory=Counter)
    over: bool = False

    def run(self) -> None:
        asyncio.run(self._all_callers())

    async def _all_callers(self) -> None:
        await asyncio.gather(*(self._keep_calling() for _ in range(CALLERS)))

    async def _keep_calling(self) -> None:
        while not self.over:
            self.sent += 1
            reply = await self._call(self.sent)
            self.replies[reply.status] += 1
            if reply.status != 200:
                await asyncio.sleep(0.02)

    async def _call(self, number: int) -> Reply:
        model = _model(number)
        secret = UNPRICED_SECRET if model == "unpriced" else SECRET
        name = f"{model}-{number:06}"
        body = {
            "model": model,
            "messages": [{"role": "user", "content": name}],
            "stream": model in ("spoken", "long"),
            "max_tokens": 500,
        }
        return await ask(self.port, request_bytes(secret, body, user=name))


def _model(number: int) -> str:
    for every, model in ((40, "long"), (7, "unpriced"), (5, "spoken")):
        if number % every == 0:
            return model
    return "brief"


@dataclass(slots=True)
class Samples:
    """The books, looked at again and again while everything is going on."""

    taken: int = 0
    out_of_balance: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """A ledger row, as far as it matters here."""

    request_id: str
    entry: int
    end_user: str
    status: str
    streamed: bool
    output_tokens: int
    cost_nano_usd: int | None


@dataclass(slots=True)
class Aftermath:
    """What there is to check after all kills.

    Attributes:
        seen: what the provider saw, by the call's name.
        kills: what was killed, or the fault point at which a process killed itself.
        recovered_after: seconds from the last kill until nothing was missing or held.
    """

    load: Load
    samples: Samples
    seen: dict[str, Seen]
    kills: list[str]
    rows: list[Row] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    recovered_after: float = 0.0

    @property
    def finished(self) -> list[str]:
        return [name for name, seen in self.seen.items() if seen.finished]

    def misjudged_streams(self) -> list[str]:
        """Recovered streams that were billed more than 5 % and 64 tokens off the truth."""
        return [
            f"{row.end_user}: {row.output_tokens} tokens, the provider sent {truth}"
            for row in self.recovered_streams()
            if abs(row.output_tokens - (truth := self.seen[row.end_user].output_tokens))
            > max(64, truth * 0.05)
        ]

    def recovered_streams(self) -> list[Row]:
        recovered = [row for row in self.rows if row.status == "recovered" and row.streamed]
        return [row for row in recovered if row.end_user in self.seen]

    def __str__(self) -> str:
        recovered = sum(row.status == "recovered" for row in self.rows)
        return (
            f"{self.load.sent} calls ({dict(self.load.replies)}), {len(self.finished)} finished"
            f" by the provider; {len(self.kills)} kills ({', '.join(self.kills)});"
            f" {len(self.rows)} ledger rows, {recovered} recovered, of them"
            f" {len(self.recovered_streams())} streams; {self.samples.taken} samples of the"
            f" books; all was back {self.recovered_after:.1f} s after the last kill"
        )


Kill = Callable[[], None]


class Killer:
    """Kills processes of one gateway, now or when one comes to a named point."""

    def __init__(self, watched: Watched, seed: int) -> None:
        self._watched = watched
        self._random = random.Random(seed)  # noqa: S311 - moments, not secrets
        # A start of its own for each task would take longer than the kill.
        self._sender = watched.gateway.shell(_SEND_TASKS)
        self.kills: list[str] = []

    def shuffled(self, kills: Sequence[Kill]) -> list[Kill]:
        return self._random.sample(kills, len(kills))

    def a_worker(self) -> None:
        """kill -9 of a gateway worker at a random moment."""
        time.sleep(self._random.random() / 5)
        wait_until(lambda: bool(self._watched.gateway.worker_pids()), "a worker")
        self._kill(self._random.choice(self._watched.gateway.worker_pids()), "worker")

    def celery(self, task: str = "billing.check_books") -> None:
        """kill -9 of the Celery worker at a random moment around a task."""
        self._wait_for_celery()
        self.send(task)
        time.sleep(self._random.random())
        self._kill(self._wait_for_celery(), "celery")

    def at(self, point: str, *, nth: int = 3, task: str = "") -> None:
        """Have whoever comes to a fault point kill itself there."""
        self.arm(point, nth)
        self.await_strike(point, task)

    def arm(self, point: str, nth: int) -> None:
        being_written = self._watched.points / "being-written"
        being_written.write_text(f"{point} {nth}")
        being_written.rename(self._watched.points / "armed")

    def await_strike(self, point: str, task: str) -> None:
        """At the point that was armed, sending a task that leads there."""
        struck = self._watched.points / "struck"
        for _ in range(3):
            if task:
                self.send(task)
            with suppress(TimeoutError):
                wait_until(struck.exists, point, seconds=15)
                break
        else:
            raise TimeoutError(f"nobody came to {point}")
        struck.unlink()
        self.kills.append(point.partition(":")[2])

    def send(self, task: str) -> None:
        assert self._sender.stdin is not None
        print(task, file=self._sender.stdin, flush=True)

    def close(self) -> None:
        assert self._sender.stdin is not None
        self._sender.stdin.close()
        self._sender.wait(30)

    def _wait_for_celery(self) -> int:
        wait_until(lambda: self._watched.gateway.celery_pid() is not None, "the Celery worker")
        pid = self._watched.gateway.celery_pid()
        assert pid is not None
        return pid

    def _kill(self, pid: int, what: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills.append(what)


@contextmanager
def under_load(watched: Watched) -> Iterator[tuple[Load, Samples]]:
    """Calls go on, and the books are looked at, for the length of a block."""
    load, samples = Load(watched.gateway.port), Samples()

    def sample() -> None:
        while not load.over:
            samples.out_of_balance += watched.database.out_of_balance()
            samples.taken += 1
            time.sleep(SAMPLE_SECONDS)

    threads = [threading.Thread(target=target, daemon=True) for target in (load.run, sample)]
    for thread in threads:
        thread.start()
    try:
        yield load, samples
    finally:
        load.over = True
        for thread in threads:
            thread.join(90)


def aftermath(
    watched: Watched,
    upstream: FakeProvider,
    load: Load,
    samples: Samples,
    kills: list[str],
    *,
    last_kill: float,
    patience_seconds: float,
) -> Aftermath:
    """Wait, with the product left alone, until every finished call is there and nothing held."""
    seen = {_name_of(one): one for one in upstream.seen}
    found = Aftermath(load, samples, seen, kills)
    while True:
        found.rows = ledger_rows(watched)
        found.held = watched.database.holdings()
        found.recovered_after = time.monotonic() - last_kill
        there = {row.end_user for row in found.rows}
        if not found.held and there.issuperset(found.finished):
            return found
        if found.recovered_after > patience_seconds:
            return found
        time.sleep(0.5)


def ledger_rows(watched: Watched) -> list[Row]:
    return [Row(*row) for row in watched.database.rows(_ROWS)]


def spread(load: Load, calls: int, kills: Iterable[Kill]) -> None:
    """Carry out the kills, evenly over so many calls."""
    planned = list(kills)
    for number, kill in enumerate(planned, start=1):
        due = calls * number // (len(planned) + 1)
        wait_until(lambda due=due: load.sent >= due, f"{due} calls", seconds=300)  # type: ignore[misc]
        kill()
    wait_until(lambda: load.sent >= calls, f"{calls} calls", seconds=300)


_ROWS = """
    SELECT request_id, entry, end_user, status, streamed, output_tokens, cost_nano_usd
    FROM billing_ledgerentry
"""


def _name_of(seen: Seen) -> str:
    content = seen.json["messages"][0]["content"]
    return str(content if isinstance(content, str) else content[0]["text"])
