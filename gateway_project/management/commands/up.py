"""`up`: everything that `make run` starts.

It becomes the supervisor: SIGTERM drains and ends, SIGUSR2 replaces the gateway processes one by
one without refusing a connection or cutting a stream.
"""

from typing import Any

from django.core.management.base import BaseCommand

from gateway_project.start import start_everything


class Command(BaseCommand):
    help = "Migrate, seed, and run the gateway, the pages and the Celery worker until Ctrl-C."

    def handle(self, **options: Any) -> None:
        start_everything()
