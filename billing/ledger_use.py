"""What the ledger says of a period: where a new counter starts, and all a soft limit knows."""

from datetime import datetime, timedelta

from django.db.models import Count, F, Q, Sum

from billing import models
from billing.limit_rules import LimitRule
from billing.models import Per, Unit

# Clocks of two hosts may differ by this much when a limit is made as its period begins.
_CLOCK_MARGIN = timedelta(minutes=1)


def may_be_in_ledger(limit: models.Limit, period_start: datetime) -> bool:
    """Whether a period may hold rows that no counter of the limit has counted.

    Every call under a limit opens its counter first, so only calls before the limit can be such.
    """
    return limit.unit != Unit.CONCURRENT and limit.created_at + _CLOCK_MARGIN >= period_start


def ledger_use(
    limit: models.Limit | LimitRule, subject: str, start: datetime, end: datetime | None
) -> int:
    """What a limit's subject used in a period, in the limit's unit."""
    rows = models.LedgerEntry.objects.filter(team_id=limit.team_id, started_at__gte=start)
    if end is not None:
        rows = rows.filter(started_at__lt=end)
    if limit.key_id is not None:
        rows = rows.filter(key_id=limit.key_id)
    elif limit.per == Per.KEY:
        rows = rows.filter(key_id=int(subject))
    if limit.per == Per.END_USER:
        rows = rows.filter(end_user=subject)
    summed = {
        Unit.REQUESTS.value: Count("id", filter=Q(entry=0)),
        Unit.TOKENS.value: Sum(F("input_tokens") + F("output_tokens")),
        Unit.USD.value: Sum("cost_nano_usd"),
    }
    return int(rows.aggregate(use=summed[limit.unit])["use"] or 0)
