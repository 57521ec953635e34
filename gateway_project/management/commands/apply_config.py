"""`apply_config`: bring the configuration to what a file says."""

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from gateway_project.config_file.applying import apply_config
from gateway_project.config_file.document import ConfigError


class Command(BaseCommand):
    help = "Apply a config file. What it does not name stays, unless --prune."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="Only say what would change.")
        parser.add_argument(
            "--prune", action="store_true", help="Remove what the file does not name."
        )

    def handle(self, *, file: Path, dry_run: bool, prune: bool, **options: Any) -> None:
        try:
            text = file.read_text(encoding="utf-8")
            report = apply_config(text, os.environ, timezone.now(), dry_run=dry_run, prune=prune)
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file}: {error}") from None
        except ConfigError as error:
            raise CommandError(f"{file}: {error}") from None
        for line in report.changes or ["Nothing to change."]:
            self.stdout.write(line)
        for secret in report.secrets:
            self.stdout.write(secret)
        if dry_run:
            self.stdout.write("Nothing was written (--dry-run).")
