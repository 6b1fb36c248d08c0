"""People and tasks for pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import parse_task
from tuning.models import Task
from tuning.orchestrator.control import submit


@pytest.fixture
def viewer(db: None) -> User:
    """May look at everybody's tasks, and change none of them."""
    user = User.objects.create_user("viewer", password="viewer-password")
    user.user_permissions.add(Permission.objects.get(codename="view_task"))
    return user


@pytest.fixture
def browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    """The owner's."""
    return browser_of(owner)


@pytest.fixture
def task_in(owner: User, task_document: dict[str, Any]) -> Callable[[TaskStatus], Task]:
    """A task of the owner in a state, without experiments."""

    def make(status: TaskStatus) -> Task:
        task = submit(parse_task(task_document), owner=owner)
        task.status = status.value
        if status.is_terminal:
            task.finished_at = timezone.now()
        task.save()
        return task

    return make


@pytest.fixture
def task(seeding: Seeding) -> Task:
    """Completed, for the largest throughput, with one scenario at three concurrencies."""
    return Task.objects.get(pk=seeding.task(index=2, experiments=8, fate=TaskStatus.COMPLETED))
