"""The cache of an installation with Redis, which it can do without.

The first call of an outage waits for its short time-out. Then nobody asks Redis for a while and
every call fails at once; after that one call tries, and only when it succeeds do the others
follow. Callers treat a failure as an absent cache.
"""

import threading
import time
from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis import Redis
from redis.exceptions import RedisError

from keys.cache_errors import CacheAwayError, CacheSparedError

PAUSE_SECONDS = 2.0


class Circuit:
    """Whether one Redis is worth asking; shared by all threads of a process."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._ask_again_at: float | None = None  # None while it answers

    def enter(self) -> None:
        """Raises CacheSparedError unless the caller may ask; it then says how it went."""
        with self._mutex:
            if self._ask_again_at is None:
                return
            now = time.monotonic()
            if now < self._ask_again_at:
                raise CacheSparedError("Redis failed a moment ago")
            # This caller tries for all; the others wait for what it finds.
            self._ask_again_at = now + PAUSE_SECONDS

    def failed(self) -> None:
        with self._mutex:
            self._ask_again_at = time.monotonic() + PAUSE_SECONDS

    def worked(self) -> None:
        if self._ask_again_at is not None:
            with self._mutex:
                self._ask_again_at = None


# Django makes a cache for every thread; what one of them learned holds for all.
_circuits: dict[str, Circuit] = {}


class SparingRedisCache(RedisCache):
    """Django's cache on Redis behind a circuit. One server; single commands, no pipelines."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _client_behind(_circuits.setdefault(server, Circuit()))


def _client_behind(circuit: Circuit) -> type[RedisCacheClient]:
    class SparedRedis(Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            circuit.enter()
            try:
                answer = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis leaves it out
            except (RedisError, OSError) as error:
                circuit.failed()
                raise CacheAwayError(str(error)) from error
            circuit.worked()
            return answer

    class SparedClient(RedisCacheClient):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._client = SparedRedis

    return SparedClient
