"""End an API key for good."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys.issuing import revoke_key
from keys.models import ApiKey


class Command(BaseCommand):
    help = "Revokes an API key. Gateways refuse it within a second."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, metavar="ID", help="As create_key printed it.")

    def handle(self, **options: Any) -> None:
        key = ApiKey.objects.select_related("team").filter(pk=options["id"]).first()
        if key is None:
            raise CommandError(f"There is no API key with the id {options['id']}.")
        if key.revoked_at is not None:
            self.stdout.write(f"Key {key.pk}, {key}, was revoked already, at {key.revoked_at}.")
            return
        revoke_key(key, timezone.now())
        self.stdout.write(f"Key {key.pk}, {key}, is revoked.")
