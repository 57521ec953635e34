"""`check_books`: do ledger, totals, counters, holdings and cost CSV agree? Exit 1 if not."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.books import check_books
from billing.day_range import parse_day
from keys.errors import InvalidRequestError


class Command(BaseCommand):
    help = "Compare ledger, totals, counters, holdings and cost CSV; exit 1 if they differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="first", metavar="D", help="first day (UTC)")
        parser.add_argument("--to", dest="last", metavar="D", help="last day (UTC)")

    def handle(self, *, first: str | None, last: str | None, **options: Any) -> None:
        try:
            first_day = parse_day(first, "from") if first else None
            last_day = parse_day(last, "to") if last else None
            if first_day and last_day and first_day > last_day:
                raise InvalidRequestError("from must not be after to.", param="from")
            differences = check_books(first_day, last_day)
        except InvalidRequestError as error:
            raise CommandError(error.message) from error
        for difference in differences:
            self.stdout.write(str(difference))
        if differences:
            raise CommandError(f"The books differ in {len(differences)} figures.")
        self.stdout.write("The books agree.")
