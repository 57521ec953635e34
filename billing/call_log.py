"""The log of calls and of refusals, newest first, in pages that never count rows.

A page begins where the last one ended, at (time, id): as fast at the millionth row as at the
first, and rows that arrive meanwhile shift nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from billing.models import LedgerEntry, RefusedCall
from keys.errors import InvalidRequestError

ROWS_PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What to show; what is None or empty does not narrow.

    Attributes:
        model: the requested name. status: of the entry; for refusals, the error code.
        start, end: from and up to but without.
    """

    team_id: int | None = None
    key_id: int | None = None
    model: str = ""
    provider: str = ""
    status: str = ""
    end_user: str = ""
    request_id: str = ""
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One ledger entry as the log shows it.

    Attributes:
        cost_nano_usd: None while the price is unknown.
        timezone: the team's, when the request was admitted.
    """

    id: int
    request_id: str
    entry: int
    started_at: datetime
    team_id: int
    team: str
    key_name: str
    key_prefix: str
    end_user: str
    tags: dict[str, str]
    address: str
    streamed: bool
    requested_model: str
    provider: str
    upstream_model: str
    status: str
    error_code: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_nano_usd: int | None
    usage_source: str
    cached: bool
    latency_ms: int
    first_byte_ms: int | None
    timezone: str
    flags: list[str]


@dataclass(frozen=True, slots=True)
class Refused:
    """One call that was turned away before any provider was asked."""

    id: int
    request_id: str
    at: datetime
    team: str
    key_name: str
    end_user: str
    address: str
    requested_model: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CallPage:
    """`older` is the cursor of the next page; None on the last."""

    calls: tuple[Call, ...]
    older: str | None


@dataclass(frozen=True, slots=True)
class RefusedPage:
    """`older` is the cursor of the next page; None on the last."""

    refused: tuple[Refused, ...]
    older: str | None


def call_page(wanted: LogFilter, cursor: str = "", *, rows: int = ROWS_PER_PAGE) -> CallPage:
    """A page of ledger entries.

    Raises:
        InvalidRequestError: no page gave this cursor. HTTP 400.
    """
    entries = LedgerEntry.objects.filter(
        **_given(
            team_id=wanted.team_id,
            key_id=wanted.key_id,
            requested_model=wanted.model,
            provider=wanted.provider,
            status=wanted.status,
            end_user=wanted.end_user,
            request_id=wanted.request_id,
            started_at__gte=wanted.start,
            started_at__lt=wanted.end,
        )
    )
    found, older = _page(entries, "started_at", cursor, rows)
    return CallPage(tuple(_copy(Call, entry) for entry in found), older)


def refused_page(wanted: LogFilter, cursor: str = "", *, rows: int = ROWS_PER_PAGE) -> RefusedPage:
    """A page of refusals; they know no provider.

    Raises:
        InvalidRequestError: no page gave this cursor. HTTP 400.
    """
    refusals = RefusedCall.objects.filter(
        **_given(
            team_id=wanted.team_id,
            key_id=wanted.key_id,
            requested_model=wanted.model,
            code=wanted.status,
            end_user=wanted.end_user,
            request_id=wanted.request_id,
            at__gte=wanted.start,
            at__lt=wanted.end,
        )
    )
    found, older = _page(refusals, "at", cursor, rows)
    return RefusedPage(tuple(_copy(Refused, refusal) for refusal in found), older)


_Row = TypeVar("_Row", bound=Model)
_Copy = TypeVar("_Copy", Call, Refused)


def _given(**conditions: Any) -> dict[str, Any]:
    return {name: value for name, value in conditions.items() if value not in (None, "")}


def _page(
    rows: QuerySet[_Row], moment: str, cursor: str, size: int
) -> tuple[list[_Row], str | None]:
    if cursor:
        at, row_id = _read_cursor(cursor)
        # The first condition says nothing new: it lets the index be entered at the right place.
        rows = rows.filter(
            Q(**{f"{moment}__lte": at}) & (Q(**{f"{moment}__lt": at}) | Q(pk__lt=row_id))
        )
    # One row more than is shown tells whether there is another page.
    found = list(rows.order_by(f"-{moment}", "-pk")[: size + 1])
    if len(found) <= size:
        return found, None
    last = found[size - 1]
    return found[:size], f"{getattr(last, moment).isoformat()}_{last.pk}"


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    moment, _, row_id = cursor.rpartition("_")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or not row_id.isdecimal() or len(row_id) > 18:
        raise InvalidRequestError("cursor: this is not a place in the log.", param="cursor")
    return at, int(row_id)


def _copy(kind: type[_Copy], row: Model) -> _Copy:
    return kind(**{name: getattr(row, name) for name in kind.__slots__})
