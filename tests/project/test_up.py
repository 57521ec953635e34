"""`manage.py up` as a whole: real processes, real signals."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_project.start import manage_command
from tests.loopback import free_port, is_listening, wait_until
from tests.process_family import command_of, family, stat_fields
from tests.running_gateway import PROJECT, RunningGateway, running


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    yield from first_start(tmp_path)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One for the tests that leave it running."""
    yield from first_start(tmp_path_factory.mktemp("standing"))


def first_start(folder: Path) -> Iterator[RunningGateway]:
    with running(RunningGateway(folder / "data", environment={"ADMIN_PASSWORD": ""})) as started:
        wait_until(lambda: "Try it: " in started.output, "the greeting")
        yield started


def ask(gateway: RunningGateway, model: str = "demo") -> httpx2.Response:
    return httpx2.post(
        f"{gateway.openai_url}/chat/completions",
        headers={"Authorization": f"Bearer {gateway.printed(r'Key: (gw_.*)')}"},
        json={"model": model, "messages": [{"role": "user", "content": "Hello"}]},
        timeout=30,
    )


def is_alive(pid: int) -> bool:
    return stat_fields(pid)[:1] not in ([], ["Z"])


def test_the_greeting_ends_with_a_curl_line_that_answers(standing):
    last = standing.output.strip().splitlines()[-4:]
    assert last[0] == f"Console: {standing.base_url}/"
    assert last[1].startswith("Administrator: admin, one-time password: ")
    assert last[2].startswith("Key: gw_")
    done = subprocess.run(
        ["/bin/sh", "-c", last[3].removeprefix("Try it: ")],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "You said: Hello" in done.stdout


def test_guessing_at_keys_is_slowed_down_from_the_first_start_on(standing):
    def statuses(key: str, times: int) -> list[int]:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=standing.base_url, headers=headers) as client:
            return [client.get("/v1/models").status_code for _ in range(times)]

    # More than one minute's worth of each of two minutes.
    assert statuses("gw_guessed", 41)[-1] == 429
    assert statuses(standing.printed(r"Key: (gw_.*)"), 1) == [200]


def test_a_later_start_keeps_everything_and_tells_no_secret(gateway):
    secret = gateway.printed(r"Key: (gw_.*)")
    assert gateway.stop() == 0
    told = len(gateway.output)
    gateway.start()
    wait_until(lambda: "Another key: " in gateway.output[told:], "the second greeting")
    assert "gw_" not in gateway.output[told:]
    assert "password" not in gateway.output[told:]
    assert ask(gateway).status_code == 200
    assert gateway.output.count(secret) == 2


def test_the_command_that_a_later_start_prints_makes_a_key(gateway):
    assert gateway.stop() == 0
    gateway.start()
    wait_until(lambda: "Another key: " in gateway.output, "the second greeting")
    printed = gateway.printed(r"Another key: (.*)")
    command = printed.replace("TEAM", "default").replace("NAME", "another")
    # Nothing of what the gateway was started with.
    bare = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=PROJECT,
        env=bare,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    made = httpx2.get(
        f"{gateway.openai_url}/models",
        headers={"Authorization": f"Bearer {done.stdout.strip().splitlines()[-1]}"},
    )
    assert made.status_code == 200


def test_a_command_to_type_is_as_short_as_its_folder_and_installation_let_it_be():
    python = Path(sys.executable).relative_to(PROJECT)
    assert manage_command(PROJECT, PROJECT / "var") == f"{python} manage.py"
    elsewhere = manage_command(Path("/srv"), Path("/srv/a b"))
    assert elsewhere == f"DATA_DIR='/srv/a b' {sys.executable} {PROJECT}/manage.py"


def test_an_open_call_is_finished_before_the_end(gateway):
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, gateway, "demo-slow")
        wait_until(lambda: has_open_call(gateway), "the call")
        assert gateway.stop() == 0
        assert answer.result().status_code == 200


def test_a_second_signal_ends_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        gateway = RunningGateway(tmp_path / "data", config=stuck_on(never_answers))
        with running(gateway), ThreadPoolExecutor(1) as pool:
            wait_until(lambda: "Try it: " in gateway.output, "the greeting")
            members = family(gateway.pid)
            answer = pool.submit(ask, gateway, "stuck")
            wait_until(lambda: has_open_call(gateway), "the call")
            os.kill(gateway.pid, signal.SIGTERM)
            wait_until(lambda: not is_listening(gateway.port), "the drain")
            assert is_alive(gateway.pid)
            # Signals closer together than half a second count as one.
            time.sleep(0.6)
            assert gateway.stop(number=signal.SIGTERM, seconds=20) == 0
            with contextlib.suppress(httpx2.TransportError):
                assert answer.result().json()["error"]["code"] == "service_unavailable"
        assert not any(map(is_alive, members))


def test_a_killed_worker_is_replaced(standing):
    killed = standing.worker_pid()
    standing.kill_worker()
    wait_until(lambda: has_other_worker(standing, killed), "another worker")
    # The socket listened all the while, so this waits for the new worker at worst.
    assert ask(standing).status_code == 200


def test_nothing_is_left_when_the_supervisor_is_killed(gateway):
    members = family(gateway.pid)
    wait_until(lambda: len(family(gateway.pid)) >= 4, "Celery's worker and schedule")
    members = family(gateway.pid)
    os.kill(gateway.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, members[1:])), "the end of all", seconds=20)


def test_a_second_start_on_the_same_folder_is_refused(standing):
    refusal = refused(DATA_DIR=str(standing.data_dir), PORT=str(free_port()))
    assert refusal == f"CommandError: DATA_DIR: another `up` runs on {standing.data_dir}"


def test_a_taken_port_is_told(standing, tmp_path):
    refusal = refused(DATA_DIR=str(tmp_path / "other"), PORT=str(standing.port))
    assert refusal == f"CommandError: PORT: {standing.port} is taken on 127.0.0.1; set another PORT"


def test_a_refused_config_file_seeds_nothing(tmp_path):
    config = tmp_path / "gateway.yaml"
    config.write_text("teams: [{nam: a}]")
    data_dir = tmp_path / "data"
    environment = {"DATA_DIR": str(data_dir), "PORT": str(free_port())}
    refusal = refused(**environment, GATEWAY_CONFIG=str(config))
    assert refusal.startswith(f"CommandError: GATEWAY_CONFIG: {config}: teams[0].nam: no such")
    with sqlite3.connect(data_dir / "gateway.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM keys_user").fetchone() == (0,)


def test_serve_refuses_a_database_that_is_not_migrated(tmp_path):
    refusal = refused("serve", DATA_DIR=str(tmp_path), PORT=str(free_port()))
    assert refusal.startswith("CommandError: The database is not migrated (")


@pytest.mark.parametrize(
    "command",
    [
        ["manage.py", "up"],
        ["manage.py", "migrate"],
        ["-m", "gateway_project.worker", "--fd", "0"],
        ["-m", "celery", "-A", "gateway_project", "worker"],
    ],
)
def test_a_malformed_variable_stops_every_program_with_one_line(command, tmp_path):
    done = run(command, DATA_DIR=str(tmp_path), WORKERS="many")
    assert done.returncode == 1
    assert done.stderr == "WORKERS: must be a whole number from 1 to 256, not 'many'\n"


def refused(command: str = "up", **environment: str) -> str:
    done = run(["manage.py", command], **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr.strip().splitlines()[-1]


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def stuck_on(silent: socket.socket) -> dict[str, Any]:
    """A configuration whose model `stuck` is at an address that takes calls and says nothing."""
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
    provider = {"name": "silent", "kind": "openai", "base_url": url, "api_key": "a-credential"}
    target = {"provider": "silent", "model": "stuck"}
    return {"providers": [provider], "models": [{"name": "stuck", "targets": [target]}]}


def has_open_call(gateway: RunningGateway) -> bool:
    """Whether a call is written down as admitted."""
    journals = (gateway.data_dir / "journal").iterdir()
    return any(b'"default"' in path.read_bytes() for path in journals if path.is_file())


def has_other_worker(gateway: RunningGateway, killed: int) -> bool:
    workers = [pid for pid in family(gateway.pid) if "gateway_project.worker" in command_of(pid)]
    return bool(workers) and killed not in workers
