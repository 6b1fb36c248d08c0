"""The page of tasks as tests read it."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.contrib.auth.models import User
from django.test import Client

BrowserOf = Callable[[User], Client]
FRAGMENT = {"HX-Request": "true", "HX-Target": "tasks"}


def listed(browser: Client, query: str = "") -> list[int]:
    """Numbers of the tasks in the page, in its order."""
    answer = browser.get(f"/tasks/{query}")
    assert answer.status_code == 200
    return [int(number) for number in re.findall(r'id="tick-(\d+)"', answer.content.decode())]


def chips(browser: Client, query: str = "") -> dict[str, int]:
    text = browser.get(f"/tasks/{query}").content.decode()
    found = re.findall(r'id="chip-(\w+)".*?<span class="count">(\d+)', text)
    return {status: int(count) for status, count in found}
