"""Who gets into the admin, and that what was measured is only read there."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from tests.admin.addresses import MODELS, BrowserOf, act_on, as_posted, list_of, page_of
from tuning.domain.lifecycle import TaskStatus
from tuning.models import (
    Experiment,
    GpuLease,
    Lease,
    LogChunk,
    Measurement,
    Task,
    WorkerHeartbeat,
)

pytestmark = pytest.mark.django_db


def test_the_admin_has_no_sign_in_page_of_its_own(owner: User, browser_of: BrowserOf) -> None:
    answer = Client().get(list_of(Task), follow=True)
    assert answer.redirect_chain[-1][0] == f"{reverse('login')}?next={list_of(Task)}"
    answer = browser_of(owner).get(list_of(Task), follow=True)
    assert answer.status_code == 403
    assert "Only staff may use the admin." in answer.content.decode()


@pytest.mark.usefixtures("everything")
def test_staff_without_rights_sees_nothing(browser_of: BrowserOf) -> None:
    browser = browser_of(User.objects.create_user("nobody", is_staff=True))
    for model in MODELS:
        assert browser.get(list_of(model)).status_code == 403
        assert browser.get(page_of(model.objects.first())).status_code == 403


@pytest.mark.usefixtures("everything")
def test_staff_who_may_look_can_neither_act_nor_change(
    browser_of: BrowserOf, staff: User, running: Task
) -> None:
    browser = browser_of(staff)
    for model in MODELS:
        assert browser.get(list_of(model)).status_code == 200
        assert browser.get(page_of(model.objects.first())).status_code == 200
    text = browser.get(list_of(Task)).content.decode()
    assert "export_tasks" in text
    for action in ("cancel_tasks", "start_tasks", "delete_selected"):
        assert action not in text
        act_on(browser, action, running, post="yes")
    assert browser.post(page_of(running), {"owner": staff.pk}).status_code == 403
    running.refresh_from_db()
    assert running.cancel_requested_at is None
    assert running.owner != staff


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("model", [one for one in MODELS if one is not Task])
def test_results_can_be_neither_added_nor_changed(superuser: Client, model: type[Any]) -> None:
    row = model.objects.first()
    before = model.objects.filter(pk=row.pk).values().get()
    add = reverse(f"admin:tuning_{model._meta.model_name}_add")
    assert superuser.get(add).status_code == 403
    assert superuser.post(add, as_posted(before)).status_code == 403
    assert superuser.post(page_of(row), {**as_posted(before), "_save": "1"}).status_code == 403
    assert model.objects.filter(pk=row.pk).values().get() == before


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize(
    "model", [Experiment, Measurement, LogChunk, Lease, GpuLease, WorkerHeartbeat]
)
def test_results_can_not_be_deleted_by_themselves(superuser: Client, model: type[Any]) -> None:
    row = model.objects.first()
    assert superuser.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    superuser.post(list_of(model), selected)
    assert model.objects.filter(pk=row.pk).exists()


def test_no_task_is_added_here(superuser: Client) -> None:
    assert superuser.get(reverse("admin:tuning_task_add")).status_code == 403


def test_a_superuser_gives_a_task_to_somebody_else_and_changes_nothing_more(
    superuser: Client, running: Task, stranger: User
) -> None:
    before = Task.objects.filter(pk=running.pk).values().get()
    changed = {**as_posted(before), "status": "COMPLETED", "owner": stranger.pk}
    assert superuser.post(page_of(running), changed).status_code == 302
    assert Task.objects.filter(pk=running.pk).values().get() == {**before, "owner_id": stranger.pk}


def test_to_change_the_owner_overwrites_nothing_that_a_worker_wrote_meanwhile(
    superuser: Client, running: Task, stranger: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_admin = admin.site.get_model_admin(Task)
    save = task_admin.save_model

    def late_save(request: Any, task: Task, form: Any, change: bool) -> None:
        Task.objects.filter(pk=task.pk).update(status=TaskStatus.PAUSED.value)
        save(request, task, form, change)

    monkeypatch.setattr(task_admin, "save_model", late_save)
    superuser.post(page_of(running), {"owner": stranger.pk})
    running.refresh_from_db()
    assert (running.owner, running.state) == (stranger, TaskStatus.PAUSED)


def test_staff_who_may_change_tasks_acts_on_them_but_keeps_the_owner(
    browser_of: BrowserOf, staff: User, running: Task
) -> None:
    staff.user_permissions.add(Permission.objects.get(codename="change_task"))
    browser = browser_of(staff)
    owner = running.owner
    browser.post(page_of(running), {"owner": staff.pk})
    act_on(browser, "cancel_tasks", running)
    running.refresh_from_db()
    assert running.owner == owner
    assert running.cancel_requested_at is not None
