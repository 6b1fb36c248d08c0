"""A task from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.domain.task_files import minimal_task
from tests.web.new_task_pages import IMPORT, NEW, Page
from tuning.models import Task


@pytest.fixture
def owner(db: None) -> User:
    """Without a password, whose hash takes longer than any page."""
    return User.objects.create(username="owner")


@pytest.fixture
def browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(owner)


def file(text: str | bytes, name: str = "task.yaml") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize("given", [
    {"file": file(yaml.safe_dump(minimal_task()))},
    {"file": file(json.dumps(minimal_task()), "anything.bin")},
    {"text": yaml.safe_dump(minimal_task())},
    {"text": "\n" + json.dumps(minimal_task())},
])  # fmt: skip
def test_an_import_fills_the_form_and_stores_nothing(
    browser: Client, given: dict[str, Any]
) -> None:
    if "file" in given:
        given["file"].seek(0)
    page = Page(browser.post(IMPORT, given))
    assert page.values["field-task_name"] == "tune"
    assert f'action="{NEW}"' in page.text
    assert not Task.objects.exists()


def test_an_import_with_mistakes_opens_as_json(browser: Client) -> None:
    page = Page(browser.post(IMPORT, {"text": "task_name: a\nbase_runtme: vllm\n"}))
    assert json.loads(page.texts["field-document"]) == {"task_name": "a", "base_runtme": "vllm"}
    assert "base_runtime" in page.text
    page = Page(browser.post(IMPORT, {"file": file('{"task_name": ')}))
    assert page.texts["field-document"].strip() == '{"task_name":'
    assert "line 1, column" in page.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Choose a file"),
        ({"text": "  "}, "Choose a file"),
        ({"text": "a: [1\nb: 2"}, "line 2, column 2"),
        ({"text": "a: &x [1]\nb: *x"}, "is an alias"),
        ({"text": "a: 2024-01-02"}, "is a date"),
        ({"file": file(b"\xff\xfe\x00")}, "not UTF-8"),
        ({"file": file("")}, "empty"),
        ({"file": file("x" * 1_000_001)}, "larger than"),
        ({"text": "- 1"}, "keys and values"),
    ],
)
def test_what_cannot_be_imported_says_why(
    browser: Client, given: dict[str, Any], message: str
) -> None:
    if "file" in given:
        given["file"].seek(0)
    response = browser.post(IMPORT, given)
    assert response.status_code == 422
    assert message in response.content.decode()
    assert browser.get(IMPORT).status_code == 200
