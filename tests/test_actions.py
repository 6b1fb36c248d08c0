"""What people do to tasks: each action is possible exactly where it is offered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import settings
from django.contrib.auth.models import User

from tests.seeding import Seeding
from tuning import actions
from tuning.actions import ACTIONS, ActionRefused, TaskAction, possible_actions
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import parse_task
from tuning.jobs import advance_task
from tuning.models import Experiment, Task

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]


@pytest.fixture
def draft(task_document: dict[str, object], owner: User) -> Task:
    return actions.create(parse_task(task_document), owner, start=False)


@pytest.mark.parametrize("action", TaskAction)
@pytest.mark.parametrize("status", TaskStatus)
def test_an_action_is_possible_exactly_where_it_is_offered(
    seeding: Seeding, status: TaskStatus, action: TaskAction
) -> None:
    task = Task.objects.get(pk=seeding.task(fate=status, experiments=3))
    if action in possible_actions(task):
        assert ACTIONS[action](task)
    else:
        with pytest.raises(ActionRefused, match=str(status)):
            ACTIONS[action](task)


def test_nobody_runs_a_draft(draft: Task) -> None:
    advance_task(draft.pk)
    assert not Task.objects.for_workers().exists()
    assert not Experiment.objects.exists()


def test_a_started_draft_is_a_task_like_any_other(draft: Task) -> None:
    actions.start(draft)
    draft.refresh_from_db()
    assert draft.status == TaskStatus.PENDING
    assert draft.time_limit_s == settings.AUTOTUNER_TASK_TIME_LIMIT_S
    advance_task(draft.pk)
    draft.refresh_from_db()
    assert draft.status == TaskStatus.RUNNING


def test_a_draft_can_be_changed_and_nothing_else_can(
    draft: Task, task_document: dict[str, object]
) -> None:
    changed = parse_task({**task_document, "task_name": "renamed", "parameters": {"threads": [1]}})
    actions.revise(draft, changed)
    draft.refresh_from_db()
    assert (draft.name, draft.planned_experiments) == ("renamed", 2)
    actions.start(draft)
    with pytest.raises(ActionRefused, match="PENDING"):
        actions.revise(draft, changed)


def test_a_duplicate_is_a_draft_of_whoever_made_it(draft: Task, stranger: User) -> None:
    copy = actions.duplicate(draft, stranger)
    assert (copy.owner, copy.state, copy.name) == (stranger, TaskStatus.DRAFT, "small (copy)")
    assert copy.spec == {**draft.spec, "task_name": "small (copy)"}
    assert actions.duplicate(copy, stranger).name == "small (copy)"


def test_a_long_name_still_fits_with_its_suffix(draft: Task, stranger: User) -> None:
    Task.objects.filter(pk=draft.pk).update(name="x" * 100)
    draft.refresh_from_db()
    assert len(actions.duplicate(draft, stranger).name) == 100


def test_a_cancel_that_was_asked_for_is_offered_no_second_time(make_task: MakeTask) -> None:
    task = make_task()
    actions.cancel(task)
    task.refresh_from_db()
    assert possible_actions(task) == ()


def test_how_many_experiments_are_planned_is_known_from_the_start(make_task: MakeTask) -> None:
    # Two by two configurations and the baseline.
    assert make_task().planned_experiments == 5


def test_a_deleted_task_is_gone_for_the_next_one_too(draft: Task) -> None:
    actions.delete(draft)
    with pytest.raises(Task.DoesNotExist):
        actions.start(draft)
