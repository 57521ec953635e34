"""`export_costs`: the cost exports into a file or a pipe, byte for byte those of page and API."""

import os
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.exports import costs_csv, read_export, read_group_by, summary_csv
from keys.errors import InvalidRequestError


class Command(BaseCommand):
    help = "Write costs as CSV: every ledger entry, or sums with --summary."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="first", required=True, metavar="D", help="first day")
        parser.add_argument("--to", dest="last", required=True, metavar="D", help="last day")
        parser.add_argument("--team", default="", metavar="T", help="one team, by name")
        parser.add_argument(
            "--timezone",
            default="",
            metavar="Z",
            help="of the days; the team's, or UTC, if not given",
        )
        parser.add_argument("--summary", metavar="DAY,TEAM", help="sums by these, in this order")
        parser.add_argument("--excel", action="store_true", help="byte order mark and semicolons")
        parser.add_argument("--output", type=Path, metavar="F", help="a file; else standard output")

    def handle(
        self,
        *,
        first: str,
        last: str,
        team: str,
        timezone: str,
        summary: str | None,
        excel: bool,
        output: Path | None,
        **options: Any,
    ) -> None:
        try:
            export = read_export(first=first, last=last, team=team, zone=timezone, excel=excel)
            if summary is None:
                pieces = costs_csv(export)
            else:
                pieces = summary_csv(export, read_group_by(summary))
        except InvalidRequestError as error:
            raise CommandError(error.message) from error
        try:
            _write(pieces, output)
        except OSError as error:
            raise CommandError(f"could not write the export: {error}") from error


def _write(pieces: Iterator[bytes], output: Path | None) -> None:
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    # Beside the target, then renamed: nobody ever reads half an export.
    descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
        unfinished.replace(output)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
