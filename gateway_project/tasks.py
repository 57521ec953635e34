"""Housekeeping; safe to lose and to repeat."""

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from billing.recovery import recover_leftovers


@shared_task(name="gateway_project.clear_sessions")  # type: ignore[untyped-decorator]  # celery ships no types
def clear_sessions() -> None:
    """Daily: sessions that have ended."""
    call_command("clearsessions")


@shared_task(name="gateway_project.recover_journals")  # type: ignore[untyped-decorator]  # as above
def recover_journals() -> None:
    """Every minute: what dead workers left, where no living worker has seen to it."""
    recover_leftovers(settings.JOURNAL_DIR)
