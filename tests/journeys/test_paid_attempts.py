"""Calls whose first attempt cost something: the second is made only where a budget covers both."""

from decimal import Decimal
from typing import Any

import pytest

from billing.pricing import Price, format_usd, parse_usd
from keys.secrets import make_secret
from routing.call_bound import call_bound
from routing.wire.call import read_request
from tests.fake_provider.behaviour import Behaviour
from tests.journeys import configuration
from tests.journeys.raw_http import Answer, post
from tests.journeys.receipts import Json, get, receipt

PATH = "/v1/chat/completions"
SECRETS = {name: make_secret() for name in ("tight", "wide", "loose", "absurd")}
PRICE = Price(
    id=1,
    input=parse_usd(configuration.INPUT),
    cached_input=parse_usd(configuration.CACHED),
    cache_write=parse_usd(configuration.WRITTEN),
    cache_write_1h=parse_usd(configuration.WRITTEN_1H),
    output=parse_usd(configuration.OUTPUT),
)


def body_of(team: str) -> bytes:
    asked = b'"max_tokens":12,"messages":[{"role":"user","content":"hi"}]'
    return b'{"model":"%b",%b}' % (team.encode(), asked)


def ceiling(team: str, more_nano_usd: int) -> Json:
    """What one attempt may cost at most, and some more; a time-out costs 50,000 or so."""
    bound = call_bound(read_request("openai_chat", body_of(team)), [], [PRICE], None)
    usd = format_usd(bound.cost_nano_usd(bound.output_tokens) + more_nano_usd)
    return {"unit": "usd", "window": "month", "ceiling": usd}


@pytest.fixture(scope="module")
def gateway(install, upstream):
    limits = {
        "tight": ceiling("tight", 10_000),
        "wide": ceiling("wide", 90_000),
        "loose": {"unit": "usd", "window": "month", "ceiling": "100.00"},
        "absurd": {"unit": "usd", "window": "month", "ceiling": "9000000000"},
    }
    config = {
        "providers": configuration.providers(upstream)[:1],
        "models": [
            configuration.model(
                name, ("fake-openai", f"stall+{name}"), ("fake-openai", f"{name}-second")
            )
            for name in SECRETS
            if name != "absurd"
        ]
        + [configuration.model("absurd", ("fake-openai", "huge-usage"))],
        "prices": [
            configuration.price("fake-openai"),
            configuration.price("fake-openai")
            | {"model": "huge-usage", "input": "1000000", "output": "1000000"},
        ],
        "teams": [
            configuration.team(name, secret, limits[name]) for name, secret in SECRETS.items()
        ],
    }
    upstream.script("loose-second", Behaviour(input_tokens=5_000))
    return install(config=config).start()


def send(gateway, team: str) -> Answer:
    return post(gateway, PATH, body_of(team), SECRETS[team])


def budget(gateway, team: str) -> Json:
    (limit,) = get(gateway, "/v1/rate-limit", SECRETS[team])["limits"]
    return dict(limit)


def test_G1b_an_attempt_that_a_budget_cannot_cover_any_more_is_not_made(gateway, upstream):
    answer = send(gateway, "tight")
    assert (answer.status, answer.json["error"]["code"]) == (504, "upstream_timeout")
    assert upstream.seen_of("tight-second") == []
    told = receipt(gateway, answer.headers["x-request-id"], SECRETS["tight"])
    (entry,) = told["entries"]
    assert entry["usage_source"] == "estimated"
    assert Decimal(entry["cost"]) > 0
    assert Decimal(budget(gateway, "tight")["used"]) == Decimal(entry["cost"])


def test_G1b_R56_two_paid_attempts_of_a_call_stay_within_the_budget_together(gateway):
    answer = send(gateway, "wide")
    assert answer.status == 200
    told = receipt(gateway, answer.headers["x-request-id"], SECRETS["wide"])
    costs: list[Any] = [Decimal(entry["cost"]) for entry in told["entries"]]
    assert len(costs) == 2
    assert min(costs) > 0
    left = budget(gateway, "wide")
    assert Decimal(left["used"]) == sum(costs) <= Decimal(left["ceiling"])


def test_G1b_what_a_provider_reports_beyond_the_bound_is_charged_in_full_and_flagged(gateway):
    answer = send(gateway, "loose")
    assert answer.status == 200
    told = receipt(gateway, answer.headers["x-request-id"], SECRETS["loose"])
    assert told["entries"][0]["input_tokens"] == 5_000
    flags = gateway.manage(
        "shell",
        "-c",
        "from billing.models import LedgerEntry\n"
        f"print(LedgerEntry.objects.get(request_id={told['request_id']!r}, entry=0).flags)",
    )
    assert "beyond_bound" in flags
    assert Decimal(budget(gateway, "loose")["used"]) == Decimal(told["total_cost"])


def test_an_absurd_cost_is_told_as_the_ledger_cuts_it(gateway):
    answer = send(gateway, "absurd")
    assert answer.status == 200
    told = receipt(gateway, answer.headers["x-request-id"], SECRETS["absurd"])
    assert told["total_cost"] == "1000000.000000000"
    assert answer.headers["x-gateway-cost-usd"] == told["total_cost"]
    assert Decimal(budget(gateway, "absurd")["used"]) == Decimal(told["total_cost"])
    assert gateway.manage("check_books")
