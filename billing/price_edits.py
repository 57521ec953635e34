"""The one way that a price comes into the book: by hand, config file, API or price list.

A price row is never changed, for the ledger points at it: a new figure is a new row that holds
from its own instant on, and the figures that already hold make no row at all.
"""

from datetime import UTC, date, datetime

from django.db import transaction

from billing import models
from billing.price_book import FIGURES, price_of
from billing.pricing import Price
from billing.provider_names import provider_exists

# A model's first price holds for all calls there ever were, so that those that were made while
# it was unknown can be priced.
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

# 1,000,000 USD per million tokens: with the largest token count a cost still fits its column.
LARGEST_PRICE = 10**15

LONGEST_MODEL_NAME = 200

_ABOVE = tuple(figure for figure in FIGURES if figure.startswith("above_"))


class InvalidPriceError(ValueError):
    """A price that cannot be set. `field` is the model field at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def set_price(
    price: Price,
    *,
    model: str,
    now: datetime,
    provider: str = "",
    kind: str = "",
    effective_from: datetime | None = None,
    source: str = "",
    checked_on: date | None = None,
) -> models.Price | None:
    """Make a price hold from an instant on, unless the same figures hold then already.

    Args:
        price: the figures; its id is not looked at.
        model: upstream name, may hold `*`. provider, kind: one of them, the other empty.
        effective_from: None means from now on, or from the beginning for the first price of
            this name.

    Returns:
        The new row; None when nothing had to change.

    Raises:
        InvalidPriceError: bad figures or name, or another price begins at that very instant.
    """
    with transaction.atomic():
        series = models.Price.objects.filter(provider=provider, kind=kind, model=model)
        if effective_from is None:
            effective_from = now if series.exists() else BEGINNING
        holding = series.filter(effective_from__lte=effective_from).order_by("-effective_from")
        row = price_row(
            price,
            provider=provider,
            kind=kind,
            model=model,
            effective_from=effective_from,
            source=source,
            checked_on=checked_on,
        )
        if not is_new(row, holding.first()):
            return None
        row.save(force_insert=True)
        return row


def price_row(
    price: Price,
    *,
    model: str,
    effective_from: datetime,
    provider: str = "",
    kind: str = "",
    source: str = "",
    checked_on: date | None = None,
) -> models.Price:
    """The row of a price, not saved.

    Raises:
        InvalidPriceError: bad figures or name.
    """
    check_price(price, provider=provider, kind=kind, model=model)
    return models.Price(
        provider=provider,
        kind=kind,
        model=model,
        effective_from=effective_from,
        source=source,
        checked_on=checked_on,
        **{figure: getattr(price, figure) for figure in FIGURES},
    )


def is_new(row: models.Price, current: models.Price | None) -> bool:
    """Whether a row makes other figures hold than those that hold at its instant already.

    Raises:
        InvalidPriceError: another price begins at that very instant.
    """
    if current is None:
        return True
    if same_figures(price_of(current), price_of(row)):
        return False
    if current.effective_from == row.effective_from:
        raise InvalidPriceError(
            "effective_from",
            f"another price of {row.model} begins at {row.effective_from.isoformat()};"
            " a price is never changed: let the new one begin later",
        )
    return True


def check_price(price: Price, *, provider: str, kind: str, model: str) -> None:
    """Raises InvalidPriceError where `set_price` would, as far as that shows without the book."""
    if bool(provider) == bool(kind):
        raise InvalidPriceError("provider", "give either a provider or a kind")
    if provider and not provider_exists(provider):
        raise InvalidPriceError("provider", f"there is no provider {provider!r}")
    if not 0 < len(model) <= LONGEST_MODEL_NAME:
        raise InvalidPriceError("model", f"give a name of at most {LONGEST_MODEL_NAME} characters")
    for figure in FIGURES:
        value: int | None = getattr(price, figure)
        if value is not None and not 0 <= value <= LARGEST_PRICE:
            raise InvalidPriceError(figure, "must lie between 0 and 1,000,000 USD per million")
    if price.above_input_tokens is None:
        for figure in _ABOVE:
            if getattr(price, figure) is not None:
                raise InvalidPriceError(figure, "needs the input tokens above which it holds")


def same_figures(one: Price, other: Price) -> bool:
    return all(getattr(one, figure) == getattr(other, figure) for figure in FIGURES)
