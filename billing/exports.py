"""The two cost exports. Page, API and command all send these bytes.

Costs: one row per ledger entry, read in pieces along the ledger's own order, so that memory
stays flat however long the export is. Summary: one row per group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet

from billing.csv_text import csv_bytes, guarded
from billing.day_range import DayRange, parse_day, parse_zone
from billing.models import LedgerEntry
from billing.pricing import format_usd
from billing.spend import DIMENSIONS, spend
from keys.errors import InvalidRequestError
from keys.models import Team

COSTS_HEADER = (
    "request_id", "entry", "started_at", "date", "team", "key_name", "key_prefix", "end_user",
    "tags", "requested_model", "provider", "upstream_model", "status", "input_tokens",
    "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_usd",
    "usage_source", "price_version", "cached", "latency_ms",
)  # fmt: skip
SUMMARY_SUMS = ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd")

_COLUMNS = (
    "started_at", "request_id", "entry", "team", "key_name", "key_prefix", "end_user", "tags",
    "requested_model", "provider", "upstream_model", "status", "input_tokens",
    "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
    "cost_nano_usd", "usage_source", "price_version", "cached", "latency_ms",
)  # fmt: skip
_ROWS_PER_QUERY = 2000


@dataclass(frozen=True, slots=True)
class Export:
    """What to export: local days, both ends included; one team, or all where team_id is None."""

    days: DayRange
    team_id: int | None = None
    excel: bool = False

    def file_name(self, what: str) -> str:
        """A name made of dates alone: nothing that somebody typed reaches a header."""
        return f"{what}-{self.days.first}-{self.days.last}.csv"


def read_export(
    *, first: str, last: str, team: str = "", zone: str = "", excel: bool = False
) -> Export:
    """An export as somebody asked for it, in text. Empty means not given.

    Args:
        team: by name. zone: IANA name; the team's if not given, UTC for several teams.

    Raises:
        InvalidRequestError: says which of from, to, team and timezone is wrong. HTTP 400.
    """
    days = parse_day(first, "from"), parse_day(last, "to")
    if days[0] > days[1]:
        raise InvalidRequestError("from must not be after to.", param="from")
    row = Team.objects.filter(name=team).first() if team else None
    if team and row is None:
        raise InvalidRequestError(f"There is no team {team[:100]!r}.", param="team")
    zone = zone or (row.timezone if row else "UTC")
    return Export(DayRange(*days, parse_zone(zone, "timezone")), row.pk if row else None, excel)


def read_group_by(text: str) -> tuple[str, ...]:
    """Dimensions as a comma-separated list, in the order of their columns.

    Raises:
        InvalidRequestError: none, an unknown one, or one twice. HTTP 400.
    """
    group_by = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in group_by if name not in DIMENSIONS]
    if unknown:
        message = f"group_by: there is no {unknown[0][:40]!r}; choose from {', '.join(DIMENSIONS)}."
        raise InvalidRequestError(message, param="group_by")
    if not group_by or len(set(group_by)) != len(group_by):
        message = f"group_by needs one or more of {', '.join(DIMENSIONS)}, each once."
        raise InvalidRequestError(message, param="group_by")
    return group_by


def costs_csv(export: Export) -> Iterator[bytes]:
    """Every ledger entry of the days, by time, request id and entry."""
    zone = export.days.zone
    rows = (_costs_row(row, zone) for row in _entries(export))
    return csv_bytes(COSTS_HEADER, rows, excel=export.excel)


def summary_csv(export: Export, group_by: Sequence[str]) -> Iterator[bytes]:
    """Sums by the given dimensions, sorted by them.

    The cost is empty only where nothing but entries of unknown price is behind it.
    """
    lines = spend(export.days, group_by, team_id=export.team_id)
    rows = (
        (
            *map(guarded, line.labels),
            line.sums.requests,
            line.sums.input_tokens,
            line.sums.cached_input_tokens,
            line.sums.output_tokens,
            format_usd(line.sums.cost_nano_usd) if line.sums.cost_known else "",
        )
        for line in lines
    )
    return csv_bytes((*group_by, *SUMMARY_SUMS), rows, excel=export.excel)


def _entries(export: Export) -> Iterator[tuple[Any, ...]]:
    """Rows along (started_at, request_id, entry), each piece from where the last one ended."""
    entries: QuerySet[LedgerEntry] = LedgerEntry.objects.filter(started_at__lt=export.days.end)
    if export.team_id is not None:
        entries = entries.filter(team_id=export.team_id)
    ordered = entries.order_by("started_at", "request_id", "entry").values_list(*_COLUMNS)
    piece = list(ordered.filter(started_at__gte=export.days.start)[:_ROWS_PER_QUERY])
    while piece:
        yield from piece
        if len(piece) < _ROWS_PER_QUERY:
            return
        piece = list(ordered.filter(_after(*piece[-1][:3]))[:_ROWS_PER_QUERY])


def _after(started_at: datetime, request_id: str, entry: int) -> Q:
    # The first condition says nothing new: it lets the index be entered at the right place.
    return Q(started_at__gte=started_at) & (
        Q(started_at__gt=started_at)
        | Q(request_id__gt=request_id)
        | Q(request_id=request_id, entry__gt=entry)
    )


def _costs_row(row: tuple[Any, ...], zone: ZoneInfo) -> tuple[Any, ...]:
    started_at, request_id, entry, team, key_name, key_prefix, end_user, tags = row[:8]
    requested_model, provider, upstream_model, status = row[8:12]
    cost, usage_source, price_version, cached, latency_ms = row[17:]
    local = started_at.astimezone(zone)
    return (
        guarded(request_id),
        entry,
        local.isoformat(timespec="microseconds"),
        local.date().isoformat(),
        guarded(team),
        guarded(key_name),
        guarded(key_prefix),
        guarded(end_user),
        guarded(_tags_text(tags)) if tags else "",
        guarded(requested_model),
        guarded(provider),
        guarded(upstream_model),
        status,
        *row[12:17],
        "" if cost is None else format_usd(cost),
        usage_source,
        guarded(price_version),
        "true" if cached else "false",
        latency_ms,
    )


def _tags_text(tags: dict[str, str]) -> str:
    return ";".join(f"{name}={value}" for name, value in sorted(tags.items()))
