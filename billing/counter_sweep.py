"""Deletes the counters of minutes and hours that are over: nothing asks for them again."""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from billing.models import Counter, Holding, Window

# Long enough for the last rows of a period to be posted, and for clocks that differ.
_KEPT = timedelta(hours=1)
_AT_ONCE = 1000


def sweep_counters(now: datetime) -> int:
    """Delete finished counters of short windows that nobody holds; returns how many.

    Safe to lose and to repeat; deletes a bounded number at once.
    """
    held = Holding.objects.filter(counter=OuterRef("pk"), amount__gt=0)
    finished = Counter.objects.filter(
        ~Exists(held),
        limit__window__in=[Window.MINUTE, Window.HOUR],
        period_end__lt=now - _KEPT,
    )
    ids = list(finished.values_list("id", flat=True)[:_AT_ONCE])
    Counter.objects.filter(id__in=ids).delete()
    return len(ids)
