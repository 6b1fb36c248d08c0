"""Every page of the admin answers, quickly, and leads to what belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.admin.addresses import MODELS, list_of, page_of
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.models import (
    Experiment,
    Lease,
    LogChunk,
    Measurement,
    Task,
)
from tuning.models.api_token import issue_token

pytestmark = pytest.mark.django_db

MOST_QUERIES = 15


def test_every_model_is_registered() -> None:
    assert set(apps.get_app_config("tuning").get_models()) == set(MODELS)
    assert all(admin.site.is_registered(model) for model in MODELS)


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("model", MODELS)
def test_list_row_and_history_answer_with_few_queries(
    superuser: Client,
    model: type[Any],
    django_assert_max_num_queries: Callable[..., Any],
) -> None:
    row = model.objects.first()
    for address in (
        list_of(model),
        f"{list_of(model)}?q=chat",
        f"{list_of(model)}?q=17",
        f"{list_of(model)}?q=99999999999999999999999",
        page_of(row),
        page_of(row, "history"),
    ):
        with django_assert_max_num_queries(MOST_QUERIES):
            assert superuser.get(address).status_code == 200, address


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("model", MODELS)
def test_every_filter_answers(superuser: Client, model: type[Any]) -> None:
    for choice in _filters(superuser.get(list_of(model))):
        assert superuser.get(list_of(model) + choice).status_code == 200, choice


def _filters(answer: Any) -> Iterator[str]:
    changelist = answer.context["cl"]
    for spec in changelist.filter_specs:
        yield from (choice["query_string"] for choice in spec.choices(changelist))


@pytest.mark.parametrize("model", [Task, Experiment, Measurement, LogChunk])
def test_a_list_takes_as_many_queries_for_many_rows_as_for_few(
    superuser: Client,
    seeding: Seeding,
    model: type[Any],
    django_assert_num_queries: Callable[..., Any],
) -> None:
    seeding.task(fate=TaskStatus.COMPLETED, experiments=3)
    superuser.get(list_of(model))
    with django_assert_num_queries(MOST_QUERIES, exact=False) as few:
        superuser.get(list_of(model))
    for _ in range(3):
        seeding.task(fate=TaskStatus.COMPLETED, experiments=3)
    with django_assert_num_queries(len(few)):
        superuser.get(list_of(model))


@pytest.mark.usefixtures("everything")
def test_pages_are_linked_to_what_belongs_to_them(superuser: Client, finished: Task) -> None:
    best = finished.best_experiment
    assert best is not None
    of_task = superuser.get(page_of(finished)).content.decode()
    for address in (
        reverse("task", args=[finished.pk]),
        page_of(best),
        f"{list_of(Experiment)}?task={finished.pk}",
        f"{list_of(LogChunk)}?task={finished.pk}",
        f"{list_of(Measurement)}?task={finished.pk}",
    ):
        assert address in of_task
        assert superuser.get(address).status_code == 200
    of_experiment = superuser.get(page_of(best)).content.decode()
    assert page_of(finished) in of_experiment
    assert reverse("experiment", args=[best.pk]) in of_experiment
    assert f"{list_of(Measurement)}?experiment={best.pk}" in of_experiment
    measurement = best.measurements.first()
    assert page_of(best) in superuser.get(page_of(measurement)).content.decode()
    lease = Lease.objects.get()
    assert page_of(lease) in superuser.get(page_of(lease.experiment)).content.decode()


def test_a_list_is_narrowed_down_to_a_task_and_searched_by_its_name(
    superuser: Client, seeding: Seeding
) -> None:
    first, second = (seeding.task(index, experiments=3) for index in range(2))
    for query, task_id in ((f"task={first}", first), (f"q={second}", second), ("q=qwen", second)):
        shown = superuser.get(f"{list_of(Experiment)}?{query}").context["cl"].result_list
        assert {one.task_id for one in shown} == {task_id}
    for nonsense in ("task=x", "task=99999999999999999999", "q=no+such+task"):
        assert not superuser.get(f"{list_of(Experiment)}?{nonsense}").context["cl"].result_list


def test_documents_and_logs_are_readable(superuser: Client, finished: Task) -> None:
    text = superuser.get(page_of(finished)).content.decode()
    assert "&quot;base_runtime&quot;: &quot;sglang&quot;,\n" in text
    text = superuser.get(page_of(LogChunk.objects.first())).content.decode()
    assert "INFO loading weights" in text
    assert "\x1b" not in text
    assert "[32m" not in text


def test_secrets_are_not_shown(superuser: Client, owner: User, running: Task) -> None:
    token, _ = issue_token(owner, "a script")
    assert token.digest not in superuser.get(page_of(token)).content.decode()
    lease = Lease.objects.get()
    text = superuser.get(page_of(lease)).content.decode()
    assert str(lease.token) not in text
    assert lease.token.hex not in text
