"""kill -9 of a worker whose calls had paid for a failed attempt: both are billed, each at its
own target's price."""

import json
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from billing.pricing import parse_usd
from keys.secrets import make_secret
from tests.fake_provider.behaviour import Behaviour
from tests.journeys import configuration
from tests.journeys.receipts import get, receipt
from tests.loopback import wait_until

SECRET = make_secret()
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
FAILED_COST = 1000 * 2_500 + 500 * 10_000
DEAR_INPUT, DEAR_OUTPUT = 250_000, 1_000_000  # nano-dollars per token
PAID_FAILURE = Behaviour(
    status=500, body=json.dumps({"error": {"message": "boom"}, "usage": USAGE}).encode()
)
ROWS = """
import json
from billing.models import LedgerEntry, Price
fields = ["request_id", "entry", "end_user", "status", "provider", "upstream_model",
    "input_tokens", "output_tokens", "cost_nano_usd", "usage_source", "flags", "price_version"]
rows = list(LedgerEntry.objects.order_by("end_user", "entry").values(*fields))
versions = {price.provider: str(price.id) for price in Price.objects.exclude(provider="")}
print(json.dumps([rows, versions]))
"""
Row = dict[str, Any]


@pytest.fixture(scope="module")
def gateway(install, upstream):
    account = configuration.providers(upstream, timeout_seconds=60)[0]
    account |= {"stream_idle_timeout_seconds": 60}
    dear = configuration.price("dear") | {"input": "250.00", "output": "1000.00"}
    config = {
        "providers": [account | {"name": "cheap"}, account | {"name": "dear"}],
        "models": [
            configuration.model("streamed", ("cheap", "fails-1"), ("dear", "streams")),
            configuration.model("whole", ("cheap", "fails-2"), ("dear", "thinks")),
            configuration.model("waiting", ("cheap", "fails-3"), max_attempts=2),
        ],
        "prices": [configuration.price("cheap"), dear],
        "teams": [
            configuration.team(
                "t",
                SECRET,
                {"unit": "usd", "window": "total", "ceiling": "1000.00"},
                {"unit": "requests", "window": "total", "ceiling": 100},
                {"unit": "tokens", "window": "total", "ceiling": 10**9},
            )
        ],
    }
    upstream.script("fails-1", PAID_FAILURE)
    upstream.script("fails-2", PAID_FAILURE)
    wait = (("retry-after", "5"),)
    upstream.script("fails-3", Behaviour(status=500, headers=wait, body=PAID_FAILURE.body))
    upstream.script("streams", Behaviour(words=3000, word_seconds=0.01))
    upstream.script("thinks", Behaviour(delay_seconds=60))
    return install(config=config, environment={"WORKERS": "1"}).start()


def send(gateway, model: str) -> socket.socket:
    """A call whose answer nobody waits for; its end user is the model."""
    asked = {"model": model, "max_tokens": 3000, "messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps(asked | {"stream": model == "streamed"}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {SECRET}\r\nContent-Type: application/json\r\n"
        f"X-User-ID: {model}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", gateway.port))
    connection.sendall(head.encode() + body)
    return connection


def ledger(gateway) -> tuple[list[Row], dict[str, str]]:
    rows, versions = json.loads(gateway.manage("shell", "--verbosity", "0", "-c", ROWS))
    return rows, versions


@pytest.fixture(scope="module")
def killed(gateway, upstream):
    """What the provider had sent of the stream when the worker died, and what was recovered."""
    with ExitStack() as calls:
        for model in ("waiting", "whole", "streamed"):
            calls.enter_context(send(gateway, model))
        upstream.wait_for(
            lambda all_: (
                bool(all_.seen_of("thinks"))
                and any(seen.output_tokens > 150 for seen in all_.seen_of("streams"))
            ),
            "two calls are at their second target",
        )
        gateway.kill_worker()
        (stream,) = upstream.seen_of("streams")
        sent = stream.output_tokens
        wait_until(lambda: len(ledger(gateway)[0]) >= 5, "the calls are recovered", seconds=60)
    return sent, *ledger(gateway)


def of(rows: list[Row], end_user: str) -> list[Row]:
    return [row for row in rows if row["end_user"] == end_user]


@pytest.mark.parametrize(("model", "asked"), [("streamed", "streams"), ("whole", "thinks")])
def test_F30_the_failed_attempt_and_the_running_one_are_both_billed(killed, upstream, model, asked):
    sent, rows, versions = killed
    running, failed = of(rows, model)
    assert (failed["entry"], failed["provider"], failed["status"]) == (1, "cheap", "error")
    assert (failed["input_tokens"], failed["output_tokens"]) == (1000, 500)
    assert (failed["cost_nano_usd"], failed["usage_source"]) == (FAILED_COST, "provider")
    assert failed["price_version"] == versions["cheap"]
    assert (running["entry"], running["status"], running["flags"]) == (
        0,
        "recovered",
        ["uncertain"],
    )
    assert (running["provider"], running["upstream_model"]) == ("dear", asked)
    assert running["price_version"] == versions["dear"]
    (seen,) = upstream.seen_of(asked)
    truth = sent if model == "streamed" else 0
    assert abs(running["output_tokens"] - truth) <= max(64, truth // 20)
    assert abs(running["input_tokens"] - seen.input_tokens) <= 64
    figures = running["input_tokens"] * DEAR_INPUT + running["output_tokens"] * DEAR_OUTPUT
    assert running["cost_nano_usd"] == figures


def test_F30_a_call_that_waited_for_its_second_attempt_is_billed_for_the_first(killed, upstream):
    _, rows, versions = killed
    (only,) = of(rows, "waiting")
    assert len(upstream.seen_of("fails-3")) == 1
    assert (only["entry"], only["status"], only["provider"]) == (0, "recovered", "cheap")
    assert (only["cost_nano_usd"], only["usage_source"]) == (FAILED_COST, "provider")
    assert (only["price_version"], only["flags"]) == (versions["cheap"], [])


def test_F30_receipts_limits_and_books_tell_of_all_of_it(gateway, killed):
    _, rows, _ = killed
    for model in ("streamed", "whole", "waiting"):
        told = receipt(gateway, of(rows, model)[0]["request_id"], SECRET)
        assert len(told["entries"]) == len(of(rows, model))
        (attempt,) = told["attempts"]
        assert (attempt["provider"], attempt["outcome"]) == ("cheap", "failed")
        cost = sum(row["cost_nano_usd"] for row in of(rows, model))
        assert parse_usd(told["total_cost"]) == cost
    used = {
        limit["unit"]: limit["used"] for limit in get(gateway, "/v1/rate-limit", SECRET)["limits"]
    }
    assert parse_usd(used["usd"]) == sum(row["cost_nano_usd"] for row in rows)
    assert int(used["requests"]) == 3
    gateway.manage("check_books")
