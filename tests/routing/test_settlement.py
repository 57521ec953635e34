"""Who among the entries of a call pays which counter."""

from hypothesis import given
from hypothesis import strategies as st

from billing.entries import Charge
from routing.settlement import shared_out

REQUESTS, TOKENS, USD = 1, 2, 3
UNITS = {REQUESTS: "requests", TOKENS: "tokens", USD: "usd"}


def test_one_entry_pays_everything():
    charges = [Charge(REQUESTS, 1), Charge(USD, 70)]
    assert shared_out(charges, UNITS, [(5, 70)]) == [tuple(charges)]


def test_MON_04_each_paid_attempt_pays_its_own_part():
    charges = [Charge(REQUESTS, 1), Charge(TOKENS, 30), Charge(USD, 100)]
    first, second = shared_out(charges, UNITS, [(20, 60), (10, 40)])
    assert first == (Charge(REQUESTS, 1), Charge(TOKENS, 20), Charge(USD, 60))
    assert second == (Charge(TOKENS, 10), Charge(USD, 40))


def test_an_excess_larger_than_the_first_part_is_carried_on():
    first, second = shared_out([Charge(USD, 100, 90)], UNITS, [(1, 60), (1, 40)])
    assert (first, second) == ((Charge(USD, 60, 60),), (Charge(USD, 40, 30),))


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=5), st.data())
def test_no_part_of_a_charge_is_lost_or_paid_twice(costs, data):
    total = sum(costs)
    excess = data.draw(st.integers(0, total))
    shares = shared_out([Charge(USD, total, excess)], UNITS, [(0, cost) for cost in costs])
    paid = [charge for share in shares for charge in share]
    assert sum(charge.amount for charge in paid) == total
    assert sum(charge.excess for charge in paid) == excess
    assert all(0 <= charge.excess <= charge.amount for charge in paid)
