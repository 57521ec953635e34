"""The console and the management API while the database is away: come back, and nothing worse."""

import json

from tests.loopback import wait_until
from tests.outages.console import Console


def test_pages_say_that_the_database_is_away_F28(install, postgresql):
    gateway = install(DATABASE_URL=postgresql.new_database()).start()
    signed_in, stranger = Console(gateway), Console(gateway)
    assert signed_in.sign_in().status == 302
    postgresql.stop_at_once()
    pages = [signed_in.get(path) for path in ("/", "/logs/", "/costs/", "/admin/keys/team/")]
    pages.append(stranger.sign_in())
    for page in pages:
        assert (page.status, page.headers.get("retry-after")) == (503, "5")
        assert "not available" in page.text
        assert page.headers["cache-control"] == "no-store"
    api = signed_in.get("/api/teams/")
    assert (api.status, api.headers.get("retry-after")) == (503, "5")
    assert "not available" in json.loads(api.text)["detail"]
    postgresql.start_again()
    wait_until(lambda: signed_in.get("/").status == 200, "the console is back", seconds=5)
    assert stranger.sign_in().status == 302
