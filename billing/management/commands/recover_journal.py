"""`recover_journal`: finish what dead workers left here, or give up those of a lost host."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.lost_hosts import give_up, workers_elsewhere
from billing.models import Worker
from billing.pricing import format_usd
from billing.recovery import recover_leftovers


class Command(BaseCommand):
    help = "Post what dead workers left in this DATA_DIR and give back what they held."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--lost",
            metavar="HOST",
            help="a host whose DATA_DIR will not come back: what its workers held in dollars and "
            "tokens is posted as recovered; none of them may still be running",
        )

    def handle(self, *, lost: str | None, **options: Any) -> None:
        if lost:
            _check_known(lost)
        found = recover_leftovers(settings.JOURNAL_DIR)
        self.stdout.write(
            f"{found.workers} dead workers: {found.ended} ended and {found.unfinished} unfinished "
            f"calls posted, {found.damaged_lines} damaged lines, {found.rejected} rejected."
        )
        if lost:
            for entry in give_up(lost, settings.JOURNAL_DIR):
                self.stdout.write(
                    f"{entry.request_id}: team {entry.team}, {entry.input_tokens} tokens, "
                    f"{format_usd(entry.cost_nano_usd or 0)} USD"
                )
        for worker in workers_elsewhere(settings.JOURNAL_DIR):
            self.stdout.write(f"Left alone: worker {worker.name} of {worker.host}{_seen(worker)}")


def _seen(worker: Worker) -> str:
    if worker.seen_at is None:
        return ""
    lapsed = "; its requests and calls at once lapsed" if worker.lapsed_at else ""
    return f", last seen {worker.seen_at:%F %R} UTC{lapsed}"


def _check_known(lost: str) -> None:
    known = sorted({worker.host for worker in workers_elsewhere(settings.JOURNAL_DIR)})
    if not any(lost in (host, host.partition("/")[0]) for host in known):
        there = ", ".join(known) or "none"
        raise CommandError(f"--lost: no worker of a host {lost} elsewhere; there are: {there}")
