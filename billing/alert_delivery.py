"""Tells what was recorded: at least once, by every channel that is set up, each on its own.

An alert is claimed before it is sent, so two sweeps do not both send it; one that is killed
after sending is repeated with the same ids. A channel that failed rests for the sweep: with a
dead mail server the others do not wait for it again and again. A mail server that refuses an
address is not dead: the other addresses get what else there is.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db.models import F

from billing.alert_channels import Channel, Mail, Webhook
from billing.alert_sweep import PATIENCE
from billing.alert_troubles import AddressesRefusedError, NotDeliveredError
from billing.models import Alert

log = structlog.get_logger(__name__)

# Longer than one alert can take on both channels.
_CLAIM = timedelta(minutes=5)
_FIRST_PAUSE = timedelta(seconds=15)
_LONGEST_PAUSE = timedelta(hours=1)
_AT_ONCE = 100
# Each channel's name and the column that says when it told.
MAIL, WEBHOOK = "mail", "webhook"
TOLD_AT = {MAIL: "mailed_at", WEBHOOK: "posted_at"}
_CHANNELS: dict[str, Callable[[], Channel]] = {MAIL: Mail, WEBHOOK: Webhook}


def channels_set_up() -> list[str]:
    mail = [MAIL] if settings.ALERT_EMAILS else []
    # The webhook first: it is the quicker one to give up.
    return [WEBHOOK, *mail] if settings.ALERT_WEBHOOK_URL else mail


def deliver(now: datetime) -> None:
    """Try every alert that is due, by each channel that has not told it yet."""
    channels = {name: _CHANNELS[name]() for name in channels_set_up()}
    resting: dict[str, str] = {}
    try:
        for alert in _due(now):
            if _claim(alert, now):
                # A summary may have grown until it was claimed.
                alert.refresh_from_db(fields=["says", "mailed_to"])
                _tell(alert, channels, resting, now)
    finally:
        for channel in channels.values():
            channel.close()


def send_again(alert: Alert, now: datetime) -> bool:
    """Have an alert that was given up tried anew for a day; whether it is one."""
    if alert.told_by_id or not untold(alert):
        return False
    given_up = Alert.objects.filter(pk=alert.pk, next_try_at=None)
    return given_up.update(attempts=0, next_try_at=now, give_up_at=now + PATIENCE) == 1


def untold(alert: Alert) -> list[str]:
    """The channels that are set up and have not told it."""
    return [name for name in channels_set_up() if getattr(alert, TOLD_AT[name]) is None]


def _due(now: datetime) -> list[Alert]:
    return list(Alert.objects.filter(next_try_at__lte=now).order_by("next_try_at")[:_AT_ONCE])


def _claim(alert: Alert, now: datetime) -> bool:
    """Whether it is ours: who comes second finds another time there."""
    mine = Alert.objects.filter(pk=alert.pk, next_try_at=alert.next_try_at)
    return mine.update(next_try_at=now + _CLAIM, attempts=F("attempts") + 1) == 1


def _tell(
    alert: Alert, channels: dict[str, Channel], resting: dict[str, str], now: datetime
) -> None:
    problems: dict[str, str] = {}
    for name in untold(alert):
        if name in resting:
            problems[name] = resting[name]
            continue
        try:
            channels[name].send(alert, now)
        except NotDeliveredError as error:
            problems[name] = str(error)
            if not isinstance(error, AddressesRefusedError):
                resting[name] = problems[name]
            log.warning("alert_not_delivered", channel=name, error=problems[name])
        else:
            # At once: what happens to the other channel must not make us repeat this one.
            Alert.objects.filter(pk=alert.pk).update(**{TOLD_AT[name]: now})
    again = _next_try(alert, now) if problems else None
    said = "\n".join(f"{name}: {problem}" for name, problem in problems.items())
    Alert.objects.filter(pk=alert.pk).update(next_try_at=again, last_error=said)


def _next_try(alert: Alert, now: datetime) -> datetime | None:
    again = now + min(_FIRST_PAUSE * 2 ** min(alert.attempts, 20), _LONGEST_PAUSE)
    return again if again <= alert.give_up_at else None
