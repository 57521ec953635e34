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
from tests.faults.crowd import Crowd, Reply, ask, request_bytes
from tests.journeys import configuration
from tests.loopback import wait_until

MODEL = "exact"
PROBE = make_secret()
MAX_TOKENS = 50
OUTPUT_NANO_USD = int(Decimal(configuration.OUTPUT) * 1000)
ROOMY = {"usd": "1000.00", "tokens": 10**9, "requests": 10**6}
# Which limits a round has; the last nests one of the key in those of its team.
KINDS = [("usd",), ("requests",), ("tokens",), ("usd", "requests", "tokens")]
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """What one call of a round is held at, and what it then costs, by unit.

    Attributes:
        max_tokens_set: by the gateway; 0 where the caller did.
    """

    bound: dict[str, int]
    actual: dict[str, int]
    max_tokens_set: int


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
        ends = dict(Counter(reply.end for reply in self.replies))
        tries = sum(reply.tries for reply in self.replies)
        return (
            f"{self.name}: {self.served} served of {self.calls} at once in {tries} tries,"
            f" the budget is for {self.fits}, the provider saw {self.asked};"
            f" {ends} in {self.seconds:.1f} s"
        )


def config(upstream: FakeProvider, *teams: dict[str, Any]) -> dict[str, Any]:
    patient = {"timeout_seconds": 30, "stream_idle_timeout_seconds": 30}
    return {
        "providers": configuration.providers(upstream, **patient)[:1],
        "models": [configuration.model(MODEL, ("fake-openai", MODEL), max_attempts=1)],
        "prices": [configuration.price("fake-openai")],
        "teams": [configuration.team("probe", PROBE, *limits(ROOMY)), *teams],
    }


def limits(ceilings: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"unit": unit, "window": "total", "ceiling": ceiling} for unit, ceiling in ceilings.items()
    ]


def body(name: str, *, stream: bool, **more: Any) -> dict[str, Any]:
    """All calls of one shape have the same size, so they cost the same."""
    messages = [{"role": "user", "content": f"<{name:>20}>"}]
    return {"model": MODEL, "messages": messages, "stream": stream, **more}


def measured(watched: Watched, **asked: Any) -> Sizes:
    """What a call holds and costs, found out by making one for a team with roomy limits."""
    before = len(watched.events())
    said = request_bytes(PROBE, body("probe", **asked))
    reply = asyncio.run(ask(watched.gateway.port, said))
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
        int(reply.headers.get("x-gateway-max-tokens", 0)),
    )


def ceilings(units: tuple[str, ...], sizes: Sizes, fits: int) -> dict[str, Any]:
    """The last of `fits` calls fits to the last unit, and no call after it."""
    exact = {unit: (fits - 1) * sizes.actual[unit] + sizes.bound[unit] for unit in units}
    return {unit: _written(unit, ceiling) for unit, ceiling in exact.items()}


def _written(unit: str, ceiling: int) -> Any:
    return str(Decimal(ceiling).scaleb(-9)) if unit == "usd" else ceiling


def play(
    watched: Watched,
    upstream: FakeProvider,
    *,
    rounds: int,
    calls: int,
    fits: int,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[Round]:
    """Make a team and a budget for each round, then let everybody ask at once."""
    upstream.script(MODEL, Behaviour(delay_seconds=0.1, words=5))
    sizes = {
        stream: measured(watched, stream=stream, max_tokens=MAX_TOKENS) for stream in (False, True)
    }
    names = [f"round-{calls}-{number:02}" for number in range(rounds)]
    secrets = {name: make_secret() for name in names}
    teams, asked = [], {}
    for number, name in enumerate(names):
        units = KINDS[number // 2 % len(KINDS)]
        exact = ceilings(units, sizes[number % 2 == 1], fits)
        team = configuration.team(name, secrets[name], *limits(exact))
        if len(units) > 1:
            # A key that may spend more than its team.
            team["keys"][0]["limits"] = limits(ROOMY | {"requests": fits + 1})
        teams.append(team)
        said = body(name, stream=number % 2 == 1, max_tokens=MAX_TOKENS)
        asked[name] = [request_bytes(secrets[name], said, user=name)] * calls
    apply(watched, upstream, *teams)
    return [
        _round(watched, upstream, name, requests, fits=fits, patience_seconds=patience_seconds)
        for name, requests in asked.items()
    ]


def story(
    watched: Watched, upstream: FakeProvider, *, calls: int, fits: int, provider_seconds: float
) -> Round:
    """Everybody asks a slow provider without max_tokens, so each holds all of the budget."""
    upstream.script(MODEL, Behaviour(delay_seconds=provider_seconds, words=1))
    secret, name = make_secret(), f"story-{calls}"
    sizes = measured(watched, stream=False)
    # The least that a call may hold has one token of output.
    least = sizes.bound["usd"] - (sizes.max_tokens_set - 1) * OUTPUT_NANO_USD
    budget = _written("usd", (fits - 1) * sizes.actual["usd"] + least)
    apply(watched, upstream, configuration.team(name, secret, *limits({"usd": budget})))
    return _round(
        watched,
        upstream,
        name,
        [request_bytes(secret, body(name, stream=False), user=name)] * calls,
        fits=fits,
        patience_seconds=fits * (provider_seconds + 3),
    )


def _round(
    watched: Watched,
    upstream: FakeProvider,
    name: str,
    requests: list[bytes],
    *,
    fits: int,
    patience_seconds: float,
) -> Round:
    before, began = len(upstream.seen), time.monotonic()
    crowd = Crowd(watched.gateway.port, patience_seconds=patience_seconds, enough=fits)
    replies = asyncio.run(crowd.ask_at_once(requests))
    seconds = time.monotonic() - began
    asked = sum(f"<{name:>20}>".encode() in seen.request.body for seen in upstream.seen[before:])
    return Round(name, fits, len(requests), asked, seconds, replies)


def apply(watched: Watched, upstream: FakeProvider, *teams: dict[str, Any]) -> None:
    watched.gateway.configure(config(upstream, *teams))
    watched.gateway.manage("apply_config", str(watched.gateway.config_file))
    # An edit is live on every worker within a second.
    time.sleep(1.2)
