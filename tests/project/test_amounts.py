"""How pages write amounts, counts and durations."""

import pytest

from gateway_project.templatetags.console import (
    amount,
    duration,
    exact_usd,
    percent_of,
    short,
    usd,
)


@pytest.mark.parametrize(
    ("nano_usd", "shown"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (1, "$0.000000001"),
        (725_000, "$0.000725"),
        (12_345_678, "$0.0123"),
        (450_000_000, "$0.45"),
        (999_999_999, "$1.00"),
        (1_234_567_890, "$1.23"),
        (1_234_567_890_000, "$1,234.57"),
        (-725_000, "-$0.000725"),
    ],
)
def test_dollars_have_the_digits_that_say_something(nano_usd, shown):
    assert usd(nano_usd) == shown


def test_exact_dollars_have_nine_decimals():
    assert (exact_usd(725_001), exact_usd(None)) == ("$0.000725001", "unknown")


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (9_999, "9,999"), (12_345, "12.3 k"), (20_000_000, "20 M"), (4 * 10**12, "4000 B")],
)
def test_large_counts_are_shortened(count, shown):
    assert short(count) == shown


def test_a_limit_is_written_in_its_unit():
    assert (amount(5_000_000_000, "usd"), amount(60, "requests")) == ("$5.00", "60")


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(None, "–"), (7, "7 ms"), (1_500, "1.5 s"), (20_000, "20 s"), (61_000, "1 min 1 s")],
)
def test_durations_are_short(milliseconds, shown):
    assert duration(milliseconds) == shown


@pytest.mark.parametrize(
    ("part", "whole", "percent"), [(1, 3, 33), (0, 0, 0), (-5, 10, 0), (20, 10, 100)]
)
def test_a_share_is_between_nothing_and_all(part, whole, percent):
    assert percent_of(part, whole) == percent
