"""Downloads of a task and the fragment with its winner."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.exports import EXPORTS
from tuning.models import Task

BrowserOf = Callable[[User], Client]
TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "yaml": "application/yaml; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "task-json": "application/json",
    "task-yaml": "application/yaml; charset=utf-8",
    "command": "text/x-shellscript; charset=utf-8",
    "docker-run": "text/x-shellscript; charset=utf-8",
    "compose": "application/yaml; charset=utf-8",
    "inference-service": "application/yaml; charset=utf-8",
}


@pytest.fixture
def task(seeding: Seeding) -> Task:
    return Task.objects.get(pk=seeding.task(experiments=4, fate=TaskStatus.COMPLETED))


def address(task: Task, kind: str) -> str:
    return reverse("task-export", args=[task.pk, kind])


def test_every_kind_is_a_download_with_a_name_of_its_own(
    browser_of: BrowserOf, owner: User, task: Task
) -> None:
    browser = browser_of(owner)
    names = set()
    for kind, content_type in TYPES.items():
        answer = browser.get(address(task, kind))
        assert answer.status_code == 200, kind
        assert answer["Content-Type"] == content_type
        disposition = answer["Content-Disposition"]
        assert disposition.startswith(f'attachment; filename="task-{task.pk}-llama-3-1-8b-')
        names.add(disposition)

    assert set(EXPORTS) == set(TYPES)
    assert len(names) == len(TYPES)


@pytest.mark.parametrize("kind", [*TYPES, "nonsense"])
def test_a_stranger_learns_nothing(
    browser_of: BrowserOf, stranger: User, task: Task, kind: str
) -> None:
    assert browser_of(stranger).get(address(task, kind)).status_code == 404


def test_an_unknown_kind_is_not_found(browser_of: BrowserOf, owner: User, task: Task) -> None:
    assert browser_of(owner).get(address(task, "exe")).status_code == 404


def test_without_a_winner_there_are_results_but_nothing_to_deploy(
    browser_of: BrowserOf, owner: User, seeding: Seeding
) -> None:
    task = Task.objects.get(pk=seeding.task(experiments=2, fate=TaskStatus.FAILED))
    browser = browser_of(owner)

    assert browser.get(address(task, "json")).status_code == 200
    assert browser.get(address(task, "compose")).status_code == 404
    page = browser.get(reverse("task-winner", args=[task.pk]))
    assert page.status_code == 200
    assert "no experiment has succeeded" in page.content.decode()


def test_the_winner_can_be_copied_and_downloaded_in_every_form(
    browser_of: BrowserOf, owner: User, task: Task
) -> None:
    page = browser_of(owner).get(reverse("task-winner", args=[task.pk])).content.decode()

    for kind in ("command", "docker-run", "compose", "inference-service"):
        assert f'<copy-button from="winner-{kind}">' in page
        assert f'id="winner-{kind}"' in page
        assert address(task, kind) in page
    assert "over the baseline" in page
    assert "has not ended" not in page


def test_a_baseline_that_wins_is_said_to_be_one(
    browser_of: BrowserOf, owner: User, task: Task
) -> None:
    task.best_experiment = task.experiments.get(number=0)
    task.save()
    page = browser_of(owner).get(reverse("task-winner", args=[task.pk])).content.decode()

    assert "own defaults are the best" in page


def test_the_winner_of_a_running_task_is_only_the_best_so_far(
    browser_of: BrowserOf, owner: User, seeding: Seeding
) -> None:
    running = seeding.task(experiments=4, fate=TaskStatus.RUNNING)
    page = browser_of(owner).get(reverse("task-winner", args=[running])).content.decode()

    assert "a better one may come" in page


def test_a_stranger_sees_no_winner(browser_of: BrowserOf, stranger: User, task: Task) -> None:
    assert browser_of(stranger).get(reverse("task-winner", args=[task.pk])).status_code == 404
