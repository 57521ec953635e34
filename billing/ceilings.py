"""A limit's ceiling as people write it: dollars for a budget, a whole number for the rest."""

from billing.models import Unit
from billing.pricing import LARGEST_NANO_USD, parse_usd, short_usd


def parse_ceiling(unit: str, text: str) -> int:
    """The ceiling in the limit's own unit, nano-dollars for usd.

    Raises:
        ValueError: says what should have been written.
    """
    if unit == Unit.USD:
        return parse_usd(text)
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST_NANO_USD))):
        counted = "calls" if unit == Unit.CONCURRENT else unit
        raise ValueError(f"{text[:40]!r} is not a whole number of {counted}")
    ceiling = int(text)
    if ceiling > LARGEST_NANO_USD:
        raise ValueError("the ceiling is too large")
    return ceiling


def show_ceiling(unit: str, amount: int) -> str:
    """An amount of the unit, as `parse_ceiling` reads it."""
    return short_usd(amount) if unit == Unit.USD else str(amount)
