"""Who among the entries of a call pays which counter."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from billing.entries import Charge, Entry
from routing.settlement import charged

REQUESTS, TOKENS, USD = 1, 2, 3
UNITS = {REQUESTS: "requests", TOKENS: "tokens", USD: "usd"}


def entry(number: int, tokens: int, cost: int | None) -> Entry:
    return Entry(
        request_id="req_1", entry=number, started_at=datetime(2026, 1, 1, tzinfo=UTC), team_id=1,
        team="t", key_id=1, key_name="k", key_prefix="gw_x", end_user="", tags={}, address="/v1",
        streamed=False, requested_model="m", provider_id=1, provider="p", upstream_model="m",
        status="ok", error_code="", input_tokens=tokens, cached_input_tokens=0,
        cache_write_tokens=0, cache_write_1h_tokens=0, output_tokens=0, reasoning_tokens=0,
        cost_nano_usd=cost, usage_source="provider", price_version="1", cached=False,
        latency_ms=1, first_byte_ms=None, timezone="UTC",
    )  # fmt: skip


def test_one_entry_pays_everything():
    charges = [Charge(REQUESTS, 1), Charge(USD, 70)]
    [only] = charged([entry(0, 5, 70)], charges, UNITS)
    assert only.charges == tuple(charges)
    assert only.flags == ()


def test_MON_04_each_paid_attempt_pays_its_own_part():
    charges = [Charge(REQUESTS, 1), Charge(TOKENS, 30), Charge(USD, 100)]
    first, second = charged([entry(0, 20, 60), entry(1, 10, 40)], charges, UNITS)
    assert first.charges == (Charge(REQUESTS, 1), Charge(TOKENS, 20), Charge(USD, 60))
    assert second.charges == (Charge(TOKENS, 10), Charge(USD, 40))


def test_an_excess_is_flagged_on_entry_0():
    first, second = charged([entry(0, 1, 60), entry(1, 1, 40)], [Charge(USD, 100, 90)], UNITS)
    assert "beyond_bound" in first.flags
    assert (first.charges, second.charges) == ((Charge(USD, 60, 60),), (Charge(USD, 40, 30),))


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=5), st.data())
def test_no_part_of_a_charge_is_lost_or_paid_twice(costs, data):
    total = sum(costs)
    excess = data.draw(st.integers(0, total))
    entries = [entry(number, 0, cost) for number, cost in enumerate(costs)]
    paid = [
        charge
        for one in charged(entries, [Charge(USD, total, excess)], UNITS)
        for charge in one.charges
    ]
    assert sum(charge.amount for charge in paid) == total
    assert sum(charge.excess for charge in paid) == excess
    assert all(0 <= charge.excess <= charge.amount for charge in paid)
