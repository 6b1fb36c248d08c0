"""The editor of a task as tests fill it in and read it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from django.test import Client

from tuning.models import Task

NEW = "/tasks/new/"
PREVIEW = "/tasks/new/preview/"
IMPORT = "/tasks/import/"

FORM: dict[str, Any] = {
    "tab": "form",
    "task_name": "typed",
    "deployment_mode": "local",
    "base_runtime": "llamacpp",
    "model.id_or_path": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "optimization.strategy": "grid_search",
    "objectives-row": ["2"],
    "objectives-name": ["minimize_latency"],
    "objectives-metric": [""],
    "objectives-direction": [""],
    "optimization.baseline": "on",
    "parameters-row": ["0", "7"],
    "parameters-name": ["threads", "parallel"],
    "parameters-values": ["1, 2", "1..4 log"],
    "constraints-row": ["0"],
    "constraints-text": ["threads <= parallel"],
    "scenarios-row": ["0"],
    "scenarios-text": ["D(16,8)"],
    "slo-row": ["3"],
    "slo-metric": ["ttft_p99_s"],
    "slo-max": ["0.5"],
    "slo-min": [""],
    "slo-hard": ["hard"],
    "slo-weight": [""],
    "slo-fail_ratio": [""],
    "slo-steepness": [""],
}


class Page(HTMLParser):
    """What a browser would have: the values of inputs by id, the texts of elements by id."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.tags: list[str] = []
        self._open: str | None = None
        self.text = response.content.decode()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self._open = named.get("id") or None
        if self._open:
            self.texts[self._open] = ""
            self.values[self._open] = named.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open] += data

    @property
    def errors(self) -> dict[str, str]:
        return {
            name.removeprefix("error-"): text
            for name, text in self.texts.items()
            if name.startswith("error-") and text and "__key__" not in name
        }


def posted(browser: Client, address: str = NEW, /, **changes: Any) -> Any:
    fields = {name.replace("__", "."): value for name, value in changes.items()}
    return browser.post(address, {**FORM, **fields})


def task_at(response: Any) -> Task:
    assert response.status_code == 303
    return Task.objects.get(pk=int(response["Location"].strip("/").rpartition("/")[2]))
