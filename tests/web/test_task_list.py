"""The page of tasks: what a row shows, who sees it, and the fragment that htmx asks for."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.seeding import Seeding
from tests.web.task_lists import FRAGMENT, BrowserOf, chips, listed
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.models import Experiment, Task
from tuning.progress import read_progress
from tuning.task_rows import read_rows

pytestmark = pytest.mark.django_db


# --- What a row shows ---


@pytest.mark.parametrize("fate", [TaskStatus.COMPLETED, TaskStatus.RUNNING, TaskStatus.CANCELLED])
@pytest.mark.parametrize("index", range(3))
def test_a_row_says_the_same_as_the_task_page(
    seeding: Seeding, index: int, fate: TaskStatus
) -> None:
    task = Task.objects.get(pk=seeding.task(index, experiments=12, fate=fate))
    (row,) = read_rows([task.pk])
    progress = read_progress(task, task.parsed_spec())
    assert (row.finished, row.total) == (progress.finished, progress.total)
    assert row.best == progress.best
    assert row.gain_over_baseline == progress.gain_over_baseline
    assert row.objective == progress.spec.objective
    assert row.mean_experiment_s == pytest.approx(progress.mean_experiment_s)


def test_a_soft_limit_decides_the_best_so_far(seeding: Seeding) -> None:
    """By score, which has the penalties, and not by the bare value."""
    task_id = seeding.task(0, fate=TaskStatus.RUNNING)
    good = Experiment.objects.filter(task=task_id, status=ExperimentStatus.SUCCESS.value)
    first, second = good[:2]
    good.filter(pk=first.pk).update(objective_value=0.001, score=9.0)
    good.filter(pk=second.pk).update(objective_value=0.002, score=0.002)
    (row,) = read_rows([task_id])
    assert row.best == second


def test_rows_show_progress_result_and_links(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(1, experiments=4, fate=TaskStatus.RUNNING)
    (row,) = read_rows([task_id])
    assert row.best is not None
    text = browser.get("/tasks/").content.decode()
    assert f'<progress max="{row.total}" value="{row.finished}"' in text
    assert f'href="/experiments/{row.best.pk}/"' in text
    assert f'href="/tasks/{task_id}/"' in text
    assert f'formaction="/tasks/{task_id}/duplicate/"' in text
    assert "Qwen/Qwen2.5-7B-Instruct" in text
    assert "badge-RUNNING" in text


def test_names_are_escaped(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.DRAFT)
    Task.objects.filter(pk=task_id).update(name="<script>alert(1)</script>")
    assert "<script>alert(1)" not in browser.get("/tasks/").content.decode()


def test_many_tasks_take_few_queries(
    admin_client: Client,
    seeding: Seeding,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for index in range(30):
        seeding.task(index, experiments=3)
    for query in ("", "?sort=-gain&page=2", "?q=l&engine=vllm&status=COMPLETED"):
        with django_assert_max_num_queries(15):
            assert admin_client.get(f"/tasks/{query}").status_code == 200


# --- Rights ---


def test_a_stranger_sees_nothing_of_others(
    browser_of: BrowserOf, seeding: Seeding, stranger: User
) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    browser = browser_of(stranger)
    assert listed(browser) == []
    assert chips(browser)["ALL"] == 0
    text = browser.get("/tasks/?owner=owner").content.decode()
    assert "owner" not in re.sub(r"filter-\w+", "", text.split("<main")[1])


def test_who_may_view_all_may_filter_by_owner(
    browser_of: BrowserOf, seeding: Seeding, stranger: User
) -> None:
    task_id = seeding.task(0, fate=TaskStatus.DRAFT)
    stranger.user_permissions.add(Permission.objects.get(codename="view_task"))
    assert listed(browser_of(stranger), "?owner=owner") == [task_id]


def test_visitors_are_asked_to_sign_in(client: Client) -> None:
    assert client.get("/tasks/").status_code == 302
    assert client.post("/tasks/bulk/delete/").status_code == 302


# --- Fragments ---


def test_htmx_gets_the_list_alone(browser: Client, seeding: Seeding) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    answer = browser.get("/tasks/?q=llama&engine=&page=1", headers=FRAGMENT)
    text = answer.content.decode()
    assert "<html" not in text
    assert 'id="filter-q"' not in text
    assert text.strip().startswith('<div id="tasks"')


def test_the_address_bar_gets_a_short_address_to_share(browser: Client) -> None:
    answer = browser.get("/tasks/?q=llama&engine=&page=1", headers=FRAGMENT)
    assert answer["HX-Push-Url"] == "/tasks/?q=llama"


def test_news_leave_the_history_alone(browser: Client) -> None:
    """Or the Back button would lead through every refresh."""
    headers = {**FRAGMENT, "HX-Current-URL": "http://testserver/tasks/?q=llama"}
    answer = browser.get("/tasks/?q=llama&engine=&page=1", headers=headers)
    assert "HX-Push-Url" not in answer


def test_who_has_no_task_is_invited(browser: Client) -> None:
    text = browser.get("/tasks/").content.decode()
    assert "No tasks yet" in text
    assert 'href="/tasks/import/"' in text
