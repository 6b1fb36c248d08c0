"""Signing in, the first user, the own password, and tokens for programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.signing import TimestampSigner
from django.test import Client
from django.utils import timezone

from tuning.models import ApiToken
from tuning.models.api_token import issue_token, user_of_token
from tuning.web.first_user import first_user_path, nobody_can_sign_in

pytestmark = pytest.mark.django_db

BrowserOf = Callable[[User], Client]
GOOD = {
    "username": "ada",
    "password1": "correct-horse-battery",
    "password2": "correct-horse-battery",
}


def test_there_is_no_default_password(client: Client) -> None:
    for name in ("admin", "autotuner", "demo", "root"):
        answer = client.post("/login/", {"username": name, "password": name})
        assert answer.status_code == 200
    assert not User.objects.exists()


def test_signing_in_leads_to_the_page_that_was_asked_for(client: Client, owner: User) -> None:
    asked = client.get("/tasks/?status=FAILED")
    form = {"username": "owner", "password": "owner-password", "next": "/tasks/?status=FAILED"}
    answer = client.post(asked["Location"], form)
    assert answer["Location"] == "/tasks/?status=FAILED"


def test_signing_in_never_leads_to_another_site(client: Client, owner: User) -> None:
    form = {"username": "owner", "password": "owner-password", "next": "https://evil.example/"}
    assert client.post("/login/", form)["Location"] == "/"


def test_a_wrong_password_is_told_without_saying_which_part_was_wrong(
    client: Client, owner: User
) -> None:
    texts = []
    for name in ("owner", "nobody"):
        page = client.post("/login/", {"username": name, "password": "wrong"}).content.decode()
        texts.append(re.findall(r'role="alert">([^<]+)<', page))
    assert texts[0] == texts[1]
    assert len(texts[0]) == 1


def test_the_first_user_is_made_through_the_link_and_is_an_administrator(client: Client) -> None:
    path = first_user_path()
    assert client.get(path).status_code == 200
    assert client.post(path, GOOD)["Location"] == "/"
    ada = User.objects.get()
    assert (ada.username, ada.is_superuser, ada.is_staff) == ("ada", True, True)
    assert client.get("/account/").status_code == 200


def test_the_link_works_once(client: Client) -> None:
    path = first_user_path()
    client.post(path, GOOD)
    again = Client().post(path, {**GOOD, "username": "mallory"})
    assert again.status_code == 404
    assert User.objects.count() == 1


def test_a_weak_password_is_refused_with_the_reason(client: Client) -> None:
    answer = client.post(
        first_user_path(), {"username": "ada", "password1": "12345", "password2": "12345"}
    )
    assert "too short" in answer.content.decode()
    assert not User.objects.exists()


@pytest.mark.parametrize("secret", ["first-user", "first-user:x:y", "", "a/b"])
def test_a_guessed_link_is_none(client: Client, secret: str) -> None:
    assert client.get(f"/first-user/{secret}/").status_code == 404


def test_a_link_of_another_day_is_none(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = first_user_path()
    later = timezone.now() + timedelta(hours=25)
    monkeypatch.setattr("django.core.signing.time.time", later.timestamp)
    assert TimestampSigner().timestamp()
    assert client.get(path).status_code == 404


def test_a_user_who_cannot_sign_in_does_not_close_the_door() -> None:
    User.objects.create(username="made-by-a-script")
    User.objects.create_user("left", password="x", is_active=False)
    assert nobody_can_sign_in()


def make_token(browser: Client, name: str = "ci") -> str:
    page = browser.post("/account/tokens/", {"name": name}).content.decode()
    found = re.search(r"llmat_[\w-]+", page)
    assert found is not None
    return found[0]


def test_a_token_is_shown_once_and_stored_as_a_hash(browser_of: BrowserOf, owner: User) -> None:
    browser = browser_of(owner)
    secret = make_token(browser)
    assert user_of_token(secret) == owner
    assert secret not in browser.get("/account/").content.decode()
    row = ApiToken.objects.values().get()
    assert secret not in str(row)
    assert row["ending"] == secret[-4:]


def test_a_revoked_token_opens_nothing(browser_of: BrowserOf, owner: User) -> None:
    browser = browser_of(owner)
    secret = make_token(browser)
    browser.post(f"/account/tokens/{ApiToken.objects.get().pk}/revoke/")
    assert user_of_token(secret) is None


def test_nobody_revokes_anothers_token(browser_of: BrowserOf, owner: User, stranger: User) -> None:
    token, _ = issue_token(owner, "ci")
    assert browser_of(stranger).post(f"/account/tokens/{token.pk}/revoke/").status_code == 404
    assert ApiToken.objects.exists()


def test_a_token_dies_with_its_day_and_with_its_user(owner: User) -> None:
    _, expired = issue_token(owner, "old", timezone.now() - timedelta(seconds=1))
    assert user_of_token(expired) is None
    _, secret = issue_token(owner, "ci")
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert user_of_token(secret) is None


def test_a_token_needs_a_name(browser_of: BrowserOf, owner: User) -> None:
    answer = browser_of(owner).post("/account/tokens/", {"name": " "})
    assert answer.status_code == 422
    assert not ApiToken.objects.exists()


def test_the_password_can_be_changed(browser_of: BrowserOf, owner: User) -> None:
    form = {
        "old_password": "owner-password",
        "new_password1": "correct-horse-battery",
        "new_password2": "correct-horse-battery",
    }
    answer = browser_of(owner).post("/account/password/", form, follow=True)
    assert "Your password is changed." in answer.content.decode()
    owner.refresh_from_db()
    assert owner.check_password("correct-horse-battery")


def test_a_fragment_without_a_session_leads_the_whole_page_to_the_sign_in(client: Client) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/tasks/?q=a"}
    answer = client.get("/tasks/", headers=headers)
    assert answer.status_code == 204
    assert answer["HX-Redirect"] == "/login/?next=%2Ftasks%2F%3Fq%3Da"
