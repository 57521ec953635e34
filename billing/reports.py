"""What a caller may ask about its own team: a day of use, and the receipt of a request.

Answers are JSON-ready dicts in the shapes of the gateway's API; money is decimal strings in USD.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Count, Q, QuerySet, Sum

from billing.day_range import DayRange, local_day, parse_day
from billing.limit_rules import rule_of
from billing.models import Counter, LabelTotal, LedgerEntry, Price, SpendTotal, Unit
from billing.price_book import FIGURES
from billing.pricing import format_usd
from billing.spend import UNPRICED_IN_LEDGER, Sums
from billing.totals import SPEND_SUMS, spend_sums
from keys.caller import Caller
from keys.errors import InvalidRequestError

MOST_RECORDS = 100


def usage_day(
    caller: Caller, day: str | None, *, scope: str, end_user: str, now: datetime
) -> dict[str, Any]:
    """A day of the caller's team in the team's zone: sums of all of it, and its newest records.

    The cost is None where nothing but entries of unknown price is behind it.

    Args:
        day: YYYY-MM-DD; None means today.
        scope: `team`, or `key` for this key alone.
        end_user: narrows further; empty means all.

    Raises:
        InvalidRequestError: `date` or `scope` is wrong. HTTP 400.
    """
    if scope not in ("team", "key"):
        raise InvalidRequestError("scope must be team or key.", param="scope")
    zone = ZoneInfo(caller.timezone)
    chosen = local_day(now, zone) if day is None else parse_day(day, "date")
    days = DayRange(chosen, chosen, zone)
    own: dict[str, Any] = {"team_id": caller.team_id}
    if scope == "key":
        own["key_id"] = caller.key_id
    entries = LedgerEntry.objects.filter(started_at__gte=days.start, started_at__lt=days.end, **own)
    if end_user:
        entries = entries.filter(end_user=end_user)
    sums = _day_sums(days, own, end_user, entries)
    newest = entries.order_by("-started_at", "-id")[:MOST_RECORDS]
    return {
        "date": chosen.isoformat(),
        "total_cost": _usd(sums.cost_nano_usd if sums.cost_known else None),
        "total_tokens": sums.input_tokens + sums.output_tokens,
        "request_count": sums.requests,
        "records": [_record(entry, zone) for entry in newest],
    }


def receipt(caller: Caller, request_id: str) -> dict[str, Any] | None:
    """Everything that one request of the caller's team took; None where there is none (yet)."""
    return _receipt(LedgerEntry.objects.filter(team_id=caller.team_id, request_id=request_id))


def receipt_of_any_team(request_id: str) -> dict[str, Any] | None:
    """The same for administrators, who may see every team's."""
    return _receipt(LedgerEntry.objects.filter(request_id=request_id))


def _receipt(rows: QuerySet[LedgerEntry]) -> dict[str, Any] | None:
    entries = list(rows.order_by("started_at", "entry"))
    if not entries:
        return None
    prices = _prices(entry.price_version for entry in entries)
    return {
        "request_id": entries[0].request_id,
        "team": entries[0].team,
        "key_name": entries[0].key_name,
        "total_cost": _usd(_total_cost(entries)),
        "entries": [_receipt_entry(entry, prices) for entry in entries],
        "attempts": entries[0].attempts,
        "limits": _charged(entries),
    }


def _total_cost(entries: Iterable[LedgerEntry]) -> int | None:
    sums = [dict(zip(SPEND_SUMS, spend_sums(entry), strict=True)) for entry in entries]
    whole = Sums(
        **{name: sum(one[name] for one in sums) for name in ("cost_nano_usd", "unpriced_entries")}
    )
    return whole.cost_nano_usd if whole.cost_known else None


def _day_sums(
    days: DayRange, own: dict[str, Any], end_user: str, entries: QuerySet[LedgerEntry]
) -> Sums:
    """From totals, unless only the day's entries know."""
    sums: dict[str, Any] = {
        name: Sum(name) for name in ("cost_nano_usd", "input_tokens", "output_tokens", "requests")
    }
    rows: QuerySet[Any]
    if not end_user:
        rows = SpendTotal.objects.filter(quarter__gte=days.start, quarter__lt=days.end, **own)
        sums["unpriced_entries"] = Sum("unpriced_entries")
    elif "key_id" not in own:
        rows = LabelTotal.objects.filter(
            kind=LabelTotal.Kind.END_USER, label=end_user, day=days.first, **own
        )
    else:
        rows, sums["requests"] = entries, Count("id", filter=Q(entry=0))
    # A sum of large integers is a decimal to PostgreSQL.
    found = Sums(**{name: int(sum_ or 0) for name, sum_ in rows.aggregate(**sums).items()})
    if end_user and found.requests and not found.cost_nano_usd:
        # Nothing was spent, or nothing is known of what was: the totals of labels cannot tell.
        unpriced = entries.aggregate(unpriced=UNPRICED_IN_LEDGER)["unpriced"]
        return replace(found, unpriced_entries=unpriced)
    return found


def _record(entry: LedgerEntry, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "request_id": entry.request_id,
        "entry": entry.entry,
        "started_at": entry.started_at.astimezone(zone).isoformat(),
        "provider": entry.provider,
        "model": entry.requested_model,
        "upstream_model": entry.upstream_model,
        "input_tokens": entry.input_tokens,
        "cached_input_tokens": entry.cached_input_tokens,
        "output_tokens": entry.output_tokens,
        "cost": _usd(entry.cost_nano_usd),
        "status": entry.status,
        "latency_ms": entry.latency_ms,
        "end_user": entry.end_user,
        "key_name": entry.key_name,
        "cached": entry.cached,
    }


def _receipt_entry(entry: LedgerEntry, prices: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "entry": entry.entry,
        "status": entry.status,
        "provider": entry.provider,
        "upstream_model": entry.upstream_model,
        "usage_source": entry.usage_source,
        "input_tokens": entry.input_tokens,
        "cached_input_tokens": entry.cached_input_tokens,
        "cache_write_tokens": entry.cache_write_tokens,
        "output_tokens": entry.output_tokens,
        "reasoning_tokens": entry.reasoning_tokens,
        "price_version": entry.price_version,
        "prices": prices.get(entry.price_version),
        "cost": _usd(entry.cost_nano_usd),
        "flags": entry.flags,
    }


def _prices(versions: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The figures of each price version in USD per million tokens; what is not set is left out."""
    ids = [int(version) for version in set(versions) if version.isdecimal()]
    shown = {}
    for row in Price.objects.filter(pk__in=ids):
        figures = {name: getattr(row, name) for name in FIGURES}
        shown[str(row.pk)] = {
            name: value if name == "above_input_tokens" else format_usd(value)
            for name, value in figures.items()
            if value is not None
        }
    return shown


def _charged(entries: list[LedgerEntry]) -> list[dict[str, Any]]:
    """What the request took from each limit; a limit that is gone is left out."""
    charged: dict[int, int] = {}
    for entry in entries:
        for counter_id, amount, _excess in entry.charges:
            charged[counter_id] = charged.get(counter_id, 0) + amount
    counters = Counter.objects.filter(pk__in=charged).select_related("limit__team", "limit__key")
    return [
        {
            "scope": rule_of(counter.limit).scope,
            "unit": counter.limit.unit,
            "window": counter.limit.window or None,
            "period_start": counter.period_start.isoformat(),
            "charged": _amount(counter.limit.unit, charged[counter.pk]),
        }
        for counter in counters.order_by("pk")
    ]


def _amount(unit: str, amount: int) -> int | str:
    return format_usd(amount) if unit == Unit.USD else amount


def _usd(nano_usd: int | None) -> str | None:
    return None if nano_usd is None else format_usd(nano_usd)
