"""A real web server with a data directory, a database and a Redis-compatible server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.realtime.sockets import Browser
from tests.services import (
    Installation,
    RedisServer,
    channel_layers,
    database_of,
    redis_server,
    session_cookie,
)
from tuning.models import Task

__all__ = ["redis_server"]

INSTANCE = "livetest"


@dataclass(frozen=True)
class Site:
    """The running server: where it is, who may sign in, and what serves it."""

    address: str
    installation: Installation
    redis: RedisServer

    def browser_of(self, user: User) -> Browser:
        return Browser(self.address, session_cookie(user))

    def output(self) -> str:
        """What the server and its helpers printed, tracebacks included."""
        return "".join(child.output() for child in self.installation.children)


@pytest.fixture(scope="session")
def running_site(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[Site]:
    installation = Installation.create(
        tmp_path_factory.mktemp("site"),
        redis_server.url,
        AUTOTUNER_INSTANCE=INSTANCE,
        AUTOTUNER_SECRET_KEY=settings.SECRET_KEY,
    )
    try:
        installation.migrate()
        _, address = installation.start_web()
        yield Site(address, installation, redis_server)
    finally:
        installation.stop_all()


@pytest.fixture
def site(running_site: Site, django_db_blocker: DjangoDbBlocker) -> Iterator[Site]:
    """The server, with this process's Django on the same database and the same bell."""
    running_site.redis.start()
    with (
        django_db_blocker.unblock(),
        database_of(running_site.installation),
        override_settings(CHANNEL_LAYERS=channel_layers(running_site.redis.url, INSTANCE)),
    ):
        yield running_site
    assert "Traceback" not in running_site.output()


@pytest.fixture
def make_user(site: Site) -> Callable[[], User]:
    def make() -> User:
        return User.objects.create_user(f"user{User.objects.count()}")

    return make


@pytest.fixture
def owner(make_user: Callable[[], User]) -> User:
    return make_user()


@pytest.fixture
def browser(site: Site, owner: User) -> Browser:
    """The owner's."""
    return site.browser_of(owner)


@pytest.fixture
def task(site: Site, make_task: Callable[..., Task], owner: User) -> Task:
    task = make_task()
    task.owner = owner
    task.save()
    return task
