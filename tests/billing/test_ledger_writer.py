import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from django.db import connection

from billing import ledger_writer
from billing.entries import Charge, Entry, Refusal
from billing.journal import Journal
from billing.journal_folder import segment_paths
from billing.ledger_writer import LedgerWriter
from billing.models import LedgerEntry, RefusedCall
from billing.refusals import RefusalWriter
from tests.billing.journal_contents import read_journal
from tests.billing.ledger_samples import (
    NOON,
    admission,
    charge,
    entry,
    held,
    hold,
    make_counter,
    make_team,
    make_worker,
)
from tests.loopback import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Heard:
    """What the writer said it posted."""

    def __init__(self) -> None:
        self.charges: list[Charge] = []
        self.at_least_once = threading.Event()

    def __call__(self, charges: Sequence[Charge]) -> None:
        self.charges += charges
        self.at_least_once.set()


@pytest.fixture
def journal(tmp_path: Path):
    opened = Journal(tmp_path, "worker-1")
    yield opened
    opened.close()


def end(journal: Journal, writer: LedgerWriter, ended: Entry) -> None:
    journal.admit(admission(ended.request_id))
    journal.finish([ended])
    writer.put([ended])


def test_entries_reach_the_ledger_and_their_charges_are_told(journal):
    team, worker, heard = make_team(), make_worker(), Heard()
    counter = make_counter(team, "usd")
    hold(counter, worker, 1_000_000)
    writer = LedgerWriter(journal, heard, worker_id=worker.id)
    writer.start()
    end(journal, writer, entry(team_id=team.id, charges=(charge(counter, 450_000),)))
    assert heard.at_least_once.wait(10)
    assert LedgerEntry.objects.count() == 1
    assert heard.charges == [charge(counter, 450_000)]
    assert held(counter) == 550_000
    assert writer.drain(10)


def test_draining_writes_everything_that_waits(tmp_path):
    journal = Journal(tmp_path, "worker-1")
    writer = LedgerWriter(journal, Heard(), worker_id=None)
    for number in range(2_500):
        end(journal, writer, entry(f"req-{number}"))
    writer.start()
    assert writer.drain(60)
    assert LedgerEntry.objects.count() == 2_500
    journal.close()
    assert segment_paths(tmp_path, "worker-1") == []


def test_an_idle_writer_drains_at_once(journal):
    writer = LedgerWriter(journal, Heard(), worker_id=None)
    writer.start()
    assert writer.drain(10)


def test_entries_wait_while_the_database_is_away(journal, tmp_path):
    heard = Heard()
    writer = LedgerWriter(journal, heard, worker_id=None)
    _hide_ledger()
    try:
        writer.start()
        end(journal, writer, entry())
        assert not writer.drain(0.6)
        assert heard.charges == []
        (kept,) = read_journal(segment_paths(tmp_path, "worker-1")).entries
        assert kept.request_id == "req-0"
    finally:
        _show_ledger()


def test_the_writer_goes_on_when_the_database_is_back(journal):
    heard = Heard()
    writer = LedgerWriter(journal, heard, worker_id=None)
    _hide_ledger()
    writer.start()
    end(journal, writer, entry())
    assert not heard.at_least_once.wait(0.6)
    _show_ledger()
    assert heard.at_least_once.wait(20)
    assert LedgerEntry.objects.count() == 1
    assert writer.drain(10)


def test_a_listener_that_fails_stops_nothing(journal):
    def fail(charges: Sequence[Charge]) -> None:
        raise RuntimeError("the loop is closed")

    writer = LedgerWriter(journal, fail, worker_id=None)
    writer.start()
    end(journal, writer, entry("a"))
    end(journal, writer, entry("b"))
    assert writer.drain(10)
    assert LedgerEntry.objects.count() == 2


def test_what_memory_does_not_hold_is_read_back_from_the_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_writer, "MOST_WAITING", 20)
    journal = Journal(tmp_path, "worker-1")
    team, worker, heard = make_team(), make_worker(), Heard()
    counter = make_counter(team, "usd")
    hold(counter, worker, 100 * 450_000)
    writer = LedgerWriter(journal, heard, worker_id=worker.id)
    for number in range(100):
        charged = (charge(counter, 450_000),)
        end(journal, writer, entry(f"req-{number}", team_id=team.id, charges=charged))
    assert writer.waiting() == 20
    writer.start()
    assert writer.drain(30)
    assert LedgerEntry.objects.count() == 100
    assert len(heard.charges) == 100
    assert held(counter) == 0
    journal.close()
    assert segment_paths(tmp_path, "worker-1") == []


def test_a_journal_that_cannot_be_read_for_a_moment_ends_no_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_writer, "MOST_WAITING", 5)
    monkeypatch.setattr(ledger_writer, "LONGEST_PAUSE_SECONDS", 0.1)
    journal = Journal(tmp_path, "worker-1")
    writer = LedgerWriter(journal, Heard(), worker_id=None)
    for number in range(20):
        end(journal, writer, entry(f"req-{number}"))
    (segment,) = segment_paths(tmp_path, "worker-1")
    away = segment.rename(tmp_path / "away")
    segment.mkdir()
    writer.start()
    wait_until(lambda: LedgerEntry.objects.count() == 5, "what memory holds is written")
    segment.rmdir()
    away.rename(segment)
    wait_until(lambda: LedgerEntry.objects.count() == 20, "the rest is read and written")
    assert writer.drain(10)
    journal.close()


def test_a_row_that_the_database_refuses_holds_up_nobody_and_is_tried_again(journal, monkeypatch):
    monkeypatch.setattr(ledger_writer, "ASIDE_SECONDS", 0.2)
    writer = LedgerWriter(journal, Heard(), worker_id=None)
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX one_key ON billing_ledgerentry (key_name)")
    try:
        writer.start()
        for number in range(3):
            end(journal, writer, entry(f"req-{number}", key_name="same" if number else "other"))
        wait_until(lambda: LedgerEntry.objects.count() == 2, "the neighbours are written")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX one_key")
    wait_until(lambda: LedgerEntry.objects.count() == 3, "the row that was set aside is written")
    assert writer.drain(10)
    assert not list(journal.ends_of({"req-0", "req-1", "req-2"}))


def test_refusals_are_written_aside():
    writer = RefusalWriter()
    writer.start()
    writer.put(Refusal("req-1", NOON, "/v1/messages", "insufficient_quota", "no\0 more"))
    writer.stop(10)
    row = RefusedCall.objects.get()
    assert (row.code, row.message) == ("insufficient_quota", "no\ufffd more")


def _hide_ledger() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_ledgerentry RENAME TO ledger_away")


def _show_ledger() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_away RENAME TO billing_ledgerentry")
