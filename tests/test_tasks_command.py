"""`manage.py tasks` does what it says to one task, and refuses with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.orchestrator.recording import OWNER, run_next
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.lease import claim

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]


def tasks(*arguments: str | int) -> str:
    output = StringIO()
    call_command("tasks", *map(str, arguments), stdout=output)
    return output.getvalue()


def test_the_list_tells_how_far_each_task_has_come(
    make_task: MakeTask, capsys: pytest.CaptureFixture[str]
) -> None:
    task = make_task()
    run_next(task, 1.0)
    advance(task.pk)
    call_command("tasks")
    listed = capsys.readouterr().out
    for text in (str(task.pk), "small", "RUNNING", "1 ended of 2", "workers"):
        assert text in listed


def test_cancel_pause_resume_and_delete(make_task: MakeTask) -> None:
    task = make_task()
    run_next(task, 1.0)
    assert "paused" in tasks("pause", task.pk)
    assert "goes on" in tasks("resume", task.pk)
    assert "being cancelled" in tasks("cancel", task.pk)
    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.state is TaskStatus.CANCELLED
    assert "deleted" in tasks("delete", task.pk)
    assert not Task.objects.exists()


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "delete"])
def test_a_task_that_is_not_there(action: str) -> None:
    with pytest.raises(CommandError, match="no task 99") as refused:
        tasks(action, 99)
    assert refused.value.returncode == 2


def test_what_makes_no_sense_is_refused_with_the_state(make_task: MakeTask) -> None:
    task = make_task()
    with pytest.raises(CommandError, match="PENDING"):
        tasks("pause", task.pk)
    with pytest.raises(CommandError, match="PENDING"):
        tasks("delete", task.pk)
    claim(advance(task.pk).ready[0], OWNER)
    with pytest.raises(CommandError, match="run by"):
        tasks("resume", task.pk)
    tasks("cancel", task.pk)
    with pytest.raises(CommandError, match="already"):
        tasks("cancel", task.pk)


def test_an_action_without_a_task() -> None:
    with pytest.raises(CommandError, match="by its number"):
        tasks("cancel")
