"""Ledger entries for tests, put in through the ledger's own door."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from billing.entries import Entry
from billing.ledger import post

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
_numbers = count(1)

_CALL = Entry(
    request_id="",
    entry=0,
    started_at=NOON,
    team_id=1,
    team="research",
    key_id=11,
    key_name="ci",
    key_prefix="gw_abcdef",
    end_user="",
    tags={},
    address="/v1/chat/completions",
    streamed=False,
    requested_model="gpt-4o",
    provider_id=1,
    provider="openai-main",
    upstream_model="gpt-4o-2024-08-06",
    status="ok",
    error_code="",
    input_tokens=100,
    cached_input_tokens=20,
    cache_write_tokens=0,
    cache_write_1h_tokens=0,
    output_tokens=50,
    reasoning_tokens=5,
    cost_nano_usd=725_000,
    usage_source="provider",
    price_version="1",
    cached=False,
    latency_ms=420,
    first_byte_ms=None,
    timezone="UTC",
)


def call(**changes: Any) -> Entry:
    """An entry with a request id of its own, unless one is given."""
    return replace(_CALL, **{"request_id": f"req_{next(_numbers):06}", **changes})


def fill(*entries: Entry) -> None:
    """Post entries that no worker held anything for."""
    assert post(entries, worker_id=None).rejected == ()
