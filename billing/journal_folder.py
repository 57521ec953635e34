"""The folder of journals: whose files lie in it, and which of these workers live.

A worker holds the lock on `NAME.lock` while it lives, and the one on the segment that it writes
to: when somebody removes the lock file it is not taken for dead. What is no journal is named in
the log, once, and left alone.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import structlog

_SEGMENT = re.compile(r"(?P<worker>.+)\.\d+\.journal")
_LOCK = re.compile(r"(?P<worker>.+)\.lock")

log = structlog.get_logger(__name__)


def lock_path(directory: Path, worker: str) -> Path:
    return directory / f"{worker}.lock"


def segment_paths(directory: Path, worker: str) -> list[Path]:
    """In the order in which they were written."""
    paths = directory.glob("*.journal")
    return sorted(path for path in paths if _worker_of(path, _SEGMENT) == worker)


def workers_in(directory: Path) -> set[str]:
    """The names of all workers, dead or alive, that have a file in the folder."""
    named = {path: _worker_of(path, _LOCK) for path in directory.glob("*.lock")}
    named |= {path: _worker_of(path, _SEGMENT) for path in directory.glob("*.journal")}
    for path in sorted(path for path, worker in named.items() if not worker):
        _name_foreign(path)
    return {worker for worker in named.values() if worker}


@contextmanager
def taken_over(directory: Path, worker: str) -> Iterator[bool]:
    """Hold the lock of a journal, unless its worker or another recoverer has it."""
    descriptor = os.open(lock_path(directory, worker), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield (
            _locks(descriptor)
            # Another recoverer may have removed the file before we had its lock.
            and is_at(descriptor, lock_path(directory, worker))
            and not any(map(_is_being_written, segment_paths(directory, worker)))
        )
    finally:
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether a path leads to the very file that is open."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def is_removed(descriptor: int) -> bool:
    """Whether no path leads to an open file any more; costs next to nothing."""
    return os.fstat(descriptor).st_nlink == 0


class JournalLock:
    """The exclusive lock of a worker on its journal."""

    def __init__(self, directory: Path, worker: str) -> None:
        self.path = lock_path(directory, worker)
        directory.mkdir(parents=True, exist_ok=True)
        self.descriptor = _locked(self.path, fcntl.LOCK_EX)

    def make_anew(self) -> None:
        """Lock a new file in the place of one that was removed.

        Raises:
            OSError: it could not be made, or a recoverer looks at it just now.
        """
        made = _locked(self.path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(self.descriptor)
        self.descriptor = made

    def close(self) -> None:
        os.close(self.descriptor)


def _locked(path: Path, operation: int) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, operation)
        except OSError:
            os.close(descriptor)
            raise
        # A recoverer that saw the new file before its lock may have taken and removed it.
        if is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_being_written(segment: Path) -> bool:
    with segment.open("rb") as file:
        return not _locks(file.fileno())


def _worker_of(path: Path, pattern: re.Pattern[str]) -> str | None:
    match = pattern.fullmatch(path.name)
    return match["worker"] if match and path.is_file() else None


@cache  # The folder is read every few seconds; the log hears of a file once.
def _name_foreign(path: Path) -> None:
    log.warning("foreign_file_in_journal_folder", path=str(path))
