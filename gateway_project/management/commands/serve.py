"""`serve`: the gateway and the pages alone."""

from typing import Any

from django.core.management.base import BaseCommand

from gateway_project.start import serve_alone


class Command(BaseCommand):
    help = "Run the gateway and the pages alone, on a migrated database, until Ctrl-C."

    def handle(self, **options: Any) -> None:
        serve_alone()
