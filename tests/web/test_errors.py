"""Errors are pages for people and short sentences beside a fragment."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = pytest.mark.django_db

BrowserOf = Callable[[User], Client]


def test_a_page_that_is_not_there(browser_of: BrowserOf, owner: User) -> None:
    answer = browser_of(owner).get("/nothing/")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()


def test_a_task_that_is_not_there_is_named(browser_of: BrowserOf, owner: User) -> None:
    assert "no task 99" in browser_of(owner).get("/tasks/99/").content.decode()


def test_a_fragment_that_is_not_there_is_one_sentence(browser_of: BrowserOf, owner: User) -> None:
    answer = browser_of(owner).get("/tasks/99/", headers={"HX-Request": "true"})
    assert answer.status_code == 404
    assert "no task 99" in answer["X-Problem"]
    assert answer.content == b""


def test_what_is_not_for_this_user(browser_of: BrowserOf, stranger: User) -> None:
    answer = browser_of(stranger).get("/system/")
    assert answer.status_code == 403
    assert "Only staff" in answer.content.decode()


def test_an_old_form_is_told_to_reload(owner: User) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(owner)
    answer = careful.post("/account/tokens/", {"name": "x"})
    assert answer.status_code == 403
    assert "Reload it" in answer.content.decode()


@pytest.mark.parametrize("as_fragment", [True, False])
def test_a_fault_of_ours_shows_no_traceback(
    browser_of: BrowserOf, owner: User, monkeypatch: pytest.MonkeyPatch, as_fragment: bool
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr("tuning.web.views.account.ApiToken.objects.filter", broken)
    browser = browser_of(owner)
    browser.raise_request_exception = False
    headers = {"HX-Request": "true"} if as_fragment else {}
    answer = browser.get("/account/", headers=headers)
    assert answer.status_code == 500
    text = answer.content.decode() + answer.get("X-Problem", "")
    assert "Something broke" in text
    assert "secret detail" not in text


def test_each_page_forbids_scripts_and_styles_from_elsewhere(client: Client) -> None:
    policy = client.get("/login/")["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
