import socket
import threading

import pytest

from keys import redis_cache
from keys.cache_errors import CacheAwayError, CacheSparedError
from keys.redis_cache import Circuit, SparingRedisCache

TIMEOUTS = {"socket_timeout": 0.05, "socket_connect_timeout": 0.05}


@pytest.fixture
def silent():
    """A server that takes connections and never says a word; how many it has taken."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            try:
                while True:
                    taken.append(server.accept()[0])
            except OSError:
                return

        threading.Thread(target=take, daemon=True).start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0", taken
        server.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


def test_a_redis_that_hangs_is_asked_once_whichever_thread_asks_next(silent):
    url, taken = silent
    for number in range(20):
        # As Django does it: every thread has a cache of its own.
        cache = SparingRedisCache(url, {"OPTIONS": TIMEOUTS})
        with pytest.raises(CacheAwayError) as refused:
            cache.incr("count")
        assert isinstance(refused.value, CacheSparedError) == (number > 0)
    assert len(taken) == 1


def test_a_redis_that_answers_is_used_as_ever(redis_server):
    cache = SparingRedisCache(redis_server.url, {"OPTIONS": {}})
    cache.set("count", 1)
    assert [cache.incr("count"), cache.get("count"), cache.get("none")] == [2, 2, None]


def test_after_the_pause_one_call_tries_for_all(monkeypatch):
    now = 100.0
    monkeypatch.setattr("keys.redis_cache.time.monotonic", lambda: now)
    circuit = Circuit()
    circuit.failed()
    with pytest.raises(CacheSparedError):
        circuit.enter()
    now += redis_cache.PAUSE_SECONDS
    circuit.enter()
    with pytest.raises(CacheSparedError):
        circuit.enter()
    circuit.worked()
    circuit.enter()
    circuit.enter()
