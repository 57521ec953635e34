"""Closes the books of workers whose journals will never come back.

Nobody knows what such a worker had spent and not posted: at most what it held. So what it held
in dollars and tokens becomes `recovered` entries, and everything it held is given back. A call
was held against all limits that bind it, so the least holding of a subject bounds its spending.
Where end users and keys have limits of their own the same call may be counted for each: too
much may be counted, never too little.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from django.db import transaction
from django.db.models import Q

from billing.charging import release_holdings
from billing.entries import Entry
from billing.ledger import post
from billing.models import EntryStatus, Holding, Per, Unit, UsageSource, Worker
from billing.workers import host_of
from keys.models import ApiKey, Team

Subject = tuple[int, str]  # a key's id or 0, and an end user or ""
Amounts = dict[str, int]  # by unit


@dataclass(frozen=True, slots=True)
class Held:
    team_id: int
    unit: str
    amount: int
    subject: Subject
    period_start: datetime
    period_end: datetime | None


def workers_elsewhere(directory: Path) -> list[Worker]:
    """Workers whose journals lie in another folder, dead or alive."""
    return list(Worker.objects.exclude(host=host_of(directory)).order_by("host", "name"))


def give_up(host: str, directory: Path) -> list[Entry]:
    """Post what the workers of a lost host held, and forget them; returns the entries.

    Args:
        host: `hostname` for all its folders, or `hostname/id` for one.
        directory: our own journals; its workers are never given up.
    """
    posted: list[Entry] = []
    lost = Worker.objects.filter(Q(host=host) | Q(host__startswith=f"{host}/"))
    for worker in lost.exclude(host=host_of(directory)).order_by("id"):
        with transaction.atomic():
            entries = list(_entries(worker))
            post(entries, worker_id=None)
            release_holdings(worker.pk)
            worker.delete()
        posted += entries
    return posted


def _entries(worker: Worker) -> Iterator[Entry]:
    number = 0
    for team_id, of_team in groupby(_held(worker), key=attrgetter("team_id")):
        held = list(of_team)
        # The last moment at which it is known to have lived: the youngest period it held in.
        at = max(worker.started_at, *(item.period_start for item in held))
        for subject, amounts in _bounds(held, at).items():
            if any(amounts.values()):
                number += 1
                yield _entry(f"lost-{worker.pk}-{number}", at, team_id, subject, amounts)


def _held(worker: Worker) -> list[Held]:
    rows = Holding.objects.filter(worker=worker, amount__gt=0).select_related("counter__limit")
    rows = rows.filter(counter__limit__unit__in=[Unit.USD, Unit.TOKENS])
    held = []
    for row in rows.order_by("counter__limit__team_id"):
        counter, limit = row.counter, row.counter.limit
        key_id = limit.key_id or 0
        if limit.per == Per.KEY:
            key_id = int(counter.subject)
        end_user = counter.subject if limit.per == Per.END_USER else ""
        held.append(
            Held(
                limit.team_id,
                limit.unit,
                row.amount,
                (key_id, end_user),
                counter.period_start,
                counter.period_end,
            )
        )
    return held


def _bounds(held: Iterable[Held], at: datetime) -> dict[Subject, Amounts]:
    """The most that each subject can have spent; of the team, what the others do not explain."""
    least: dict[Subject, Amounts] = {}
    for item in held:
        if item.period_end is None or item.period_end > at:
            amounts = least.setdefault(item.subject, {})
            amounts[item.unit] = min(amounts.get(item.unit, item.amount), item.amount)
    whole_team = least.pop((0, ""), {})
    rest = {
        unit: max(0, amount - sum(amounts.get(unit, 0) for amounts in least.values()))
        for unit, amount in whole_team.items()
    }
    return {**least, (0, ""): rest}


def _entry(
    request_id: str, at: datetime, team_id: int, subject: Subject, amounts: Amounts
) -> Entry:
    team = Team.objects.get(id=team_id)
    key = ApiKey.objects.filter(id=subject[0]).first()
    return Entry(
        request_id=request_id,
        # Not 0: dollars and tokens, but no request.
        entry=1,
        started_at=at,
        team_id=team_id,
        team=team.name,
        key_id=subject[0],
        key_name=key.name if key else "",
        key_prefix=key.prefix if key else "",
        end_user=subject[1],
        tags={},
        address="",
        streamed=False,
        requested_model="",
        provider_id=None,
        provider="",
        upstream_model="",
        status=EntryStatus.RECOVERED.value,
        error_code="",
        input_tokens=amounts.get(Unit.TOKENS.value, 0),
        cached_input_tokens=0,
        cache_write_tokens=0,
        cache_write_1h_tokens=0,
        output_tokens=0,
        reasoning_tokens=0,
        cost_nano_usd=amounts.get(Unit.USD.value, 0),
        usage_source=UsageSource.RECOVERED.value,
        price_version="",
        cached=False,
        latency_ms=0,
        first_byte_ms=None,
        timezone=team.timezone,
        flags=("uncertain", "host_lost"),
    )
