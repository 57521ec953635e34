"""Prices, by correction entries, what was recorded while its price was unknown.

The entry itself is never changed. Its correction is the next entry of the same request, at the
same instant, with no tokens and the whole cost, so that sums over a request or a CSV are right
with it and count nothing twice; its `usage_source` is the entry's, for the figures are. Safe to
repeat and to run twice at once: two runs would write the same next entry, and one row is kept.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from billing.entries import Entry
from billing.ledger import post
from billing.models import EntryStatus, LedgerEntry
from billing.pricing import Price, cost
from billing.totals import BACKFILLED
from billing.usage import Usage

ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class UnpricedCall:
    """What the price of an entry depends on."""

    provider_id: int | None
    provider: str
    upstream_model: str
    started_at: datetime


def backfill_prices(price_of: Callable[[UnpricedCall], Price | None]) -> int:
    """Append a correction for each entry of unknown cost whose price is known by now.

    Args:
        price_of: the price at the entry's own instant; None while it is still unknown.

    Returns:
        How many corrections were written.
    """
    written = 0
    for page in _pages():
        corrections = list(_corrections(page, price_of))
        written += len(post(corrections, worker_id=None).entries)
    return written


def _pages() -> Iterator[list[LedgerEntry]]:
    """The entries of unknown cost in the order of their ids, corrected or not."""
    unpriced = LedgerEntry.objects.filter(cost_nano_usd=None).order_by("id")
    page = list(unpriced[:ROWS_AT_ONCE])
    while page:
        yield page
        page = list(unpriced.filter(id__gt=page[-1].pk)[:ROWS_AT_ONCE])


def _corrections(
    page: list[LedgerEntry], price_of: Callable[[UnpricedCall], Price | None]
) -> Iterator[Entry]:
    requests: dict[tuple[str, datetime], list[LedgerEntry]] = defaultdict(list)
    # Numbers taken and corrections made are read together: a run beside this one may be writing.
    for row in LedgerEntry.objects.filter(request_id__in={row.request_id for row in page}):
        requests[row.request_id, row.started_at].append(row)
    for rows in requests.values():
        number = max(row.entry for row in rows)
        corrected = {flag for row in rows if BACKFILLED in row.flags for flag in row.flags}
        for row in sorted(_unpriced(rows), key=lambda row: row.entry):
            if _corrects(row) in corrected:
                continue
            called = UnpricedCall(row.provider_id, row.provider, row.upstream_model, row.started_at)
            price = price_of(called)
            if price is not None:
                number += 1
                yield _correction(row, number, price)


def _unpriced(rows: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    return [row for row in rows if row.cost_nano_usd is None]


def _corrects(row: LedgerEntry) -> str:
    return f"corrects_{row.entry}"


def _correction(row: LedgerEntry, number: int, price: Price) -> Entry:
    usage = Usage(
        input_tokens=row.input_tokens,
        cached_input_tokens=row.cached_input_tokens,
        cache_write_tokens=row.cache_write_tokens,
        cache_write_1h_tokens=row.cache_write_1h_tokens,
        output_tokens=row.output_tokens,
        reasoning_tokens=row.reasoning_tokens,
    )
    return Entry(
        request_id=row.request_id,
        entry=number,
        started_at=row.started_at,
        team_id=row.team_id,
        team=row.team,
        key_id=row.key_id,
        key_name=row.key_name,
        key_prefix=row.key_prefix,
        end_user=row.end_user,
        tags=row.tags,
        address=row.address,
        streamed=row.streamed,
        requested_model=row.requested_model,
        provider_id=row.provider_id,
        provider=row.provider,
        upstream_model=row.upstream_model,
        status=EntryStatus.CORRECTION.value,
        error_code="",
        input_tokens=0,
        cached_input_tokens=0,
        cache_write_tokens=0,
        cache_write_1h_tokens=0,
        output_tokens=0,
        reasoning_tokens=0,
        cost_nano_usd=cost(usage, price),
        usage_source=row.usage_source,
        price_version=str(price.id),
        cached=row.cached,
        latency_ms=0,
        first_byte_ms=None,
        timezone=row.timezone,
        flags=(BACKFILLED, _corrects(row)),
    )
