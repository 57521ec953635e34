"""Make an API key and print its secret, once."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys.issuing import issue_key
from keys.models import Team
from keys.validation import in_one_line, parse_expiry

_TEAMS_NAMED = 20


class Command(BaseCommand):
    help = "Makes an API key of a team. Its secret is printed once and kept nowhere."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--team", required=True, help="Name of an existing team.")
        parser.add_argument("--name", required=True, help="What the key is for.")
        parser.add_argument(
            "--expires-at",
            help="A moment (2030-12-31T18:00:00+01:00) or a last day (2030-12-31); "
            "in the team's time zone where it names none.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, **options: Any) -> None:
        team = _team(options["team"])
        try:
            expires_at = options["expires_at"] and parse_expiry(
                options["expires_at"], team.timezone
            )
            key, secret = issue_key(
                team, options["name"], expires_at=expires_at or None, now=timezone.now()
            )
        except ValidationError as error:
            raise CommandError(in_one_line(error)) from None
        if options["json"]:
            answer = {
                "id": key.pk,
                "name": key.name,
                "team": team.name,
                "secret": secret,
                "prefix": key.prefix,
            }
            self.stdout.write(json.dumps(answer))
        else:
            # Only the secret on stdout, so that a script can take it as it is.
            self.stderr.write(f"Key {key.pk}, {key}. Keep its secret: it is shown only now.")
            self.stdout.write(secret)


def _team(name: str) -> Team:
    team = Team.objects.filter(name=name).first()
    if team is not None:
        return team
    names = list(Team.objects.values_list("name", flat=True)[: _TEAMS_NAMED + 1])
    if not names:
        raise CommandError(f"There is no team “{name}”, nor any other yet.")
    more = ", …" if len(names) > _TEAMS_NAMED else ""
    raise CommandError(f"There is no team “{name}”. Teams: {', '.join(names[:_TEAMS_NAMED])}{more}")
