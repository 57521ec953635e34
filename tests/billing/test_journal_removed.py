"""Somebody removes the files of a journal while its worker writes to it."""

import fcntl
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from billing.journal import Journal
from billing.journal_folder import lock_path, segment_paths
from billing.models import LedgerEntry, Worker
from billing.recovery import Recovered, recover_leftovers
from billing.workers import host_of, is_registered, register, retire
from keys.errors import ServiceUnavailableError
from tests.billing.journal_contents import read_journal
from tests.billing.ledger_samples import admission, entry

pytestmark = pytest.mark.django_db(transaction=True)

WORKER = "worker-1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(folder: Path) -> Journal:
    return Journal(folder, WORKER, segment_bytes=64 * 1024)


def remove_lock(folder: Path) -> None:
    lock_path(folder, WORKER).unlink()


def remove_segment(folder: Path) -> None:
    for path in segment_paths(folder, WORKER):
        path.unlink()


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder)


REMOVALS = (remove_lock, remove_segment, remove_folder)


def refuses(journal: Journal, request_id: str = "refused") -> bool:
    try:
        journal.admit(admission(request_id))
    except ServiceUnavailableError:
        return True
    return False


def unfinished(folder: Path) -> list[str]:
    calls = read_journal(segment_paths(folder, WORKER)).unfinished
    return [call.admission.template.request_id for call in calls]


@pytest.mark.parametrize("remove", REMOVALS)
def test_nothing_is_admitted_from_the_removal_on(journal, folder, remove: Callable[[Path], None]):
    journal.admit(admission("a"))
    remove(folder)
    with capture_logs() as logs:
        assert [refuses(journal) for _ in range(3)] == [True] * 3
    assert [line["event"] for line in logs] == ["journal_refuses_admission"]


@pytest.mark.parametrize("remove", REMOVALS)
def test_what_was_removed_is_made_anew_with_all_it_said(journal, folder, remove):
    journal.admit(admission("a"))
    remove(folder)
    journal.progress("a", 7)
    with capture_logs() as logs:
        assert journal.keep_in_place()
        assert journal.keep_in_place()
    assert [line["event"] for line in logs] == ["journal_was_removed"]
    assert not refuses(journal, "b")
    assert unfinished(folder) == ["a", "b"]
    assert recover_leftovers(folder) == Recovered()  # and its locks are held again
    journal.finish([entry("a")])
    journal.finish([entry("b")])
    journal.posted(["a", "b"])
    journal.close()
    assert segment_paths(folder, WORKER) == []
    assert not lock_path(folder, WORKER).exists()


def test_a_folder_that_was_moved_away_is_made_anew(journal, folder):
    journal.admit(admission("a"))
    folder.rename(folder.with_name("moved"))
    assert journal.keep_in_place()
    assert unfinished(folder) == ["a"]


def test_while_it_cannot_be_made_anew_nothing_is_admitted(journal, folder):
    journal.admit(admission("a"))
    folder.rename(folder.with_name("moved"))
    folder.write_text("in the way")
    with capture_logs() as logs:
        assert [journal.keep_in_place() for _ in range(3)] == [False] * 3
    assert [line["event"] for line in logs] == ["journal_was_removed"]
    assert refuses(journal)
    folder.unlink()
    assert journal.keep_in_place()
    assert unfinished(folder) == ["a"]


def test_a_living_worker_without_its_lock_file_is_not_recovered(journal, folder):
    worker_id = register(journal, datetime.now(UTC))
    journal.admit(admission("a"))
    remove_lock(folder)
    assert recover_leftovers(folder) == Recovered()
    assert not LedgerEntry.objects.exists()
    assert Worker.objects.filter(id=worker_id).exists()
    assert journal.keep_in_place()


def test_a_lock_that_a_recoverer_holds_is_waited_for(journal, folder):
    remove_lock(folder)
    other = os.open(lock_path(folder, WORKER), os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert not journal.keep_in_place()
    os.close(other)
    assert journal.keep_in_place()


def test_a_row_follows_the_folder_whose_id_was_removed(journal, folder):
    worker_id = register(journal, datetime.now(UTC))
    remove_folder(folder)
    assert journal.keep_in_place()
    assert is_registered(worker_id, journal, datetime.now(UTC))
    assert Worker.objects.get().host == host_of(folder)


def test_a_worker_whose_row_is_gone_hears_of_it(journal):
    worker_id = register(journal, datetime.now(UTC))
    retire(worker_id)
    assert not is_registered(worker_id, journal, datetime.now(UTC))
    journal.seal()
    assert refuses(journal)
    assert journal.keep_in_place()
    assert refuses(journal)
