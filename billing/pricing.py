"""What usage costs, in whole nano-dollars. Pure: asks neither the clock nor the database.

Nothing here is a binary fraction, on the way in, between or out: prices are integers (nano-USD
per million tokens), a cost is one sum of products, rounded half-even once.
"""

import re
from dataclasses import dataclass

from billing.usage import Usage

NANO_PER_USD = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000
# What a database integer holds: a dollar figure beyond it cannot be stored, so it is refused.
LARGEST_NANO_USD = 2**63 - 1

_USD = re.compile(r"([0-9]+)(?:\.([0-9]{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs from a moment on: the figures of `billing.models.Price`.

    Attributes:
        input … output: nano-USD per million tokens. None means the price of plain input.
        above_input_tokens: a call with more input than this pays the `above_` prices for all of
            its tokens. There, a missing cached or cache-write price is `above_input`, a missing
            `above_input` or `above_output` the one below the threshold.
    """

    id: int
    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    above_input_tokens: int | None = None
    above_input: int | None = None
    above_cached_input: int | None = None
    above_cache_write: int | None = None
    above_cache_write_1h: int | None = None
    above_output: int | None = None


@dataclass(frozen=True, slots=True)
class _Tier:
    input: int
    cached_input: int
    cache_write: int
    cache_write_1h: int
    output: int


def cost(usage: Usage, price: Price) -> int:
    """Cost of one upstream attempt in nano-USD, rounded half-even once.

    Parts that claim to be more than the whole are cut to it: no token is paid for twice.
    """
    tier = _tier(price, usage.input_tokens)
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    written_1h = min(usage.cache_write_1h_tokens, written)
    total = (
        (usage.input_tokens - cached - written) * tier.input
        + cached * tier.cached_input
        + (written - written_1h) * tier.cache_write
        + written_1h * tier.cache_write_1h
        + usage.output_tokens * tier.output
    )
    whole, rest = divmod(total, TOKENS_PER_PRICE)
    half = rest * 2 - TOKENS_PER_PRICE
    return whole + 1 if half > 0 or (half == 0 and whole % 2) else whole


def plain_rates(price: Price, input_tokens: int) -> tuple[int, int]:
    """Input and output price, in nano-USD per million tokens, of a call with so much input."""
    tier = _tier(price, input_tokens)
    return tier.input, tier.output


def upper_bound(input_tokens: int, output_tokens: int, price: Price) -> int:
    """The most that any usage within these token counts can cost, in nano-USD, rounded up.

    Holds for every split of the input into plain, cached and written, and for fewer tokens too:
    a call below a threshold may cost more than one above it.
    """
    bounds = [_most(_tier(price, input_tokens), input_tokens, output_tokens)]
    threshold = price.above_input_tokens
    if threshold is not None and input_tokens > threshold:
        bounds.append(_most(_tier(price, threshold), threshold, output_tokens))
    return -(-max(bounds) // TOKENS_PER_PRICE)


def parse_usd(text: str) -> int:
    """Nano-USD of a plain decimal string such as "2.50".

    Raises:
        ValueError: not a plain decimal, negative, more than nine decimals, or too large.
    """
    match = _USD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a dollar amount such as 2.50, with at most 9 decimals")
    whole, decimals = match.groups()
    # Measured before it is converted: a million digits must not cost a million-digit number.
    if len(whole.lstrip("0")) > len(str(LARGEST_NANO_USD)):
        raise ValueError("the dollar amount is too large")
    nano = int(whole) * NANO_PER_USD + int((decimals or "").ljust(9, "0"))
    if nano > LARGEST_NANO_USD:
        raise ValueError("the dollar amount is too large")
    return nano


def format_usd(nano_usd: int) -> str:
    """USD with nine decimals; corrections may be negative."""
    whole, rest = divmod(abs(nano_usd), NANO_PER_USD)
    return f"{'-' if nano_usd < 0 else ''}{whole}.{rest:09d}"


def short_usd(nano_usd: int) -> str:
    """USD for people: two decimals, and more only where they say something."""
    whole, decimals = format_usd(nano_usd).split(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def _tier(price: Price, input_tokens: int) -> _Tier:
    threshold = price.above_input_tokens
    if threshold is None or input_tokens <= threshold:
        plain, output = price.input, price.output
        cached, written, written_1h = price.cached_input, price.cache_write, price.cache_write_1h
    else:
        plain, output = _or(price.above_input, price.input), _or(price.above_output, price.output)
        cached, written = price.above_cached_input, price.above_cache_write
        written_1h = price.above_cache_write_1h
    return _Tier(plain, _or(cached, plain), _or(written, plain), _or(written_1h, plain), output)


def _or(price: int | None, otherwise: int) -> int:
    return otherwise if price is None else price


def _most(tier: _Tier, input_tokens: int, output_tokens: int) -> int:
    dearest = max(tier.input, tier.cached_input, tier.cache_write, tier.cache_write_1h)
    return input_tokens * dearest + output_tokens * tier.output
