"""Programs that use the API, and a real server for what only a real one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.realtime.conftest import redis_server, running_site, site
from tuning.models.api_token import issue_token

__all__ = ["redis_server", "running_site", "site"]


def bearer(user: User) -> dict[str, str]:
    """The header of a program that has a token of the user."""
    _, secret = issue_token(user, "test")
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def api_of() -> Callable[[User], Client]:
    """A program with a token of the user. As a browser's, its requests without CSRF token would
    be refused."""

    def of(user: User) -> Client:
        return Client(headers=bearer(user), enforce_csrf_checks=True)

    return of


@pytest.fixture
def api(api_of: Callable[[User], Client], owner: User) -> Client:
    """The owner's."""
    return api_of(owner)


def send(client: Client, method: str, path: str, document: Any = None) -> Any:
    """The answer to a request with a document, or with a text as it is, in its body."""
    body = document if isinstance(document, str | bytes) else json.dumps(document)
    return client.generic(method, path, data=body, content_type="application/json")
