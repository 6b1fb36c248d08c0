"""Changing a draft, and what is none any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.domain.task_files import minimal_task
from tests.web.new_task_pages import Page, posted, task_at
from tuning import actions
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import parse_task
from tuning.models import Task


@pytest.fixture
def owner(db: None) -> User:
    """Without a password, whose hash takes longer than any page."""
    return User.objects.create(username="owner")


@pytest.fixture
def browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(owner)


@pytest.fixture
def draft(owner: User) -> Task:
    return actions.create(parse_task(minimal_task()), owner, start=False)


def test_a_draft_is_changed_and_started(browser: Client, draft: Task) -> None:
    address = reverse("task-edit", args=[draft.pk])
    page = Page(browser.get(address))
    assert page.values["field-parameters-0"] == "1, 2"
    assert f'action="{address}"' in page.text

    assert task_at(posted(browser, address, do="draft")) == draft
    draft.refresh_from_db()
    assert (draft.name, draft.state) == ("typed", TaskStatus.DRAFT)
    task_at(posted(browser, address, do="start", task_name="again"))
    draft.refresh_from_db()
    assert (draft.name, draft.state) == ("again", TaskStatus.PENDING)


def test_what_is_no_draft_offers_a_duplicate(browser: Client, draft: Task) -> None:
    address = reverse("task-edit", args=[draft.pk])
    actions.start(draft)
    for response in (browser.get(address), posted(browser, address, do="draft")):
        assert response.status_code == 409
        assert reverse("task-duplicate", args=[draft.pk]) in response.content.decode()
    draft.refresh_from_db()
    assert draft.name == "tune"


def test_a_draft_started_meanwhile_keeps_what_it_is_running(
    browser: Client, draft: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Task, "state", TaskStatus.DRAFT)
    Task.objects.filter(pk=draft.pk).update(status=TaskStatus.PENDING.value)
    response = posted(browser, reverse("task-edit", args=[draft.pk]), do="draft")
    assert response.status_code == 409
    draft.refresh_from_db()
    assert draft.name == "tune"


def test_a_wrong_change_of_a_draft_changes_nothing(browser: Client, draft: Task) -> None:
    address = reverse("task-edit", args=[draft.pk])
    assert posted(browser, address, do="draft", task_name="").status_code == 422
    draft.refresh_from_db()
    assert draft.name == "tune"


def test_drafts_of_others_are_not_there(
    draft: Task, stranger: User, browser_of: Callable[[User], Client]
) -> None:
    other = browser_of(stranger)
    address = reverse("task-edit", args=[draft.pk])
    assert other.get(address).status_code == 404
    assert posted(other, address, do="draft").status_code == 404
    draft.refresh_from_db()
    assert draft.name == "tune"
