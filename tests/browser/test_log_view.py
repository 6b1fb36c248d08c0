"""A log of 100,000 lines can be read and searched whole; only what is seen is in the page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.addresses import OTHER_COMPLETED

pytestmark = pytest.mark.slow

ADDRESS = f"/tasks/{OTHER_COMPLETED}/logs/"
MOST_NODES = 1_000


@pytest.fixture
def log(page: Page) -> Page:
    page.goto(ADDRESS)
    expect(page.get_by_text("100,000 lines ·")).to_be_visible(timeout=60_000)
    return page


def shows(page: Page, line: int) -> None:
    """Whether a line is among those that can be seen."""
    row = page.locator(".log-row", has=page.locator(f'a[href="#L{line}"]'))
    expect(row).to_be_in_viewport()


def nodes(page: Page) -> int:
    count: int = page.evaluate("document.querySelectorAll('log-view *').length")
    return count


def test_only_what_is_seen_is_in_the_page(log: Page) -> None:
    shows(log, 100_000)
    assert nodes(log) < MOST_NODES
    log.evaluate("document.querySelector('.log-lines').scrollTop = 0")
    shows(log, 1)
    assert nodes(log) < MOST_NODES
    log.locator(".log-lines").focus()
    log.keyboard.press("End")
    shows(log, 100_000)


def test_a_link_leads_to_its_line(log: Page) -> None:
    log.goto(f"{ADDRESS}#L50001")
    expect(log.locator(".is-marked")).to_contain_text("the needle", timeout=60_000)
    shows(log, 50_001)


def test_searching_and_the_first_error(log: Page) -> None:
    log.keyboard.press("/")
    log.keyboard.type("NEEDLE")
    expect(log.locator("mark")).to_have_text("needle")
    expect(log).to_have_url(re.compile("#L50001$"))
    log.get_by_role("button", name="First error").click()
    expect(log.locator(".is-marked")).to_contain_text("out of memory")
    shows(log, 777)


def test_scrolling_up_pauses_following(log: Page) -> None:
    follow = log.locator("[data-log=follow]")
    expect(follow).to_have_text("Following")
    log.locator(".log-lines").hover()
    log.mouse.wheel(0, -600)
    expect(follow).to_have_text("Follow")
    follow.click()
    expect(follow).to_have_text("Following")
    shows(log, 100_000)
