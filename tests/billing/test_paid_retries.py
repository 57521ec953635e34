"""Requests whose worker died after an attempt that cost something and did not serve."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from billing.entries import Admission, Attempt, Entry, Unfinished
from billing.journal import Journal
from billing.journal_folder import segment_paths
from billing.ledger import post
from billing.models import Holding, LedgerEntry
from billing.recovery import recover_leftovers, recovered_entries
from billing.workers import host_of
from keys.errors import ServiceUnavailableError
from tests.billing.journal_contents import read_journal
from tests.billing.ledger_samples import (
    NOON,
    admission,
    entry,
    hold,
    make_counter,
    make_team,
    make_worker,
    taken,
)

WORKER = "worker-1"
SEGMENT_BYTES = 64 * 1024
FAILED = Attempt("cheap", "small", "failed", "upstream_error", NOON, 12)
FAILED_TOO = replace(FAILED, provider="middle")


def paid(*attempts: Attempt, **fields: Any) -> Entry:
    """What a failed attempt cost, as the journal is told: 120 tokens, 450,000 nano-dollars."""
    told = {"status": "error", "error_code": "upstream_error", "provider": "cheap"} | fields
    return entry(attempts=attempts or (FAILED,), **told)


def dear(*attempts: Attempt, **fields: Any) -> Admission:
    """The admission of an attempt at another target, at 250 and 1,000 USD per million tokens."""
    again = admission(provider="dear", price_version="9", attempts=attempts, **fields)
    return replace(again, input_price=250 * 10**9, output_price=1_000 * 10**9)


@pytest.fixture
def journal(tmp_path: Path):
    opened = Journal(tmp_path, WORKER, segment_bytes=SEGMENT_BYTES)
    yield opened
    opened.close()


def repeatedly(step: Callable[[], None]) -> None:
    for _ in range(1000):
        step()


def unfinished(directory: Path) -> list[Unfinished]:
    return read_journal(segment_paths(directory, WORKER)).unfinished


def test_what_runs_is_the_target_that_was_asked_last_and_the_paid_failures_stay(journal, tmp_path):
    journal.admit(admission())
    journal.progress("req-0", 64)
    journal.note_paid([paid()])
    assert unfinished(tmp_path) == [Unfinished(admission(), 64, (paid(),), is_between=True)]
    journal.admit_again(dear(FAILED))
    assert unfinished(tmp_path) == [Unfinished(dear(FAILED), 0, (paid(),))]
    journal.progress("req-0", 32)
    journal.note_paid([paid(FAILED, FAILED_TOO)])
    journal.admit_again(dear(FAILED, FAILED_TOO))
    journal.progress("req-0", 16)
    (call,) = unfinished(tmp_path)
    assert call.output_tokens == 16
    assert call.paid == (paid(), paid(FAILED, FAILED_TOO))


def test_an_end_ends_all_of_it(journal, tmp_path):
    journal.admit(admission())
    journal.note_paid([paid()])
    journal.admit_again(dear(FAILED))
    journal.finish([entry(), entry(entry=1)])
    assert unfinished(tmp_path) == []


def test_what_failed_attempts_cost_outlives_the_posting_of_others(journal, tmp_path):
    def others(name: str) -> list[str]:
        ids = [f"{name}{number}" for number in range(60)]
        for request_id in ids:
            journal.admit(admission(request_id))
            journal.finish([entry(request_id)])
        return ids

    journal.admit(admission())
    ids = others("a")
    journal.note_paid([paid()])
    ids += others("b")
    journal.admit_again(dear(FAILED))
    ids += others("c")
    journal.posted(ids)
    assert unfinished(tmp_path) == [Unfinished(dear(FAILED), 0, (paid(),))]
    journal.finish([entry()])
    journal.posted(["req-0"])
    assert len(segment_paths(tmp_path, WORKER)) == 1


@pytest.mark.django_db(transaction=True)
def test_F30_a_call_whose_end_was_posted_and_forgotten_is_not_billed_again(tmp_path):
    """Its end went with its segment; its beginning is in one that a longer call still needs."""
    team_id = make_team().pk
    journal = Journal(tmp_path, WORKER, segment_bytes=SEGMENT_BYTES)
    journal.admit(admission("long", team_id=team_id))
    journal.admit(admission(team_id=team_id))
    journal.note_paid([paid(team_id=team_id)])
    journal.admit_again(dear(FAILED, team_id=team_id))
    kept, *_ = segment_paths(tmp_path, WORKER)
    post_others(journal, team_id, until=lambda paths: len(paths) > 1)
    post_at_once(journal, paid(team_id=team_id, status="error"))
    ended_in = segment_paths(tmp_path, WORKER)[-1]
    post_others(journal, team_id, until=lambda paths: ended_in not in paths)
    assert kept in segment_paths(tmp_path, WORKER)
    copy = tmp_path / "of-the-killed"
    copy.mkdir()
    for path in segment_paths(tmp_path, WORKER):
        (copy / path.name).write_bytes(path.read_bytes())
    recover_leftovers(copy)
    rows = LedgerEntry.objects.filter(request_id="req-0")
    assert list(rows.values_list("entry", "cost_nano_usd")) == [(0, 450_000)]
    assert LedgerEntry.objects.get(request_id="long").status == "recovered"


def post_at_once(journal, ended) -> None:
    journal.finish([ended])
    post([ended], worker_id=None)
    journal.posted([ended.request_id])


def post_others(journal, team_id: int, *, until) -> None:
    numbers = count(len(segment_paths(journal.directory, WORKER)) * 1000)

    def another() -> bool:
        request_id = f"other-{next(numbers)}"
        journal.admit(admission(request_id, team_id=team_id))
        post_at_once(journal, entry(request_id, team_id=team_id))
        return bool(until(segment_paths(journal.directory, WORKER)))

    assert any(another() for _ in range(1000))


def test_a_running_attempt_is_entry_0_and_those_that_failed_follow():
    call = Unfinished(dear(FAILED, FAILED_TOO), 64, (paid(), paid(provider="middle")))
    entries = recovered_entries(call)
    assert [(e.entry, e.status, e.provider, e.cost_nano_usd) for e in entries] == [
        (0, "recovered", "dear", 25_000_000 + 64_000_000),
        (1, "error", "cheap", 450_000),
        (2, "error", "middle", 450_000),
    ]
    assert [e.attempts for e in entries] == [(FAILED, FAILED_TOO), (), ()]
    assert (entries[0].price_version, entries[0].flags) == ("9", ("uncertain",))


def test_between_two_attempts_nothing_is_guessed():
    first, second = recovered_entries(
        Unfinished(admission(), 64, (paid(), paid(FAILED, FAILED_TOO)), is_between=True)
    )
    assert (first.entry, first.status, first.usage_source) == (0, "recovered", "provider")
    assert (first.cost_nano_usd, first.flags, first.error_code) == (450_000, (), "")
    assert first.attempts == (FAILED, FAILED_TOO)
    assert (second.entry, second.cost_nano_usd) == (1, 450_000)


def test_each_entry_is_charged_its_own_part_and_one_request_in_all():
    holds = [(1, "requests", 1), (2, "tokens", 200), (3, "usd", 10**9), (4, "concurrent", 1)]
    entries = recovered_entries(Unfinished(dear(FAILED, holds=holds), 64, (paid(),)))
    assert [[(c.counter_id, c.amount, c.excess) for c in e.charges] for e in entries] == [
        [(1, 1, 0), (2, 164, 0), (3, 89_000_000, 0)],
        [(2, 120, 84), (3, 450_000, 0)],
    ]


def test_F32_an_attempt_that_a_full_disk_cannot_note_is_refused_and_the_call_can_end(
    journal, tmp_path
):
    """However many attempts cost something, the end of the call has its room."""
    ends = [entry(attempts=(FAILED,) * 3)]

    def fail_again() -> None:
        journal.note_paid([paid()])
        ends.append(entry(entry=len(ends), attempts=(FAILED,) * 3))
        journal.admit_again(dear(FAILED))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal.admit(admission())
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(ServiceUnavailableError):
            repeatedly(fail_again)
        journal.finish(ends)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    contents = read_journal(segment_paths(tmp_path, WORKER))
    assert len(ends) > 6
    assert contents.entries == ends
    assert contents.unfinished == []


DYING = """
import os
import resource
import signal
import sys
from pathlib import Path

import django

django.setup()

from billing.journal import Journal
from tests.billing.ledger_samples import admission
from tests.billing.test_paid_retries import FAILED, dear, paid

team_id, die_after = int(sys.argv[2]), sys.argv[4]
counters = [int(counter) for counter in sys.argv[3].split(",")]
holds = list(zip(counters, ("requests", "tokens", "usd"), (1, 500, 10**6)))
journal = Journal(Path(sys.argv[1]), "dead")
journal.admit(admission(holds=holds, team_id=team_id))
journal.note_paid([paid(team_id=team_id)])
if die_after == "again":
    journal.admit_again(dear(FAILED, holds=holds, team_id=team_id))
    journal.progress("req-0", 64)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("die_after", "costs", "tokens"),
    [("paid", [450_000], 120), ("again", [89_000_000, 450_000], 164 + 120)],
)
def test_F30_a_worker_killed_after_a_paid_attempt_leaves_books_that_agree(
    tmp_path, die_after, costs, tokens
):
    team = make_team()
    worker = make_worker("dead", host_of(tmp_path))
    counters = [make_counter(team, unit) for unit in ("requests", "tokens", "usd")]
    for counter, amount in zip(counters, (10, 5_000, 10**7), strict=True):
        hold(counter, worker, amount)
    ids = ",".join(str(counter.id) for counter in counters)
    process = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path), str(team.id), ids, die_after],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway_project.settings"},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert recover_leftovers(tmp_path).unfinished == 1
    rows = LedgerEntry.objects.order_by("entry").values_list("entry", "cost_nano_usd")
    assert list(rows) == list(enumerate(costs))
    assert list(map(taken, counters)) == [1, tokens, sum(costs)]
    assert not Holding.objects.exists()
