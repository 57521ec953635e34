"""A worker's journal: what it admitted and how that ended, on disk before anything else knows.

Called on the event loop, so a line costs one write and no file sync: the kernel keeps what a
killed process wrote, and a thread syncs in groups, so that a power cut takes the last group at
most. Room for the end of every running request is allocated before it is admitted. When the disk
is full, admission stops with 503 and what runs can still end. It stops too after a sync that
failed, when the kernel may have dropped what it held: writing goes on in a new file, and
admission with it once that file has been synced. And it stops when somebody removed the files,
until they have been made anew.
"""

import errno
import os
import threading
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from pathlib import Path

import structlog

from billing.entries import Admission, Entry
from billing.journal_folder import JournalLock, is_at, is_removed
from billing.journal_lines import (
    admit_line,
    end_line,
    follow,
    paid_line,
    progress_line,
    read_lines,
)
from billing.journal_segment import Segment, synced
from billing.sanitizing import without_details
from keys.errors import ServiceUnavailableError

SEGMENT_BYTES = 8 * 1024 * 1024
SYNC_SECONDS = 0.02
SYNC_AGAIN_SECONDS = 1.0
_ENTRIES_EXPECTED = 4
_ROOM_ASKED_FOR = 16 * 1024
# As long as a line; readers pass over it.
_NOTHING = b"\n" * 2048

log = structlog.get_logger(__name__)


class _Running:
    """A request on its way: the room kept for its end, and the segments that tell of it."""

    __slots__ = ("admitted", "ended", "progressed", "retried", "room", "room_per_entry")

    def __init__(self, admitted: Segment | None, room: int) -> None:
        self.admitted = admitted
        self.room = room
        self.room_per_entry = room // _ENTRIES_EXPECTED
        self.retried: tuple[Segment, ...] = ()
        self.progressed: Segment | None = None
        self.ended: Segment | None = None


class Journal:
    """The journal of one worker process, which holds an exclusive lock on it while it lives."""

    def __init__(self, directory: Path, worker: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self.worker = worker
        self._segment_bytes = segment_bytes
        self._lock = JournalLock(directory, worker)
        self._mutex = threading.Lock()
        self._segments: list[Segment] = []
        self._running: dict[str, _Running] = {}
        self._reserved = 0
        self._made = 0
        self._retired: list[int] = []
        self._distrusted = False  # a sync failed, and none has worked since
        self._removed = False  # the files are not where they belong, and could not be made anew
        self._sealed = False
        self._refuses = False  # the log has been told
        self._unsynced = threading.Event()
        self._closing = threading.Event()
        self._syncing = threading.Thread(target=self._sync, name="journal-sync", daemon=True)
        self._syncing.start()

    def admit(self, admission: Admission) -> None:
        """Write that a request may go to a provider, and keep room for its end.

        Raises:
            ServiceUnavailableError: the disk does not take it; nothing is admitted. HTTP 503.
        """
        line = admit_line(admission)
        room = _room_for_end(line)
        with self._mutex:
            segment = self._append_with_room(line, room)
            self._running[admission.template.request_id] = _Running(segment, room)
        self._written()

    def admit_again(self, admission: Admission) -> None:
        """Write that a running request may go to another provider, or to the same once more.

        Raises:
            ServiceUnavailableError: the disk does not take it; do not ask. HTTP 503.
        """
        with self._mutex:
            self._retry(admission.template.request_id, admit_line(admission), entries=0)
        self._written()

    def note_paid(self, entries: Sequence[Entry]) -> None:
        """Write what attempts of a running request cost that did not serve, before it goes on.

        Raises:
            ServiceUnavailableError: the disk does not take it; make no other attempt. HTTP 503.
        """
        with self._mutex:
            self._retry(entries[0].request_id, paid_line(entries), entries=len(entries))
        self._written()

    def progress(self, request_id: str, output_tokens: int) -> None:
        """Note the output seen so far. May be lost when the disk is full: it only sharpens
        what a request without an end is recovered at."""
        line = progress_line(request_id, output_tokens)
        with self._mutex:
            running = self._running.get(request_id)
            if running is None:
                return
            with suppress(OSError):
                segment = self._with_room(len(line))
                segment.append(line)
                _move_pin(running.progressed, segment)
                running.progressed = segment
        self._written()

    def finish(self, entries: Sequence[Entry]) -> None:
        """Write how one request ended: all entries of it, in one line."""
        line = end_line(entries)
        with self._mutex:
            running = self._running.setdefault(entries[0].request_id, _Running(None, 0))
            self._reserved -= running.room
            try:
                segment = self._append_end(line, entries, running.room)
            except OSError as error:
                # The ledger writer has the entries in memory; only a crash before it has posted
                # them makes this request a recovered one.
                log.error("journal_lost_end", request_id=entries[0].request_id, error=str(error))
            else:
                segment.pins += 1
                running.ended = segment
            running.room = 0
        self._written()

    def posted(self, request_ids: Iterable[str]) -> None:
        """Forget requests whose entries are in the ledger, and the segments nobody needs now."""
        with self._mutex:
            for request_id in request_ids:
                running = self._running.pop(request_id, None)
                if running is not None:
                    _unpin(running)
            done = [segment for segment in self._segments[:-1] if not segment.pins]
            self._segments = [segment for segment in self._segments if segment not in done]
        for segment in done:
            segment.path.unlink(missing_ok=True)

    def has_end_of(self, request_id: str) -> bool:
        """Whether the entries of a request that ended can be read back."""
        with self._mutex:
            running = self._running.get(request_id)
            return running is not None and running.ended is not None

    def ends_of(self, request_ids: Set[str]) -> Iterator[list[Entry]]:
        """Read back the entries of requests that ended and are not posted, one by one."""
        with self._mutex:
            paths = [segment.path for segment in self._segments if segment.pins]
        for path in paths:
            if not path.exists():  # removed, when it was not the last any more
                log.error("journal_segment_lost", journal=path.name)
                continue
            for record in read_lines(path.read_bytes()):
                entries = follow(record, {}) if record and "end" in record else []
                if entries and entries[0].request_id in request_ids:
                    yield entries

    def keep_in_place(self) -> bool:
        """Make the files anew when somebody removed them or moved them away; call it every second.

        Returns:
            Whether recovery would find this journal. While it would not, nothing is admitted.
        """
        with self._mutex:
            try:
                if not self._is_in_place():
                    self._make_anew()
                    log.error("journal_was_removed", made_anew=str(self.directory))
            except OSError as error:
                if not self._removed:
                    log.error("journal_was_removed", error=str(error))
                self._removed = True
            else:
                self._removed = False
            return not self._removed

    def admits(self) -> bool:
        """Whether a call can be admitted; after it refused one, the disk is asked again."""
        with self._mutex:
            if self._refuses:
                try:
                    self._check_trust()
                    self._with_room(_ROOM_ASKED_FOR).append(_NOTHING)
                except OSError:
                    return False
                self._refuses = False
            return True

    def seal(self) -> None:
        """Admit nothing any more; what runs can end."""
        self._sealed = True

    def close(self) -> None:
        """Stop writing. What the ledger does not have yet stays on disk to be recovered."""
        self._closing.set()
        self._unsynced.set()
        self._syncing.join()
        self._sync_once()
        if self._segments:
            os.close(self._segments[-1].descriptor)
        if not self._running:
            for segment in self._segments:
                segment.path.unlink(missing_ok=True)
            self._lock.path.unlink(missing_ok=True)
        self._lock.close()

    def _retry(self, request_id: str, line: bytes, *, entries: int) -> None:
        """Append a line of a running request, whose end will have so many entries more."""
        running = self._running.setdefault(request_id, _Running(None, 0))
        room = running.room_per_entry * entries
        segment = self._append_with_room(line, room)
        running.room += room
        running.retried = (*running.retried, segment)

    def _append_with_room(self, line: bytes, room: int) -> Segment:
        """Append and pin a line, and keep room for what must be written after it."""
        try:
            self._check_trust()
            segment = self._with_room(len(line) + room)
            segment.append(line)
        except OSError as error:
            if not self._refuses:
                log.error("journal_refuses_admission", error=str(error))
            self._refuses = True
            raise ServiceUnavailableError(
                "The gateway cannot record calls at the moment.", retry_after_seconds=5
            ) from error
        self._refuses = False
        segment.pins += 1
        self._reserved += room
        return segment

    def _check_trust(self) -> None:
        if self._distrusted:
            raise OSError(errno.EIO, "the last sync failed")
        if self._removed or self._sealed or any(map(is_removed, self._descriptors())):
            raise OSError("its files are not where recovery looks for them")

    def _descriptors(self) -> list[int]:
        current = [self._segments[-1].descriptor] if self._segments else []
        return [self._lock.descriptor, *current]

    def _is_in_place(self) -> bool:
        last = self._segments[-1:]
        return is_at(self._lock.descriptor, self._lock.path) and all(
            is_at(segment.descriptor, segment.path) for segment in last
        )

    def _make_anew(self) -> None:
        """What segments before the last one said is gone with them."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not is_at(self._lock.descriptor, self._lock.path):
            self._lock.make_anew()
        for segment in self._segments[-1:]:
            if not is_at(segment.descriptor, segment.path):
                self._retired.append(segment.move_to(self._new_path()))
        self._written()

    def _append_end(self, line: bytes, entries: Sequence[Entry], room: int) -> Segment:
        """Where the line went. One that outgrew its room is shortened when the disk is full."""
        if len(line) <= room:
            segment = self._segments[-1]
        else:
            try:
                segment = self._with_room(len(line))
            except OSError:
                if not self._segments:
                    raise
                segment = self._segments[-1]
                line = end_line(without_details(entries))
        segment.append(line)
        return segment

    def _with_room(self, size: int) -> Segment:
        """The segment to write to, with so much free beyond what running requests need."""
        if not self._segments:
            return self._add_segment(size)
        current = self._segments[-1]
        needed = current.offset + self._reserved + size
        if needed <= current.allocated:
            return current
        if current.offset >= self._segment_bytes // 2:
            return self._add_segment(size)
        current.allocate(max(needed, current.allocated + self._segment_bytes))
        return current

    def _add_segment(self, size: int) -> Segment:
        segment = Segment(self._new_path(), max(self._segment_bytes, self._reserved + size))
        if self._segments:
            filled = self._segments[-1]
            with suppress(OSError):
                os.ftruncate(filled.descriptor, filled.offset)
            self._retired.append(filled.descriptor)
        self._segments.append(segment)
        return segment

    def _new_path(self) -> Path:
        self._made += 1
        return self.directory / f"{self.worker}.{self._made - 1:08d}.journal"

    def _written(self) -> None:
        if not self._unsynced.is_set():
            self._unsynced.set()

    def _sync(self) -> None:
        while not self._closing.is_set():
            self._unsynced.wait()
            self._closing.wait(SYNC_SECONDS)
            self._unsynced.clear()
            self._sync_once()
            if self._distrusted:
                self._closing.wait(SYNC_AGAIN_SECONDS)
                self._unsynced.set()

    def _sync_once(self) -> None:
        with self._mutex:
            retired, self._retired = self._retired, []
            current = [self._segments[-1].descriptor] if self._segments else []
        failed = [descriptor for descriptor in retired + current if not synced(descriptor)]
        for descriptor in retired:
            os.close(descriptor)
        with self._mutex:
            if failed:
                self._distrust()
            elif self._distrusted:
                self._distrusted = False
                log.warning("journal_synced_again")

    def _distrust(self) -> None:
        self._distrusted = True
        # A full disk gives no new segment; the next sync that fails asks again.
        with suppress(OSError):
            if self._segments and self._segments[-1].offset:
                self._add_segment(0)


def _room_for_end(admitted: bytes) -> int:
    """An end is the admitted template again, filled in, once for each paid attempt. Room for
    those that are to be expected; more is kept as they fail. What explains an end (tags,
    attempts) is left out of one that would not fit."""
    return _ENTRIES_EXPECTED * (len(admitted) + 1024)


def _move_pin(old: Segment | None, new: Segment) -> None:
    if old is not None:
        old.pins -= 1
    new.pins += 1


def _unpin(running: _Running) -> None:
    for segment in (running.admitted, running.progressed, running.ended, *running.retried):
        if segment is not None:
            segment.pins -= 1
