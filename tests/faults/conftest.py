"""Real gateways with four workers, instrumented or broken from outside, and what they call."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fake_provider import FakeProvider
from tests.faults.history import Event, over_the_ceiling, read_events
from tests.faults.product_database import ProductDatabase
from tests.installation import all_stopped_at_the_end
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
def start(
    tmp_path_factory: pytest.TempPathFactory,
    fresh_environment: Callable[[FakeProvider], dict[str, str]],
    upstream: FakeProvider,
) -> Iterator[Start]:
    """Start gateways on the database of this run; `broken` names what is done to their code."""
    with all_stopped_at_the_end() as made:

        def make(config: dict[str, Any], *, broken: str = "") -> Watched:
            folder = tmp_path_factory.mktemp("watched")
            history, points = folder / "history", folder / "points"
            history.mkdir()
            points.mkdir()
            told = fresh_environment(upstream) | {
                "WORKERS": "4",
                "LOG_LEVEL": "WARNING",
                "PYTHONPATH": os.pathsep.join([str(INJECTED), str(PROJECT)]),
                "GATEWAY_INJECTED": f"points {broken} recorder",
                "GATEWAY_HISTORY": str(history),
                "GATEWAY_FAULTS": str(points),
            }
            made.append(RunningGateway(folder / "var", environment=told, config=config))
            gateway = made[-1].start()
            database = ProductDatabase(folder / "var", told.get("DATABASE_URL", ""))
            database.watch()
            return Watched(gateway, database, history, points)

        yield make
