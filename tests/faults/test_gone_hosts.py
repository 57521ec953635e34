"""One of two hosts, each with a DATA_DIR of its own, is gone: real gateways on one PostgreSQL."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

import psycopg
import pytest

from tests.fake_provider import Behaviour, FakeProvider
from tests.installation import all_stopped_at_the_end, environment_for
from tests.journeys import configuration
from tests.loopback import wait_until
from tests.postgresql_cluster import PostgreSQLCluster
from tests.project.test_supervision import SECRET, statuses, stream
from tests.running_gateway import RunningGateway

pytestmark = [pytest.mark.faults, pytest.mark.once]

# A worker says that others are gone once it has looked for two minutes itself.
LAPSES_WITHIN_SECONDS = 240

Install = Callable[[str], RunningGateway]


@pytest.fixture
def database(cluster: PostgreSQLCluster) -> str:
    return cluster.new_database()


@pytest.fixture
def install(tmp_path: Path, fake_provider: FakeProvider, database: str) -> Iterator[Install]:
    """Start a host; there may be one call at once."""
    told = environment_for(fake_provider, DATABASE_URL=database)
    patient = {"timeout_seconds": 60, "stream_idle_timeout_seconds": 30}
    one_call = {"unit": "concurrent", "ceiling": 1}
    config = {
        "providers": configuration.providers(fake_provider, **patient)[:1],
        "models": [configuration.every_behaviour("openai")],
        "prices": [configuration.price("fake-openai")],
        "teams": [configuration.team("team", SECRET, one_call)],
    }
    with all_stopped_at_the_end() as made:

        def start(name: str) -> RunningGateway:
            made.append(RunningGateway(tmp_path / name, environment=told, config=config))
            return made[-1].start()

        yield start


def test_a_slot_of_a_host_that_is_gone_is_free_again(install, database, fake_provider):
    fake_provider.script("openai/long", Behaviour(words=90, word_seconds=1.0))
    gone, here = install("gone"), install("here")
    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(stream, gone, "openai/long")
        fake_provider.wait_for(lambda fake: fake.seen, "the stream")
        gone.kill()
        with suppress(OSError, HTTPException):
            cut.result()
    with pytest.raises(HTTPError, match="429"):
        stream(here, "openai/any")
    host = (gone.data_dir / "journal" / "folder-id").read_text()
    with psycopg.connect(database) as foreign:
        # As if eleven minutes had passed for it.
        foreign.execute(
            "UPDATE billing_worker SET seen_at = seen_at - interval '11 minutes' WHERE host = %s",
            [host],
        )
    wait_until(lambda: "worker_lapsed" in here.output, "the lapse", seconds=LAPSES_WITHIN_SECONDS)
    here.manage("check_books")
    assert "[DONE]" in stream(here, "openai/any")
    gone.start()
    wait_until(lambda: sorted(statuses(here)) == ["ok", "recovered"], "both on the ledger")
    wait_until(lambda: here.manage("recover_journal").count("Left alone") == 1, "one host away")
    here.manage("check_books")
    assert "[DONE]" in stream(gone, "openai/any")
