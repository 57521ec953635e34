"""How the console's pages write amounts, counts and durations."""

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from django import template

from billing.models import Unit
from billing.pricing import format_usd
from billing.spend import Sums

register = template.Library()

_CENT = Decimal("0.01")
_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "k"))
_COLOURS = {
    "ok": "good",
    "served": "good",
    "error": "bad",
    "failed": "bad",
    "cancelled": "odd",
    "recovered": "odd",
    "abandoned": "odd",
}


@register.filter
def usd(nano_usd: int | None) -> str:
    """Dollars for people: cents, and below a dollar three digits that say something."""
    if nano_usd is None:
        return "unknown"
    dollars = Decimal(nano_usd).scaleb(-9)
    step = _CENT
    if dollars and abs(dollars) < 1:
        step = min(_CENT, Decimal(1).scaleb(dollars.adjusted() - 2))
    text = f"{abs(dollars).quantize(step, ROUND_HALF_EVEN):,f}"
    whole, _, decimals = text.partition(".")
    return f"{'-' if nano_usd < 0 else ''}${whole}.{decimals.rstrip('0').ljust(2, '0')}"


@register.filter
def exact_usd(nano_usd: int | None) -> str:
    """All nine decimals."""
    return "unknown" if nano_usd is None else f"${format_usd(nano_usd)}"


@register.filter
def cost(sums: Sums) -> str:
    """The cost of a group; unknown where nothing in it has a price."""
    return usd(sums.cost_nano_usd if sums.cost_known else None)


@register.filter
def number(count: int) -> str:
    return f"{count:,}"


@register.filter
def short(count: int) -> str:
    """A large number in three digits: 12.3 M."""
    if count < 10_000:
        return f"{count:,}"
    unit, name = next((unit, name) for unit, name in _UNITS if count >= unit)
    return f"{_three_digits(Decimal(count) / unit)} {name}"


def _three_digits(value: Decimal) -> str:
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


@register.filter
def amount(value: int, unit: str) -> str:
    """What a limit counts, in its unit."""
    return usd(value) if unit == Unit.USD else short(value)


@register.filter
def duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{_three_digits(Decimal(milliseconds) / 1000)} s"
    return f"{milliseconds // 60_000} min {milliseconds // 1000 % 60} s"


@register.filter
def instant(text: str) -> datetime:
    """A moment of a receipt, to be shown in the page's zone."""
    return datetime.fromisoformat(text)


@register.filter
def words(name: str) -> str:
    """A figure's name as people write it."""
    return name.replace("_", " ").capitalize()


@register.filter
def percent_of(part: int, whole: int) -> int:
    """Whole percent, between 0 and 100."""
    return max(0, min(100, part * 100 // whole)) if whole > 0 else 0


@register.filter
def colour(status: str) -> str:
    """The class of a status badge."""
    return _COLOURS.get(status, "plain")
