"""Records what is to be told: looks from the last mark up to now, once for all sweeps.

What was found and the mark that moves are one transaction. Of two looks at the same time one
moves the mark; the other finds it moved and leaves. A look that is killed is simply repeated.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from billing.alert_crossings import (
    Watched,
    crossings_at,
    running_places,
    touched_places,
    watched_limits,
)
from billing.alert_excesses import BEYOND_BOUND, excess_groups, excesses_of
from billing.alert_repeats import Repeats, crossing_key, place_of
from billing.alert_summaries import record_bounded
from billing.alert_words import Crossing, crossing_says, excess_says
from billing.charging import lock_new_counters
from billing.models import Alert, AlertMark, LedgerEntry
from keys.versions import read_version

# A channel that does not work is given up after so long.
PATIENCE = timedelta(days=1)
# Corrections reach back for months; a period is news for a day after the last look.
NEWS = timedelta(days=1)
_ONLY_ROW = 1
_ENTRIES_AT_ONCE = 50_000
_KEYS_AT_ONCE = 500


def look(now: datetime) -> bool:
    """Record every new alert; whether ledger entries are left for another look.

    Raises:
        DatabaseError: nothing was recorded; the next look begins where this one did.
    """
    mark = _mark(now)
    # The version first: an edit during the look is then seen by the next one.
    version = read_version()
    if version == mark.version and _newest_entry() == mark.ledger_id:
        return False
    newest = _settled_entry()
    upto = min(newest, mark.ledger_id + _ENTRIES_AT_ONCE)
    limits = watched_limits()
    places = touched_places(limits, mark.ledger_id, upto, mark.looked_at - NEWS)
    if version != mark.version:
        places += running_places(limits, now)
    crossings = [crossing for place in places for crossing in crossings_at(place)]
    of_limits = _of_crossings(crossings, limits, now)
    excesses = _of_excesses(mark.ledger_id, upto, now)
    with transaction.atomic():
        moved = AlertMark.objects.filter(
            pk=_ONLY_ROW, ledger_id=mark.ledger_id, version=mark.version
        ).update(ledger_id=upto, version=version, looked_at=now)
        if moved:
            record_bounded(of_limits, now, PATIENCE)
            Alert.objects.bulk_create(excesses)
    return bool(moved) and upto < newest


def _mark(now: datetime) -> AlertMark:
    first = {"ledger_id": 0, "version": -1, "looked_at": now}
    return AlertMark.objects.get_or_create(pk=_ONLY_ROW, defaults=first)[0]


def _newest_entry() -> int:
    return LedgerEntry.objects.aggregate(newest=Max("id"))["newest"] or 0


def _settled_entry() -> int:
    """The newest entry before which none can turn up: whoever was posting has committed.

    Raises:
        OperationalError: somebody posts for long, and those behind must not wait for us.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '1s'")
        lock_new_counters()
        return _newest_entry()


def _of_crossings(
    crossings: Iterable[Crossing], limits: Iterable[Watched], now: datetime
) -> list[Alert]:
    """One alert for every share that is new; of a subject, only the highest goes out.

    The others are recorded as told by it.
    """
    # Where a soft and a hard limit are the same but for that, the hard one is told: it refuses.
    soft_first = sorted(crossings, key=lambda crossing: not crossing.rule.soft)
    by_key = {crossing_key(crossing): crossing for crossing in soft_first}
    repeats = Repeats(by_key.values(), [watched.rule for watched in limits])
    told_by: dict[tuple[Any, ...], UUID] = {}
    alerts: list[Alert] = []
    highest_first = sorted(by_key.items(), key=lambda item: item[1].share, reverse=True)
    for key, crossing in highest_first:
        of_limit = (crossing.rule.id, crossing.subject, crossing.period)
        if teller := repeats.teller_of(crossing):
            told_by.setdefault(of_limit, teller)
            continue
        says = crossing_says(crossing, settings.PUBLIC_URL)
        alert = _alert(key, Alert.Kind.LIMIT, says, now, told_by.get(of_limit))
        alert.place = place_of(crossing)
        told_by.setdefault(of_limit, alert.pk)
        alerts.append(alert)
    return alerts


def _of_excesses(after: int, upto: int, now: datetime) -> list[Alert]:
    groups = excess_groups(after, upto)
    keys = {group: f"{BEYOND_BOUND} {group[0]} {group[2]} {group[1]}" for group in groups}
    told = _told(keys.values())
    alerts = []
    for group, entries in groups.items():
        if keys[group] in told:
            continue
        team_id, model, day = group
        console = settings.PUBLIC_URL
        says = excess_says(
            entries[0].team, team_id, model, day.isoformat(), excesses_of(entries), console
        )
        alerts.append(_alert(keys[group], Alert.Kind.BEYOND_BOUND, says, now, None))
    return alerts


def _told(keys: Iterable[str]) -> set[str]:
    """Which of the keys have an alert."""
    wanted, told = list(keys), set[str]()
    for first in range(0, len(wanted), _KEYS_AT_ONCE):
        rows = Alert.objects.filter(key__in=wanted[first : first + _KEYS_AT_ONCE])
        told.update(rows.values_list("key", flat=True))
    return told


def _alert(
    key: str, kind: Alert.Kind, says: dict[str, Any], now: datetime, told_by: UUID | None
) -> Alert:
    return Alert(
        key=key,
        kind=kind,
        says=says,
        created_at=now,
        told_by_id=told_by,
        next_try_at=None if told_by else now,
        give_up_at=now + PATIENCE,
    )
