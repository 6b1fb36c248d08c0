"""A page whose server goes away says so, and is itself again when the server is back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.addresses import RUNNING
from tests.browser.chromium import Complaints

pytestmark = pytest.mark.slow


def test_a_banner_while_the_connection_is_lost(page: Page, complaints: Complaints) -> None:
    complaints.expected = ("WebSocket", "ERR_INTERNET_DISCONNECTED", "Failed to fetch")
    page.goto(f"/tasks/{RUNNING}/")
    banner = page.locator("#connection")
    page.wait_for_timeout(500)
    expect(banner).to_be_hidden()
    page.evaluate("window.same_page = true")
    page.route("**/*", lambda route: route.abort("internetdisconnected"))
    page.route_web_socket("**/ws/**", lambda socket: socket.close())
    page.locator("live-updates").evaluate("element => element.live.socket.close()")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("Connection lost")
    page.unroute_all()
    page.route_web_socket("**/ws/**", lambda socket: socket.connect_to_server())
    expect(banner).to_be_hidden(timeout=15_000)
    assert page.evaluate("window.same_page") is True
