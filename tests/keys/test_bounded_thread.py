"""A thread that may be held for ever, and those who ask it."""

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync

from keys.bounded_thread import BoundedThread


@pytest.fixture
def held():
    """What the database holds a call with, until it lets go."""
    lock = threading.Event()
    yield lock
    lock.set()


def test_nobody_waits_longer_than_agreed_and_the_next_not_at_all(held):
    thread = BoundedThread("test")
    ran = []

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await thread.run(held.wait, 0.05)
        with pytest.raises(TimeoutError):
            await thread.run(lambda: ran.append("while it was held"), 30)
        held.set()
        while not ran:
            try:
                await thread.run(lambda: ran.append("afterwards"), 30)
            except TimeoutError:
                await asyncio.sleep(0.01)

    async_to_sync(ask)()
    assert ran == ["afterwards"]


def test_what_waited_in_vain_is_not_run_later(held):
    thread = BoundedThread("test")
    ran = []

    async def ask() -> None:
        first = asyncio.create_task(thread.run(held.wait, 30))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await thread.run(lambda: ran.append("too late"), 0.05)
        held.set()
        await first
        await thread.run(lambda: ran.append("in time"), 30)

    async_to_sync(ask)()
    assert ran == ["in time"]


def test_a_failure_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        async_to_sync(BoundedThread("test").run)(lambda: 1 // 0, 30)
