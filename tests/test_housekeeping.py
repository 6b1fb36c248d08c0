"""Deleting takes everything of a task with it, and only what does not run any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.utils import timezone

from tests.orchestrator.recording import OWNER, run_next
from tuning.housekeeping import apply_retention, delete_task
from tuning.models import Experiment, LogChunk, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import TaskIsBusy, request_cancel
from tuning.orchestrator.lease import claim

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]


@pytest.fixture
def places(settings: LazySettings, tmp_path: Path) -> Path:
    settings.AUTOTUNER_LOG_DIR = tmp_path / "logs"
    settings.AUTOTUNER_RESULTS_DIR = tmp_path / "results"
    settings.AUTOTUNER_LOG_DIR.mkdir()
    return tmp_path


def with_files(task: Task, places: Path) -> tuple[Path, Path]:
    log = places / "logs" / f"task_{task.pk}.log"
    log.write_text("a line\n")
    results = places / "results" / f"task_{task.pk}" / "experiment_0"
    results.mkdir(parents=True)
    LogChunk.objects.create(task=task, first_seq=1, last_seq=1, lines=[[0.0, "engine", "a line"]])
    return log, results


def cancelled(task: Task) -> Task:
    request_cancel(task.pk)
    advance(task.pk)
    task.refresh_from_db()
    return task


def test_a_deleted_task_leaves_no_row_and_no_file(make_task: MakeTask, places: Path) -> None:
    task = make_task()
    run_next(task, 1.0)
    log, results = with_files(task, places)
    task_id = cancelled(task).pk
    delete_task(task_id)
    assert not Task.objects.exists()
    assert not Experiment.objects.exists()
    assert not LogChunk.objects.exists()
    assert not log.exists()
    assert not results.parent.exists()


def test_a_task_that_has_not_ended_is_not_deleted(make_task: MakeTask, places: Path) -> None:
    task = make_task()
    with pytest.raises(TaskIsBusy, match="PENDING"):
        delete_task(task.pk)
    claim(advance(task.pk).ready[0], OWNER)
    request_cancel(task.pk)
    with pytest.raises(TaskIsBusy, match="RUNNING"):
        delete_task(task.pk)
    assert Task.objects.exists()


def test_only_old_logs_of_ended_tasks_are_dropped(
    make_task: MakeTask, places: Path, settings: LazySettings
) -> None:
    settings.AUTOTUNER_LOG_RETENTION_DAYS = 7
    old, fresh, running = cancelled(make_task()), cancelled(make_task()), make_task()
    files = {task.pk: with_files(task, places)[0] for task in (old, fresh, running)}
    Task.objects.filter(pk=old.pk).update(finished_at=timezone.now() - timedelta(days=8))
    assert apply_retention() == 1
    assert sorted(LogChunk.objects.values_list("task_id", flat=True)) == [fresh.pk, running.pk]
    assert not files[old.pk].exists()
    assert files[fresh.pk].exists()
    assert Task.objects.filter(pk=old.pk).exists()
