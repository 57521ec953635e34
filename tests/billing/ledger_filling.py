"""Ledger entries for tests, put in through the ledger's own door."""

from dataclasses import replace
from itertools import count
from typing import Any

from billing.entries import Entry
from billing.ledger import post
from tests.billing.ledger_samples import ENTRY
from tests.billing.ledger_samples import NOON as NOON

_numbers = count(1)
_CALL = replace(
    ENTRY,
    key_id=11,
    key_prefix="gw_abcdef",
    provider_id=1,
    upstream_model="gpt-4o-2024-08-06",
    cached_input_tokens=20,
    output_tokens=50,
    cost_nano_usd=725_000,
    price_version="1",
    latency_ms=420,
    timezone="UTC",
)


def call(**changes: Any) -> Entry:
    """An entry with a request id of its own, unless one is given."""
    return replace(_CALL, **{"request_id": f"req_{next(_numbers):06}", **changes})


def fill(*entries: Entry) -> None:
    """Post entries that no worker held anything for."""
    assert post(entries, worker_id=None).rejected == ()
