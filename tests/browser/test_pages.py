"""The console's pages in a real browser: they obey their own policy, and fit the screen."""

import pytest

from tests.browser.conftest import Console

ADDRESSES = [
    "/",
    "/logs/",
    "/logs/refused/",
    "/logs/{request_id}/",
    "/costs/",
    "/admin/",
    "/admin/billing/limit/",
    "/admin/billing/limit/{limit_id}/change/",
    "/admin/keys/team/add/",
    "/admin/routing/provider/add/",
]
TELEPHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_finds_nothing_to_complain_about(console: Console, scheme):
    console.page.emulate_media(color_scheme=scheme)
    for address in ADDRESSES:
        console.open(console.filled(address))
    assert console.complaints == []


@pytest.mark.parametrize("size", [TELEPHONE, DESK], ids=["telephone", "desk"])
def test_no_page_is_wider_than_its_screen(console: Console, size):
    console.page.set_viewport_size(size)
    fits = "document.documentElement.scrollWidth <= innerWidth"
    pages = [console.filled(address) for address in ADDRESSES]
    assert [page for page in pages if not console.open(page).evaluate(fits)] == []


def test_the_chart_is_drawn(console: Console):
    page = console.open("/")
    drawn = "Chart.getChart(document.querySelector('canvas.chart')).data.datasets[0].data.length"
    assert page.evaluate(drawn) == 30


def test_the_axis_of_a_small_cost_is_in_plain_decimals(console: Console):
    page = console.open("/")
    labels = (
        "Chart.getChart(document.querySelector('canvas.chart')).scales.y.ticks.map(it => it.label)"
    )
    shown = page.evaluate(labels)
    assert len(shown) > 2
    assert [label for label in shown if not label.replace(".", "", 1).isdigit()] == []


def test_every_field_of_the_log_has_a_label(console: Console):
    page = console.open("/logs/")
    bare = "[...document.querySelectorAll('.console :is(input, select)')]"
    assert (
        page.evaluate(f"{bare}.filter(it => it.type !== 'hidden' && !it.labels.length).length") == 0
    )


def test_the_newest_call_is_reached_with_the_keyboard(console: Console):
    page = console.open("/logs/")
    page.focus(f"a[title='{console.request_id}']")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/logs/{console.request_id}/")
