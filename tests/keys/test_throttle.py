import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.db import connection

from keys import failed_keys
from keys.errors import TooManyFailedKeysError
from keys.failed_keys import count_failure
from keys.redis_cache import SparingRedisCache
from keys.throttle import address_group, seconds_to_wait

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nobody_is_over():
    failed_keys._over.clear()


def test_nobody_waits_within_the_rate():
    assert [seconds_to_wait("t", "a", "3/h") for _ in range(3)] == [0, 0, 0]


def test_who_is_over_waits_until_the_window_ends():
    for _ in range(3):
        seconds_to_wait("t", "a", "3/h")
    assert 0 < seconds_to_wait("t", "a", "3/h") <= 3600


def test_another_subject_is_not_held_up():
    for _ in range(4):
        seconds_to_wait("t", "a", "3/h")
    assert seconds_to_wait("t", "b", "3/h") == 0


def test_counts_from_many_threads_are_all_kept():
    cache.add("count", 0, 60)

    def add(_: int) -> None:
        try:
            cache.incr("count")
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(add, range(40)))
    assert cache.get("count") == 40


def test_a_count_of_what_is_gone_is_an_error():
    with pytest.raises(ValueError, match="not found"):
        cache.incr("never-there")


def test_the_twenty_first_bad_key_of_a_minute_is_too_many():
    for _ in range(20):
        async_to_sync(count_failure)("192.0.2.1")
    with pytest.raises(TooManyFailedKeysError) as refused:
        async_to_sync(count_failure)("192.0.2.1")
    assert refused.value.retry_after_seconds
    async_to_sync(count_failure)("192.0.2.2")


def test_a_flood_of_bad_keys_leaves_the_cache_alone(django_assert_num_queries):
    failed_keys._remember("192.0.2.1", 30)
    with django_assert_num_queries(0), pytest.raises(TooManyFailedKeysError):
        async_to_sync(count_failure)("192.0.2.1")


def test_a_dead_redis_counts_nobody(monkeypatch):
    dead = SparingRedisCache("redis://127.0.0.1:1", {})
    monkeypatch.setattr("django_ratelimit.core.caches", {"default": dead})
    for _ in range(30):
        async_to_sync(count_failure)("192.0.2.1")


def test_a_cache_that_hangs_holds_up_the_first_bad_key_alone(monkeypatch):
    asked, answer = [], threading.Event()

    def hang(group, subject, rate):
        asked.append(subject)
        answer.wait(20)
        return 0

    monkeypatch.setattr(failed_keys, "seconds_to_wait", hang)
    for _ in range(50):
        async_to_sync(count_failure)("192.0.2.1")
    answer.set()
    assert len(asked) == 1


def test_one_ipv6_network_is_one_client():
    assert address_group("2001:db8::1") == address_group("2001:db8::ffff")
    assert address_group("2001:db8::1") != address_group("2001:db8:0:1::1")
