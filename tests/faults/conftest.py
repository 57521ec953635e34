"""Real gateways with four workers, instrumented or broken from outside, and what they call."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography.fernet import Fernet

from tests.fake_provider import FakeProvider
from tests.faults.history import Event, over_the_ceiling, read_events
from tests.faults.product_database import ProductDatabase
from tests.running_gateway import PROJECT, RunningGateway

INJECTED = Path(__file__).parent / "injected"


@dataclass(frozen=True, slots=True)
class Watched:
    """A running gateway, and where what it does is written down.

    Attributes:
        points: the folder in which fault points are armed.
    """

    gateway: RunningGateway
    database: ProductDatabase
    history: Path
    points: Path

    def events(self) -> list[Event]:
        return read_events(self.history)

    def over_the_ceiling(self) -> list[str]:
        """Ceilings that were passed, by what workers say they did and by the database."""
        database = self.database
        return over_the_ceiling(self.events(), database.movements(), database.ceilings())


Start = Callable[..., Watched]


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeProvider]:
    provider = FakeProvider().start()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def start(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    upstream: FakeProvider,
) -> Iterator[Start]:
    """Start gateways on the database of this run; `broken` names what is done to their code."""
    made: list[RunningGateway] = []
    numbers = itertools.count(1)

    def make(config: dict[str, Any], *, broken: str = "") -> Watched:
        folder = tmp_path_factory.mktemp("watched")
        history, points = folder / "history", folder / "points"
        history.mkdir()
        points.mkdir()
        environment = {
            "WORKERS": "4",
            "LOG_LEVEL": "WARNING",
            "ALLOW_PRIVATE_UPSTREAMS": f"127.0.0.1:{upstream.port}",
            "PYTHONPATH": os.pathsep.join([str(INJECTED), str(PROJECT)]),
            "GATEWAY_INJECTED": f"points {broken} recorder",
            "GATEWAY_HISTORY": str(history),
            "GATEWAY_FAULTS": str(points),
        }
        if os.environ.get("DATABASE_URL"):
            environment |= _services(request, next(numbers))
        gateway = RunningGateway(folder / "var", environment=environment, config=config)
        made.append(gateway)
        gateway.start()
        database = ProductDatabase(folder / "var", environment.get("DATABASE_URL", ""))
        database.watch()
        return Watched(gateway, database, history, points)

    yield make
    for gateway in made:
        if gateway.is_running():
            gateway.stop()


def _services(request: pytest.FixtureRequest, number: int) -> dict[str, str]:
    server = request.getfixturevalue("redis_server").url.removesuffix("/0")
    redis_url = f"{server}/{number % 16}"
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    return {
        "DATABASE_URL": request.getfixturevalue("cluster").new_database(),
        "REDIS_URL": redis_url,
        "SECRET_KEY": Fernet.generate_key().decode(),
        "CREDENTIAL_KEYS": Fernet.generate_key().decode(),
    }
