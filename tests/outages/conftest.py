"""A real gateway over servers of its own, which a test may kill, freeze and empty."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from keys.secrets import make_secret
from tests.fake_provider import Behaviour, FakeProvider
from tests.installation import all_stopped_at_the_end, environment_for
from tests.journeys import configuration
from tests.missing import MissingServiceError
from tests.postgresql_cluster import PostgreSQLCluster
from tests.redis_server import RedisServer
from tests.running_gateway import RunningGateway

SECRET = make_secret()
LIMITS = (
    {"unit": "usd", "window": "month", "ceiling": "1000.00"},
    {"unit": "requests", "window": "minute", "ceiling": 100_000},
    {"unit": "tokens", "window": "minute", "ceiling": 100_000_000},
)

Install = Callable[..., RunningGateway]


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """What ends only after the gateways have: they write their last rows."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def postgresql(servers: ExitStack) -> PostgreSQLCluster:
    try:
        # What it has confirmed must outlive its immediate stop.
        started = PostgreSQLCluster(["synchronous_commit=on"])
    except MissingServiceError as missing:
        pytest.skip(str(missing))
    servers.callback(started.stop)
    servers.callback(started.thaw)
    return started


@pytest.fixture
def redis(servers: ExitStack) -> RedisServer:
    try:
        started = RedisServer()
    except MissingServiceError as missing:
        pytest.skip(str(missing))
    servers.callback(started.stop)
    return started


def config(upstream: FakeProvider) -> dict[str, Any]:
    upstream.script("brief", Behaviour(delay_seconds=0.01))
    upstream.script("spoken", Behaviour(words=20, word_seconds=0.1))
    # On a busy machine the provider may be silent for longer than a second.
    patient = {"timeout_seconds": 30, "stream_idle_timeout_seconds": 30}
    return {
        "providers": configuration.providers(upstream, **patient)[:1],
        "models": [
            configuration.model(name, ("fake-openai", name), max_attempts=1)
            for name in ("brief", "spoken")
        ],
        "prices": [configuration.price("fake-openai")],
        "teams": [configuration.team("steady", SECRET, *LIMITS)],
    }


@pytest.fixture
def install(servers: ExitStack, tmp_path: Path, fake_provider: FakeProvider) -> Iterator[Install]:
    """Make an installation, on SQLite unless it is given a DATABASE_URL."""
    with all_stopped_at_the_end() as made:

        def make(**environment: str) -> RunningGateway:
            data_dir = tmp_path / f"var-{len(made)}"
            told = environment_for(fake_provider, **environment)
            made.append(RunningGateway(data_dir, environment=told, config=config(fake_provider)))
            return made[-1]

        yield make
