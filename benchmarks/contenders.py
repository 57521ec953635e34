"""What is measured: the gateway, a bare reverse proxy, nginx where it is installed, and nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import Call
from benchmarks.processes import Program
from keys.secrets import make_secret
from tests.loopback import free_port, is_listening, wait_until
from tests.process_family import family
from tests.running_gateway import RunningGateway, running

PROMPT = "Write a short, friendly greeting for a new colleague. " * 20


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that answers chat completions on a port.

    Attributes:
        program: whose CPU counts; None for the fake provider itself.
    """

    name: str
    what: str
    port: int
    program: Program | None
    key: str = "none"

    def plain(self) -> Call:
        return self._call("plain", streamed=False)

    def stream(self) -> Call:
        return self._call("fifty-chunks", streamed=True)

    def _call(self, model: str, *, streamed: bool) -> Call:
        messages = [{"role": "user", "content": PROMPT}]
        body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": 100}
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        raw = json.dumps(body).encode()
        return Call.of(self.port, "/v1/chat/completions", self.key, raw, streamed=streamed)


def bench_config(upstream: int, secret: str) -> dict[str, Any]:
    """A configuration with everything on: three kinds of limits, on the team and on the key."""
    limits: list[dict[str, Any]] = [
        {"unit": "requests", "window": "minute", "ceiling": 10_000_000},
        {"unit": "tokens", "window": "minute", "ceiling": 10_000_000_000},
        {"unit": "usd", "window": "month", "ceiling": "1000000.00"},
    ]
    names = ["plain", "fifty-chunks"]
    key = {"name": "bench", "secret": secret, "limits": [{**one, "per": "key"} for one in limits]}
    return {
        "providers": [
            {
                "name": "fake",
                "kind": "openai",
                "base_url": f"http://127.0.0.1:{upstream}/v1",
                "api_key": "fake-credential",
            }
        ],
        "models": [
            {"name": name, "targets": [{"provider": "fake", "model": name}]} for name in names
        ],
        "prices": [
            {
                "provider": "fake",
                "model": name,
                "effective_from": "2026-01-01T00:00:00Z",
                "input": "2.50",
                "output": "10.00",
            }
            for name in names
        ],
        "teams": [{"name": "bench", "limits": limits, "keys": [key]}],
    }


@contextmanager
def gateway(upstream: int, directory: Path) -> Iterator[Contender]:
    """The product with its defaults: SQLite, one worker, Celery beside it."""
    secret = make_secret()
    installation = RunningGateway(directory / "gateway", config=bench_config(upstream, secret))
    with running(installation):
        program = Program(installation.pid, installation.worker_pid())
        yield Contender("gateway", "manage.py up on SQLite", installation.port, program, secret)


@contextmanager
def bare_proxy(upstream: int) -> Iterator[Contender]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_proxy", "--port", str(port)]
    process = subprocess.Popen([*command, "--upstream", f"http://127.0.0.1:{upstream}"])
    with _ended_afterwards(process, port):
        what = "benchmarks/bare_proxy.py: uvicorn and pyreqwest, nothing between"
        yield Contender("bare proxy", what, port, Program(process.pid, process.pid))


@contextmanager
def nginx(upstream: int, directory: Path) -> Iterator[Contender]:
    port, config = free_port(), directory / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; error_log stderr crit; pid {directory}/nginx.pid;\n"
        "events {}\n"
        "http { access_log off; proxy_http_version 1.1; proxy_buffering off;\n"
        f"upstream fake {{ server 127.0.0.1:{upstream}; keepalive 64; }}\n"
        f"server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000;\n"
        'location / { proxy_pass http://fake; proxy_set_header Connection ""; } } }\n'
    )
    process = subprocess.Popen(["nginx", "-p", str(directory), "-c", str(config)])  # noqa: S607
    with _ended_afterwards(process, port):
        worker = max(family(process.pid))
        yield Contender("nginx", "one worker, buffering off", port, Program(process.pid, worker))


def direct(upstream: int) -> Contender:
    return Contender("direct", "the fake provider without a proxy", upstream, None)


@contextmanager
def _ended_afterwards(process: subprocess.Popen[bytes], port: int) -> Iterator[None]:
    try:
        wait_until(lambda: is_listening(port), "a proxy")
        yield
    finally:
        process.terminate()
        process.wait(10)
