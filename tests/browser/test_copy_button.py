"""The button that copies a new secret, in a real browser under the console's own policy."""

import re

from tests.browser.conftest import Console


def test_a_new_secret_is_copied_by_its_button(console: Console):
    page = console.open("/admin/keys/stafftoken/add/")
    page.select_option("select[name=user]", label="ada")
    page.fill("input[name=name]", "terraform")
    page.click("[name=_save]")
    page.click("button[data-copy]")
    page.wait_for_selector("text=Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch("gws_[0-9A-Za-z]{43}", copied)
