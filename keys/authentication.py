"""Who is calling, answered from memory: a key costs the database one look-up, then none.

Every answer, good or bad, is stamped with the configuration's version read before the look-up;
`forget_all` raises the version that counts, so a late answer never brings a revoked key back.
While the database is away, keys that were in use go on; one that has not been seen good for
five minutes stops. An outage is never told as a bad key.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from ipaddress import ip_network
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

from keys.bounded_thread import BoundedThread
from keys.caller import Caller
from keys.client_address import parse_address
from keys.credential_header import BAD_KEY
from keys.errors import AddressNotAllowedError, InvalidKeyError, ServiceUnavailableError
from keys.kept_connection import ask_again_if_broken
from keys.models import ApiKey
from keys.secrets import hash_secret, is_well_formed
from keys.versions import read_version

_UNSEEN_STOPS_AFTER = timedelta(minutes=5)
_LOOK_UP_SECONDS = 5
_RETRY_SECONDS = 1
# Made-up keys that pass the checksum fill this and no more: a few megabytes.
_MOST_MISSES = 10_000
_MOST_KNOWN = 100_000
log = logging.getLogger(__name__)
_AWAY = "The gateway cannot check API keys at the moment. Try again."


@dataclass(slots=True)
class _Known:
    caller: Caller
    version: int
    good_at: datetime  # the last moment it answered from a current look-up


@dataclass(frozen=True, slots=True)
class _Answer:
    caller: Caller | None
    version: int


class KeyRing:
    """The keys that one worker process has seen. Used from its event loop only."""

    def __init__(self) -> None:
        self._version = 0
        self._known: dict[str, _Known] = {}
        self._misses: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[_Answer]] = {}
        # While the database is away one look-up at a time tries it; None while it is there.
        self._retry_at: float | None = None
        self._thread = BoundedThread("key-look-up")

    def cached(self, secret: str, now: datetime) -> Caller | None:
        """Answer from memory; None when only `look_up` can tell.

        Raises:
            InvalidKeyError: malformed, or known to be no good. HTTP 401.
        """
        digest = hash_secret(secret)
        known = self._known.get(digest)
        if known is not None:
            if known.version < self._version or now - known.good_at > _UNSEEN_STOPS_AFTER:
                return None
            caller = _unless_expired(known.caller, now)
            known.good_at = now
            return caller
        if self._misses.get(digest, -1) >= self._version or not is_well_formed(secret):
            raise InvalidKeyError(BAD_KEY)
        return None

    async def look_up(self, secret: str, now: datetime) -> Caller:
        """Ask the database, in a thread; callers of the same key share one look-up.

        Raises:
            InvalidKeyError: unknown, revoked or expired. HTTP 401.
            ServiceUnavailableError: the database is away. HTTP 503.
        """
        digest = hash_secret(secret)
        clock = asyncio.get_running_loop().time
        if self._retry_at is not None:
            if clock() < self._retry_at:
                return self._last_good(digest, now)
            self._retry_at = clock() + _LOOK_UP_SECONDS
        try:
            answer = await self._ask(digest)
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            log.warning("key_look_up_failed", extra={"error": repr(error)})
            self._retry_at = clock() + _RETRY_SECONDS
            return self._last_good(digest, now)
        self._retry_at = None
        self._remember(digest, answer, now)
        if answer.caller is None:
            raise InvalidKeyError(BAD_KEY)
        return _unless_expired(answer.caller, now)

    def forget_all(self, version: int) -> None:
        """Ask anew for every key, because the configuration has reached this version."""
        if version < self._version:
            # The database was restored from a backup: no stamp means anything any more.
            self._known.clear()
            self._misses.clear()
        self._version = version

    def close(self) -> None:
        """Give the look-ups' database connection back; the ring is of no use afterwards."""
        self._thread.close(_close_connection)

    async def _ask(self, digest: str) -> _Answer:
        task = self._running.get(digest)
        if task is None:
            task = self._running[digest] = asyncio.create_task(self._ask_database(digest))
            task.add_done_callback(lambda done: self._finished(digest, done))
        # Shielded: one caller that leaves must not take the answer from the others.
        return await asyncio.shield(task)

    async def _ask_database(self, digest: str) -> _Answer:
        clock = asyncio.get_running_loop().time
        deadline = clock() + _LOOK_UP_SECONDS
        while True:
            answer = await self._thread.run(partial(_read, digest), deadline - clock())
            # Else an edit became known meanwhile, and this answer may be from before it.
            if answer.version >= self._version:
                return answer

    def _finished(self, digest: str, task: asyncio.Task[_Answer]) -> None:
        del self._running[digest]
        if not task.cancelled():
            task.exception()  # Seen here, in case that every caller has left.

    def _remember(self, digest: str, answer: _Answer, now: datetime) -> None:
        if answer.version < self._version:
            return
        if answer.caller is None:
            self._known.pop(digest, None)
            _make_room(self._misses, _MOST_MISSES)
            self._misses[digest] = answer.version
        else:
            self._misses.pop(digest, None)
            _make_room(self._known, _MOST_KNOWN)
            self._known[digest] = _Known(answer.caller, answer.version, now)

    def _last_good(self, digest: str, now: datetime) -> Caller:
        known = self._known.get(digest)
        if known is None or now - known.good_at > _UNSEEN_STOPS_AFTER:
            raise ServiceUnavailableError(_AWAY, retry_after_seconds=_RETRY_SECONDS)
        return _unless_expired(known.caller, now)


def check_address(caller: Caller, ip: str) -> None:
    """Raises AddressNotAllowedError (403) where the key is bound to other addresses."""
    if not caller.allowed_ips:
        return
    address = parse_address(ip)
    if address is None or not any(address in network for network in caller.allowed_ips):
        raise AddressNotAllowedError(f"This API key may not be used from {ip or 'this address'}.")


def still_good(key_ids: Iterable[int]) -> set[int]:
    """Of these keys the ones that are there and not revoked. Synchronous: one query."""
    return set(ApiKey.objects.filter(id__in=key_ids, revoked_at=None).values_list("id", flat=True))


def caller_of(key: ApiKey) -> Caller:
    """What travels with a call of a key; its team must be loaded."""
    team = key.team
    return Caller(
        key_id=key.pk,
        key_name=key.name,
        key_prefix=key.prefix,
        team_id=team.pk,
        team_name=team.name,
        timezone=team.timezone or "UTC",
        team_models=tuple(team.allowed_models) if team.allowed_models else None,
        key_models=tuple(key.allowed_models) if key.allowed_models else None,
        allowed_ips=tuple(ip_network(text, strict=False) for text in key.allowed_ips or ()),
        expires_at=key.expires_at,
        tags=tuple(sorted((key.tags or {}).items())),
        log_bodies=team.log_bodies,
    )


def _unless_expired(caller: Caller, now: datetime) -> Caller:
    if caller.expires_at is not None and caller.expires_at <= now:
        raise InvalidKeyError(BAD_KEY)
    return caller


def _make_room(entries: dict[str, Any], most: int) -> None:
    while len(entries) >= most:
        del entries[next(iter(entries))]


def _read(digest: str) -> _Answer:
    """Read a key and, before it, the version; runs in the thread of the ring."""
    return ask_again_if_broken(partial(_query, digest))


def _close_connection() -> None:
    connection.close()  # of the thread that runs this


def _query(digest: str) -> _Answer:
    version = read_version()
    key = ApiKey.objects.select_related("team").filter(secret_hash=digest, revoked_at=None).first()
    return _Answer(caller_of(key) if key else None, version)
