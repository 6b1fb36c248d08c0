"""Tokens and sessions: who is let in, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tuning.models.api_token import ApiToken, issue_token

pytestmark = pytest.mark.django_db

HEALTH = "/api/system/health"


def with_header(value: str) -> Client:
    return Client(headers={"Authorization": value})


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
def test_a_token_opens_the_door_and_remembers_it(owner: User, kind: str) -> None:
    row, secret = issue_token(owner, "test")
    assert with_header(f"{kind} {secret}").get(HEALTH).status_code == 200
    row.refresh_from_db()
    assert row.last_used_at is not None


def test_a_token_opens_no_door_once_it_is_over(owner: User) -> None:
    row, secret = issue_token(owner, "test", timezone.now() + timedelta(minutes=1))
    program = with_header(f"Bearer {secret}")
    assert program.get(HEALTH).status_code == 200
    ApiToken.objects.update(expires_at=timezone.now())
    assert program.get(HEALTH).status_code == 401
    ApiToken.objects.update(expires_at=None)
    User.objects.update(is_active=False)
    assert program.get(HEALTH).status_code == 401
    User.objects.update(is_active=True)
    assert program.get(HEALTH).status_code == 200
    row.delete()
    assert program.get(HEALTH).status_code == 401


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Bearer llmat_x", "Bearer é☃", "Basic eDp5"]
)
def test_anything_else_opens_none(owner: User, value: str) -> None:
    answer = with_header(value.encode().decode("latin1")).get(HEALTH)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_bad_token_is_not_made_good_by_a_session(owner: User) -> None:
    browser = with_header("Bearer llmat_made-up")
    browser.force_login(owner)
    assert browser.get(HEALTH).status_code == 401


def test_a_session_beside_the_password_of_a_proxy_is_a_session(owner: User) -> None:
    browser = with_header("Basic eDp5")
    browser.force_login(owner)
    assert browser.get(HEALTH).status_code == 200


def test_a_page_elsewhere_learns_nothing_of_what_is_there() -> None:
    """Also not by wrong methods and unknown addresses."""
    nobody = Client()
    for method, path in [("GET", "/api/"), ("GET", "/api/nope"), ("PATCH", "/api/tasks/")]:
        assert nobody.generic(method, path).status_code == 401
    assert nobody.get("/api/openapi.json").status_code == 401
    assert nobody.get("/api/docs")["Location"] == "/login/?next=/api/docs"


def test_the_installation_is_shown_to_staff_alone(
    api_of: Callable[[User], Client], owner: User
) -> None:
    program = api_of(owner)
    for path in ("/api/system/status", "/api/docker/containers"):
        refused = program.get(path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    User.objects.update(is_staff=True)
    for path, key in (("/api/system/status", "workers"), ("/api/docker/containers", "containers")):
        assert program.get(path).json()[key] == []
