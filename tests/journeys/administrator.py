"""What an administrator does in the console, in a real browser whose tab knows the address."""

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

Limit = tuple[str, str, str]


def sign_in(tab: Page, password: str) -> None:
    tab.goto("/")
    tab.get_by_label("Username").fill("admin")
    tab.get_by_label("Password").fill(password)
    tab.get_by_role("button", name="Log in").click()


def change_password(tab: Page, old: str, new: str) -> None:
    tab.get_by_label("Old password").fill(old)
    tab.get_by_label("New password*", exact=True).fill(new)
    tab.get_by_label("New password confirmation").fill(new)
    tab.get_by_role("button", name="Change password").click()
    expect(tab).to_have_title(re.compile("successful"))


def add_provider(tab: Page, kind: str, name: str, base_url: str, credential: str) -> None:
    """With the usual models of its kind."""
    tab.goto("/admin/routing/provider/add/")
    tab.get_by_label("Kind").select_option(kind)
    tab.get_by_label("Name*", exact=True).fill(name)
    tab.get_by_label("Base url").fill(base_url)
    tab.get_by_label("Credential").fill(credential)
    save(tab)
    expect(tab.get_by_text("Models added:")).to_be_visible()


def models_of(tab: Page, provider: str) -> list[str]:
    """The models that lead to a provider, as the console lists them."""
    tab.goto("/admin/routing/model/")
    rows = tab.get_by_role("row").filter(has_text=f"{provider}/")
    return [name.strip() for name in rows.locator("th.field-name").all_inner_texts()]


def make_team(tab: Page, name: str, limits: Sequence[Limit]) -> None:
    """With limits as (unit, window, ceiling)."""
    tab.goto("/admin/keys/team/add/")
    tab.get_by_label("Name*", exact=True).fill(name)
    for number, (unit, window, ceiling) in enumerate(limits):
        tab.get_by_text("Add another Limit").click()
        tab.locator(f"[name=limits-{number}-unit]").select_option(unit)
        tab.locator(f"[name=limits-{number}-window]").select_option(window)
        tab.locator(f"[name=limits-{number}-ceiling]").fill(ceiling)
    save(tab)


def issue_key(tab: Page, name: str) -> str:
    """To the team that was made just now; the secret as its button copies it."""
    tab.get_by_role("link", name="issue a key").click()
    tab.get_by_label("Name*", exact=True).fill(name)
    save(tab)
    return copy_secret(tab)


def issue_staff_token(tab: Page, name: str) -> str:
    tab.goto("/admin/keys/stafftoken/add/")
    tab.get_by_label("User*").select_option(label="admin")
    tab.get_by_label("Name*", exact=True).fill(name)
    save(tab)
    return copy_secret(tab)


def copy_secret(tab: Page) -> str:
    """From the one page that shows it, which is left afterwards."""
    shown = tab.locator("#secret").inner_text()
    tab.get_by_role("button", name="Copy").click()
    expect(tab.get_by_role("status").filter(has_text="Copied.")).to_be_visible()
    copied = str(tab.evaluate("navigator.clipboard.readText()"))
    assert copied == shown
    tab.get_by_role("link", name="I have copied it").click()
    return copied


def set_budget(tab: Page, team: str, ceiling: str) -> None:
    tab.goto("/admin/billing/limit/")
    row = tab.get_by_role("row").filter(has_text=team).filter(has_text="USD")
    row.get_by_role("link").first.click()
    tab.get_by_label("Ceiling").fill(ceiling)
    save(tab)


def save(tab: Page) -> None:
    tab.get_by_role("button", name="Save", exact=True).click()


def logged_calls(tab: Page, team: str) -> Locator:
    """The rows of the log."""
    tab.goto(f"/logs/?team={team}")
    return tab.get_by_role("region", name="Calls").locator("tbody tr")


def open_receipt(tab: Page, request_id: str) -> str:
    """From the log; the cost that the receipt tells."""
    tab.goto("/logs/")
    tab.get_by_title(request_id).click()
    expect(tab.get_by_role("heading", name="Ledger entries")).to_be_visible()
    return _figure(tab, "Cost").first.inner_text()


def spend_on_dashboard(tab: Page) -> Decimal:
    """Of 30 days, to the last decimal: what its chart draws."""
    tab.goto("/")
    drawn = "Chart.getChart(document.querySelector('canvas.chart')).data.datasets[0].data"
    tab.wait_for_function(drawn)
    return sum((Decimal(day) for day in tab.evaluate(drawn)), Decimal())


def download_costs(tab: Page, first: str, last: str) -> tuple[bytes, Decimal]:
    """The cost CSV of some days, and the exact cost that the page tells."""
    tab.goto(f"/costs/?first={first}&last={last}")
    shown = Decimal(_figure(tab, "Cost").nth(1).inner_text().removeprefix("$"))
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Cost CSV").click()
    return Path(download.value.path()).read_bytes(), shown


def _figure(tab: Page, name: str) -> Locator:
    """What stands below a name in a page's row of figures."""
    figures = tab.locator("dl.figures > div")
    return figures.filter(has=tab.get_by_text(name, exact=True)).locator("dd")
