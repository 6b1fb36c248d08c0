"""A page whose server goes away says so, and is itself again when the server is back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.addresses import RUNNING
from tests.browser.chromium import Complaints

pytestmark = pytest.mark.slow

CHART_LIBRARY = "**/static/vendor/echarts*.js"


def lose_the_connection(page: Page) -> None:
    page.route("**/*", lambda route: route.abort("internetdisconnected"))
    page.route_web_socket("**/ws/**", lambda socket: socket.close())
    page.locator("live-updates").evaluate("element => element.live.socket.close()")


def bring_it_back(page: Page) -> None:
    page.unroute_all()
    page.route_web_socket("**/ws/**", lambda socket: socket.connect_to_server())


def test_a_banner_while_the_connection_is_lost(page: Page, complaints: Complaints) -> None:
    complaints.expected = ("WebSocket", "ERR_INTERNET_DISCONNECTED", "Failed to fetch")
    page.goto(f"/tasks/{RUNNING}/")
    expect(page.locator("chart-view canvas").first).to_be_visible()
    banner = page.locator("#connection")
    expect(banner).to_be_hidden()
    page.evaluate("window.same_page = true")
    lose_the_connection(page)
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("Connection lost")
    bring_it_back(page)
    expect(banner).to_be_hidden(timeout=15_000)
    assert page.evaluate("window.same_page") is True


def test_charts_are_drawn_when_the_connection_is_back(page: Page, complaints: Complaints) -> None:
    complaints.expected = (
        *("WebSocket", "ERR_INTERNET_DISCONNECTED", "Failed to fetch"),
        "The chart library did not load",
    )
    page.route(CHART_LIBRARY, lambda route: route.abort("internetdisconnected"))
    page.goto(f"/tasks/{RUNNING}/")
    first = page.locator("chart-view").first
    expect(first).to_contain_text("could not be drawn")
    lose_the_connection(page)
    expect(page.locator("#connection")).to_be_visible()
    bring_it_back(page)
    expect(first.locator("canvas").first).to_be_visible(timeout=15_000)
    expect(first).not_to_contain_text("could not be drawn")
