"""`up`: everything that `make run` starts."""

from typing import Any

from django.core.management.base import BaseCommand

from gateway_project.start import start_everything


class Command(BaseCommand):
    help = "Migrate, seed, and run the gateway, the pages and the Celery worker until Ctrl-C."

    def handle(self, **options: Any) -> None:
        start_everything()
