"""PostgreSQL is there and says nothing: frozen, or behind a network that swallows everything."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest

from keys.secrets import make_secret
from tests.loopback import wait_until
from tests.outages.conftest import SECRET
from tests.outages.console import Console, PageAnswer
from tests.outages.silent_relay import SilentRelay
from tests.outages.steady_load import Caller
from tests.running_gateway import RunningGateway

PAGES = ("/", "/logs/", "/costs/", "/admin/keys/team/", "/admin/keys/apikey/")
EXPORT = "/api/costs.csv?from=2026-01-01&to=2026-12-31"
# Longer than it takes to find out that a database is silent.
SLOW_SECONDS = 5.0
LONGEST_PAGE_SECONDS = 8.0


@pytest.fixture
def database(postgresql) -> str:
    return str(postgresql.new_database())


@pytest.fixture
def gateway(install, database) -> RunningGateway:
    started: RunningGateway = install(DATABASE_URL=database).start()
    return started


@pytest.fixture
def console(gateway) -> Console:
    signed_in = Console(gateway)
    assert signed_in.sign_in().status == 302
    return signed_in


def gateway_status(
    gateway: RunningGateway, path: str, secret: str = SECRET, *, seconds: float = 2
) -> int:
    """Of a GET, which has to be answered in time."""
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=seconds)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {secret}"})
        return connection.getresponse().status
    finally:
        connection.close()


def threads_of(gateway: RunningGateway) -> int:
    return len(list(Path(f"/proc/{gateway.worker_pid()}/task").iterdir()))


def answered_in_time(page: Future[PageAnswer]) -> PageAnswer:
    return page.result(timeout=LONGEST_PAGE_SECONDS)


def is_away(page: PageAnswer) -> bool:
    return (page.status, page.headers.get("retry-after")) == (503, "5")


@pytest.fixture
def browsers():
    with ThreadPoolExecutor(20) as threads:
        yield threads


def test_F28_a_slow_page_is_waited_for_until_its_database_freezes(
    console, gateway, database, postgresql, browsers
):
    with psycopg.connect(database) as holding:
        holding.execute("LOCK TABLE keys_team IN ACCESS EXCLUSIVE MODE")
        slow = browsers.submit(console.get, "/admin/keys/team/")
        time.sleep(SLOW_SECONDS)
        assert not slow.done()
        holding.commit()
        assert answered_in_time(slow).status == 200
        holding.execute("LOCK TABLE keys_team IN ACCESS EXCLUSIVE MODE")
        cut = browsers.submit(console.get, "/admin/keys/team/")
        time.sleep(1)
        assert not cut.done()
        postgresql.freeze()
        assert is_away(answered_in_time(cut))
        postgresql.thaw()
    wait_until(lambda: console.get("/admin/keys/team/").status == 200, "the page", seconds=5)


def test_F28_pages_of_a_frozen_database_answer_and_hold_up_nobody(
    console, gateway, postgresql, browsers
):
    assert gateway_status(gateway, "/v1/models") == 200
    before = threads_of(gateway)
    postgresql.freeze()
    begun = [browsers.submit(console.get, path) for path in (*PAGES, "/api/teams/", EXPORT)]
    begun += [browsers.submit(Console(gateway).sign_in)]
    reports = [
        browsers.submit(gateway_status, gateway, "/v1/usage", seconds=LONGEST_PAGE_SECONDS)
        for _ in range(8)
    ]
    for path in ("/healthz", "/readyz", "/v1/models"):
        assert gateway_status(gateway, path) == 200
    assert all(is_away(answered_in_time(page)) for page in begun)
    assert [report.result() for report in reports] == [503] * 8
    # Now it is known, and nobody waits any more: each of these would take seconds else.
    later = [browsers.submit(console.get, path) for path in PAGES * 20]
    assert all(is_away(page) for page in map(answered_in_time, later))
    assert gateway_status(gateway, "/v1/usage") == 503
    # Those that live on, and one for each gateway call that asks the database; none for a page.
    wait_until(lambda: threads_of(gateway) <= before + 12, "the pages' threads have ended")
    postgresql.thaw()
    wait_until(lambda: console.get("/").status == 200, "the console is back", seconds=5)
    assert [console.get(path).status for path in (*PAGES, EXPORT)] == [200] * (len(PAGES) + 1)
    wait_until(lambda: gateway_status(gateway, "/v1/usage") == 200, "reports", seconds=5)


def test_pages_leave_no_connection_behind(console, database):
    connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gateway'"
    before = recorded(database, connections)
    assert [console.get(path).status for path in PAGES * 8] == [200] * len(PAGES) * 8
    # Threads that live on have opened theirs meanwhile, one each.
    assert recorded(database, connections) <= before + 8


@pytest.fixture
def relay(postgresql, servers) -> SilentRelay:
    between = SilentRelay(postgresql.port)
    servers.callback(between.close)
    return between


def test_F28_what_a_silent_network_swallows_holds_up_nothing_after_it(
    install, database, postgresql, relay, browsers
):
    through_relay = database.replace(f":{postgresql.port}/", f":{relay.port}/")
    gateway = install(DATABASE_URL=through_relay).start()
    console, caller = Console(gateway), Caller(gateway, SECRET, "brief")
    assert console.sign_in().status == 302
    for come_back in (relay.resume, relay.resume_for_new_connections):
        assert [caller.call("before").status for _ in range(20)] == [200] * 20
        time.sleep(2)  # The next use is taken ahead.
        relay.fall_silent()
        begun = [browsers.submit(console.get, path) for path in (*PAGES, "/api/teams/", EXPORT)]
        assert caller.call("during").status == 200
        assert all(is_away(answered_in_time(page)) for page in begun)
        assert gateway_status(gateway, "/v1/models", make_secret(), seconds=8) == 503
        come_back()
        wait_until(lambda: console.get("/").status == 200, "the console is back", seconds=6)
        # Each of these has a thread, and a connection, of its own in the gateway.
        assert_that_all_goes_on(gateway, database)
    caller.close()
    assert recorded(database, "SELECT count(*) FROM billing_ledgerentry") == 2 * (20 + 1)
    gateway.manage("check_books")


def assert_that_all_goes_on(gateway: RunningGateway, database: str) -> None:
    wait_until(lambda: gateway_status(gateway, "/v1/models", make_secret()) == 401, "keys")
    wait_until(lambda: gateway_status(gateway, "/v1/usage") == 200, "reports")
    wait_until(lambda: gateway_status(gateway, "/v1/rate-limit") == 200, "the counters")
    during = "SELECT count(*) FROM billing_ledgerentry WHERE end_user = 'during'"
    before = "SELECT count(*) FROM billing_ledgerentry WHERE end_user = 'before'"
    wait_until(lambda: recorded(database, during) * 20 == recorded(database, before), "the ledger")
    edit_keys(database, datetime.now(UTC))
    wait_until(lambda: gateway_status(gateway, "/v1/models") == 401, "the key is revoked")
    edit_keys(database, None)
    wait_until(lambda: gateway_status(gateway, "/v1/models") == 200, "the key is good again")


def edit_keys(database: str, revoked_at: datetime | None) -> None:
    with psycopg.connect(database) as editing:
        editing.execute("UPDATE keys_apikey SET revoked_at = %s", [revoked_at])


def recorded(database: str, query: str) -> int:
    with psycopg.connect(database) as looking:
        counted = looking.execute(query.encode()).fetchone()
    assert counted is not None
    return int(counted[0])
