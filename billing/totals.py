"""Keeps the ledger's sums: per UTC quarter-hour, and per day for end users and tags.

Sums are only ever added to, in the transaction that posted the rows, in the order of their keys:
writers that meet wait for each other and never deadlock.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import lru_cache
from operator import add
from zoneinfo import ZoneInfo

import orjson
from django.db import connection

from billing.entries import Entry
from billing.many_rows import adapted, insert_many
from billing.models import LabelTotal, LedgerEntry, SpendTotal

# Upper edges in milliseconds; one more bucket holds what is slower.
# fmt: off
LATENCY_BUCKETS_MS = (
    10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000,
    7_500, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000,
)
# fmt: on
BUCKETS = len(LATENCY_BUCKETS_MS) + 1
# A correction with this flag prices an entry that counted as unpriced until then.
BACKFILLED = "backfilled"

SPEND_KEY = ("quarter", "team_id", "key_id", "model", "provider", "upstream_model", "status")
SPEND_NAMES = ("team", "key_name")
SPEND_SUMS = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano_usd",
    "unpriced_entries",
)
LABEL_KEY = ("day", "kind", "label", "team_id")
LABEL_SUMS = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost_nano_usd",
)

SpendKey = tuple[datetime, int, int, str, str, str, str]
LabelKey = tuple[date, str, str, int]

_MERGED_HISTOGRAMS = {
    "postgresql": """
        (SELECT jsonb_agg(coalesce(o.n::bigint, 0) + coalesce(x.n::bigint, 0) ORDER BY i)
         FROM jsonb_array_elements_text({table}.latency_histogram) WITH ORDINALITY o(n, i)
         FULL JOIN jsonb_array_elements_text(excluded.latency_histogram) WITH ORDINALITY x(n, i)
         USING (i))""",
    "sqlite": """
        (SELECT json_group_array(n) FROM (
         SELECT o.value + x.value AS n FROM json_each({table}.latency_histogram) o
         JOIN json_each(excluded.latency_histogram) x ON x.key = o.key ORDER BY o.key))""",
}


def quarter_of(at: datetime) -> datetime:
    return at.replace(minute=at.minute - at.minute % 15, second=0, microsecond=0)


@lru_cache(maxsize=4096)
def day_of(quarter: datetime, timezone: str) -> date:
    """The date of a quarter-hour on a zone's calendar."""
    return quarter.astimezone(ZoneInfo(timezone)).date()


def bucket_of(latency_ms: int) -> int:
    return bisect_left(LATENCY_BUCKETS_MS, latency_ms)


def spend_key(entry: Entry | LedgerEntry) -> SpendKey:
    return (
        quarter_of(entry.started_at),
        entry.team_id,
        entry.key_id,
        entry.requested_model,
        entry.provider,
        entry.upstream_model,
        entry.status,
    )


def spend_sums(entry: Entry | LedgerEntry) -> tuple[int, ...]:
    """What an entry adds, in the order of SPEND_SUMS."""
    cost = entry.cost_nano_usd
    return (
        0 if entry.entry else 1,
        entry.input_tokens,
        entry.cached_input_tokens,
        entry.cache_write_tokens,
        entry.output_tokens,
        entry.reasoning_tokens,
        cost or 0,
        1 if cost is None else -1 if BACKFILLED in entry.flags else 0,
    )


def labels_of(entry: Entry | LedgerEntry) -> list[tuple[str, str]]:
    labels = [(LabelTotal.Kind.TAG.value, f"{name}={value}") for name, value in entry.tags.items()]
    if entry.end_user:
        labels.append((LabelTotal.Kind.END_USER.value, entry.end_user))
    return labels


def label_sums(entry: Entry | LedgerEntry) -> tuple[int, ...]:
    """What an entry adds to each of its labels, in the order of LABEL_SUMS."""
    return (
        0 if entry.entry else 1,
        entry.input_tokens,
        entry.cached_input_tokens,
        entry.output_tokens,
        entry.cost_nano_usd or 0,
    )


def add_to_totals(entries: Sequence[Entry]) -> None:
    """Add rows that were just posted, inside their transaction."""
    spend, histograms, names = _spend(entries)
    merged = _MERGED_HISTOGRAMS[connection.vendor].format(table=SpendTotal._meta.db_table)
    insert_many(
        SpendTotal._meta.db_table,
        (*SPEND_KEY, *SPEND_NAMES, *SPEND_SUMS, "latency_histogram"),
        (
            (adapted(key[0]), *key[1:], *names[key], *sums, orjson.dumps(histograms[key]).decode())
            for key, sums in sorted(spend.items())
        ),
        on_conflict=_adding(SpendTotal._meta.db_table, SPEND_KEY, SPEND_SUMS)
        + f", team = excluded.team, key_name = excluded.key_name, latency_histogram = {merged}",
    )
    labels = _labels(entries)
    if labels:
        insert_many(
            LabelTotal._meta.db_table,
            (*LABEL_KEY, *LABEL_SUMS),
            ((adapted(key[0]), *key[1:], *sums) for key, sums in sorted(labels.items())),
            on_conflict=_adding(LabelTotal._meta.db_table, LABEL_KEY, LABEL_SUMS),
        )


def _adding(table: str, key: Iterable[str], sums: Iterable[str]) -> str:
    changes = ", ".join(f"{column} = {table}.{column} + excluded.{column}" for column in sums)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"


def _spend(
    entries: Sequence[Entry],
) -> tuple[dict[SpendKey, list[int]], dict[SpendKey, list[int]], dict[SpendKey, tuple[str, str]]]:
    spend: dict[SpendKey, list[int]] = {}
    histograms: dict[SpendKey, list[int]] = {}
    names: dict[SpendKey, tuple[str, str]] = {}
    for entry in entries:
        key = spend_key(entry)
        sums = spend_sums(entry)
        before = spend.get(key)
        if before is None:
            spend[key] = list(sums)
            histograms[key] = [0] * BUCKETS
        else:
            before[:] = map(add, before, sums)
        names[key] = (entry.team, entry.key_name)
        if not entry.entry:
            histograms[key][bucket_of(entry.latency_ms)] += 1
    return spend, histograms, names


def _labels(entries: Sequence[Entry]) -> dict[LabelKey, list[int]]:
    totals: dict[LabelKey, list[int]] = {}
    for entry in entries:
        if not entry.end_user and not entry.tags:
            continue
        day = day_of(quarter_of(entry.started_at), entry.timezone)
        sums = label_sums(entry)
        for kind, label in labels_of(entry):
            key = (day, kind, label, entry.team_id)
            before = totals.get(key)
            if before is None:
                totals[key] = list(sums)
            else:
                before[:] = map(add, before, sums)
    return totals
