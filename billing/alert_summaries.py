"""Bounds the messages of one limit: it tells a few alerts an hour one by one, the rest together.

A limit per end user and minute may find thousands. Each of them is recorded and shown, but those
beyond the bound are told by a summary, which collects for a while before it goes out. Mails and
posts alike: an inbox, a chat channel and a pager drown in the same way, and a program that wants
every one reads them from the API.
"""

from collections import Counter as Tally
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from django.conf import settings

from billing.alert_summary_words import summary_says
from billing.models import Alert

# In any hour, of one limit: six by themselves and four summaries.
_ALONE_AT_MOST = 6
_HOUR = timedelta(hours=1)
_COLLECTS_FOR = timedelta(minutes=15)


def record_bounded(alerts: Sequence[Alert], now: datetime, patience: timedelta) -> None:
    """Store alerts of limits; those beyond the bound are left to a summary.

    Call it in a transaction that only one sweep is in at a time.

    Args:
        patience: how long a summary is tried once it may go out.
    """
    alone = _told_alone(now)
    beyond: dict[int, list[Alert]] = {}
    for alert in alerts:
        if alert.told_by_id is None:
            limit_id = alert.says["data"]["limit_id"]
            alone[limit_id] += 1
            if alone[limit_id] > _ALONE_AT_MOST:
                beyond.setdefault(limit_id, []).append(alert)
    if beyond:
        _summarize(beyond, now, patience)
    Alert.objects.bulk_create(alerts)


def _told_alone(now: datetime) -> Tally[int]:
    rows = Alert.objects.filter(
        kind=Alert.Kind.LIMIT, told_by=None, created_at__gt=now - _HOUR
    ).values_list("says__data__limit_id", flat=True)
    return Tally(rows)


def _summarize(beyond: dict[int, list[Alert]], now: datetime, patience: timedelta) -> None:
    collecting = _collecting(now)
    for limit_id, alerts in beyond.items():
        summary = collecting.get(limit_id) or _new_summary(limit_id, now, patience)
        summary.says = summary_says(
            summary.says, [alert.says for alert in alerts], str(summary.pk), settings.PUBLIC_URL
        )
        summary.save()
        for alert in alerts:
            alert.told_by, alert.next_try_at = summary, None


def _collecting(now: datetime) -> dict[int, Alert]:
    """The summaries that nobody has begun to send, and nobody can while they are locked."""
    rows = Alert.objects.select_for_update().filter(
        kind=Alert.Kind.LIMIT_SUMMARY, attempts=0, next_try_at__gt=now
    )
    return {alert.says["data"]["limit_id"]: alert for alert in rows}


def _new_summary(limit_id: int, now: datetime, patience: timedelta) -> Alert:
    goes_out = now + _COLLECTS_FOR
    new_id = uuid4()
    return Alert(
        id=new_id,
        key=f"summary {limit_id} {new_id}",
        kind=Alert.Kind.LIMIT_SUMMARY,
        says={},
        created_at=now,
        next_try_at=goes_out,
        give_up_at=goes_out + patience,
    )
