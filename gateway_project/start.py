"""Everything that happens before the gateway listens, and the text it greets with.

`up` and `serve` end by becoming the supervisor: this process, which has imported the whole
product to migrate and seed, is replaced by one that has imported next to nothing.
"""

import fcntl
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import NoReturn

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.utils import timezone

from gateway_project import listening
from gateway_project.checks import require_database, require_migrations
from gateway_project.config_file.applying import apply_config
from gateway_project.config_file.document import ConfigError
from gateway_project.environment import PROJECT_DIR, BadVariableError
from gateway_project.seed import FirstStart, seed
from routing.models import Provider


def start_everything() -> NoReturn:
    """Migrate, seed on the first start, and run the gateway with its Celery worker."""
    bound = _bind()
    # Held until the supervisor ends: two on one folder would share a schedule and a broker.
    lock = _lock(settings.DATA_DIR / "up.lock")
    require_database()
    call_command("migrate", interactive=False, verbosity=0)
    # Together: what a refused config file took back is made, and told, by the next start.
    with transaction.atomic():
        first_start = seed(settings.ENVIRONMENT, timezone.now())
        _apply_config_file()
    _warn_of_default_provider()
    _supervise(bound, _greeting(first_start), "--celery", keep=(lock,))


def serve_alone() -> NoReturn:
    """Run the gateway and the pages on a database that `up` or `migrate` has prepared."""
    bound = _bind()
    require_database()
    require_migrations()
    _apply_config_file()
    _warn_of_default_provider()
    _supervise(bound, f"Console: {settings.PUBLIC_URL}/\n")


def _bind() -> socket.socket:
    try:
        return listening.bind(settings.ENVIRONMENT)
    except BadVariableError as error:
        raise CommandError(str(error)) from None


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(f"DATA_DIR: another `up` runs on {path.parent}") from None
    return descriptor


def _apply_config_file() -> None:
    file = settings.ENVIRONMENT.gateway_config
    if file is None:
        return
    try:
        report = apply_config(file.read_text(encoding="utf-8"), os.environ, timezone.now())
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise CommandError(f"GATEWAY_CONFIG: {file}: {error}") from None
    for line in (*report.changes, *report.secrets):
        print(line)  # noqa: T201 - told once, to whoever started it


def _warn_of_default_provider() -> None:
    name = settings.DEFAULT_PROVIDER
    if name and not Provider.objects.filter(name=name).exists():
        print(  # noqa: T201 - before any logging
            f"DEFAULT_PROVIDER: there is no provider {name!r} yet; it takes no call",
            file=sys.stderr,
        )


def _supervise(
    bound: socket.socket, greeting: str, *options: str, keep: tuple[int, ...] = ()
) -> NoReturn:
    # Through a pipe: the greeting holds secrets, and command lines are there for all to read.
    reading, writing = os.pipe()
    os.write(writing, greeting.encode())
    os.close(writing)
    for descriptor in (reading, *keep):
        os.set_inheritable(descriptor, True)
    connections.close_all()
    sys.stdout.flush()
    # Wherever it was started from, its children find this package.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(PROJECT_DIR), os.environ.get("PYTHONPATH")))
    )
    command = [sys.executable, "-m", "gateway_project.supervise", *options]
    command += ["--fd", str(bound.fileno()), "--banner-fd", str(reading)]
    os.execv(sys.executable, command)  # noqa: S606 - our own program, no shell


def _greeting(first_start: FirstStart | None) -> str:
    console = f"Console: {settings.PUBLIC_URL}/"
    if first_start is None:
        command = (
            f"{manage_command(Path.cwd(), settings.DATA_DIR)} create_key --team TEAM --name NAME"
        )
        # Its variables hold secrets, so they are named and not shown.
        same = "With the DATABASE_URL of this start and its keys.\n" if _has_own_database() else ""
        return f"\n{console}\nAnother key: {command}\n{same}"
    password = first_start.one_time_password
    shown = f"one-time password: {password}" if password else "password: as given"
    return (
        f"\n{console}\n"
        f"Administrator: {settings.ENVIRONMENT.admin_username}, {shown}\n"
        f"Key: {first_start.secret}\n"
        f"Try it: {_curl(first_start.secret)}\n"
    )


def _has_own_database() -> bool:
    return settings.ENVIRONMENT.database.name != str(settings.DATA_DIR / "gateway.sqlite3")


def manage_command(folder: Path, data_dir: Path) -> str:
    """`manage.py` as it is to be typed in a folder: with this Python, on this installation."""
    words = []
    if data_dir != PROJECT_DIR / "var":
        words.append(f"DATA_DIR={shlex.quote(str(data_dir))}")
    for path in (Path(sys.executable), PROJECT_DIR / "manage.py"):
        shown = path.relative_to(folder) if path.is_relative_to(folder) else path
        words.append(shlex.quote(str(shown)))
    return " ".join(words)


def _curl(secret: str) -> str:
    environment = settings.ENVIRONMENT
    body = '{"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}'
    return (
        f"curl -sS {environment.local_url}/v1/chat/completions"
        f" -H 'Authorization: Bearer {secret}' -H 'Content-Type: application/json' -d '{body}'"
    )
