"""Every worker is told to go, one after the other, under open streams: nobody notices. F34."""

import asyncio
import csv
import io
import json
import os
import signal
import threading
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

import pytest

from keys.secrets import make_secret
from tests.fake_provider import Behaviour
from tests.journeys import configuration
from tests.loopback import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.once]

SECRET = make_secret()
WORKERS = 4
STREAMS = 200
WORDS = 30
CALLERS = 4
BUDGET = {"unit": "usd", "window": "month", "ceiling": "1000.00"}


@pytest.fixture(scope="module")
def gateway(install, upstream):
    upstream.script("spoken", Behaviour(words=WORDS, word_seconds=1.0))
    upstream.script("brief", Behaviour(delay_seconds=0.01))
    config = {
        "providers": configuration.providers(
            upstream, timeout_seconds=90, stream_idle_timeout_seconds=30
        )[:1],
        "models": [
            configuration.model("brief", ("fake-openai", "brief"), max_attempts=1),
            configuration.model("spoken", ("fake-openai", "spoken"), max_attempts=1),
        ],
        "prices": [configuration.price("fake-openai")],
        "teams": [configuration.team("rolling", SECRET, BUDGET)],
    }
    return install(config=config, environment={"WORKERS": str(WORKERS)}).start()


def _body(model, *, stream):
    said = [{"role": "user", "content": "hello"}]
    return json.dumps({"model": model, "messages": said, "max_tokens": 50, "stream": stream})


async def _stream(port, name, opened):
    """All that one stream says, to the end of its connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = _body("spoken", stream=True).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-User-ID: {name}\r\n"
        f"Authorization: Bearer {SECRET}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    said = await reader.readuntil(b"data: ")
    await opened.wait()
    with suppress(ConnectionError):
        said += await asyncio.wait_for(reader.read(-1), 120)
    writer.close()
    return said


def _is_whole(said):
    return said.startswith(b"HTTP/1.1 200 ") and said.count(b"data: [DONE]") == 1


class Callers:
    """Brief calls all the while: half of the callers keep their connection, half never do."""

    def __init__(self, port):
        self.over = threading.Event()
        self.answered = []
        self.failed = []
        self._threads = [
            threading.Thread(target=self._call_on, args=(port, number), daemon=True)
            for number in range(CALLERS)
        ]
        for thread in self._threads:
            thread.start()

    def _call_on(self, port, number):
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        calls = 0
        while not self.over.wait(0.02):
            calls += 1
            name = f"call-{number}-{calls}"
            try:
                headers = {
                    "Authorization": f"Bearer {SECRET}",
                    "Content-Type": "application/json",
                    "X-User-ID": name,
                }
                body = _body("brief", stream=False)
                connection.request("POST", "/v1/chat/completions", body, headers)
                answer = connection.getresponse()
                answer.read()
                (self.answered if answer.status == 200 else self.failed).append(name)
                if number % 2:
                    connection.close()
            except (HTTPException, OSError) as error:
                self.failed.append(repr(error))
                connection.close()

    def stop(self):
        self.over.set()
        for thread in self._threads:
            thread.join(60)


def _replace_every_worker(gateway):
    first = set(gateway.worker_pids())
    assert len(first) == WORKERS
    known = set(first)
    for pid in sorted(first):
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not known >= set(gateway.worker_pids()), "a replacement")  # noqa: B023
        known |= set(gateway.worker_pids())
    wait_until(lambda: not first & set(gateway.worker_pids()), "the end of the old", seconds=120)


async def _streams_over_a_restart(gateway):
    opened = asyncio.Barrier(STREAMS + 1)
    names = [f"stream-{number}" for number in range(STREAMS)]
    streams = [asyncio.create_task(_stream(gateway.port, name, opened)) for name in names]
    await opened.wait()
    restart = asyncio.create_task(asyncio.to_thread(_replace_every_worker, gateway))
    said = await asyncio.gather(*streams)
    await restart
    return dict(zip(names, said, strict=True))


def test_F34_G14_replacing_every_worker_breaks_no_stream_and_refuses_no_call(gateway):
    callers = Callers(gateway.port)
    try:
        said = asyncio.run(_streams_over_a_restart(gateway))
    finally:
        callers.stop()
    assert [name for name, text in said.items() if not _is_whole(text)] == []
    assert callers.failed == []
    assert gateway.stop() == 0
    table = gateway.manage("export_costs", "--from", "2020-01-01", "--to", "2100-01-01")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert Counter(row["end_user"] for row in rows) == Counter([*said, *callers.answered])
    assert {row["status"] for row in rows} == {"ok"}
    gateway.manage("check_books")
