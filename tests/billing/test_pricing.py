"""Costs are exact integers, bounds are bounds, and dollars are read and written as text."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing import (
    LARGEST_NANO_USD,
    Price,
    cost,
    format_usd,
    parse_usd,
    short_usd,
    upper_bound,
)
from billing.usage import Usage

OPTIONAL_FIGURES = (
    "cached_input", "cache_write", "cache_write_1h", "above_input", "above_cached_input",
    "above_cache_write", "above_cache_write_1h", "above_output",
)  # fmt: skip

GPT_4O = Price(id=1, input=2_500_000_000, cached_input=1_250_000_000, output=10_000_000_000)


@st.composite
def prices(draw):
    figure = st.integers(0, 50_000_000_000)
    maybe = st.none() | figure
    return Price(
        id=1,
        input=draw(figure),
        output=draw(figure),
        cached_input=draw(maybe),
        cache_write=draw(maybe),
        cache_write_1h=draw(maybe),
        above_input_tokens=draw(st.none() | st.integers(0, 300)),
        above_input=draw(maybe),
        above_cached_input=draw(maybe),
        above_cache_write=draw(maybe),
        above_cache_write_1h=draw(maybe),
        above_output=draw(maybe),
    )


@st.composite
def usages(draw, most_input=500, most_output=500):
    total = draw(st.integers(0, most_input))
    cached = draw(st.integers(0, total))
    written = draw(st.integers(0, total - cached))
    return Usage(
        input_tokens=total,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=draw(st.integers(0, written)),
        output_tokens=draw(st.integers(0, most_output)),
    )


def exact_cost(usage: Usage, price: Price) -> int:
    """The rules in fractions, written apart from the code under test."""
    above = price.above_input_tokens is not None and usage.input_tokens > price.above_input_tokens
    if above:
        plain = price.input if price.above_input is None else price.above_input
        output = price.output if price.above_output is None else price.above_output
        parts = (price.above_cached_input, price.above_cache_write, price.above_cache_write_1h)
    else:
        plain, output = price.input, price.output
        parts = (price.cached_input, price.cache_write, price.cache_write_1h)
    cached, written, written_1h = (plain if part is None else part for part in parts)
    five_minutes = usage.cache_write_tokens - usage.cache_write_1h_tokens
    uncached = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return round(
        Fraction(uncached * plain, 1_000_000)
        + Fraction(usage.cached_input_tokens * cached, 1_000_000)
        + Fraction(five_minutes * written, 1_000_000)
        + Fraction(usage.cache_write_1h_tokens * written_1h, 1_000_000)
        + Fraction(usage.output_tokens * output, 1_000_000)
    )


def test_a_plain_call_costs_input_and_output():
    assert cost(Usage(input_tokens=1000, output_tokens=500), GPT_4O) == 2_500_000 + 5_000_000


def test_cached_input_costs_its_own_price():
    usage = Usage(input_tokens=1000, cached_input_tokens=400)
    assert cost(usage, GPT_4O) == 600 * 2_500 + 400 * 1_250


def test_a_missing_cache_price_is_the_input_price():
    price = Price(id=1, input=3_000_000, output=0)
    usage = Usage(
        input_tokens=9, cached_input_tokens=3, cache_write_tokens=6, cache_write_1h_tokens=2
    )
    assert cost(usage, price) == 27


def test_a_cache_price_of_zero_is_free_and_not_missing():
    price = Price(id=1, input=3_000_000, cached_input=0, output=0)
    assert cost(Usage(input_tokens=10, cached_input_tokens=10), price) == 0


def test_more_input_than_the_threshold_pays_the_prices_above_for_all_tokens():
    price = Price(
        id=1, input=1_000_000, output=1_000_000, above_input_tokens=100,
        above_input=2_000_000, above_output=3_000_000,
    )  # fmt: skip
    assert cost(Usage(input_tokens=100, output_tokens=1), price) == 101
    assert cost(Usage(input_tokens=101, output_tokens=1), price) == 205


def test_above_the_threshold_a_missing_cache_price_is_the_input_price_there():
    price = Price(
        id=1, input=1_000_000, cached_input=500_000, output=0, above_input_tokens=10,
        above_input=2_000_000,
    )  # fmt: skip
    assert cost(Usage(input_tokens=20, cached_input_tokens=20), price) == 40


def test_a_cost_is_rounded_half_even_once():
    price = Price(id=1, input=500_000, output=500_000)
    assert [cost(Usage(input_tokens=n), price) for n in (1, 2, 3, 5)] == [0, 1, 2, 2]
    assert cost(Usage(input_tokens=1, output_tokens=1), price) == 1


def test_parts_larger_than_the_whole_are_not_paid_for_twice():
    usage = Usage(input_tokens=10, cached_input_tokens=50, cache_write_tokens=50)
    assert cost(usage, GPT_4O) == 10 * 1_250


def test_costs_equal_exact_fractions_over_100_000_random_calls_F44():
    rng = random.Random(44)  # noqa: S311 - reproducible cases, not secrets
    for _ in range(100_000):
        total = rng.randrange(1_000_000)
        cached = rng.randint(0, total)
        written = rng.randint(0, total - cached)
        usage = Usage(total, cached, written, rng.randint(0, written), rng.randrange(200_000))
        figures = {name: rng.choice((None, rng.randrange(10**11))) for name in OPTIONAL_FIGURES}
        threshold = rng.choice((None, rng.randrange(1_000_000)))
        price = Price(
            id=1,
            input=rng.randrange(10**11),
            output=rng.randrange(10**11),
            above_input_tokens=threshold,
            **figures,
        )
        assert cost(usage, price) == exact_cost(usage, price)


@given(usages(), prices())
def test_the_bound_holds_for_every_usage_within_it_G1b(usage, price):
    assert cost(usage, price) <= upper_bound(usage.input_tokens, usage.output_tokens, price)


@given(usages(), prices(), st.integers(0, 500), st.integers(0, 500))
def test_the_bound_holds_for_calls_that_use_less(usage, price, more_input, more_output):
    bound = upper_bound(usage.input_tokens + more_input, usage.output_tokens + more_output, price)
    assert cost(usage, price) <= bound


def test_the_bound_of_plain_tokens_is_their_cost_rounded_up():
    price = Price(id=1, input=500_000, output=0)
    assert upper_bound(1, 0, price) == 1
    assert upper_bound(2, 0, price) == 1


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("2.50", 2_500_000_000),
        ("0", 0),
        ("0.000000001", 1),
        ("100", 100_000_000_000),
        ("0001.5", 1_500_000_000),
        ("9223372036.854775807", LARGEST_NANO_USD),
    ],
)
def test_dollars_are_read_exactly(text, nano):
    assert parse_usd(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "", " 1", "1 ", "1\n", "-1", "+1", "1e3", "1,5", ".5", "1.", "0.0000000001", "NaN", "inf",
        "1_000", "١", "$1", "9223372036.854775808", "9" * 5000,
    ],
)  # fmt: skip
def test_anything_but_a_plain_dollar_amount_is_refused(text):
    with pytest.raises(ValueError, match="dollar amount"):
        parse_usd(text)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (-2_500_000_000, "-2.500000000"),
    ],
)
def test_dollars_are_written_with_nine_decimals(nano, text):
    assert format_usd(nano) == text


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.00"), (1, "0.000000001"), (-2_500_000_000, "-2.50"), (123_456_000_000, "123.456")],
)
def test_people_read_no_more_decimals_than_say_something(nano, text):
    assert short_usd(nano) == text


@given(st.integers(0, LARGEST_NANO_USD))
def test_what_is_written_is_read_back(nano):
    assert parse_usd(format_usd(nano)) == nano
