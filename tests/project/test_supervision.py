"""Workers that are told to go, hang or die, one at a time: real processes, real signals."""

import json
import math
import os
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from gateway_project.children import SILENCE_SECONDS
from keys.secrets import make_secret
from tests.fake_provider import Behaviour, FakeProvider
from tests.journeys import configuration
from tests.loopback import wait_until
from tests.outages.steady_load import NO_ANSWER, SteadyLoad, told
from tests.process_family import stat_fields
from tests.running_gateway import RunningGateway, running

SECRET = make_secret()


@pytest.fixture
def upstream(fake_provider: FakeProvider) -> FakeProvider:
    fake_provider.script("openai/spoken", Behaviour(words=10, word_seconds=0.3))
    return fake_provider


@pytest.fixture
def gateway(tmp_path: Path, upstream: FakeProvider) -> Iterator[RunningGateway]:
    with running(configured(tmp_path, upstream)) as started:
        # Until then the supervisor asks whether it is ready, and may be a while at it.
        wait_until(lambda: "Console: " in started.output, "the greeting")
        yield started


def configured(folder: Path, upstream: FakeProvider, **environment: str) -> RunningGateway:
    config = {
        "providers": configuration.providers(
            upstream, timeout_seconds=60, stream_idle_timeout_seconds=30
        ),
        "models": [
            configuration.every_behaviour("openai"),
            configuration.every_behaviour("anthropic"),
        ],
        "prices": [configuration.price("fake-openai"), configuration.price("fake-anthropic")],
        "teams": [configuration.team("team", SECRET)],
    }
    allowed = {"ALLOW_PRIVATE_UPSTREAMS": f"127.0.0.1:{upstream.port}"}
    return RunningGateway(folder / "data", environment=allowed | environment, config=config)


def request_for(gateway: RunningGateway, path: str, model: str, **body: Any) -> Request:
    said = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 99}
    return Request(  # noqa: S310 - our own loopback address
        f"{gateway.base_url}/v1/{path}",
        data=json.dumps(said | body).encode(),
        headers={"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"},
    )


def stream(gateway: RunningGateway, model: str, path: str = "chat/completions") -> str:
    """All that a stream says, to its end."""
    request = request_for(gateway, path, model, stream=True)
    with urlopen(request, timeout=60) as answer:  # noqa: S310 - our own loopback address
        return str(answer.read().decode())


def is_alive(pid: int) -> bool:
    return stat_fields(pid)[:1] not in ([], ["Z"])


def statuses(gateway: RunningGateway) -> list[str]:
    table = gateway.manage("export_costs", "--from", "2020-01-01", "--to", "2100-01-01")
    names, *rows = [line.split(",") for line in table.splitlines()]
    return [row[names.index("status")] for row in rows]


def test_a_worker_told_to_go_is_replaced_while_it_drains(gateway, upstream):
    old = gateway.worker_pid()
    with ThreadPoolExecutor(1) as pool:
        open_stream = pool.submit(stream, gateway, "openai/spoken")
        upstream.wait_for(lambda fake: fake.seen, "the stream")
        os.kill(old, signal.SIGTERM)
        wait_until(lambda: set(gateway.worker_pids()) > {old}, "a replacement beside it")
        # Nobody but the new one accepts by now.
        assert "[DONE]" in stream(gateway, "openai/any")
        assert open_stream.result().endswith("data: [DONE]\n\n")
    wait_until(lambda: not is_alive(old), "its end", seconds=60)
    assert len(gateway.worker_pids()) == 1


def test_sigusr2_replaces_every_worker(tmp_path, upstream):
    with running(configured(tmp_path, upstream, WORKERS="2")) as gateway:
        wait_until(lambda: "Console: " in gateway.output, "the greeting")
        old = set(gateway.worker_pids())
        with ThreadPoolExecutor(8) as pool:
            streams = [pool.submit(stream, gateway, "openai/spoken") for _ in range(8)]
            upstream.wait_for(lambda fake: len(fake.seen) == 8, "the streams")
            os.kill(gateway.pid, signal.SIGUSR2)
            assert all(one.result().endswith("data: [DONE]\n\n") for one in streams)
        wait_until(lambda: not old & set(gateway.worker_pids()), "their end", seconds=120)
        assert len(gateway.worker_pids()) == 2
        assert "[DONE]" in stream(gateway, "openai/any")


def test_a_kept_connection_gets_its_answer_while_a_worker_drains(gateway, upstream):
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read()
    os.kill(gateway.worker_pid(), signal.SIGTERM)
    wait_until(lambda: len(gateway.worker_pids()) == 2, "the drain")
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("connection")) == (503, "close")
    assert json.loads(answer.read())["reason"] == "stopping"


@pytest.mark.parametrize(
    ("model", "path"), [("openai/endless", "chat/completions"), ("anthropic/endless", "messages")]
)
def test_F34_a_stream_that_outlasts_the_drain_ends_with_one_error(tmp_path, upstream, model, path):
    gateway = configured(tmp_path, upstream, DRAIN_SECONDS="1")
    with running(gateway), ThreadPoolExecutor(1) as pool:
        cut = pool.submit(stream, gateway, model, path)
        upstream.wait_for(lambda fake: fake.seen, "the stream")
        assert gateway.stop(number=signal.SIGTERM) == 0
        frames = cut.result().split("\n\n")
    assert [frame for frame in frames if "The gateway is stopping" in frame] == frames[-2:-1]
    last = json.loads(frames[-2].partition("data: ")[2])
    assert last["error"]["type"] == "api_error"
    assert last["error"].get("code", "service_unavailable") == "service_unavailable"
    assert statuses(gateway) == ["error"]
    gateway.manage("check_books")


def test_what_a_dead_worker_left_is_posted_without_a_restart(gateway, upstream):
    folder = gateway.data_dir / "journal"
    with ThreadPoolExecutor(1) as pool:
        open_stream = pool.submit(stream, gateway, "openai/spoken")
        upstream.wait_for(lambda fake: fake.seen, "the stream")
        # As it would lie there if its writer had been killed now.
        left = folder / "dead-1-ab.1.journal"
        shutil.copy(next(folder.glob("*.journal")), left)
        wait_until(lambda: not left.exists(), "recovery")
        open_stream.result()
    wait_until(lambda: "journals_recovered" in gateway.output, "the log to say so")


def test_celery_finishes_the_task_at_hand_before_it_ends(gateway):
    wait_until(lambda: gateway.celery_pid() is not None, "the Celery worker")
    pid, messages = gateway.celery_pid(), gateway.data_dir / "broker" / "messages"
    send = "from gateway_project.celery import app; app.send_task('billing.sweep_counters')"
    with closing(sqlite3.connect(gateway.data_dir / "gateway.sqlite3")) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        gateway.manage("shell", "--verbosity", "0", "--command", send)
        wait_until(lambda: not any(messages.iterdir()), "the task to be taken")
        os.kill(pid, signal.SIGTERM)
        time.sleep(1)
        assert gateway.celery_pid() == pid
        assert "counters_swept" not in gateway.output
    wait_until(lambda: gateway.celery_pid() != pid, "Celery to end")
    assert "counters_swept" in gateway.output


def test_a_hung_first_byte_does_not_hold_a_drain(tmp_path, upstream):
    gateway = configured(tmp_path, upstream, DRAIN_SECONDS="1")
    with running(gateway), socket.create_connection(("127.0.0.1", gateway.port)):
        # It never says what it wants.
        assert gateway.stop(number=signal.SIGTERM) == 0


@pytest.mark.faults
@pytest.mark.once
def test_F30_a_stopped_worker_is_killed_and_replaced(gateway):
    old = gateway.worker_pid()
    os.kill(old, signal.SIGSTOP)
    wait_until(lambda: not is_alive(old), "the kill", seconds=SILENCE_SECONDS + 30)
    wait_until(lambda: gateway.worker_pids() != [], "another worker")
    assert "[DONE]" in stream(gateway, "openai/any")


def test_G13_a_killed_worker_breaks_only_the_calls_that_it_was_answering(tmp_path, upstream):
    callers = 12
    with running(configured(tmp_path, upstream, WORKERS="4")) as gateway:
        load = SteadyLoad(gateway, SECRET, "openai/any", name="all", callers=callers)
        with load.going_on():
            wait_until(lambda: len(load.calls) > 10 * callers, "calls on every worker")
            killed = gateway.worker_pids()[0]
            killed_at = time.monotonic()
            os.kill(killed, signal.SIGKILL)
            wait_until(
                lambda: len(others := gateway.worker_pids()) == 4 and killed not in others,
                "another worker",
            )
            going_on_at = time.monotonic()
            wait_until(lambda: len(load.between(going_on_at, math.inf)) > 10 * callers, "calls")
        assert set(told(load.calls)) <= {(200, ""), (NO_ANSWER, "")}
        broken = [call for call in load.calls if call.status == NO_ANSWER]
        # Whoever had a connection to it loses one call, and the next finds another worker.
        assert len({call.name.rsplit("-", 1)[0] for call in broken}) == len(broken) < callers
        assert all(call.at + call.seconds >= killed_at for call in broken)
        wait_until(lambda: len(statuses(gateway)) == len(upstream.seen), "the ledger")
