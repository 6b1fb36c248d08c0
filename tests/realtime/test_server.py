"""The web server with open pages."""

from __future__ import annotations

from dataclasses import replace

from tests.realtime.conftest import Site
from tests.realtime.sockets import Browser, close_code, receive
from tuning.models import Task


def test_a_server_that_stops_ends_its_sockets_and_says_nothing(
    site: Site, browser: Browser, task: Task
) -> None:
    """A traceback per open page would hide whatever else the server had to say."""
    server, address = site.installation.start_web()
    elsewhere = replace(browser, address=address)
    with elsewhere.open_task(task.pk) as page, elsewhere.open_log(task.pk) as log:
        receive(page)
        server.stop()
        assert server.wait() == 0
        assert close_code(page) != 1000
        assert close_code(log) != 1000
    own_words = [line for line in server.output().splitlines() if not line.startswith("127.")]
    assert own_words == []
