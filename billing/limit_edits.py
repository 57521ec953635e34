"""Making and changing limits: the one way in for the console, the API and the config file.

A ceiling and its alerts change in place, and take effect within a second. Whatever else is
edited makes a new limit, which starts from what the ledger says of its period; the old one goes,
with its counters.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from billing.models import Limit, Per, Unit, Window
from keys.models import ApiKey, Team

LimitIdentity = tuple[str, str, str, bool]

TWIN = {"unit": "there is a limit of the same unit, window, per and effect already"}
LARGEST_CEILING = 2**63 - 1
LARGEST_SHARE = 10
# An edit of anything else would change what the counters have counted.
_IN_PLACE = frozenset({"ceiling", "alert_at"})
_IDENTITY = frozenset({"unit", "window", "per", "soft"})
_CALENDAR = (Window.DAY, Window.WEEK, Window.MONTH)


def create_limit(
    team: Team,
    *,
    unit: str,
    window: str = "",
    ceiling: int,
    key: ApiKey | None = None,
    per: str = "team",
    soft: bool = False,
    alert_at: Sequence[Decimal | float] = (),
) -> Limit:
    """Make a limit in its team's time zone.

    Args:
        ceiling: requests, tokens, calls at once, or nano-dollars.
        alert_at: shares of the ceiling, such as 0.8.

    Raises:
        ValidationError: by field.
    """
    limit = Limit(
        team=team,
        key=key,
        unit=unit,
        window=window,
        ceiling=ceiling,
        per=per,
        soft=soft,
        alert_at=[float(share) for share in alert_at],
        timezone=team.timezone,
    )
    check_limit(limit)
    with transaction.atomic():
        refuse_twin(limit)
        limit.save()
    return limit


def change_limit(limit: Limit, **changes: Any) -> Limit:
    """Edit a limit; returns it, or the new one that takes its place.

    Args:
        changes: fields as in `create_limit`.

    Raises:
        ValidationError: by field. Nothing is changed then.
    """
    with transaction.atomic():
        current = Limit.objects.select_for_update(no_key=True).get(pk=limit.pk)
        changed = {name: new for name, new in changes.items() if getattr(current, name) != new}
        for name, new in changed.items():
            setattr(current, name, new)
        check_limit(current)
        if _IN_PLACE.issuperset(changed):
            current.save(update_fields=list(changed))
            return current
        if not _IDENTITY.isdisjoint(changed):
            refuse_twin(current)
        return _replaced(current)


@receiver(post_save, sender=Team)
def _follow_timezone(instance: Team, **_: Any) -> None:
    """After a team moved to another zone: its days, weeks and months begin there from now on.

    A signal, because a team is edited in a room that does not know of limits.
    """
    moved = instance.limits.filter(window__in=_CALENDAR).exclude(timezone=instance.timezone)
    for limit in moved:
        change_limit(limit, timezone=instance.timezone)


def check_limit(limit: Limit) -> None:
    """Raises ValidationError, by field, for what the columns alone would let through."""
    limit.clean_fields(exclude=["team", "key"])
    if says := window_problem(limit.unit, limit.window):
        raise ValidationError({"window": says})
    if not 0 <= limit.ceiling <= LARGEST_CEILING:
        raise ValidationError({"ceiling": f"must be from 0 to {LARGEST_CEILING}"})
    if limit.key is not None and limit.key.team_id != limit.team_id:
        raise ValidationError({"key": "is a key of another team"})
    _check_alerts(limit)


def window_problem(unit: str, window: str) -> str:
    """What is wrong with a window; empty where it suits the unit."""
    if unit == Unit.CONCURRENT:
        return "a limit on concurrent calls has no window: leave it empty" if window else ""
    return "" if window else "choose a window"


def identity_of(limit: Limit) -> LimitIdentity:
    """Unit, window, per and soft: what tells the limits of one owner apart."""
    # Of a key's own limit, "team" means its owner as a whole: that is the key.
    whole_key = limit.key_id is not None and limit.per == Per.KEY
    per = Per.TEAM.value if whole_key else limit.per
    return (limit.unit, limit.window, per, limit.soft)


def refuse_twin(limit: Limit) -> None:
    """Raises ValidationError where its owner has another limit that counts the same.

    Call it in the transaction that saves the limit: it locks the team until then.
    """
    Team.objects.select_for_update(no_key=True).get(pk=limit.team_id)
    others = Limit.objects.filter(team=limit.team_id, key=limit.key_id).exclude(pk=limit.pk)
    if identity_of(limit) in map(identity_of, others):
        raise ValidationError(TWIN)


def _check_alerts(limit: Limit) -> None:
    # A share of 80, say, is a percentage by mistake.
    if not all(0 < share <= LARGEST_SHARE for share in limit.alert_at):
        says = f"must be over 0 and at most {LARGEST_SHARE}: shares of the ceiling, such as 0.8"
        raise ValidationError({"alert_at": says})
    if len(set(limit.alert_at)) < len(limit.alert_at):
        raise ValidationError({"alert_at": "names the same share twice"})
    if limit.unit != Unit.CONCURRENT:
        return
    # What is open at an instant is on no ledger, and alerts tell what the ledger says.
    if limit.soft:
        raise ValidationError({"soft": "a limit on calls at once cannot be soft: it only refuses"})
    if limit.alert_at:
        raise ValidationError({"alert_at": "leave it empty for concurrent limits"})


def _replaced(limit: Limit) -> Limit:
    Limit.objects.filter(pk=limit.pk).delete()
    limit.pk = None
    limit._state.adding = True
    limit.save()
    return limit
