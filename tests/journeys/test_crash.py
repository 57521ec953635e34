"""kill -9 of the gateway at any moment: what a provider answered is on the ledger, once."""

import csv
import io
import random
import threading
import time
from collections import Counter
from http.client import HTTPException
from urllib.request import Request, urlopen

import pytest

from keys.secrets import make_secret
from tests.fake_provider import Behaviour
from tests.journeys import configuration

SECRET = make_secret()
KILLS = 5
CALLERS = 4
BUDGET = {"unit": "usd", "window": "month", "ceiling": "1000.00"}


@pytest.fixture(scope="module")
def gateway(install, upstream):
    upstream.script("brief", Behaviour(delay_seconds=0.01))
    upstream.script("spoken", Behaviour(words=20, word_seconds=0.005))
    config = {
        "providers": configuration.providers(upstream),
        "models": [
            configuration.model("brief", ("fake-openai", "brief"), max_attempts=1),
            configuration.model("spoken", ("fake-anthropic", "spoken"), max_attempts=1),
        ],
        "prices": [configuration.price("fake-openai"), configuration.price("fake-anthropic")],
        "teams": [
            configuration.team("crash", SECRET, BUDGET, {"unit": "concurrent", "ceiling": 50})
        ],
    }
    return install(config=config).start()


def _call(gateway, name, *, stream):
    """One call that the provider and the ledger will both know by `name`."""
    model = "spoken" if stream else "brief"
    said = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "{name}"}}]'
    body = f'{said}, "stream": {str(stream).lower()}, "max_tokens": 50}}'
    request = Request(  # noqa: S310 - our own loopback address
        f"{gateway.openai_url}/chat/completions",
        data=body.encode(),
        headers={
            "Authorization": f"Bearer {SECRET}",
            "Content-Type": "application/json",
            "X-User-ID": name,
        },
    )
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        answer.read()


def _name_of(seen):
    content = seen.json["messages"][0]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def _keep_calling(gateway, number, over):
    calls = 0
    while not over.is_set():
        calls += 1
        try:
            _call(gateway, f"call-{number}-{calls}", stream=calls % 2 == 0)
        except (HTTPException, OSError):
            time.sleep(0.05)


def _ledger(gateway):
    table = gateway.manage(
        "export_costs", "--from", "2020-01-01", "--to", "2100-01-01", "--team", "crash"
    )
    return list(csv.DictReader(io.StringIO(table)))


def _kill_again_and_again(gateway, upstream):
    rng = random.Random(2)  # noqa: S311 - moments, not secrets
    for _ in range(KILLS):
        served = len(upstream.seen)
        upstream.wait_for(lambda fake, n=served: len(fake.seen) > n + 20, "calls go on")
        time.sleep(rng.random() / 10)
        gateway.kill_worker()
    served = len(upstream.seen)
    upstream.wait_for(lambda fake: len(fake.seen) > served + 20, "the last kill is survived")


@pytest.fixture(scope="module")
def ledger(gateway, upstream):
    """The ledger after five kills under load, a clean stop, and what recovery made of it."""
    over = threading.Event()
    callers = [
        threading.Thread(target=_keep_calling, args=(gateway, number, over), daemon=True)
        for number in range(CALLERS)
    ]
    for caller in callers:
        caller.start()
    try:
        _kill_again_and_again(gateway, upstream)
    finally:
        over.set()
    for caller in callers:
        caller.join(15)
    gateway.stop()
    gateway.start()
    return _ledger(gateway)


def test_every_finished_call_is_on_the_ledger_once_F30(ledger, upstream):
    finished = {_name_of(seen) for seen in upstream.seen if seen.finished}
    rows = Counter(row["end_user"] for row in ledger if row["entry"] == "0")
    assert {name: rows[name] for name in finished} == dict.fromkeys(finished, 1)


def test_no_entry_is_there_twice(ledger):
    entries = Counter((row["request_id"], row["entry"]) for row in ledger)
    assert set(entries.values()) == {1}


def test_what_was_cut_off_is_recovered_with_a_cost(ledger):
    recovered = [row for row in ledger if row["status"] == "recovered"]
    assert recovered
    assert all(float(row["cost_usd"]) > 0 for row in recovered)


def test_the_books_agree_after_the_kills(gateway, ledger):
    assert ledger
    gateway.manage("check_books")
