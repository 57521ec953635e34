"""What an administrator does in the console, by hand and eye, in a real browser."""

import time
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.running_gateway import RunningGateway

PASSWORD = "a much better password 7"


def signs_in(page: Page, gateway: RunningGateway, password: str) -> None:
    page.goto(f"{gateway.base_url}/")
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill(password)
    page.locator("button[type=submit]").first.click()


def replaces_the_one_time_password(page: Page, one_time: str) -> None:
    """Nothing else is open until the one-time password is replaced."""
    page.locator("input[name=old_password]").fill(one_time)
    page.locator("input[name=new_password1]").fill(PASSWORD)
    page.locator("input[name=new_password2]").fill(PASSWORD)
    page.locator("form:has(input[name=old_password]) [type=submit]").first.click()
    page.wait_for_load_state()


def adds_a_provider(
    page: Page, gateway: RunningGateway, *, kind: str, name: str, base_url: str, credential: str
) -> None:
    """With the usual models of its kind; the credential is never shown again."""
    page.goto(f"{gateway.base_url}/admin/routing/provider/add/")
    page.locator("select[name=kind]").select_option(kind)
    page.locator("input[name=name]").fill(name)
    page.locator("input[name=base_url]").fill(base_url)
    page.locator("input[name=new_credential]").fill(credential)
    page.locator("[name=_save]").click()
    expect(page.get_by_text("Models added:")).to_be_visible()
    page.get_by_role("link", name=name, exact=True).first.click()
    page.wait_for_load_state()
    assert credential not in page.content()


def makes_a_team(page: Page, gateway: RunningGateway, name: str, *limits: dict[str, str]) -> None:
    page.goto(f"{gateway.base_url}/admin/keys/team/add/")
    page.locator("input[name=name]").fill(name)
    for number, limit in enumerate(limits):
        page.get_by_text("Add another Limit").click()
        for field, value in limit.items():
            place = page.locator(f"[name=limits-{number}-{field}]")
            if place.evaluate("element => element.tagName") == "SELECT":
                place.select_option(value)
            else:
                place.fill(value)
    page.locator("[name=_save]").click()
    expect(page.get_by_text("Next: issue a key")).to_be_visible()


def issues_a_key(page: Page, name: str) -> str:
    """From the hint on the team's page; the secret as the copy button copied it."""
    page.get_by_role("link", name="issue a key").click()
    page.locator("input[name=name]").fill(name)
    page.locator("[name=_save]").click()
    shown = page.locator("#secret").inner_text()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copied")).not_to_be_empty()
    copied = str(page.evaluate("navigator.clipboard.readText()"))
    assert copied == shown
    page.get_by_role("link", name="I have copied it").click()
    assert shown not in page.content()
    return copied


def finds_the_call(page: Page, gateway: RunningGateway, request_id: str) -> None:
    """In the log, within two seconds of its answer; opens its receipt."""
    deadline = time.monotonic() + 2
    link = page.locator(f'a[href="/logs/{request_id}/"]')
    page.goto(f"{gateway.base_url}/logs/")
    while not link.count():
        assert time.monotonic() < deadline, "the call is not in the log after two seconds"
        page.reload()
    link.first.click()
    expect(page.get_by_text(request_id).first).to_be_visible()


def downloads_the_costs(page: Page, gateway: RunningGateway, query: str) -> tuple[bytes, str]:
    """The cost CSV, and the exact total that the page shows."""
    page.goto(f"{gateway.base_url}/costs/?{query}")
    total = page.locator("dl.figures > div", has_text="Cost").first.locator("dd").nth(1)
    with page.expect_download() as started:
        page.get_by_role("link", name="Cost CSV").click()
    return Path(started.value.path()).read_bytes(), total.inner_text()
