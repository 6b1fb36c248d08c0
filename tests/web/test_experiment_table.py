"""The table of experiments: its columns, sorted, filtered and in pages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.seeding import Seeding
from tests.web.task_pages import numbers_in, page_of, row_of
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Experiment, Task
from tuning.web.experiment_table import PAGE_SIZE

pytestmark = pytest.mark.django_db

Browser = Callable[[User], Client]


@pytest.fixture
def browser(owner: User, browser_of: Browser) -> Client:
    return browser_of(owner)


NONSENSE = [
    "?sort=ttft_p50_s",
    "?sort=score",
    "?sort=task__owner__password",
    "?sort=flag.no-such-flag",
    "?sort=--number",
    "?sort=",
    "?status=EXPLODED",
    "?status=PRUNED",
    "?page=0",
    "?page=-1",
    "?page=x",
    "?page=99999999999999999999",
    "?page=%00&status=%00&sort=%00",
]


@pytest.fixture
def task_with_40(seeding: Seeding) -> Task:
    return Task.objects.get(pk=seeding.task(index=2, experiments=40, fate=TaskStatus.COMPLETED))


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("number", lambda one: one.number),
        ("-number", lambda one: -one.number),
        ("objective", lambda one: math.inf if one.objective_value is None else one.objective_value),
        ("duration", lambda one: one.duration_s),
        ("status", lambda one: one.status),
        ("flag.threads", lambda one: one.parameters.get("threads", 1e9)),
        ("-flag.parallel", lambda one: -one.parameters.get("parallel", -1e9)),
        ("flag.flash-attn", lambda one: one.parameters.get("flash-attn", "~")),
    ],
)
def test_sorting(
    sort: str, key: Callable[[Experiment], Any], task_with_40: Task, browser: Client
) -> None:
    expected = sorted(task_with_40.experiments.all(), key=lambda one: (key(one), one.number))
    page = page_of(browser, task_with_40.pk, f"?sort={sort}")
    assert numbers_in(page) == [one.number for one in expected]
    assert page.count("aria-sort=") == 1


def test_a_soft_slo_makes_the_score_a_column(seeding: Seeding, browser: Client) -> None:
    task = Task.objects.get(pk=seeding.task(experiments=12, fate=TaskStatus.COMPLETED))
    by_score = sorted(
        task.experiments.all(),
        key=lambda one: (math.inf if one.score is None else -one.score, one.number),
    )
    page = page_of(browser, task.pk, "?sort=-score")
    assert numbers_in(page) == [one.number for one in by_score]
    assert page.count("aria-sort=") == 1


def test_what_has_no_value_comes_last_either_way(task_with_40: Task, browser: Client) -> None:
    pending = task_with_40.experiments.filter(number__in=[3, 4])
    pending.update(
        status="PENDING", objective_value=None, score=None, finished_at=None, failure_kind=""
    )
    for sort, field in (("objective", "objective_value"), ("duration", "finished_at")):
        without = task_with_40.experiments.filter(**{f"{field}__isnull": True})
        last = sorted(one.number for one in without)
        assert {3, 4} <= set(last)
        for order in (sort, f"-{sort}"):
            page = page_of(browser, task_with_40.pk, f"?sort={order}")
            assert numbers_in(page)[-len(last) :] == last


def test_a_click_on_the_objective_brings_the_best_first(
    task_with_40: Task, browser: Client
) -> None:
    page = page_of(browser, task_with_40.pk)
    link = re.search(r'id="sort-objective" href="([^"]+)"', page)
    assert link is not None
    assert "sort=-objective" in link[1]
    assert task_with_40.best_experiment is not None
    sorted_page = browser.get(link[1]).content.decode()
    assert numbers_in(sorted_page)[0] == task_with_40.best_experiment.number
    assert f'id="sort-objective" href="/tasks/{task_with_40.pk}/?sort=objective"' in sorted_page


def test_filtering_by_status_counts_all(task_with_40: Task, browser: Client) -> None:
    failed = list(task_with_40.experiments.filter(status="FAILED").values_list("number", flat=True))
    assert failed
    page = page_of(browser, task_with_40.pk, "?status=FAILED&sort=-number")
    assert numbers_in(page) == sorted(failed, reverse=True)
    assert f"Failed <strong>{len(failed)}</strong>" in page
    assert "All <strong>40</strong>" in page


def test_nonsense_in_the_address_counts_as_not_asked(task_with_40: Task, browser: Client) -> None:
    for query in NONSENSE:
        assert numbers_in(page_of(browser, task_with_40.pk, query)) == list(range(40)), query


def test_pages_hold_a_hundred_and_are_sorted_over_all(seeding: Seeding, browser: Client) -> None:
    task_id = seeding.task(index=2, experiments=230, fate=TaskStatus.COMPLETED)
    first = page_of(browser, task_id, "?sort=-number")
    assert numbers_in(first) == list(range(229, 229 - PAGE_SIZE, -1))
    assert "1–100 of 230" in first
    assert f'href="/tasks/{task_id}/?sort=-number&amp;page=3"' in first
    assert numbers_in(page_of(browser, task_id, "?sort=-number&page=3")) == list(range(29, -1, -1))


def test_columns_are_what_varies_and_what_was_measured(task_with_40: Task, browser: Client) -> None:
    page = page_of(browser, task_with_40.pk)
    headings = re.findall(r"<th scope=\"col\"[^>]*>\s*(?:<a [^>]*>)?([^<\n]+)", page)
    start = headings.index("#")
    assert headings[start : start + 11] == [
        "#",
        "Status",
        "threads",
        "parallel",
        "flash-attn",
        "Output throughput",
        "TTFT p50",
        "TPOT p50",
        "E2E latency p99",
        "SLOs",
        "Time",
    ]


def test_broken_slos_are_named_in_the_row(seeding: Seeding, browser: Client) -> None:
    task_id = seeding.task(experiments=3, fate=TaskStatus.RUNNING)
    experiment = Experiment.objects.get(task=task_id, number=1)
    experiment.slo_verdicts[0]["is_met"] = False
    experiment.save()
    page = page_of(browser, task_id)
    assert "✗ TTFT p99" in row_of(page, 1)
