"""Celery's broker in a folder: every message comes once and whole, and no file ends a worker."""

from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection

from tests.loopback import wait_until
from tests.project.test_supervision import configured
from tests.running_gateway import running

WRITERS, READERS, EACH = 4, 2, 150
BROKEN = {
    "empty": b"",
    "torn": b'{"body": "W10=", "content-enc',
    "not text": b"\xff\xfe\x00",
    "no message": b"[]",
    "no properties": b"{}",
    "no tag": b'{"properties": {}}',
}
SEND = "from gateway_project.celery import app; app.send_task('billing.sweep_counters')"


def queue_in(folder: Path) -> Any:
    return Connection(
        "folder://localhost",
        transport="gateway_project.folder_broker:Transport",
        transport_options={"folder": str(folder), "polling_interval": 0.01},
    ).SimpleQueue("celery")


def write(folder: Path, writer: int) -> None:
    queue = queue_in(folder)
    for number in range(EACH):
        queue.put([writer, number])


def read(folder: Path) -> list[tuple[int, int]]:
    """Everything up to its own end mark."""
    queue = queue_in(folder)
    taken: list[tuple[int, int]] = []
    while True:
        message = queue.get(timeout=60)
        message.ack()
        if message.payload == "end":
            return taken
        taken.append(tuple(message.payload))


def test_every_message_of_many_writers_comes_once_and_whole(tmp_path):
    folder = tmp_path / "messages"
    with get_context("spawn").Pool(WRITERS + READERS) as pool:
        readers = [pool.apply_async(read, [folder]) for _ in range(READERS)]
        pool.starmap(write, [(folder, writer) for writer in range(WRITERS)])
        for _ in range(READERS):
            queue_in(folder).put("end")
        taken = [message for reader in readers for message in reader.get(60)]
    assert sorted(taken) == [(w, n) for w in range(WRITERS) for n in range(EACH)]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_message_is_dropped(tmp_path, content):
    (tmp_path / "0-a.celery.message").write_bytes(content)
    queue = queue_in(tmp_path)
    queue.put("whole")
    assert queue.get(timeout=10).payload == "whole"
    assert [file.name for file in tmp_path.iterdir()] == []


def test_a_message_that_is_still_written_is_not_read(tmp_path):
    unfinished = tmp_path / ".0-a.celery.message"
    unfinished.write_bytes(b"")
    queue = queue_in(tmp_path)
    with pytest.raises(queue.Empty):
        queue.get(timeout=0.1)
    assert unfinished.exists()
    assert queue.qsize() == 0


def test_celery_outlives_files_that_are_no_messages(tmp_path, fake_provider):
    with running(configured(tmp_path, fake_provider)) as gateway:
        wait_until(lambda: gateway.celery_pid() is not None, "the Celery worker", seconds=60)
        pid, messages = gateway.celery_pid(), gateway.data_dir / "broker" / "messages"
        wait_until(messages.is_dir, "the schedule's first message")
        for name, content in BROKEN.items():
            (messages / f"0-{name}.celery.message").write_bytes(content)
        gateway.manage("shell", "--verbosity", "0", "--command", SEND)
        wait_until(lambda: "counters_swept" in gateway.output, "the task is done", seconds=60)
        assert gateway.celery_pid() == pid
        assert gateway.output.count("unreadable_message_dropped") == len(BROKEN)
        assert "Unrecoverable" not in gateway.output
