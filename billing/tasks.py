"""Billing's sweeps: each looks at rows, so it may be lost, repeated, or run twice at once."""

import structlog
from celery import shared_task
from django.db import DatabaseError
from django.utils import timezone

from billing import alert_delivery, alert_retention, alert_sweep, books, counter_sweep

log = structlog.get_logger(__name__)


@shared_task(name="billing.sync_prices")  # type: ignore[untyped-decorator]  # celery ships no types
def sync_prices() -> None:
    """Daily: prices that an update of the price list brought."""
    # Here: the price list is a tenth of the memory of a worker that never asks for it.
    from billing import price_sync  # noqa: PLC0415

    report = price_sync.sync_prices(timezone.now())
    log.info("prices_synced", added=len(report.added), kept_by_hand=len(report.kept))


@shared_task(name="billing.check_books")  # type: ignore[untyped-decorator]  # celery ships no types
def check_books() -> None:
    """Nightly: the ledger against totals, counters, holdings and CSV."""
    differences = books.check_books(None, None)
    if differences:
        shown = [str(difference) for difference in differences[:20]]
        log.error("books_differ", differences=len(differences), first=shown)
    else:
        log.info("books_agree")


@shared_task(name="billing.sweep_counters")  # type: ignore[untyped-decorator]  # celery ships no types
def sweep_counters() -> None:
    """Every few minutes: finished counters of minutes and hours go."""
    log.info("counters_swept", deleted=counter_sweep.sweep_counters(timezone.now()))


@shared_task(name="billing.send_alerts")  # type: ignore[untyped-decorator]  # celery ships no types
def send_alerts() -> None:
    """Every few seconds: limits whose use has reached a share to alert at, and their delivery."""
    try:
        while alert_sweep.look(timezone.now()):
            pass
    except DatabaseError as error:
        # What is known already must go out all the same.
        log.warning("alerts_not_looked_for", error=repr(error))
    alert_delivery.deliver(timezone.now())
    if deleted := alert_retention.forget_old():
        log.info("old_alerts_deleted", deleted=deleted)
