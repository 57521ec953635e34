"""Housekeeping of Django's own tables; safe to lose and to repeat."""

from celery import shared_task
from django.core.management import call_command


@shared_task(name="gateway_project.clear_sessions")  # type: ignore[untyped-decorator]  # celery ships no types
def clear_sessions() -> None:
    """Daily: sessions that have ended."""
    call_command("clearsessions")
