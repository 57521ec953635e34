"""Texts that a database cannot store: their call is refused or billed, and costs no neighbour."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from keys.secrets import make_secret
from tests.journeys import configuration
from tests.journeys.raw_http import Answer, post
from tests.journeys.receipts import get
from tests.loopback import wait_until

SECRET = make_secret()
PATH = "/v1/chat/completions"
PLAIN: dict[str, Any] = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
Case = tuple[dict[str, Any], dict[str, str]]
LONE = "\ud800"
REFUSED: list[dict[str, Any]] = [
    {"user": "a\0b"},
    {"user_id": f"a{LONE}"},
    {"user_id": "u" * 257},
    {"model": "gpt\0"},
    {"model": "g" * 10_000},
    {"model": LONE},
    {"provider": "a\0"},
    # The last two are read only where they are translated; what is refused there names the field.
    {"model": "claude", "max_tokens": 9, "field\0": 1},
    {"model": "claude", "max_tokens": 9, "x" * 5000: 1},
]
ADMITTED = 2
BILLED: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "a\0b"}]},
    {"metadata": {"\0": "\0"}},
    {"user": "🌍" * 256},
    {"user": "\u202e<script>\r\n=1+1"},
    {"stop": ["\0"]},
]
HEADERS = [
    {"X_User_ID": "é".encode().decode("latin-1") * 128},
    {"X_Gateway_Tags": "project=" + "x" * 256},
    {"X_Gateway_Tags": ",".join(f"t{number}=v" for number in range(32))},
]


@pytest.fixture(scope="module")
def gateway(install, upstream):
    config = {
        "providers": configuration.providers(upstream),
        "models": [
            configuration.model("gpt", ("fake-openai", "gpt-up")),
            configuration.model("claude", ("fake-anthropic", "claude-up")),
        ],
        "prices": [configuration.price("fake-openai"), configuration.price("fake-anthropic")],
        "teams": [
            configuration.team("odd", SECRET, {"unit": "usd", "window": "day", "ceiling": "100"})
        ],
    }
    return install(config=config).start()


def test_R50_odd_texts_over_http_lose_no_neighbour(gateway):
    def send(case: Case) -> Answer:
        fields, headers = case
        return post(gateway, PATH, json.dumps(PLAIN | fields).encode(), SECRET, **headers)

    refused: list[Case] = [(fields, {}) for fields in REFUSED]
    billed: list[Case] = [(fields, {}) for fields in BILLED] + [
        ({}, headers) for headers in HEADERS
    ]
    plain: list[Case] = [({}, {})] * 20
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(send, [*refused, *billed, *plain]))
    statuses = [answer.status for answer in answers]
    assert statuses == [400] * len(refused) + [200] * (len(billed) + len(plain))
    served = {answer.headers["x-request-id"] for answer in answers if answer.status == 200}

    def records() -> list[dict[str, Any]]:
        told = get(gateway, f"/v1/usage?date={datetime.now(UTC):%Y-%m-%d}", SECRET)
        return list(told["records"])

    wait_until(lambda: len(records()) >= len(served) + ADMITTED, "the ledger")
    by_id = {record["request_id"]: record for record in records()}
    assert all(Decimal(by_id[request_id]["cost"]) > 0 for request_id in served)
    # What only a translation could refuse had been admitted by then.
    assert {by_id[other]["status"] for other in by_id.keys() - served} == {"error"}
    assert gateway.manage("check_books")
    assert "Traceback" not in gateway.output
    assert "ledger_not_written" not in gateway.output
