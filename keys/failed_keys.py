"""Failed keys per address: only failures count, so good keys from the same address still work."""

import time
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import sync_to_async
from django.db import connection

from keys.errors import TooManyFailedKeysError
from keys.throttle import address_group, seconds_to_wait

_RATE = "20/m"
_MOST_REMEMBERED = 10_000
_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="failed-keys")
# Addresses that are over, until when: a flood of bad keys then costs the cache nothing.
_over: dict[str, float] = {}


async def count_failure(ip: str) -> None:
    """Count one bad key from an address.

    Raises:
        TooManyFailedKeysError: it sent too many within a minute. HTTP 429.
    """
    address = address_group(ip)
    wait = _over.get(address, 0.0) - time.monotonic()
    if wait <= 0:
        wait = await sync_to_async(_count, thread_sensitive=False, executor=_executor)(address)
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
