"""Rounds of many calls at once, each on a budget that fits exactly so many of them."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from keys.secrets import make_secret
from tests.fake_provider import Behaviour, FakeProvider
from tests.faults.conftest import Watched
from tests.faults.crowd import Reply, all_at_once, request_bytes
from tests.journeys import configuration
from tests.loopback import wait_until

MODEL = "exact"
MAX_TOKENS = 50
ROOMY = {"usd": "1000.00", "tokens": 10**9, "requests": 10**6}
# Which limits a round has; the last nests one of the key in those of its team.
KINDS = [("usd",), ("requests",), ("tokens",), ("usd", "requests", "tokens")]
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """What one call of a round is held at, and what it then costs, by unit."""

    bound: dict[str, int]
    actual: dict[str, int]


@dataclass(frozen=True, slots=True)
class Round:
    """What became of one round.

    Attributes:
        fits: how many calls the budget is for.
        asked: requests that the provider saw.
        seconds: until the last client was served or gave up.
    """

    name: str
    fits: int
    calls: int
    asked: int
    seconds: float
    replies: list[Reply]

    @property
    def served(self) -> int:
        return sum(reply.is_whole for reply in self.replies)

    def __str__(self) -> str:
        statuses = dict(Counter(reply.status for reply in self.replies))
        tries = sum(reply.tries for reply in self.replies)
        return (
            f"{self.name}: {self.served} served of {self.calls} at once in {tries} tries,"
            f" the budget is for {self.fits}, the provider saw {self.asked}; {statuses} in {self.seconds:.1f} s"
        )


def config(upstream: FakeProvider, teams: list[dict[str, Any]]) -> dict[str, Any]:
    upstream.script(MODEL, Behaviour(delay_seconds=0.1, words=5))
    patient = {"timeout_seconds": 30, "stream_idle_timeout_seconds": 30}
    return {
        "providers": configuration.providers(upstream, **patient)[:1],
        "models": [configuration.model(MODEL, ("fake-openai", MODEL), max_attempts=1)],
        "prices": [configuration.price("fake-openai")],
        "teams": teams,
    }


def limits(ceilings: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"unit": unit, "window": "total", "ceiling": ceiling} for unit, ceiling in ceilings.items()
    ]


def body(name: str, *, stream: bool, **more: Any) -> dict[str, Any]:
    """All calls of one shape have the same size, so they cost the same."""
    messages = [{"role": "user", "content": f"<{name:>20}>"}]
    return {"model": MODEL, "messages": messages, "stream": stream, **more}


def measured(watched: Watched, secret: str, team: str, **asked: Any) -> Sizes:
    """What a call holds and costs, found out by making one for a team with roomy limits."""
    before = len(watched.events())
    said = request_bytes(secret, body(f"probe {team}", **asked))
    [reply] = asyncio.run(all_at_once(watched.gateway.port, [said], patience_seconds=5))
    assert reply.is_whole, reply
    wait_until(lambda: len(watched.events()) >= before + 2, "the probe is recorded")
    admitted, ended = watched.events()[before:]
    units = dict(
        watched.database.rows(
            "SELECT c.id, l.unit FROM billing_counter c JOIN billing_limit l ON l.id = c.limit_id"
        )
    )
    return Sizes(
        {units[counter_id]: amount for counter_id, amount in admitted.amounts},
        {units[counter_id]: amount for counter_id, amount in ended.amounts},
    )


def ceilings(units: tuple[str, ...], sizes: Sizes, fits: int) -> dict[str, Any]:
    """The last of `fits` calls fits to the last unit, and no call after it."""
    exact = {unit: (fits - 1) * sizes.actual[unit] + sizes.bound[unit] for unit in units}
    return {unit: _written(unit, ceiling) for unit, ceiling in exact.items()}


def _written(unit: str, ceiling: int) -> Any:
    return str(Decimal(ceiling).scaleb(-9)) if unit == "usd" else ceiling


def play(
    watched: Watched, upstream: FakeProvider, *, rounds: int, calls: int, fits: int
) -> list[Round]:
    """Make a team and a budget for each round, then let everybody ask at once."""
    probe, played = make_secret(), []
    roomy = configuration.team("probe", probe, *limits(ROOMY))
    apply(watched, upstream, [roomy])
    sizes = {
        stream: measured(watched, probe, str(stream), stream=stream, max_tokens=MAX_TOKENS)
        for stream in (False, True)
    }
    names = [f"round-{number:02}" for number in range(rounds)]
    secrets = {name: make_secret() for name in names}
    teams = []
    for number, name in enumerate(names):
        units = KINDS[number // 2 % len(KINDS)]
        exact = ceilings(units, sizes[number % 2 == 1], fits)
        team = configuration.team(name, secrets[name], *limits(exact))
        if len(units) > 1:
            # A key that may spend more than its team.
            team["keys"][0]["limits"] = limits(ROOMY | {"requests": fits + 1})
        teams.append(team)
    apply(watched, upstream, teams)
    for number, name in enumerate(names):
        said = body(name, stream=number % 2 == 1, max_tokens=MAX_TOKENS)
        request = request_bytes(secrets[name], said, user=name)
        began = time.monotonic()
        replies = asyncio.run(
            all_at_once(watched.gateway.port, [request] * calls, patience_seconds=PATIENCE_SECONDS)
        )
        seconds = time.monotonic() - began
        asked = sum(f"<{name:>20}>".encode() in seen.request.body for seen in upstream.seen)
        played.append(Round(name, fits, calls, asked, seconds, replies))
    return played


def apply(watched: Watched, upstream: FakeProvider, teams: list[dict[str, Any]]) -> None:
    watched.gateway.configure(config(upstream, teams))
    watched.gateway.manage("apply_config", str(watched.gateway.config_file))
    # An edit is live on every worker within a second.
    time.sleep(1.2)
