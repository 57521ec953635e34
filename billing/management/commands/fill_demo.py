"""`fill_demo`: sample ledger rows of a team named `demo`, posted as any other."""

import secrets
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand

from billing.ledger import post
from billing.sample_rows import SampleKey, SampleTeam, sample_entries
from keys.models import ApiKey, Team

ROWS_AT_ONCE = 1000
KEY_NAMES = ("sample-app", "sample-batch", "sample-ci")


class Command(BaseCommand):
    help = "Add sample calls of a team named demo to the ledger, for trying pages and measuring."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--entries", type=_positive, required=True, metavar="N")
        parser.add_argument("--days", type=_positive, required=True, metavar="D")

    def handle(self, *, entries: int, days: int, **options: Any) -> None:
        made = sample_entries(
            _team(),
            count=entries,
            days=days,
            until=datetime.now(UTC),
            run=f"sample-{secrets.token_hex(4)}",
        )
        posted = 0
        while batch := list(islice(made, ROWS_AT_ONCE)):
            posted += len(post(batch, worker_id=None).entries)
        self.stdout.write(f"{posted} sample entries of the team demo over {days} days.")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _team() -> SampleTeam:
    team, _ = Team.objects.get_or_create(name="demo")
    return SampleTeam(team.pk, team.name, team.timezone, tuple(_key(team, n) for n in KEY_NAMES))


def _key(team: Team, name: str) -> SampleKey:
    """A key that nobody has the secret of."""
    key = ApiKey.objects.filter(team=team, name=name).first()
    if key is None:
        key = ApiKey.objects.create(
            team=team, name=name, secret_hash=secrets.token_hex(32), prefix="gw_sample"
        )
    return SampleKey(key.pk, key.name, key.prefix)
