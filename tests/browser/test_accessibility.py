"""Every page for everybody: axe-core finds nothing serious, nothing scrolls sideways on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.addresses import PAGES
from tests.browser.chromium import DESKTOP, PHONE, Complaints
from tests.browser.conftest import SeededSite
from tests.services import wait_until

pytestmark = pytest.mark.slow

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
SETTLED_MS = 400
AT_REST = """!document.querySelector('.htmx-request')
    && !document.getAnimations().some((one) => one instanceof CSSTransition)"""
"""Nothing is being fetched, and nothing fades: half faded in, a text has too little contrast."""


def open_page(page: Page, site: SeededSite, name: str) -> None:
    page.goto(site.path(name))
    settle(page)


def settle(page: Page) -> None:
    # Fragments, charts and sockets come after the page itself.
    page.wait_for_timeout(SETTLED_MS)
    # By the debugger's door: `wait_for_function` breaks the content security policy.
    wait_until(lambda: page.evaluate(AT_REST), "a page at rest")


def serious_issues(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with the elements."""
    if not page.evaluate("typeof axe === 'object'"):
        # By the debugger's door: a script element would break the content security policy.
        page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{issue['id']}: {node['html'][:200]} {node['failureSummary']}"
        for issue in found["violations"]
        if issue["impact"] in {"serious", "critical"}
        for node in issue["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_serious_in_light_and_dark_and_on_a_phone(
    page: Page, seeded_site: SeededSite, complaints: Complaints, name: str
) -> None:
    complaints.expected = ("status of 404",) if name == "not-found" else ()
    open_page(page, seeded_site, name)
    assert page.locator("h1").count() == 1
    assert serious_issues(page) == []
    page.locator("[data-toggle-theme]").click()
    settle(page)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert serious_issues(page) == []
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    settle(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], f"{width} px wide"
    assert serious_issues(page) == []
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_goes_everywhere_and_shows_where_it_is(
    page: Page, seeded_site: SeededSite, complaints: Complaints, name: str
) -> None:
    complaints.expected = ("status of 404",) if name == "not-found" else ()
    open_page(page, seeded_site, name)
    if page.locator("[autofocus]").count() == 0:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip-link"
        page.keyboard.press("Enter")
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        place = page.evaluate(
            """() => {
                const here = document.activeElement, style = getComputedStyle(here);
                const seen = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
                // Of a date, the browser marks the part (day, month, year) that has the focus.
                return [here.outerHTML.slice(0, 120),
                        seen || here === document.body || here.type === 'date'];
            }"""
        )
        assert place[1], f"no sign of the focus on {place[0]}"
        reached.add(place[0])
    assert len(reached) > 1, "the focus is trapped"


@pytest.mark.parametrize("address", ["/login/", "/first-user/guessed/"])
def test_before_the_sign_in(page: Page, complaints: Complaints, address: str) -> None:
    complaints.expected = ("status of 404",)
    page.context.clear_cookies()
    page.goto(address)
    assert serious_issues(page) == []
