"""Finds ledger entries whose provider reported more than the call could use at most."""

from collections import Counter as Tally
from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo

from django.db.models import TextField
from django.db.models.functions import Cast

from billing.alert_words import Excess
from billing.models import Counter, LedgerEntry

BEYOND_BOUND = "beyond_bound"
# A provider that is always wrong would otherwise fill a mail with a day's calls.
MOST_NAMED = 50
Group = tuple[int, str, date]


def excess_groups(after: int, upto: int) -> dict[Group, list[LedgerEntry]]:
    """Flagged entries between two ids, by team, model as requested, and the team's day."""
    text = Cast("flags", TextField())
    rows = LedgerEntry.objects.filter(id__gt=after, id__lte=upto).alias(flags_text=text)
    groups: dict[Group, list[LedgerEntry]] = {}
    for entry in rows.filter(flags_text__contains=f'"{BEYOND_BOUND}"').order_by("id"):
        day = entry.started_at.astimezone(ZoneInfo(entry.timezone)).date()
        groups.setdefault((entry.team_id, entry.requested_model, day), []).append(entry)
    return groups


def excesses_of(entries: Iterable[LedgerEntry]) -> list[Excess]:
    """What each request used, and how much of it no limit of its caller held."""
    ids = [entry.request_id for entry in entries][:MOST_NAMED]
    rows = LedgerEntry.objects.filter(request_id__in=ids)
    of_request: dict[str, list[LedgerEntry]] = {request_id: [] for request_id in ids}
    for entry in rows.order_by("id"):
        of_request[entry.request_id].append(entry)
    beyond = {request_id: _beyond(parts) for request_id, parts in of_request.items()}
    counters = {counter_id for tally in beyond.values() for counter_id in tally}
    units = dict(Counter.objects.filter(id__in=counters).values_list("id", "limit__unit"))
    return [
        Excess(
            request_id,
            tokens=sum(part.input_tokens + part.output_tokens for part in parts),
            cost_nano_usd=sum(part.cost_nano_usd or 0 for part in parts),
            beyond=_by_unit(beyond[request_id], units),
        )
        for request_id, parts in of_request.items()
    ]


def _beyond(parts: Iterable[LedgerEntry]) -> Tally[int]:
    tally = Tally[int]()
    for part in parts:
        for counter_id, _, excess in part.charges:
            tally[counter_id] += excess
    return tally


def _by_unit(tally: Tally[int], units: dict[int, str]) -> dict[str, int]:
    """Several limits of one unit saw the same excess."""
    most: dict[str, int] = {}
    for counter_id, excess in tally.items():
        unit = units.get(counter_id)
        if unit is not None and excess > 0:
            most[unit] = max(excess, most.get(unit, 0))
    return most
