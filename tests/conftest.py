"""Fixtures that every room may ask for."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.cache import cache
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django import DjangoDbBlocker

from tests.chosen_database import CLUSTER
from tests.fake_provider import FakeProvider
from tests.installation import environment_for
from tests.missing import MissingServiceError
from tests.postgresql_cluster import PostgreSQLCluster
from tests.redis_server import RedisServer

CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """SQLite in a file, so that threads have connections of their own; no waiting for the disk."""
    database: dict[str, Any] = settings.DATABASES["default"]
    if "sqlite3" in database["ENGINE"]:
        database.setdefault("TEST", {})["NAME"] = str(Path(settings.DATA_DIR) / "test.sqlite3")
        options = database.setdefault("OPTIONS", {})
        options["init_command"] = options.get("init_command", "") + "PRAGMA synchronous=OFF;"


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[PostgreSQLCluster]:
    """A PostgreSQL to make databases in: the run's own, or one for the session."""
    running = pytestconfig.stash.get(CLUSTER, None)
    if isinstance(running, PostgreSQLCluster):
        yield running
        return
    try:
        started = PostgreSQLCluster()
    except MissingServiceError as missing:
        pytest.skip(str(missing))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    try:
        server = RedisServer()
    except MissingServiceError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def fresh_environment(
    request: pytest.FixtureRequest,
) -> Callable[[FakeProvider], dict[str, str]]:
    """Variables of another installation on the database of this run; with PostgreSQL goes Redis."""
    numbers = itertools.count()

    def fresh(upstream: FakeProvider) -> dict[str, str]:
        if not os.environ.get("DATABASE_URL"):
            return environment_for(upstream)
        server = request.getfixturevalue("redis_server").url.removesuffix("/0")
        redis_url = f"{server}/{next(numbers) % 16}"
        with redis.Redis.from_url(redis_url) as client:
            # An installation before it may have counted failed keys in it.
            client.flushdb()
        database_url = request.getfixturevalue("cluster").new_database()
        return environment_for(upstream, DATABASE_URL=database_url, REDIS_URL=redis_url)

    return fresh


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Per module: while Playwright runs, its event loop keeps Django's ORM away."""
    executable = next((path for path in CHROMIUM if Path(path).exists()), None)
    if executable is None:
        pytest.skip("Chromium: not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable, headless=True, args=CHROMIUM_FLAGS
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh, signed-out tab that may use the clipboard."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def fake_provider() -> Iterator[FakeProvider]:
    provider = FakeProvider().start()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeProvider]:
    """The provider of all tests of a module, for gateways that outlive a test."""
    provider = FakeProvider().start()
    yield provider
    provider.stop()


@pytest.fixture
def decoy() -> Iterator[FakeProvider]:
    """A second listener, where nothing may ever arrive."""
    provider = FakeProvider().start()
    yield provider
    provider.stop()
    assert not provider.connections


@pytest.fixture(autouse=True)
def _providers_on_loopback(settings: Any) -> None:
    """As on the embedded default, whatever database the run is on; the servers here are local."""
    settings.PRIVATE_UPSTREAMS = ["loopback"]


@pytest.fixture(autouse=True)
def _empty_cache(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """What one test counted (failed keys, sign-ins) must not refuse the next."""
    yield
    if request.node.get_closest_marker("django_db") or "db" in request.fixturenames:
        with django_db_blocker.unblock():
            cache.clear()
