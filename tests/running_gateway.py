"""The real product, started as `make run` starts it: `manage.py up` in a directory of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import yaml

from tests.chosen_database import OURS
from tests.loopback import free_port, wait_until
from tests.process_family import command_of, family

PROJECT = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse battery staple"


class RunningGateway:
    """One installation, which can be started, stopped, killed and started again.

    Args:
        environment: beside DATA_DIR and PORT; an ADMIN_PASSWORD is given unless it is there
            (empty: the product makes a one-time password).
        config: applied at every start, as GATEWAY_CONFIG.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        environment: dict[str, str] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        inherited = {n: v for n, v in os.environ.items() if n not in {*OURS, "DATABASE_URL"}}
        chosen = {"ADMIN_PASSWORD": PASSWORD, "LOG_FORMAT": "json"} | (environment or {})
        chosen = {name: value for name, value in chosen.items() if value}
        self._environment = inherited | chosen | {"DATA_DIR": str(data_dir), "PORT": str(self.port)}
        self._environment.pop("DJANGO_SETTINGS_MODULE", None)
        self._log = data_dir.parent / f"{data_dir.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        if config is not None:
            self.configure(config)

    def configure(self, config: dict[str, Any]) -> None:
        """Have a config file applied at the next starts."""
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False))
        self._environment["GATEWAY_CONFIG"] = str(self.config_file)

    @property
    def config_file(self) -> Path:
        return self.data_dir.parent / f"{self.data_dir.name}.yaml"

    @property
    def openai_url(self) -> str:
        return f"{self.base_url}/v1"

    @property
    def output(self) -> str:
        """All that it has printed and logged so far, over all starts."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> "RunningGateway":
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=PROJECT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._is_ready, f"the gateway (log: {self._log})", seconds=60)
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the gateway ended at once:\n{self.output[-3000:]}")
        try:
            with urlopen(f"{self.base_url}/readyz", timeout=5) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)
        except (HTTPError, URLError, OSError):
            return False

    def worker_pids(self) -> list[int]:
        """The gateway processes themselves, below the supervisor."""
        return [pid for pid in family(self.pid) if "gateway_project.worker" in command_of(pid)]

    def worker_pid(self) -> int:
        return self.worker_pids()[0]

    def celery_pid(self) -> int | None:
        """The Celery worker, unless it is down."""
        commands = ((pid, command_of(pid)) for pid in family(self.pid))
        return next((pid for pid, command in commands if "-m celery" in command), None)

    def kill_worker(self) -> None:
        """kill -9 the gateway process; the supervisor starts another."""
        os.kill(self.worker_pid(), signal.SIGKILL)

    def kill(self) -> None:
        """kill -9 everything at once, as a machine that loses its power would."""
        for pid in family(self.pid):
            os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def stop(self, *, number: int = signal.SIGINT, seconds: float = 30) -> int:
        """Ctrl-C, and wait for the end; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def manage(self, *arguments: str, expect: int = 0) -> str:
        """Run a management command on this installation; what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout

    def shell(self, code: str) -> "subprocess.Popen[str]":
        """Run code in a process of its own, on this installation; it hears by standard input."""
        return subprocess.Popen(
            [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code],
            cwd=PROJECT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )

    def create_key(self, team: str, name: str) -> str:
        """Issue a key; its secret."""
        made = json.loads(self.manage("create_key", "--team", team, "--name", name, "--json"))
        return str(made["secret"])

    def printed(self, pattern: str) -> str:
        """The first group of a pattern in what it printed."""
        found = re.search(pattern, self.output)
        assert found is not None, self.output[-3000:]
        return found.group(1)


@contextmanager
def running(gateway: RunningGateway) -> Iterator[RunningGateway]:
    """Start a gateway for the length of a block, and leave no process behind."""
    try:
        yield gateway.start()
    finally:
        if gateway.is_running():
            gateway.stop()
