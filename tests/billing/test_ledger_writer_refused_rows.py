"""Rows that a database refuses with what looks like an outage; their neighbours are written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import OperationalError, connection

from billing import ledger_writer
from billing.journal import Journal
from billing.ledger import post
from billing.ledger_writer import LedgerWriter
from billing.models import LedgerEntry
from tests.billing.ledger_samples import admission, entry
from tests.loopback import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

# Each refuses a row named bad with an error that Django calls an OperationalError.
REFUSE = {
    "postgresql": (
        """
        CREATE FUNCTION refuse_bad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.request_id LIKE 'bad%' THEN
                RAISE EXCEPTION 'too much for us' USING ERRCODE = 'program_limit_exceeded';
            END IF;
            RETURN NEW;
        END $$
        """,
        """
        CREATE TRIGGER refuse_bad BEFORE INSERT ON billing_ledgerentry
        FOR EACH ROW EXECUTE FUNCTION refuse_bad()
        """,
    ),
    "sqlite": (
        """
        CREATE TRIGGER refuse_bad BEFORE INSERT ON billing_ledgerentry
        WHEN NEW.request_id LIKE 'bad%' BEGIN SELECT json('{'); END
        """,
    ),
}
ACCEPT = {
    "postgresql": ("DROP TRIGGER refuse_bad ON billing_ledgerentry", "DROP FUNCTION refuse_bad"),
    "sqlite": ("DROP TRIGGER refuse_bad",),
}


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def refusing_bad() -> Iterator[None]:
    run(*REFUSE[connection.vendor])
    try:
        yield
    finally:
        run(*ACCEPT[connection.vendor])


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path, "worker-1")
    yield opened
    opened.close()


def end(journal: Journal, writer: LedgerWriter, *request_ids: str) -> None:
    for request_id in request_ids:
        journal.admit(admission(request_id))
        journal.finish([entry(request_id)])
        writer.put([entry(request_id)])


def written() -> set[str]:
    return set(LedgerEntry.objects.values_list("request_id", flat=True))


def test_the_refusal_is_what_django_calls_an_operational_error():
    with refusing_bad(), pytest.raises(OperationalError):
        LedgerEntry.objects.bulk_create(
            [LedgerEntry(request_id="bad", started_at=entry().started_at)]
        )


def test_a_row_refused_like_an_outage_loses_none_of_its_neighbours():
    names = [f"req-{number}" for number in range(100)]
    with refusing_bad():
        posted = post([entry(name) for name in (*names[:40], "bad", *names[40:])], worker_id=None)
    assert [refused.request_id for refused in posted.rejected] == ["bad"]
    assert written() == set(names)


def test_a_row_refused_like_an_outage_is_set_aside_and_tried_again(journal, monkeypatch):
    monkeypatch.setattr(ledger_writer, "ASIDE_SECONDS", 0.2)
    writer = LedgerWriter(journal, lambda charges: None, worker_id=None)
    with refusing_bad():
        writer.start()
        end(journal, writer, "before", "bad", "after")
        wait_until(lambda: written() == {"before", "after"}, "the neighbours are written")
        assert [kept.request_id for kept in next(iter(journal.ends_of({"bad"})))] == ["bad"]
    wait_until(lambda: "bad" in written(), "the row that was set aside is written")
    assert writer.drain(10)


def test_an_entry_that_our_own_code_trips_over_loses_what_it_says_alone():
    odd = entry("odd", timezone="Mars/Olympus", end_user="somebody")
    assert not post([entry("a"), odd, entry("b")], worker_id=None).rejected
    assert written() == {"a", "odd", "b"}
    row = LedgerEntry.objects.get(request_id="odd")
    assert (row.end_user, row.cost_nano_usd) == ("", odd.cost_nano_usd)


def test_more_refused_rows_than_memory_holds_stay_in_the_journal(journal, monkeypatch):
    monkeypatch.setattr(ledger_writer, "ASIDE_SECONDS", 0.2)
    monkeypatch.setattr(ledger_writer, "MOST_WAITING", 3)
    monkeypatch.setattr(ledger_writer, "BATCH_ROWS", 2)
    writer = LedgerWriter(journal, lambda charges: None, worker_id=None)
    names = [f"bad-{number}" for number in range(10)]
    with refusing_bad():
        writer.start()
        end(journal, writer, *names, "after")
        wait_until(lambda: written() == {"after"}, "the neighbour is written")
        wait_until(lambda: writer.set_aside() == (3, 7), "the rest is left in the journal")
    wait_until(lambda: written() == {*names, "after"}, "all of them are written")
    assert writer.drain(10)
    assert not list(journal.ends_of(set(names)))


def test_a_table_that_is_away_is_no_rows_fault():
    run("ALTER TABLE billing_ledgerentry RENAME TO ledger_away")
    try:
        with pytest.raises(Exception, match="billing_ledgerentry"):
            post([entry("a"), entry("b")], worker_id=None)
    finally:
        run("ALTER TABLE ledger_away RENAME TO billing_ledgerentry")
