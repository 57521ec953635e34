"""A worker of another host is not seen for long, and perhaps goes on after all."""

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from structlog.testing import capture_logs

from billing.books import check_books
from billing.errors import LimitExceededError
from billing.journal import Journal
from billing.lapses import Lookout
from billing.ledger import post
from billing.limits import Limits
from billing.lost_hosts import give_up
from billing.models import Holding, LedgerEntry, Limit, Worker
from billing.recovery import recover_leftovers
from billing.workers import is_registered, register, retire
from keys.errors import ServiceUnavailableError
from tests.billing import ledger_samples
from tests.billing.ledger_samples import MONTH, admission, charge, entry, hold, make_counter
from tests.billing.limit_world import (
    NOW,
    admit,
    held,
    idle_on,
    make_limit,
    open_limits,
    running,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)

LONG = timedelta(minutes=10, seconds=1)
UNITS = ("usd", "tokens", "requests", "concurrent")


def look_out(folder: Path, now: datetime = NOW, *, since: datetime | None = None) -> int:
    """Have a worker look every half minute that was there for two before; how many lapsed."""
    lookout, at = Lookout(), since or now - timedelta(minutes=2)
    lapsed = 0
    while at <= now:
        lapsed += lookout.look(folder, at)
        at += timedelta(seconds=30)
    return lapsed


def gone_worker(name: str = "gone", *, unseen: timedelta | None = LONG) -> Worker:
    seen_at = None if unseen is None else NOW - unseen
    return Worker.objects.create(
        name=name, host="elsewhere/01", journal=name, started_at=MONTH, seen_at=seen_at
    )


def used_by_ledger(limit: Limit) -> int:
    return taken(limit) - held(limit)


def test_requests_and_calls_at_once_lapse_and_what_costs_stays(tmp_path, team):
    worker = gone_worker()
    counters = [make_counter(team, unit) for unit in UNITS]
    for counter in counters:
        hold(counter, worker, 700)
    assert check_books(None, None) == []
    with capture_logs() as logs:
        assert look_out(tmp_path) == 1
    assert [ledger_samples.taken(counter) for counter in counters] == [700, 700, 0, 0]
    assert [ledger_samples.held(counter) for counter in counters] == [700, 700, None, None]
    assert check_books(None, None) == []
    assert Worker.objects.get().lapsed_at == NOW
    (line,) = logs
    assert (line["event"], line["worker"], line["host"]) == (
        "worker_lapsed",
        "gone",
        "elsewhere/01",
    )
    assert look_out(tmp_path) == 0


def test_a_slot_that_a_gone_host_held_is_given_to_others(tmp_path, team, caller):
    limit = make_limit(team, "concurrent", "", 1)
    gone, here = open_limits(gone_worker()), open_limits()
    with running(gone, here) as runner:
        runner.run(admit(gone, caller, tokens(1)))
        with pytest.raises(LimitExceededError):
            runner.run(admit(here, caller, tokens(1)))
        look_out(tmp_path)
        runner.run(admit(here, caller, tokens(1)))
        assert taken(limit) == held(limit) == 1


@pytest.mark.parametrize("unseen", [timedelta(minutes=10), timedelta(0), None])
def test_who_was_seen_lately_or_does_not_tell_keeps_what_it_holds(tmp_path, team, unseen):
    counter = make_counter(team, "concurrent")
    hold(counter, gone_worker(unseen=unseen), 7)
    assert look_out(tmp_path) == 0
    assert ledger_samples.held(counter) == 7


def test_workers_of_our_own_folder_never_lapse(tmp_path, team):
    journal = Journal(tmp_path, "paused")
    register(journal, NOW - LONG)
    hold(make_counter(team, "concurrent"), Worker.objects.get(), 7)
    assert look_out(tmp_path) == 0
    journal.close()


def test_nobody_lapses_for_a_silence_that_was_the_databases(tmp_path):
    gone_worker()
    lookout = Lookout()
    started, away, back = (NOW + timedelta(minutes=m) for m in (0, 1, 18))
    looks = [started, away, *(back + timedelta(seconds=s) for s in (0, 55, 110, 120))]
    assert [lookout.look(tmp_path, at) for at in looks] == [0, 0, 0, 0, 0, 1]


def test_what_was_taken_in_the_moment_of_lapsing_lapses_too(tmp_path, team):
    counter, worker = make_counter(team, "requests"), gone_worker()
    look_out(tmp_path)
    hold(counter, worker, 7)
    assert look_out(tmp_path) == 1
    assert (ledger_samples.taken(counter), ledger_samples.held(counter)) == (0, None)


def test_a_living_worker_says_now_and_then_that_it_is_there(tmp_path):
    journal = Journal(tmp_path, "living")
    worker_id = register(journal, NOW)
    for seconds, seen in ((5, 0), (29, 0), (30, 30), (55, 30), (60, 60)):
        assert is_registered(worker_id, journal, NOW + timedelta(seconds=seconds))
        assert Worker.objects.get().seen_at == NOW + timedelta(seconds=seen)
    journal.close()


def test_a_worker_that_lapsed_learns_of_it_and_is_not_seen_any_more(tmp_path):
    journal = Journal(tmp_path / "its", "paused")
    worker_id = register(journal, NOW - LONG)
    look_out(tmp_path / "ours")
    assert not is_registered(worker_id, journal, NOW)
    assert Worker.objects.get().seen_at == NOW - LONG
    journal.close()


@pytest.fixture
def resumed(tmp_path, team, caller):
    """A worker that idles on some of all, beside another, and has lapsed since; close it."""
    limits = [make_limit(team, unit, "day", 10**9) for unit in UNITS[:3]]
    limits.append(make_limit(team, "concurrent", "", 10))
    worker = gone_worker()
    opened, other = open_limits(worker), open_limits()
    with running(other) as runner:
        for each in (other, opened):
            runner.run(idle_on(each, caller, 40))
        look_out(tmp_path)
        yield runner, opened, worker, limits


def test_a_resumed_worker_is_granted_nothing(resumed, caller):
    runner, opened, worker, limits = resumed
    before = list(map(taken, limits))
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            runner.run(admit(opened, caller, tokens(90_000)))
    assert list(map(taken, limits)) == list(map(held, limits)) == before
    runner.run(opened.close())
    units = Holding.objects.filter(worker=worker).values_list("counter__limit__unit", flat=True)
    assert set(units) <= {"usd", "tokens"}


def test_what_a_resumed_worker_had_spent_is_counted_once_and_it_leaves_nothing(resumed, caller):
    runner, opened, worker, limits = resumed
    call = opened.reserve_at_once(caller, tokens(30), "", NOW)
    assert call is not None
    _spend(opened, call, caller, worker, NOW)
    assert check_books(None, None) == []
    runner.run(opened.close())
    retire(worker.pk)
    assert not Holding.objects.filter(worker=worker).exists()
    assert list(map(used_by_ledger, limits)) == [30, 30, 1, 0]
    assert check_books(None, None) == []


def _spend(opened: Limits, call, caller, worker: Worker, at: datetime) -> None:
    charges = opened.settle(call, tokens=30, cost_nano_usd=30)
    spent = replace(
        entry(team_id=caller.team_id, key_id=caller.key_id, charges=charges),
        started_at=at,
        input_tokens=30,
        output_tokens=0,
        cost_nano_usd=30,
    )
    post([spent], worker_id=worker.pk)
    opened.posted(charges)


def test_the_folder_of_a_lapsed_worker_comes_back_and_is_recovered_once(tmp_path, team):
    journal = Journal(tmp_path / "its", "gone")
    register(journal, NOW - LONG)
    counters = [make_counter(team, unit) for unit in UNITS]
    for counter, amount in zip(counters, (10**7, 5_000, 10, 3), strict=True):
        hold(counter, Worker.objects.get(), amount)
    charges = [charge(c, n) for c, n in zip(counters, (450_000, 120, 1), strict=False)]
    journal.admit(admission("ended", team_id=team.id))
    journal.finish([entry("ended", team_id=team.id, charges=tuple(charges))])
    journal.admit(admission("cut", team_id=team.id))
    look_out(tmp_path / "ours")
    # As of a machine that was switched off: nobody has its locks.
    returned = tmp_path / "returned"
    shutil.copytree(tmp_path / "its", returned)
    found = recover_leftovers(returned)
    assert (found.ended, found.unfinished) == (1, 1)
    assert recover_leftovers(returned).workers == 0
    assert LedgerEntry.objects.count() == 2
    assert not Worker.objects.exists()
    assert not Holding.objects.exists()
    assert ledger_samples.taken(counters[2]) == 2
    assert ledger_samples.taken(counters[3]) == 0
    assert check_books(None, None) == []
    journal.close()


def test_a_lapsed_host_can_be_given_up(tmp_path, team):
    counters, worker = [make_counter(team, unit) for unit in UNITS], gone_worker()
    for counter in counters:
        hold(counter, worker, 700)
    look_out(tmp_path)
    (posted,) = give_up("elsewhere", tmp_path)
    assert (posted.cost_nano_usd, posted.input_tokens) == (700, 700)
    assert [ledger_samples.taken(counter) for counter in counters] == [700, 700, 0, 0]
    assert not Worker.objects.exists()
    assert check_books(None, None) == []


def test_the_command_tells_who_lapsed(settings, tmp_path, capsys):
    settings.JOURNAL_DIR = tmp_path
    gone_worker()
    look_out(tmp_path)
    call_command("recover_journal")
    said = capsys.readouterr().out
    seen = f"last seen {NOW - LONG:%F %R} UTC"
    assert f"gone of elsewhere/01, {seen}; its requests and calls at once lapsed" in said
