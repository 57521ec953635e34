"""`sync_prices`: fill the price book from the installed price list."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.price_book import BookedPrice
from billing.price_sync import sync_prices
from billing.pricing import short_usd


class Command(BaseCommand):
    help = "Add the prices of the installed genai-prices list. Prices set by hand are kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say what would change.")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        report = sync_prices(timezone.now(), dry_run=dry_run)
        for price in report.added:
            self.stdout.write(f"+ {_line(price)}")
        for kind, model in report.kept:
            self.stdout.write(f"  {kind}/{model}: set by hand, kept")
        done = "would be added" if dry_run else "added"
        self.stdout.write(f"{len(report.added)} prices {done}.")


def _line(booked: BookedPrice) -> str:
    price = booked.price
    return (
        f"{booked.kind}/{booked.model} from {booked.effective_from:%Y-%m-%d}:"
        f" input {short_usd(price.input)}, output {short_usd(price.output)} USD per million tokens"
    )
