"""Makes an entry fit the ledger's columns, whatever a client or a provider put into it.

PostgreSQL stores no NUL, nothing stores a lone surrogate, and a figure may be beyond a column.
Such text is replaced or cut, such a figure clamped, and the entry is flagged `sanitized`: what
it cost is never lost for the sake of what it said.
"""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter, gt
from typing import Any

from django.db.models import CharField

from billing.entries import Attempt, Charge, Entry
from billing.models import EntryStatus, LedgerEntry
from billing.usage import LARGEST_TOKEN_COUNT

LARGEST_COST_NANO_USD = 10**15
LARGEST_MILLISECONDS = 2**31 - 1
LONGEST_TAG = 256
MOST_TAGS = 64

_TEXT_LENGTHS: dict[str, int] = {
    column.name: column.max_length
    for column in LedgerEntry._meta.concrete_fields
    if isinstance(column, CharField) and column.max_length
}
_texts = attrgetter(*_TEXT_LENGTHS)
_LENGTHS = tuple(_TEXT_LENGTHS.values())
_TOKENS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_tokens = attrgetter(*_TOKENS)


def is_clean(entry: Entry) -> bool:
    texts = _texts(entry)
    return (
        not any(map(gt, map(len, texts), _LENGTHS))
        and _is_storable("".join(texts))
        and _has_clean_tags(entry.tags)
        and all(_is_storable(f"{a.provider}{a.upstream_model}{a.reason}") for a in entry.attempts)
        and _has_clean_figures(entry)
    )


def sanitized(entry: Entry) -> Entry:
    texts: dict[str, Any] = {
        name: storable(text, length)
        for (name, length), text in zip(_TEXT_LENGTHS.items(), _texts(entry), strict=True)
    }
    figures: dict[str, Any] = {
        name: _clamped(count, LARGEST_TOKEN_COUNT)
        for name, count in zip(_TOKENS, _tokens(entry), strict=True)
    }
    cost = entry.cost_nano_usd
    first_byte = entry.first_byte_ms
    return replace(
        entry,
        **texts,
        **figures,
        cost_nano_usd=None if cost is None else _storable_cost(cost, entry),
        latency_ms=_clamped(entry.latency_ms, LARGEST_MILLISECONDS),
        first_byte_ms=None if first_byte is None else _clamped(first_byte, LARGEST_MILLISECONDS),
        tags=_storable_tags(entry.tags),
        attempts=tuple(_storable_attempt(attempt) for attempt in entry.attempts),
        charges=tuple(_storable_charge(charge) for charge in entry.charges),
        flags=(*entry.flags, "sanitized") if "sanitized" not in entry.flags else entry.flags,
    )


def without_details(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with their money and without what only explains it, to fit a small room."""
    return [replace(sanitized(entry), tags={}, attempts=()) for entry in entries]


def _is_storable(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_clean_tags(tags: dict[str, str]) -> bool:
    if not tags:
        return True
    texts = [*tags, *tags.values()]
    return (
        len(tags) <= MOST_TAGS
        and max(map(len, texts)) <= LONGEST_TAG
        and _is_storable("".join(texts))
    )


def _has_clean_figures(entry: Entry) -> bool:
    tokens = _tokens(entry)
    return (
        min(tokens) >= 0
        and max(tokens) <= LARGEST_TOKEN_COUNT
        and _least_cost(entry) <= (entry.cost_nano_usd or 0) <= LARGEST_COST_NANO_USD
        and 0 <= entry.latency_ms <= LARGEST_MILLISECONDS
        and 0 <= (entry.first_byte_ms or 0) <= LARGEST_MILLISECONDS
    )


def stored_cost(cost_nano_usd: int) -> int:
    """What the ledger says a call cost."""
    return _clamped(cost_nano_usd, LARGEST_COST_NANO_USD)


def storable(text: str, length: int) -> str:
    whole = text.replace("\0", "\ufffd")
    # A lone surrogate encodes to itself here, and comes back as the mark for what was lost.
    return whole.encode(errors="surrogatepass").decode(errors="replace")[:length]


def _storable_tags(tags: dict[str, str]) -> dict[str, str]:
    kept = list(tags.items())[:MOST_TAGS]
    return {storable(name, LONGEST_TAG): storable(value, LONGEST_TAG) for name, value in kept}


def _storable_attempt(attempt: Attempt) -> Attempt:
    return replace(
        attempt,
        provider=storable(attempt.provider, 100),
        upstream_model=storable(attempt.upstream_model, 200),
        outcome=storable(attempt.outcome, 64),
        reason=storable(attempt.reason, 64),
        latency_ms=_clamped(attempt.latency_ms, LARGEST_MILLISECONDS),
    )


def _storable_charge(charge: Charge) -> Charge:
    amount = _clamped(charge.amount, LARGEST_COST_NANO_USD)
    return replace(charge, amount=amount, excess=_clamped(charge.excess, amount))


def _storable_cost(cost: int, entry: Entry) -> int:
    return max(_least_cost(entry), min(cost, LARGEST_COST_NANO_USD))


def _least_cost(entry: Entry) -> int:
    """Only a correction may take something back; a call never earns its caller anything."""
    return -LARGEST_COST_NANO_USD if entry.status == EntryStatus.CORRECTION else 0


def _clamped(figure: int, largest: int) -> int:
    return max(0, min(figure, largest))
