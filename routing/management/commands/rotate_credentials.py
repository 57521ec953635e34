"""`manage.py rotate_credentials`: encrypt every provider credential with the newest key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from routing.credentials import CredentialError, rotate
from routing.models import Provider


class Command(BaseCommand):
    help = "Re-encrypt all provider credentials with the first of CREDENTIAL_KEYS."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        rotated = 0
        for provider in Provider.objects.select_for_update().exclude(credential=""):
            try:
                provider.credential = rotate(provider.credential)
            except CredentialError as error:
                # All or nothing: an old key may only be dropped when nothing needs it any more.
                raise CommandError(f"{provider.name}: {error} Nothing was changed.") from error
            provider.save(update_fields=["credential"])
            rotated += 1
        self.stdout.write(f"{rotated} credentials encrypted with the newest key.")
