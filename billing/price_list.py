"""Reads the public price list that comes with genai-prices into prices of this product.

Only what the book can say truly is taken: models priced by text tokens alone, with at most one
threshold. What a model charges for sound or pictures has no column here, and half a price would
be a wrong one, so such models stay unknown. Names become exact names, or patterns where the list
itself matches by prefix or by date.

Source: the installed package's bundled data, https://github.com/pydantic/genai-prices. Nothing
is fetched.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version

from genai_prices import data
from genai_prices.types import (
    ClauseContains,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
)

from billing.price_edits import BEGINNING
from billing.pricing import NANO_PER_USD, Price

KINDS = ("openai", "anthropic")
SOURCE = "genai-prices"

# Text tokens, and the columns they fill. Searches are paid per thousand beside the tokens; the
# providers' usage does not report them, so they are left out of the price.
_COLUMNS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_mtok": "output",
}
_BESIDE = {"web_searches_kcount", "storage_searches_kcount"}

# The list's dates (…-2026-04-23, …@20260423): every date of this century is a pattern's 20*.
_DATED = re.compile(r"\\d\{4\}-\\d\{2\}-\\d\{2\}|\\d\{8\}")
_DATED_NAME = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """A price of the list for all providers of a kind; its id means nothing."""

    kind: str
    model: str
    effective_from: datetime
    price: Price


def source() -> str:
    """What is written on each price: where it came from, in which edition."""
    return f"{SOURCE} {version(SOURCE)}"


def listed_prices() -> list[ListedPrice]:
    """Every price of the list that the book can say; one name's are in the order they begin."""
    claimed: set[tuple[str, str]] = set()
    listed = []
    for provider in data.providers:
        if provider.id not in KINDS:
            continue
        for model in provider.models:
            steps = _steps(model)
            for name in _names(model) if steps else ():
                # The list takes the first model that matches, so the first claim holds.
                if (provider.id, name) not in claimed:
                    claimed.add((provider.id, name))
                    listed += [ListedPrice(provider.id, name, *step) for step in steps]
    return listed


def _steps(model: ModelInfo) -> list[tuple[datetime, Price]]:
    prices = model.prices
    if isinstance(prices, ModelPrice):
        prices = [ConditionalPrice(prices=prices)]
    steps = []
    for conditional in prices:
        start, price = _start(conditional), _price(conditional.prices)
        if start is None or price is None:
            return []
        steps.append((start, price))
    return sorted(steps, key=lambda step: step[0])


def _start(conditional: ConditionalPrice) -> datetime | None:
    if conditional.constraint is None:
        return BEGINNING
    if isinstance(conditional.constraint, StartDateConstraint):
        return datetime.combine(conditional.constraint.start_date, time(), tzinfo=UTC)
    return None


def _price(listed: ModelPrice) -> Price | None:
    units = {unit: value for unit, value in vars(listed).items() if value is not None}
    if not {"input_mtok", "output_mtok"} <= units.keys() <= _COLUMNS.keys() | _BESIDE:
        return None
    figures: dict[str, int] = {}
    thresholds = set()
    for unit, column in _COLUMNS.items():
        value = units.get(unit)
        if isinstance(value, TieredPrices):
            if len(value.tiers) != 1:
                return None
            thresholds.add(value.tiers[0].start)
            figures[column] = _nano(value.base)
            figures[f"above_{column}"] = _nano(value.tiers[0].price)
        elif value is not None:
            figures[column] = figures[f"above_{column}"] = _nano(value)
    if len(thresholds) > 1:
        return None
    if not thresholds:
        figures = {name: nano for name, nano in figures.items() if not name.startswith("above_")}
    return Price(id=0, above_input_tokens=next(iter(thresholds), None), **figures)


def _nano(usd: Decimal) -> int:
    nano = int(usd * NANO_PER_USD)
    if nano != usd * NANO_PER_USD:
        raise ValueError(f"{usd} USD is not a whole number of nano-dollars")
    return nano


def _names(model: ModelInfo) -> Iterator[str]:
    names = list(_clause_names(model.match))
    yield from names
    # A new dated edition of a known model is most likely the model, and costs what it costs.
    if model.id in names and not _DATED_NAME.search(model.id):
        yield f"{model.id}-20*"


def _clause_names(clause: MatchLogic) -> Iterator[str]:
    match clause:
        case ClauseOr():
            for part in clause.or_:
                yield from _clause_names(part)
        case ClauseEquals():
            yield clause.equals
        case ClauseStartsWith():
            yield f"{clause.starts_with}*"
        case ClauseContains():
            yield f"*{clause.contains}*"
        case ClauseRegex():
            yield from _regex_names(str(clause.regex))
        case _:
            return


def _regex_names(regex: str) -> Iterator[str]:
    """Patterns for the list's only kind of expression: a name and a date."""
    name = _DATED.sub("20*", regex.removeprefix("^").removesuffix("$")).replace("\\.", ".")
    spellings = [name.replace("[-@]", separator) for separator in "-@"]
    for spelling in dict.fromkeys(spellings):
        if re.fullmatch(r"[\w.@:/-]+\*?", spelling):
            yield spelling
