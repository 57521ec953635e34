"""Clients that leave a stream at a random byte: what happens upstream, and what is billed."""

import json
import random
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from keys.secrets import make_secret
from tests.fake_provider import FakeProvider
from tests.fake_provider.behaviour import Behaviour
from tests.fake_provider.seen import Seen
from tests.journeys import configuration
from tests.journeys.receipts import Json, get, receipt
from tests.loopback import wait_until

SECRET = make_secret()
WORDS, WORD_SECONDS = 80, 0.004
# Somewhat less than such a stream has in either format.
MOST_BYTES = {"openai": 18_000, "anthropic": 9_000}
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
MODES = ("cancel", "drain")


@dataclass(frozen=True, slots=True)
class Left:
    """A call whose client left, and when.

    Attributes:
        question: no other call asks it.
    """

    question: str
    request_id: str
    at: float


@pytest.fixture(scope="module")
def unreachable() -> Iterator[int]:
    with hole() as port:
        yield port


@pytest.fixture(scope="module")
def gateway(install, upstream, unreachable):
    providers, models = [], []
    # On a busy machine the provider may be silent for longer than a second.
    patient = {"timeout_seconds": 30, "stream_idle_timeout_seconds": 30}
    for mode in MODES:
        for provider in configuration.providers(upstream, on_disconnect=mode, **patient):
            name = f"{provider['name']}-{mode}"
            providers.append(provider | {"name": name})
            models.append(configuration.model(f"{provider['kind']}-{mode}", (name, f"up-{name}")))
            upstream.script(f"up-{name}", Behaviour(words=WORDS, word_seconds=WORD_SECONDS))
    for provider in configuration.providers(upstream, connect_timeout_seconds=30):
        name, kind = f"{provider['name']}-unreachable", provider["kind"]
        base_url = f"http://127.0.0.1:{unreachable}"
        providers.append(provider | {"name": name, "base_url": base_url})
        models.append(configuration.model(f"{kind}-unreachable", (name, "up")))
    config = {
        "providers": providers,
        "models": models,
        "prices": [configuration.price(provider["name"]) for provider in providers],
        "teams": [
            configuration.team(
                "leavers",
                SECRET,
                {"unit": "usd", "window": "day", "ceiling": "1000.00"},
                {"unit": "tokens", "window": "day", "ceiling": 1_000_000_000},
                {"unit": "concurrent", "ceiling": 50},
            )
        ],
    }
    return install(environment={"ALLOW_PRIVATE_UPSTREAMS": "1"}, config=config).start()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", PATHS)
def test_G9_F14_R51_50_clients_leave_at_random_bytes(gateway, upstream, kind, mode):
    leave_and_check(gateway, upstream, kind, mode, 13)


@pytest.mark.faults
@pytest.mark.once
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", PATHS)
def test_G9_1000_clients_leave_at_random_bytes(gateway, upstream, kind, mode):
    leave_and_check(gateway, upstream, kind, mode, 250)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", PATHS)
def test_F14_a_client_that_leaves_before_the_first_byte_is_billed(gateway, upstream, kind, mode):
    user, question = f"hasty-{kind}-{mode}", f"Hasty {kind} {mode}?"
    up = f"up-fake-{kind}-{mode}"
    usual = Behaviour(words=WORDS, word_seconds=WORD_SECONDS)
    upstream.script(up, Behaviour(words=WORDS, delay_seconds=0.5), usual)
    with ask(gateway, kind, mode, question, user):
        wait_until(lambda: seen_of(upstream, question), "the provider's turn")
    seen = seen_of(upstream, question)
    wait_until(lambda: seen.finished or seen.left_at, "the end")
    assert bool(seen.finished) == (mode == "drain")
    wait_until(lambda: len(records_of(gateway, user)) == 1, "the bill")
    (record,) = records_of(gateway, user)
    assert record["input_tokens"] > 0
    assert Decimal(record["cost"]) > 0
    assert record["status"] == "cancelled"
    assert record["output_tokens"] == (WORDS if mode == "drain" else 0)


@pytest.mark.parametrize("kind", PATHS)
def test_F14_a_client_that_leaves_before_its_provider_has_a_connection_pays_nothing(gateway, kind):
    user = f"unheard-{kind}"
    with ask(gateway, kind, "unreachable", "Anybody there?", user):
        time.sleep(0.5)
    wait_until(lambda: len(records_of(gateway, user)) == 1, "the record")
    (record,) = records_of(gateway, user)
    assert (record["status"], record["input_tokens"]) == ("cancelled", 0)
    assert Decimal(record["cost"]) == 0


@contextmanager
def hole() -> Iterator[int]:
    """A port on which no connection ever comes about: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        port = server.getsockname()[1]
        for _ in range(3):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.1", port))
        yield port


def leave_and_check(gateway, upstream, kind: str, mode: str, count: int) -> None:
    rng = random.Random(f"{kind} {mode} {count}")  # noqa: S311 - reproducible, not secrets
    cases = [
        (
            f"Story {kind} {mode} {number} of {count}?",
            rng.randrange(MOST_BYTES[kind]),
            rng.random() < 0.5,
        )
        for number in range(count)
    ]
    with ThreadPoolExecutor(8) as clients:
        calls = list(clients.map(lambda case: leave(gateway, kind, mode, *case), cases))
    for call in calls:
        seen = seen_of(upstream, call.question)
        # Nothing is left open upstream five seconds later.
        wait_until(partial(is_over, seen), "the end", seconds=5)
        if mode == "drain":
            assert seen.finished
        elif not seen.finished:
            assert seen.left_at - call.at < 1
        check_bill(receipt(gateway, call.request_id, SECRET), seen, mode)
    wait_until(lambda: nothing_is_reserved(gateway), "settled limits")


def is_over(seen: Seen) -> bool:
    return seen.finished or seen.left_at is not None


def check_bill(told: Json, seen: Seen, mode: str) -> None:
    (entry,) = told["entries"]
    for part in ("input_tokens", "output_tokens"):
        truth = getattr(seen, part)
        assert abs(entry[part] - truth) <= max(64, truth // 20), (part, entry, truth)
    assert Decimal(entry["cost"]) > 0
    assert entry["status"] in ("cancelled", "ok")
    if mode == "drain":
        assert entry["usage_source"] == "provider"
        assert entry["output_tokens"] == seen.output_tokens


def nothing_is_reserved(gateway) -> bool:
    """What is used is what was billed."""
    limits = {limit["unit"]: limit for limit in get(gateway, "/v1/rate-limit", SECRET)["limits"]}
    billed = get(gateway, f"/v1/usage?date={datetime.now(UTC):%Y-%m-%d}", SECRET)
    return (
        limits["concurrent"]["used"] == 0
        and limits["tokens"]["used"] == billed["total_tokens"]
        and Decimal(limits["usd"]["used"]) == Decimal(billed["total_cost"])
    )


def leave(gateway, kind: str, mode: str, question: str, most: int, with_reset: bool) -> Left:
    """Read the head and some bytes of a stream, then go, with a goodbye or without."""
    with ask(gateway, kind, mode, question) as client:
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(1024)
        left = most - len(received)
        while left > 0 and (piece := client.recv(min(left, 4096))):
            left -= len(piece)
        if with_reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request_id = received.partition(b"\r\nx-request-id: ")[2].partition(b"\r\n")[0]
    return Left(question, request_id.decode(), time.monotonic())


@contextmanager
def ask(
    gateway, kind: str, mode: str, question: str, user: str = "reader"
) -> Iterator[socket.socket]:
    asked = {
        "model": f"{kind}-{mode}",
        "max_tokens": 200,
        "stream": True,
        "messages": [{"role": "user", "content": question}],
    }
    body = json.dumps(asked).encode()
    head = (
        f"POST {PATHS[kind]} HTTP/1.1\r\nhost: 127.0.0.1:{gateway.port}\r\n"
        f"authorization: Bearer {SECRET}\r\ncontent-type: application/json\r\n"
        f"x-user-id: {user}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(head.encode() + body)
        yield client


def seen_of(upstream: FakeProvider, question: str) -> Any:
    wanted = json.dumps(question).encode()
    return next((seen for seen in list(upstream.seen) if wanted in seen.request.body), None)


def records_of(gateway, user: str) -> list[Json]:
    path = f"/v1/usage?date={datetime.now(UTC):%Y-%m-%d}"
    records = get(gateway, path, SECRET)["records"]
    return [record for record in records if record["end_user"] == user]
