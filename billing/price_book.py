"""The price book: every price in memory, an immutable snapshot that is swapped whole.

A price is looked up by what the call meant (provider, kind, upstream model) and when. A model
without one is unknown, which is never the same as free.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime

from billing import models
from billing.pricing import Price

# Callers choose model names where a pattern passes them on, so what is remembered is bounded.
LONGEST_MEMORY = 10_000

FIGURES = tuple(field.name for field in fields(Price) if field.name != "id")


@dataclass(frozen=True, slots=True)
class BookedPrice:
    """A price and what it is for: a provider's name or a kind (the other is empty), a model."""

    provider: str
    kind: str
    model: str
    effective_from: datetime
    price: Price


@dataclass(frozen=True, slots=True)
class _Series:
    """The prices of one name over time, oldest first."""

    moments: tuple[datetime, ...]
    prices: tuple[Price, ...]

    def at(self, moment: datetime) -> Price | None:
        index = bisect_right(self.moments, moment)
        return self.prices[index - 1] if index else None


@dataclass(frozen=True, slots=True)
class _Pattern:
    regex: re.Pattern[str]
    series: _Series


class PriceBook:
    """Answers what a model costs. Exact before pattern, then provider before kind; of several
    patterns the one with the most literal characters. A price holds from its own instant on;
    until then the next best one does.
    """

    def __init__(self, prices: Iterable[BookedPrice] = ()) -> None:
        self._exact: dict[tuple[str, str, str], _Series] = {}
        self._patterns: dict[tuple[str, str], list[_Pattern]] = defaultdict(list)
        # What is remembered is which series apply, not which price: time still decides that.
        self._memory: dict[tuple[str, str, str], tuple[_Series, ...]] = {}
        named: dict[tuple[str, str, str], list[BookedPrice]] = defaultdict(list)
        for booked in prices:
            named[booked.provider, booked.kind, booked.model].append(booked)
        for provider, kind, model in sorted(named, key=_most_specific_first):
            series = _series(named[provider, kind, model])
            if "*" in model:
                self._patterns[provider, kind].append(_Pattern(_compile(model), series))
            else:
                self._exact[provider, kind, model] = series

    def price_for(self, provider: str, kind: str, model: str, at: datetime) -> Price | None:
        """The price of an upstream model at an instant, or None while it is unknown.

        Args:
            provider: the configured provider's name; kind: its kind.
        """
        asked = (provider, kind, model)
        applying = self._memory.get(asked)
        if applying is None:
            if len(self._memory) >= LONGEST_MEMORY:
                self._memory.clear()
            applying = self._memory[asked] = self._applying(provider, kind, model)
        for series in applying:
            price = series.at(at)
            if price is not None:
                return price
        return None

    def _applying(self, provider: str, kind: str, model: str) -> tuple[_Series, ...]:
        owners = ((provider, ""), ("", kind))
        exact = [self._exact.get((*owner, model)) for owner in owners]
        patterns = [
            pattern.series
            for owner in owners
            for pattern in self._patterns.get(owner, ())
            if pattern.regex.fullmatch(model)
        ]
        return (*(series for series in exact if series is not None), *patterns)


def load_price_book() -> PriceBook:
    """Every price row as a fresh snapshot. Reads the database."""
    return PriceBook(booked(row) for row in models.Price.objects.iterator())


def booked(row: models.Price) -> BookedPrice:
    return BookedPrice(row.provider, row.kind, row.model, row.effective_from, price_of(row))


def price_of(row: models.Price) -> Price:
    return Price(id=row.pk, **{figure: getattr(row, figure) for figure in FIGURES})


def _series(prices: list[BookedPrice]) -> _Series:
    prices = sorted(prices, key=lambda booked: booked.effective_from)
    return _Series(
        tuple(booked.effective_from for booked in prices), tuple(booked.price for booked in prices)
    )


def _most_specific_first(name: tuple[str, str, str]) -> tuple[int, int, tuple[str, str, str]]:
    model = name[2]
    stars = model.count("*")
    return (stars - len(model), stars, name)


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
