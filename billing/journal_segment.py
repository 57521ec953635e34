"""One file of a journal: room that is allocated ahead, and lines at the writer's own offset."""

import errno
import fcntl
import os
import sys
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


class Segment:
    """One file. `pins` counts the lines in it that are still needed."""

    __slots__ = ("allocated", "descriptor", "offset", "path", "pins")

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self.offset = self.allocated = self.pins = 0
        try:
            # Tells that we live when somebody has removed the lock file.
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            self.allocate(size)
        except OSError:
            os.close(self.descriptor)
            path.unlink()
            raise

    def allocate(self, size: int) -> None:
        if sys.platform == "darwin":  # has no posix_fallocate
            os.pwrite(self.descriptor, bytes(size - self.allocated), self.allocated)
        else:
            os.posix_fallocate(self.descriptor, self.allocated, size - self.allocated)
        self.allocated = size

    def append(self, line: bytes) -> None:
        # At our own offset: half a line that a full disk left is overwritten by the next.
        if os.pwrite(self.descriptor, line, self.offset) != len(line):
            raise OSError(errno.ENOSPC, "the line was not written whole")
        self.offset += len(line)

    def move_to(self, path: Path) -> int:
        """Go on in a new file that says the same; returns the descriptor of the old one."""
        written = os.pread(self.descriptor, self.offset, 0)
        made = Segment(path, self.allocated)
        made.append(written)
        old, self.descriptor, self.path = self.descriptor, made.descriptor, path
        return old


def synced(descriptor: int) -> bool:
    try:
        if sys.platform == "darwin":
            os.fsync(descriptor)
        else:
            os.fdatasync(descriptor)
    except OSError as error:
        log.error("journal_notsynced", error=str(error))
        return False
    return True
