"""The console in a real browser, signed in, with calls to look at."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page

from billing.limit_edits import create_limit
from keys.accounts import create_administrator
from keys.models import Team
from tests.billing.ledger_filling import call, fill


@dataclass
class Console:
    """A tab at the console.

    Attributes:
        complaints: what the browser found wrong, such as a breach of the page's policy.
    """

    url: str
    page: Page
    request_id: str
    limit_id: int
    complaints: list[str] = field(default_factory=list)

    def filled(self, address: str) -> str:
        return address.format(request_id=self.request_id, limit_id=self.limit_id)

    def open(self, address: str) -> Page:
        self.page.goto(f"{self.url}{address}")
        self.page.wait_for_load_state("networkidle")
        return self.page


@pytest.fixture(scope="module", autouse=True)
def _orm_beside_the_browser() -> Iterator[None]:
    """Playwright keeps an event loop running in this thread, where nothing else is async."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield


@pytest.fixture
def visit(transactional_db: None) -> tuple[str, str, int]:
    """Made before the browser runs: an administrator's session, a call's id and a limit's."""
    user, _ = create_administrator("ada", "correct-horse-battery")
    team = Team.objects.create(name="research")
    limit = create_limit(team, unit="usd", window="month", ceiling=5_000_000_000)
    # So little that a chart would write it as 1.5E-5.
    entry = call(team_id=team.pk, started_at=datetime.now(UTC), cost_nano_usd=15_000)
    fill(entry)
    client = Client()
    client.force_login(user)
    return client.cookies["session"].value, entry.request_id, limit.pk


@pytest.fixture
def console(visit: tuple[str, str, int], live_server: Any, page: Page) -> Iterator[Console]:
    session, request_id, limit_id = visit
    page.context.add_cookies([{"name": "session", "value": session, "url": live_server.url}])
    console = Console(live_server.url, page, request_id, limit_id)
    page.on("console", lambda message: _keep(console.complaints, message.type, message.text))
    page.on("pageerror", lambda error: console.complaints.append(str(error)))
    yield console
    page.goto("about:blank")


def _keep(complaints: list[str], kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        complaints.append(text)
