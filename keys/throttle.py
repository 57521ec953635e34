"""Counts of what one address or account may do in a while, kept by django-ratelimit.

A throttle slows guessing down; nothing exact hangs on it. So when the cache that counts is
away, everybody passes: an outage must not lock administrators out.
"""

import logging
from collections.abc import Callable
from typing import Any, cast

from django.db import DatabaseError, InterfaceError
from django_ratelimit.core import get_usage

from keys.cache_errors import CacheAwayError, CacheSparedError
from keys.client_address import parse_address

_CACHE_ERRORS = (CacheAwayError, DatabaseError, InterfaceError)
log = logging.getLogger(__name__)


def seconds_to_wait(group: str, subject: str, rate: str, *, count: bool = True) -> int:
    """Count one event of a subject and say how long it has to wait; 0 while it may go on.

    Args:
        group: what is counted, such as `sign_in`.
        rate: events per while as django-ratelimit writes it, such as `10/5m`.
        count: False only asks.
    """
    key: Callable[..., str] = lambda *_: subject  # noqa: E731 - get_usage wants a function
    try:
        usage = cast(
            "dict[str, Any] | None",
            get_usage(None, group=group, key=key, rate=rate, increment=count),
        )
    except CacheSparedError:
        return 0  # said when Redis failed
    except _CACHE_ERRORS as error:
        log.warning("throttle_without_cache", extra={"group": group, "error": repr(error)})
        return 0
    if usage is None or not usage["should_limit"]:
        return 0
    return max(1, int(usage["time_left"]))


def address_group(ip: str) -> str:
    """Whom an address stands for: itself, or its /64, which one client often holds whole."""
    address = parse_address(ip)
    if address is None or address.version == 4:
        return ip
    return str(address.exploded)[:19] + "::/64"
