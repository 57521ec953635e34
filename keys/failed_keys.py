"""Failed keys per address: only failures count, so good keys from the same address still work."""

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connection

from keys.errors import TooManyFailedKeysError
from keys.throttle import address_group, seconds_to_wait

_RATE = "20/m"
_MOST_REMEMBERED = 10_000
_LONGEST_COUNT_SECONDS = 0.5
_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="failed-keys")
# Addresses that are over, until when: a flood of bad keys then costs the cache nothing.
_over: dict[str, float] = {}


class _Counting:
    """Counts in a thread, and waits no longer than this for a cache that hangs."""

    def __init__(self) -> None:
        self._late: Future[float] | None = None

    async def count(self, address: str) -> float:
        if self._late is not None and not self._late.done():
            return 0
        counted = _executor.submit(_count, address)
        await asyncio.wait({asyncio.wrap_future(counted)}, timeout=_LONGEST_COUNT_SECONDS)
        if counted.done():
            return counted.result()
        self._late = counted
        return 0


_counting = _Counting()


async def count_failure(ip: str) -> None:
    """Count one bad key from an address.

    Raises:
        TooManyFailedKeysError: it sent too many within a minute. HTTP 429.
    """
    address = address_group(ip)
    wait = _over.get(address, 0.0) - time.monotonic()
    if wait <= 0:
        wait = await _counting.count(address)
        _remember(address, wait)
    if wait > 0:
        raise TooManyFailedKeysError(
            "Too many failed API keys from this address. Wait, then send a good one.",
            retry_after_seconds=wait,
        )


def _count(address: str) -> float:
    try:
        return seconds_to_wait("failed_keys", address, _RATE)
    finally:
        # The cache may be in the database, and this thread may not be asked again for long.
        connection.close()


def _remember(address: str, wait: float) -> None:
    _over.pop(address, None)
    if wait > 0:
        while len(_over) >= _MOST_REMEMBERED:
            del _over[next(iter(_over))]
        _over[address] = time.monotonic() + wait
