"""What the admin does to tasks, and what it refuses."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from tests.admin.addresses import BrowserOf, act_on, list_of, page_of, told_by
from tests.seeding import Seeding
from tuning import actions
from tuning.domain.lifecycle import TaskStatus
from tuning.logs import log_path
from tuning.models import (
    ApiToken,
    Experiment,
    Task,
)
from tuning.models.api_token import issue_token

pytestmark = pytest.mark.django_db


def test_actions_do_what_they_say_and_tell_each_refusal(
    superuser: Client, seeding: Seeding, finished: Task, running: Task
) -> None:
    draft = Task.objects.get(pk=seeding.task(fate=TaskStatus.DRAFT))
    answer = act_on(superuser, "start_tasks", draft, finished)
    assert sorted(told_by(answer)) == [
        ("success", f"Task {draft.pk} is queued."),
        ("warning", f"Task {finished.pk} is COMPLETED: only a draft can be started."),
    ]
    draft.refresh_from_db()
    assert draft.state is TaskStatus.PENDING
    [entry] = LogEntry.objects.filter(object_id=str(draft.pk))
    assert entry.get_change_message() == "Started in the admin."
    assert not LogEntry.objects.filter(object_id=str(finished.pk)).exists()


def test_tasks_are_paused_resumed_and_cancelled(superuser: Client, running: Task) -> None:
    for action, status in (
        ("pause_tasks", TaskStatus.PAUSED),
        ("resume_tasks", TaskStatus.RUNNING),
    ):
        [(level, _)] = told_by(act_on(superuser, action, running))
        running.refresh_from_db()
        assert (level, running.state) == ("success", status)
    act_on(superuser, "cancel_tasks", running)
    running.refresh_from_db()
    assert running.cancel_requested_at is not None


def test_many_refusals_are_not_all_told(superuser: Client, seeding: Seeding) -> None:
    tasks = [Task.objects.get(pk=seeding.task(fate=TaskStatus.PENDING)) for _ in range(13)]
    told = told_by(act_on(superuser, "start_tasks", *tasks))
    assert len(told) == 11
    assert told[-1] == ("warning", "The same for 3 more tasks.")


def test_results_are_exported_as_one_archive(
    browser_of: BrowserOf, staff: User, finished: Task, running: Task
) -> None:
    browser = browser_of(staff)
    data = {"action": "export_tasks", "_selected_action": [finished.pk, running.pk]}
    answer: Any = browser.post(list_of(Task), data)
    assert "autotuner-results.zip" in answer["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        documents = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    assert {name.partition("/")[0] for name in documents} == {str(finished.pk), str(running.pk)}
    assert all(documents.values())


def test_a_task_is_deleted_with_its_files(superuser: Client, finished: Task) -> None:
    log = log_path(settings.AUTOTUNER_LOG_DIR, finished.pk)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("a line\n")
    asked = superuser.get(page_of(finished, "delete")).content.decode()
    assert "Experiments: 3" in asked
    superuser.post(page_of(finished, "delete"), {"post": "yes"})
    assert not Task.objects.filter(pk=finished.pk).exists()
    assert not Experiment.objects.exists()
    assert not log.exists()


def test_selected_tasks_are_deleted_with_their_files(superuser: Client, seeding: Seeding) -> None:
    tasks = [Task.objects.get(pk=seeding.task(experiments=2)) for _ in range(2)]
    raw = settings.AUTOTUNER_RESULTS_DIR / f"task_{tasks[1].pk}"
    raw.mkdir(parents=True)
    act_on(superuser, "delete_selected", *tasks, post="yes")
    assert not Task.objects.exists()
    assert not raw.exists()


def test_a_busy_task_is_not_deleted_and_keeps_the_others_selected_with_it(
    superuser: Client, finished: Task, running: Task
) -> None:
    assert "cancel it first" in superuser.get(page_of(running, "delete")).content.decode()
    superuser.post(page_of(running, "delete"), {"post": "yes"})
    answer = act_on(superuser, "delete_selected", finished, running, post="yes")
    assert "is RUNNING: cancel it first" in answer.content.decode()
    assert Task.objects.count() == 2


def test_a_task_that_is_started_after_the_question_is_not_deleted(
    superuser: Client, finished: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(task: Task) -> str:
        raise actions.ActionRefused("Task 1 is RUNNING: cancel it first.")

    monkeypatch.setattr(actions, "delete", refuse)
    answer = superuser.post(page_of(finished, "delete"), {"post": "yes"})
    assert answer.status_code == 403
    assert "cancel it first" in answer.content.decode()
    assert not LogEntry.objects.exists()


def test_a_token_is_revoked_here(superuser: Client, owner: User) -> None:
    token, _ = issue_token(owner, "a script")
    superuser.post(page_of(token, "delete"), {"post": "yes"})
    assert not ApiToken.objects.exists()
