import errno
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from billing.entries import Attempt, Charge, Entry, Unfinished
from billing.journal import Journal
from billing.journal_folder import lock_path, segment_paths
from keys.errors import ServiceUnavailableError
from tests.billing.journal_contents import read_journal
from tests.billing.ledger_samples import NOON, admission, entry
from tests.loopback import wait_until

WORKER = "worker-1"
SEGMENT = 64 * 1024


@pytest.fixture
def journal(tmp_path: Path):
    opened = Journal(tmp_path, WORKER, segment_bytes=SEGMENT)
    yield opened
    opened.close()


def written(directory: Path):
    return read_journal(segment_paths(directory, WORKER))


def run(journal: Journal, request_id: str) -> Entry:
    ended = entry(request_id)
    journal.admit(admission(request_id))
    journal.finish([ended])
    return ended


def damage(path: Path, at: int, bytes_: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes_)


def test_what_ended_is_read_back_as_it_was(journal, tmp_path):
    attempt = Attempt("openai-main", "gpt-4o", "failed", "upstream_timeout", NOON, 12)
    ends = [
        entry(attempts=(attempt,), charges=(Charge(4, 120, 7),), tags={"a": "b"}),
        entry(entry=1, flags=("beyond_bound",), first_byte_ms=3),
    ]
    journal.admit(admission())
    journal.finish(ends)
    assert written(tmp_path).entries == ends
    assert written(tmp_path).unfinished == []


def test_an_admission_without_an_end_keeps_the_output_last_seen(journal, tmp_path):
    running = admission("b", holds=[(4, "tokens", 500)])
    journal.admit(admission("a"))
    journal.admit(running)
    journal.progress("b", 64)
    journal.progress("b", 128)
    journal.finish([entry("a")])
    assert written(tmp_path).unfinished == [Unfinished(running, 128)]


def test_progress_of_a_request_that_ended_is_ignored(journal, tmp_path):
    run(journal, "a")
    journal.progress("a", 64)
    assert written(tmp_path).unfinished == []


def test_text_of_any_kind_survives(journal, tmp_path):
    strange = entry(end_user='a\0b\n"\u2028é😀', tags={"\0": "\r\n"})
    journal.finish([strange])
    assert written(tmp_path).entries == [strange]


def test_a_lone_surrogate_loses_the_text_and_not_the_entry(journal, tmp_path):
    journal.admit(admission(end_user="\ud800"))
    journal.finish([entry(end_user="x\ud800", cost_nano_usd=5)])
    (read,) = written(tmp_path).entries
    assert read.cost_nano_usd == 5
    assert "sanitized" in read.flags


def test_a_torn_tail_ends_reading(journal, tmp_path):
    kept = run(journal, "a")
    (path,) = segment_paths(tmp_path, WORKER)
    whole = path.read_bytes().rstrip(b"\0")
    run(journal, "b")
    longer = path.read_bytes().rstrip(b"\0")
    for cut in (len(whole) + 1, len(whole) + 30, len(longer) - 2):
        path.write_bytes(longer[:cut] + bytes(4096))
        contents = written(tmp_path)
        assert contents.entries[0] == kept
        assert len(contents.entries) == 1


def test_a_damaged_line_is_reported_and_what_follows_is_kept(journal, tmp_path):
    for request_id in "abc":
        journal.finish([entry(request_id)])
    (path,) = segment_paths(tmp_path, WORKER)
    second = path.read_bytes().index(b'"request_id":"b"')
    damage(path, second, b'"request_id":"x"')
    contents = written(tmp_path)
    assert [read.request_id for read in contents.entries] == ["a", "c"]
    assert contents.damaged_lines == 1


@pytest.mark.parametrize("lost", ["header", "newline", "zeros"])
def test_reading_goes_on_after_any_damage(journal, tmp_path, lost):
    for request_id in "abc":
        journal.finish([entry(request_id)])
    (path,) = segment_paths(tmp_path, WORKER)
    end_of_first = path.read_bytes().index(b"\n")
    if lost == "header":
        damage(path, end_of_first + 1, b"ffffffff")
    elif lost == "newline":
        damage(path, end_of_first, b"X")
    else:
        damage(path, end_of_first - 50, bytes(100))
    contents = written(tmp_path)
    assert contents.entries[-1].request_id == "c"
    assert contents.damaged_lines >= 1


@pytest.mark.parametrize(
    "bad", [b"00000000 00000000 \n", b"00000003 352441c2 abc\n", b"00000002 0d4cbb29 []\n"]
)
def test_a_record_that_is_none_is_damage_and_what_follows_is_kept(journal, tmp_path, bad):
    for request_id in "ab":
        journal.finish([entry(request_id)])
    (path,) = segment_paths(tmp_path, WORKER)
    first, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(first + b"\n" + bad + rest)
    contents = written(tmp_path)
    assert [read.request_id for read in contents.entries] == ["a", "b"]
    assert contents.damaged_lines == 1


@pytest.mark.parametrize("content", [b"0" * 4096, b"no line ever ended", b"\xff" * 99])
def test_a_file_that_no_worker_wrote_is_damage(tmp_path, content):
    path = tmp_path / "worker-1.00000000.journal"
    path.write_bytes(content)
    assert written(tmp_path).damaged_lines == 1


def test_a_posted_segment_goes_and_one_with_a_running_request_stays(journal, tmp_path):
    journal.admit(admission("slow"))
    ids = [run(journal, f"a{number}").request_id for number in range(200)]
    assert len(segment_paths(tmp_path, WORKER)) > 3
    journal.posted(ids)
    remaining = segment_paths(tmp_path, WORKER)
    assert len(remaining) == 2  # the one that admits the slow request, and the current one
    assert [call.admission.template.request_id for call in written(tmp_path).unfinished] == ["slow"]
    journal.finish([entry("slow")])
    journal.posted(["slow"])
    assert len(segment_paths(tmp_path, WORKER)) == 1


def test_the_progress_last_seen_outlives_the_posting_of_others(journal, tmp_path):
    journal.admit(admission("slow"))
    before = [run(journal, f"a{number}").request_id for number in range(60)]
    journal.progress("slow", 777)
    after = [run(journal, f"b{number}").request_id for number in range(60)]
    journal.posted([*before, *after])
    assert [call.output_tokens for call in written(tmp_path).unfinished] == [777]


def test_closing_leaves_nothing_when_all_is_posted(tmp_path):
    journal = Journal(tmp_path, WORKER)
    run(journal, "a")
    journal.posted(["a"])
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_closing_keeps_what_is_not_posted(tmp_path):
    journal = Journal(tmp_path, WORKER)
    run(journal, "a")
    journal.close()
    assert lock_path(tmp_path, WORKER).exists()
    assert [read.request_id for read in written(tmp_path).entries] == ["a"]


FULL_DISK = """
import resource
import sys
from pathlib import Path

import django

django.setup()

from billing.entries import Attempt
from billing.journal import Journal
from keys.errors import ServiceUnavailableError
from tests.billing.ledger_samples import NOON, admission, entry

journal = Journal(Path(sys.argv[1]), "worker-1", segment_bytes=64 * 1024)
journal.admit(admission("first"))
resource.setrlimit(resource.RLIMIT_FSIZE, (300 * 1024, 300 * 1024))
admitted = ["first"]
try:
    while True:
        journal.admit(admission(f"r{len(admitted)}"))
        admitted.append(f"r{len(admitted)}")
except ServiceUnavailableError:
    pass
attempts = (Attempt("p" * 100, "m" * 200, "failed", "x", NOON, 1),) * 40
for request_id in admitted:
    journal.finish([entry(request_id, attempts=attempts)])
print(len(admitted))
"""


def test_a_full_disk_stops_admission_and_every_admitted_request_can_end(tmp_path):
    """F32: the limit on a file's size stands for the disk."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway_project.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    contents = written(tmp_path)
    assert len(contents.entries) == int(done.stdout) > 10
    assert contents.unfinished == []
    assert {read.cost_nano_usd for read in contents.entries} == {450_000}


def test_F32_a_journal_that_refused_a_call_says_so_until_the_disk_takes_one_again(
    journal, tmp_path
):
    journal.admit(admission())
    assert journal.admits()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(ServiceUnavailableError):
            journal.admit(admission("req-1"))
        assert not journal.admits()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.admits()
    journal.finish([entry()])
    contents = read_journal(segment_paths(tmp_path, WORKER))
    assert (contents.entries, contents.unfinished, contents.damaged_lines) == ([entry()], [], 0)


def test_a_disk_that_is_full_at_once_admits_nothing(tmp_path):
    """F32"""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = Journal(tmp_path, WORKER, segment_bytes=SEGMENT)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ServiceUnavailableError):
            journal.admit(admission("a"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.admit(admission("b"))
    assert [call.admission.template.request_id for call in written(tmp_path).unfinished] == ["b"]
    journal.close()


def test_after_a_sync_that_failed_nothing_is_admitted_until_one_works(
    journal, tmp_path, monkeypatch
):
    """The kernel may have dropped what it held: what follows goes into a new file."""
    broken = threading.Event()
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        if broken.is_set():
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr("billing.journal.SYNC_AGAIN_SECONDS", 0.05)
    journal.admit(admission("running"))
    broken.set()
    journal.progress("running", 7)
    wait_until(lambda: len(segment_paths(tmp_path, WORKER)) == 2, "a new file is begun")
    with pytest.raises(ServiceUnavailableError):
        journal.admit(admission("refused"))
    journal.finish([entry("running")])
    assert b'"end"' in segment_paths(tmp_path, WORKER)[1].read_bytes()
    broken.clear()
    wait_until(lambda: _admits(journal, "later"), "a sync works")
    assert [read.request_id for read in written(tmp_path).entries] == ["running"]
    assert [call.admission.template.request_id for call in written(tmp_path).unfinished] == [
        "later"
    ]


def _admits(journal: Journal, request_id: str) -> bool:
    try:
        journal.admit(admission(request_id))
    except ServiceUnavailableError:
        return False
    return True
