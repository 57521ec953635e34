"""Deletes the alerts of periods that ended long ago."""

from datetime import timedelta

from django.db.models import Q

from billing.models import Alert, AlertMark, Window

# Ninety days for somebody who looks back, and the month that the period may have gone on for.
_KEPT = timedelta(days=120)
_AT_ONCE = 1000


def forget_old() -> int:
    """Delete what is older than 120 days before the last look; returns how many went.

    Not before the clock's 120 days: what was not looked at yet must still find what it told.
    Those of limits in total stay: their period goes on, and they would be told again.
    Safe to lose and to repeat; deletes a bounded number at once.
    """
    mark = AlertMark.objects.first()
    if mark is None:
        return 0
    ended = Q(kind=Alert.Kind.BEYOND_BOUND) | ~Q(says__data__window=Window.TOTAL)
    old = Alert.objects.filter(ended, created_at__lt=mark.looked_at - _KEPT)
    ids = list(old.order_by("created_at").values_list("id", flat=True)[:_AT_ONCE])
    _, deleted = Alert.objects.filter(id__in=ids).delete()
    return deleted.get(Alert._meta.label, 0)
