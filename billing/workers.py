"""The gateway processes that may hold allowances, as the database knows them.

A worker is named after its journal, and belongs to the folder that the journal lies in: a row of
this folder without a file is of a process that is gone, a row of another folder is not ours to
judge (but see `lost_hosts`). So the journal is made before the row, and removed before it.
"""

import os
import secrets
import socket
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction

from billing.charging import release_holdings
from billing.journal import Journal
from billing.journal_folder import lock_path
from billing.models import Worker

_FOLDER_NAME = "folder-id"
# A small part of the time after which others believe that a worker is gone.
_SEEN_EVERY = timedelta(seconds=30)


def new_name() -> str:
    return f"{_hostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"


def host_of(directory: Path) -> str:
    """`hostname/id`, the id being the folder's own: a host may be renamed, or have two folders."""
    path = directory / _FOLDER_NAME
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        made = directory / f"{_FOLDER_NAME}.{secrets.token_hex(4)}"
        made.write_text(f"{_hostname()[:200]}/{secrets.token_hex(6)}")
        with suppress(FileExistsError):
            path.hardlink_to(made)
        made.unlink()
    return path.read_text()


def register(journal: Journal, now: datetime) -> int:
    """Make the row of a worker that has its journal; returns the worker's id."""
    # An earlier try may have been committed unheard.
    worker, _ = Worker.objects.get_or_create(
        name=journal.worker,
        defaults={
            "host": host_of(journal.directory),
            "journal": lock_path(journal.directory, journal.worker).name,
            "started_at": now,
            "seen_at": now,
        },
    )
    return worker.pk


def is_registered(worker_id: int, journal: Journal, now: datetime) -> bool:
    """Whether a living worker still has its row, and has not lapsed.

    The row then says that it was seen, and names the folder as it is now: its id may have been
    removed with it.
    """
    rows = Worker.objects.filter(id=worker_id, name=journal.worker, lapsed_at=None)
    known = rows.values_list("host", "seen_at").first()
    if known is None:
        return False
    host = host_of(journal.directory)
    if known[0] == host and known[1] and abs(now - known[1]) < _SEEN_EVERY:
        return True
    # No row where it lapsed this moment.
    return rows.update(host=host, seen_at=now) > 0


def retire(worker_id: int) -> None:
    """Give back what a worker holds and forget it. Its journal must be closed, or gone."""
    with transaction.atomic():
        release_holdings(worker_id)
        Worker.objects.filter(id=worker_id).delete()


def _hostname() -> str:
    return socket.gethostname() or "host"
