"""Gives on what is free of cost once a worker of another folder has not been seen for long.

Only its own journal tells what such a worker spent. So what it holds in dollars and tokens stays
counted until its folder is back, or is given up (`lost_hosts`). Its requests and its calls at once
lapse: nobody pays for them, and a slot that nobody gives back would be taken for ever. Should the
worker go on after all it finds that it has lapsed, is granted nothing more, and leaves.
"""

from datetime import datetime, timedelta
from pathlib import Path

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from billing.charging import release_holdings
from billing.models import Holding, Unit, Worker
from billing.workers import host_of

# Twice as long as keys are served without the database (keys.authentication): a worker that is
# cut off has stopped admitting calls by then, so nobody spends what others are given.
_GONE_AFTER = timedelta(minutes=10)
# After the database was away for all, everybody is seen again in less: a look every five seconds,
# each given up after thirty.
_ALL_ARE_BACK_AFTER = timedelta(minutes=2)
_LONGEST_GAP = timedelta(minutes=1)
_LAPSING = (Unit.REQUESTS, Unit.CONCURRENT)

log = structlog.get_logger(__name__)


class Lookout:
    """What one living worker may say of those of other folders.

    That they are silent says something only when it was not silent itself: the database may have
    been away for all, or its clock set. Call it right after the worker itself was seen there.
    """

    def __init__(self) -> None:
        self._steady_since: datetime | None = None
        self._last: datetime | None = None

    def look(self, folder: Path, now: datetime) -> int:
        """Have those lapse that were not seen for long; returns how many.

        Args:
            folder: of our own journals; whether its workers live their locks tell.
        """
        steady = self._last is not None and now - self._last <= _LONGEST_GAP
        since = self._steady_since if steady and self._steady_since else now
        self._steady_since, self._last = since, now
        return _lapse(folder, now) if now - since >= _ALL_ARE_BACK_AFTER else 0


def _lapse(folder: Path, now: datetime) -> int:
    unseen = Worker.objects.filter(seen_at__lt=now - _GONE_AFTER)
    held = Holding.objects.filter(worker=OuterRef("pk"), counter__limit__unit__in=_LAPSING)
    # Also what a worker took in the very moment in which it lapsed.
    lapsing = unseen.filter(Q(lapsed_at=None) | Exists(held)).exclude(host=host_of(folder))
    lapsed = 0
    for worker in lapsing.order_by("id"):
        with transaction.atomic():
            holdings = release_holdings(worker.pk, _LAPSING)
            # The worker after its holdings, as whoever retires it does.
            if not unseen.filter(pk=worker.pk).update(lapsed_at=now):
                transaction.set_rollback(True)  # It was seen meanwhile, or is gone.
                continue
        lapsed += 1
        log.warning("worker_lapsed", worker=worker.name, host=worker.host, holdings=holdings)
    return lapsed
