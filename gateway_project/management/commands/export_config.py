"""`export_config`: the present configuration as a config file."""

from typing import Any

from django.core.management.base import BaseCommand

from gateway_project.config_file.exporting import export_config


class Command(BaseCommand):
    help = "Print the present configuration as a config file, with secrets as env:NAME."

    def handle(self, **options: Any) -> None:
        self.stdout.write(export_config(), ending="")
