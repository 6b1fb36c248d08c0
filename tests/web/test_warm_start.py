"""Tasks that start from earlier ones, on pages and on a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rich.console import Console

from tests.past_tasks import document, past_task, spec_of
from tests.web.task_pages import page_of
from tuning.models import Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import submit
from tuning.reports import task_report
from tuning.terminal.summary import print_summary

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(owner)


def posted(browser: Client, command: str, warm_start: Any, address: str = "/tasks/new/") -> Any:
    written = json.dumps(document(warm_start))
    return browser.post(address, {"tab": "json", "document": written, "do": command})


def test_the_page_and_the_terminal_say_what_a_task_started_from(
    owner: User, browser: Client
) -> None:
    earlier = past_task(owner)
    task = submit(spec_of(True), owner=owner)
    assert "Started from task" not in page_of(browser, task.pk)
    advance(task.pk)
    sentence = f"Started from task {earlier.pk} (similarity 0.54)."
    assert sentence in page_of(browser, task.pk)
    task.refresh_from_db()
    text = io.StringIO()
    print_summary(Console(file=text, width=200), task_report(task))
    assert sentence in text.getvalue()


def test_a_useless_name_is_a_problem_of_the_start_and_not_of_the_draft(
    browser: Client, stranger: User
) -> None:
    secret = past_task(stranger)
    answer = posted(browser, "start", [secret.pk])
    assert answer.status_code == 422
    page = unescape(answer.content.decode())
    assert "optimization.warm_start[0]" in page
    assert "is no task, or belongs to somebody else" in page
    assert Task.objects.count() == 1
    assert posted(browser, "draft", [secret.pk]).status_code == 303
    draft = Task.objects.exclude(pk=secret.pk).get()
    answer = posted(browser, "start", [secret.pk], f"/tasks/{draft.pk}/edit/")
    assert answer.status_code == 422
    answer = browser.post(f"/tasks/{draft.pk}/actions/start/", headers={"HX-Request": "true"})
    assert answer.status_code == 409
    assert "optimization.warm_start[0]: is no task" in unescape(answer.headers["X-Problem"])
    draft.refresh_from_db()
    assert draft.status == "DRAFT"
