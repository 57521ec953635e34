import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import pytest
from django.db import connection
from structlog.testing import capture_logs

from billing.entries import Admission, Entry, Unfinished
from billing.journal import Journal
from billing.journal_folder import lock_path, segment_paths
from billing.ledger import post
from billing.models import Holding, LedgerEntry, SpendTotal, Worker
from billing.recovery import Recovered, recover_leftovers, recovered_entries
from billing.workers import host_of, new_name, register, retire
from tests.billing.ledger_samples import (
    admission,
    charge,
    entry,
    held,
    hold,
    make_counter,
    make_team,
    make_worker,
    taken,
)

pytestmark = pytest.mark.django_db(transaction=True)

DYING = """
import os
import signal
import sys
from pathlib import Path

import django

django.setup()

from billing.entries import Charge
from billing.entries import Admission, Entry, Unfinished
from billing.journal import Journal
from tests.billing.ledger_samples import admission, entry

team_id, die_after = int(sys.argv[3]), sys.argv[5]
counters = [int(counter) for counter in sys.argv[4].split(",")]
holds = list(zip(counters, ("requests", "tokens", "usd", "concurrent"), (1, 500, 10**6, 1)))
journal = Journal(Path(sys.argv[1]), sys.argv[2], segment_bytes=64 * 1024)


def step(name):
    if name == die_after:
        os.kill(os.getpid(), signal.SIGKILL)


journal.admit(admission("req-done", holds=holds, team_id=team_id))
charges = tuple(Charge(c, n) for c, n in zip(counters, (1, 120, 450_000)))
journal.finish([entry("req-done", team_id=team_id, charges=charges)])
journal.admit(admission("req-cut", holds=holds, team_id=team_id))
step("admit")
journal.progress("req-cut", 64)
step("progress")
journal.finish([entry("req-cut", team_id=team_id, charges=charges)])
step("end")
"""


@pytest.fixture
def dead(tmp_path: Path):
    """A worker with holdings, and the counters they are of."""
    team = make_team()
    worker = make_worker("dead", host_of(tmp_path))
    counters = [make_counter(team, unit) for unit in ("requests", "tokens", "usd", "concurrent")]
    for counter, amount in zip(counters, (10, 5_000, 10**7, 3), strict=True):
        hold(counter, worker, amount)
    return team, counters


def kill_after(step: str, directory: Path, dead) -> None:
    team, counters = dead
    ids = ",".join(str(counter.id) for counter in counters)
    process = subprocess.run(
        [sys.executable, "-c", DYING, str(directory), "dead", str(team.id), ids, step],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway_project.settings"},
        check=False,
    )
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("step", "status", "output", "cost"),
    [
        ("admit", "recovered", 0, 250_000),
        ("progress", "recovered", 64, 250_000 + 640_000),
        ("end", "ok", 20, 450_000),
    ],
)
def test_a_worker_killed_at_any_step_loses_no_request(dead, tmp_path, step, status, output, cost):
    """F30"""
    kill_after(step, tmp_path, dead)
    recover_leftovers(tmp_path)
    done, cut = LedgerEntry.objects.order_by("-request_id")
    assert (done.status, done.cost_nano_usd) == ("ok", 450_000)
    assert (cut.status, cut.output_tokens, cut.cost_nano_usd) == (status, output, cost)
    assert ("uncertain" in cut.flags) == (status == "recovered")


def test_what_a_dead_worker_held_and_did_not_spend_is_given_back(dead, tmp_path):
    kill_after("progress", tmp_path, dead)
    recover_leftovers(tmp_path)
    requests, tokens, usd, concurrent = map(taken, dead[1])
    assert (requests, tokens, concurrent) == (2, 120 + 164, 0)
    assert usd == 450_000 + 250_000 + 640_000
    assert not Holding.objects.exists()


def test_nothing_of_a_recovered_worker_stays(dead, tmp_path):
    kill_after("admit", tmp_path, dead)
    assert recover_leftovers(tmp_path) == Recovered(workers=1, ended=1, unfinished=1)
    assert segment_paths(tmp_path, "dead") == []
    assert not lock_path(tmp_path, "dead").exists()
    assert not Worker.objects.exists()
    assert recover_leftovers(tmp_path) == Recovered()


def test_recovering_again_after_a_crash_before_the_files_were_removed(dead, tmp_path):
    kill_after("progress", tmp_path, dead)
    kept = {path: path.read_bytes() for path in segment_paths(tmp_path, "dead")}
    recover_leftovers(tmp_path)
    before = list(map(taken, dead[1]))
    make_worker("dead", host_of(tmp_path))
    for path, content in kept.items():
        path.write_bytes(content)
    recover_leftovers(tmp_path)
    assert list(map(taken, dead[1])) == before
    assert LedgerEntry.objects.count() == 2
    assert sum(SpendTotal.objects.values_list("requests", flat=True)) == 2


def test_two_recoverers_at_once_post_everything_once(dead, tmp_path):
    kill_after("progress", tmp_path, dead)
    found: list[Recovered] = []
    threads = [
        threading.Thread(target=lambda: found.append(recover_in_thread(tmp_path))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum((recovered.unfinished for recovered in found), 0) == 1
    assert taken(dead[1][0]) == 2


def recover_in_thread(directory: Path) -> Recovered:
    try:
        return recover_leftovers(directory)
    finally:
        connection.close()


def test_a_living_worker_is_left_alone(tmp_path):
    journal = Journal(tmp_path, "alive")
    worker_id = register(journal, datetime.now(UTC))
    journal.admit(admission("running"))
    assert recover_leftovers(tmp_path) == Recovered()
    assert Worker.objects.filter(id=worker_id).exists()
    journal.close()


def test_what_was_posted_by_the_worker_itself_is_not_posted_again(dead, tmp_path):
    team, counters = dead
    kill_after("end", tmp_path, dead)
    worker = Worker.objects.get()
    charges = (charge(counters[0], 1), charge(counters[1], 120), charge(counters[2], 450_000))
    post([entry("req-done", team_id=team.id, charges=charges)], worker_id=worker.id)
    assert recover_leftovers(tmp_path).ended == 1
    assert [taken(counter) for counter in counters] == [2, 240, 900_000, 0]


def test_a_worker_of_this_folder_without_a_journal_gives_its_holdings_back(tmp_path):
    counter = make_counter(make_team(), "usd")
    hold(counter, make_worker("gone", host_of(tmp_path)), 700)
    assert recover_leftovers(tmp_path).workers == 1
    assert (taken(counter), held(counter)) == (0, None)


def test_a_worker_of_another_folder_is_left_alone(tmp_path):
    counter = make_counter(make_team(), "usd")
    hold(counter, make_worker("elsewhere", "other-host/0123"), 700)
    assert recover_leftovers(tmp_path) == Recovered()
    assert (taken(counter), held(counter)) == (700, 700)


def test_a_journal_with_damage_in_the_middle_is_recovered_around_it(dead, tmp_path):
    kill_after("end", tmp_path, dead)
    (path,) = segment_paths(tmp_path, "dead")
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"request_id":"req-done"', b'"request_id":"req-DONE"'))
    found = recover_leftovers(tmp_path)
    assert found.damaged_lines == 2
    assert list(LedgerEntry.objects.values_list("request_id", flat=True)) == ["req-cut"]


def test_a_damaged_journal_is_kept_under_another_name(dead, tmp_path):
    kill_after("end", tmp_path, dead)
    (path,) = segment_paths(tmp_path, "dead")
    content = path.read_bytes()[:-1].replace(b"\n", b"\n00000000 00000000 \n", 1)
    path.write_bytes(content)
    found = recover_leftovers(tmp_path)
    assert (found.ended, found.damaged_lines) == (2, 1)
    assert path.with_suffix(".damaged").read_bytes() == content
    assert recover_leftovers(tmp_path) == Recovered()


def test_a_record_of_an_unknown_shape_is_damage(dead, tmp_path):
    kill_after("end", tmp_path, dead)
    (path,) = segment_paths(tmp_path, "dead")
    body = b'{"end":[{"from":"another version"}]}'
    line = b"%08x %08x %b\n" % (len(body), crc32(body), body)
    path.write_bytes(line + path.read_bytes())
    found = recover_leftovers(tmp_path)
    assert (found.ended, found.damaged_lines) == (2, 1)


FOREIGN = ("a.00000000.journal", "b.lock", "c.journal")


def test_one_bad_name_stops_no_other(dead, tmp_path):
    (tmp_path / "a.00000000.journal").mkdir()
    (tmp_path / "b.lock").mkdir()
    (tmp_path / "c.journal").write_bytes(b"x")
    unreadable = tmp_path / "c-1-ab.00000000.journal"
    unreadable.symlink_to("/proc/self/mem")
    kill_after("end", tmp_path, dead)
    with capture_logs() as logs:
        assert recover_leftovers(tmp_path).ended == 2
        assert recover_leftovers(tmp_path) == Recovered()
    named = [line["path"] for line in logs if line["event"] == "foreign_file_in_journal_folder"]
    assert sorted(named) == [str(tmp_path / name) for name in FOREIGN]
    assert [line["event"] for line in logs].count("journal_not_recovered") == 1
    assert (tmp_path / "c.journal").exists()


def recovered(admitted: Admission, output_tokens: int) -> Entry:
    (found,) = recovered_entries(Unfinished(admitted, output_tokens))
    return found


def test_a_charge_beyond_the_hold_is_excess():
    held_too_little = admission(holds=[(1, "requests", 1), (2, "tokens", 90), (3, "usd", 10**9)])
    charges = recovered(held_too_little, 20).charges
    assert [(c.counter_id, c.amount, c.excess) for c in charges] == [
        (1, 1, 0),
        (2, 120, 30),
        (3, 450_000, 0),
    ]


def test_a_recovered_cost_is_rounded_half_even_once():
    half = replace(admission(), input_price=5_000, output_price=0)
    assert recovered(half, 0).cost_nano_usd == 0  # 0.5
    assert recovered(replace(half, input_price=15_000), 0).cost_nano_usd == 2  # 1.5


def test_a_recovered_call_without_a_price_has_no_cost():
    assert recovered(replace(admission(), input_price=None), 9).cost_nano_usd is None


def test_retiring_gives_holdings_back(tmp_path):
    counter = make_counter(make_team(), "usd")
    worker = make_worker()
    hold(counter, worker, 700)
    retire(worker.id)
    assert taken(counter) == 0
    assert not Worker.objects.exists()


def test_a_folder_keeps_its_name_and_workers_have_their_own(tmp_path):
    assert host_of(tmp_path) == host_of(tmp_path)
    assert new_name() != new_name()
    assert len(new_name()) <= 64
