"""Makes the README's pictures, from a fresh installation that it starts and stops by itself.

python -m docs.make_screenshots
"""

import json
import tempfile
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from playwright.sync_api import Page, ViewportSize, sync_playwright

from tests.conftest import CHROMIUM, CHROMIUM_FLAGS
from tests.running_gateway import PASSWORD, RunningGateway, running

PICTURES = Path(__file__).resolve().parent / "screenshots"
SIZE: ViewportSize = {"width": 1280, "height": 800}
CONFIG = {
    "teams": [
        {
            "name": "research",
            "timezone": "Europe/Paris",
            "limits": [
                {"unit": "usd", "window": "month", "ceiling": "0.05"},
                {"unit": "requests", "window": "day", "ceiling": 25},
                {"unit": "tokens", "window": "hour", "ceiling": 4000},
                {"unit": "concurrent", "ceiling": 20},
            ],
        }
    ]
}
CALLS = (
    [("demo", "alice")] * 9
    + [("demo-flaky", "bob")] * 4
    + [("demo", "carol")] * 6
    + [("demo-down", "bob")]
    + [("demo-slow", "alice"), ("demo-flaky", "carol")]
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        gateway = RunningGateway(Path(folder) / "var", config=CONFIG)
        with running(gateway):
            gateway.manage("fill_demo", "--entries", "5000", "--days", "40")
            secret = gateway.create_key("research", "notebook")
            for model, end_user in CALLS:
                _call(gateway, secret, model, end_user)
            _take(gateway.base_url)


def _call(gateway: RunningGateway, secret: str, model: str, end_user: str) -> None:
    messages = [{"role": "user", "content": f"Tell {end_user} something about gateways."}]
    body = {"model": model, "max_tokens": 200, "user": end_user, "messages": messages}
    request = Request(  # noqa: S310 - our own gateway
        f"{gateway.openai_url}/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
    )
    try:
        urlopen(request, timeout=60).close()  # noqa: S310
    except HTTPError as error:
        # The log is to show calls that failed, too.
        error.close()


def _take(url: str) -> None:
    executable = next(path for path in CHROMIUM if Path(path).exists())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        page = browser.new_page(base_url=url, viewport=SIZE)
        _sign_in(page)
        _picture(page, "dashboard", "/", whole=True)
        _picture(page, "logs", "/logs/")
        page.click("text=demo-flaky >> nth=0 >> xpath=ancestor::tr >> th a")
        _picture(page, "receipt", page.url)
        _picture(page, "costs", "/costs/")
        _picture(page, "provider", "/admin/routing/provider/add/")
        page.emulate_media(color_scheme="dark")
        _picture(page, "dashboard-dark", "/")
        page.emulate_media(color_scheme="light")
        _new_key(page)
        _picture(page, "key-shown-once", "")
        browser.close()


def _sign_in(page: Page) -> None:
    page.goto("/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")


def _new_key(page: Page) -> None:
    page.goto("/admin/keys/team/")
    page.click("text=research")
    team = page.url.split("/")[-3]
    page.goto(f"/admin/keys/apikey/add/?team={team}")
    page.fill("input[name=name]", "ci")
    page.click("[name=_save]")


def _picture(page: Page, name: str, address: str, *, whole: bool = False) -> None:
    if address:
        page.goto(address)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=PICTURES / f"{name}.png", full_page=whole)


if __name__ == "__main__":
    main()
