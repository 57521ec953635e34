"""Django system checks of the installation, and what must be true before a start."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.core.management import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import DatabaseError, InterfaceError

_FLEETING = (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - compared
_NO_DISK = {"tmpfs", "ramfs", "overlay"}


def data_dir_outlives_the_process(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    folder = Path(settings.DATA_DIR)
    temporary = any(folder.is_relative_to(fleeting) for fleeting in _FLEETING)
    if not temporary and _file_system(folder) not in _NO_DISK:
        return []
    return [
        Warning(
            f"DATA_DIR {folder} will not outlive this machine or container.",
            hint="Spend that is not yet in the ledger lives there; use a folder on a disk.",
            id="gateway.W001",
        )
    ]


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder is on; empty where /proc does not tell."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    kinds = {Path(fields[1]): fields[2] for fields in map(str.split, mounts)}
    return next((kinds[place] for place in (folder, *folder.parents) if place in kinds), "")


def require_database() -> None:
    """Raises CommandError, one line, when the database cannot be reached."""
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CommandError(f"DATABASE_URL: cannot reach the database: {reason}") from None


def require_migrations() -> None:
    """Raises CommandError, one line, when the database is behind this version."""
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        names = f"{pending[0][0]}" + (f" and {len(pending) - 1} more" if pending[1:] else "")
        raise CommandError(f"The database is not migrated ({names}): run `manage.py migrate`.")
