"""Entries, admissions and counters to try the ledger with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.entries import Admission, Charge, Entry
from billing.models import Counter, Holding, Limit, Worker
from keys.models import ApiKey, Team

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MONTH = datetime(2026, 3, 1, tzinfo=UTC)
NEXT_MONTH = datetime(2026, 4, 1, tzinfo=UTC)

ENTRY = Entry(
    request_id="req-0",
    entry=0,
    started_at=NOON,
    team_id=1,
    team="research",
    key_id=2,
    key_name="ci",
    key_prefix="gw_abcdefgh",
    end_user="",
    tags={},
    address="/v1/chat/completions",
    streamed=False,
    requested_model="gpt-4o",
    provider_id=3,
    provider="openai-main",
    upstream_model="gpt-4o-2024",
    status="ok",
    error_code="",
    input_tokens=100,
    cached_input_tokens=40,
    cache_write_tokens=0,
    cache_write_1h_tokens=0,
    output_tokens=20,
    reasoning_tokens=5,
    cost_nano_usd=450_000,
    usage_source="provider",
    price_version="7",
    cached=False,
    latency_ms=120,
    first_byte_ms=None,
    timezone="Europe/Paris",
)


def entry(request_id: str = "req-0", **fields: Any) -> Entry:
    return replace(ENTRY, request_id=request_id, **fields)


def admission(request_id: str = "req-0", *, holds: Any = (), **fields: Any) -> Admission:
    """One that is recovered at 2.50 and 10 USD per million tokens."""
    template = entry(
        request_id,
        status="recovered",
        usage_source="recovered",
        output_tokens=0,
        reasoning_tokens=0,
        cached_input_tokens=0,
        cost_nano_usd=None,
        latency_ms=0,
        **fields,
    )
    return Admission(template, tuple(holds), 2_500_000_000, 10_000_000_000)


def make_team(name: str = "research") -> Team:
    return Team.objects.create(name=name, timezone="Europe/Paris")


def make_key(team: Team, name: str = "ci") -> ApiKey:
    return ApiKey.objects.create(team=team, name=name, secret_hash=name, prefix="gw_abcdefgh")


def make_worker(name: str = "worker-1", host: str = "here") -> Worker:
    return Worker.objects.create(name=name, host=host, journal=f"{name}.lock", started_at=NOON)


def make_counter(team: Team, unit: str, *, subject: str = "", **fields: Any) -> Counter:
    limit = Limit.objects.create(
        team=team,
        unit=unit,
        window="" if unit == "concurrent" else "month",
        ceiling=10**15,
        **fields,
    )
    return Counter.objects.create(
        limit=limit, subject=subject, period_start=MONTH, period_end=NEXT_MONTH, ceiling=10**15
    )


def hold(counter: Counter, worker: Worker, amount: int) -> Holding:
    """As a worker takes: the counter and its holding rise together."""
    Counter.objects.filter(id=counter.id).update(taken=counter.taken + amount)
    return Holding.objects.create(counter=counter, worker=worker, amount=amount)


def charge(counter: Counter, amount: int, excess: int = 0) -> Charge:
    return Charge(counter.id, amount, excess)


def taken(counter: Counter) -> int:
    return Counter.objects.get(id=counter.id).taken


def held(counter: Counter) -> int | None:
    return Holding.objects.filter(counter=counter).values_list("amount", flat=True).first()


def many(count: int, **fields: Any) -> list[Entry]:
    return [
        entry(f"req-{number}", started_at=NOON + timedelta(seconds=number), **fields)
        for number in range(count)
    ]
