"""People, tasks in two states, and a row of every model."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from tests.admin.addresses import BrowserOf
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.models import (
    GpuLease,
    Lease,
    Task,
    WorkerHeartbeat,
)
from tuning.models.api_token import issue_token


@pytest.fixture
def staff(db: None) -> User:
    """Staff who may look at everything of the autotuner and change nothing."""
    user = User.objects.create_user("looker", is_staff=True)
    looks = Permission.objects.filter(content_type__app_label="tuning", codename__startswith="view")
    user.user_permissions.set(looks)
    return user


@pytest.fixture
def superuser(browser_of: BrowserOf, admin_user: User) -> Client:
    return browser_of(admin_user)


@pytest.fixture
def finished(seeding: Seeding) -> Task:
    return Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED, experiments=3))


@pytest.fixture
def running(seeding: Seeding) -> Task:
    """With a lease on its running experiment."""
    task = Task.objects.get(pk=seeding.task(fate=TaskStatus.RUNNING, experiments=3))
    now = timezone.now()
    experiment = task.experiments.get(number=2)
    lease = Lease.objects.create(
        experiment=experiment, owner="h/1/2", acquired_at=now, heartbeat_at=now
    )
    GpuLease.objects.create(host="h", index=0, deployment_mode="docker", lease=lease)
    return task


@pytest.fixture
def everything(finished: Task, running: Task, owner: User) -> None:
    """A row of each model at least."""
    issue_token(owner, "a script")
    now = timezone.now()
    WorkerHeartbeat.objects.create(
        name="h/1/2", host="h", pid=1, version="1", concurrency=1, started_at=now, heartbeat_at=now
    )
