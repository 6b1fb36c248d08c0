"""How sure a gain is, which requests failed, and the front of several objectives: everywhere."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.seeding import Seeding
from tuning import formatting
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.verdict import Finding, GainVerdict
from tuning.exports import ExportFormat, export_results
from tuning.models import Experiment, Task
from tuning.reports import as_document, task_report

pytestmark = pytest.mark.django_db

BrowserOf = Callable[[User], Client]

SURELY = (1.0, 1.02, 0.99)
OBJECTIVES = ["minimize_latency", "maximize_throughput"]


@pytest.fixture
def browser(browser_of: BrowserOf, owner: User) -> Client:
    return browser_of(owner)


@pytest.fixture
def verified(seeding: Seeding) -> Task:
    task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=8)
    seeding.verify(task_id, SURELY)
    return Task.objects.get(pk=task_id)


@pytest.fixture
def several(seeding: Seeding) -> Task:
    task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=16, objective=OBJECTIVES)
    return Task.objects.get(pk=task_id)


def text_of(browser: Client, address: str) -> str:
    return read(browser.get(address).content.decode())


def read(page: str) -> str:
    """As a person reads it, who sees no difference between kinds of blanks."""
    return html.unescape(page).replace("\N{NO-BREAK SPACE}", " ")


def verdict_of(task: Task) -> GainVerdict:
    return GainVerdict.of_document(task.verdicts[0])


PLACES: dict[str, Callable[[Task], str]] = {
    "task": lambda task: f"/tasks/{task.pk}/",
    "list": lambda task: "/tasks/",
    "dashboard": lambda task: "/",
    "winner": lambda task: reverse("task-winner", args=[task.pk]),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_interval_is_on_every_page(browser: Client, verified: Task, place: str) -> None:
    verdict = verdict_of(verified)
    assert verdict.finding is Finding.BETTER

    assert formatting.verdict_sentence(verdict) in text_of(browser, PLACES[place](verified))


@pytest.mark.parametrize("place", ["list", "dashboard"])
def test_lists_say_it_briefly(browser: Client, verified: Task, place: str) -> None:
    page = text_of(browser, PLACES[place](verified))

    assert f">{formatting.brief_verdict(verdict_of(verified))}<" in page


def test_a_comparison_says_it(browser: Client, verified: Task, seeding: Seeding) -> None:
    other = seeding.task(fate=TaskStatus.COMPLETED, experiments=6)
    page = text_of(browser, f"/compare/?task={verified.pk}&task={other}")

    assert formatting.verdict(verdict_of(verified)) in page
    assert "not verified" in page


def test_documents_and_exports_say_it(browser: Client, verified: Task) -> None:
    verdict = verdict_of(verified)
    detail = browser.get(f"/api/tasks/{verified.pk}").json()["progress"]
    listed = browser.get("/api/tasks/").json()["items"][0]["progress"]
    printed = as_document(task_report(verified))
    report = read(export_results(verified, ExportFormat.HTML).content)

    assert detail["verdicts"] == listed["verdicts"] == printed["verdicts"]
    (said,) = printed["verdicts"]
    assert (said["finding"], said["low"], said["high"]) == ("better", verdict.low, verdict.high)
    assert said["text"] == formatting.verdict(verdict)
    assert detail["gain_over_baseline"] == listed["gain_over_baseline"] == verdict.gain
    assert formatting.verdict_sentence(verdict) in report


def test_the_order_of_a_list_is_that_of_what_it_shows(
    browser: Client, verified: Task, seeding: Seeding
) -> None:
    others = [seeding.task(index, fate=TaskStatus.COMPLETED, experiments=6) for index in (0, 1)]
    gains = {
        item["task_id"]: item["progress"]["gain_over_baseline"]
        for item in browser.get("/api/tasks/").json()["items"]
    }
    page = text_of(browser, "/tasks/?sort=-gain")
    shown = [int(one) for one in re.findall(r'id="tick-(\d+)"', page)]

    assert shown == sorted([verified.pk, *others], key=lambda pk: -gains[pk])


def test_further_launches_are_told_from_what_was_tried(browser: Client, verified: Task) -> None:
    page = text_of(browser, f"/tasks/{verified.pk}/")
    best = verified.best_experiment
    assert best is not None

    for number in (1, 2, 3):
        assert f"verification of {best.number}, round {number}" in page
        assert f"verification of baseline, round {number}" in page
    again = verified.experiments.filter(original=best).first()
    assert again is not None
    own = text_of(browser, f"/experiments/{again.pk}/")
    assert f"<h1>Experiment {again.number} (verification, round 1)" in own
    assert f'href="/experiments/{best.pk}/">experiment {best.number}</a> again' in own


def test_further_launches_are_in_no_chart_but_the_timeline(browser: Client, verified: Task) -> None:
    page = browser.get(f"/tasks/{verified.pk}/charts/").content.decode()
    data = {
        key: json.loads(html.unescape(found))
        for key, found in re.findall(
            r'id="(\w+)-chart".*?<script[^>]*>(.*?)</script>', page, flags=re.DOTALL
        )
    }

    assert len(data["history"]["experiments"]) == 8
    assert len(data["timeline"]["experiments"]) == 8 + 6


def test_a_winner_that_was_worse_leaves_the_baseline_and_says_why(
    browser: Client, seeding: Seeding
) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=8)
    # A latency: more is worse.
    seeding.verify(task_id, (9.0, 9.1, 9.0))
    task = Task.objects.get(pk=task_id)
    task.best_experiment = task.experiments.get(number=0)
    task.save()
    page = text_of(browser, f"/tasks/{task_id}/")

    assert "No other configuration is better than the engine's own defaults." in page
    assert "is worse by" in page
    assert "Gain: " not in page
    assert "Nothing beats the baseline" in text_of(browser, "/tasks/")
    assert browser.get(f"/api/tasks/{task_id}").json()["progress"]["gain_over_baseline"] == 0.0


def test_a_task_of_before_is_not_verified(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=8)

    said = "The gain is not verified: nothing was measured again."
    assert said in text_of(browser, f"/tasks/{task_id}/")
    assert "%, not verified" in text_of(browser, "/tasks/")


def test_while_a_task_runs_its_gain_is_not_verified_yet(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(fate=TaskStatus.RUNNING, experiments=8)

    assert "The gain is not verified yet." in text_of(browser, f"/tasks/{task_id}/")


# --- Failed requests ---


@pytest.fixture
def failing(verified: Task) -> Task:
    assert verified.best_experiment is not None
    Experiment.objects.filter(pk=verified.best_experiment.pk).update(
        num_requests=1_000, num_failed_requests=7
    )
    return verified


@pytest.mark.parametrize("place", ["task", "list", "dashboard"])
def test_failed_requests_stand_beside_the_value(browser: Client, failing: Task, place: str) -> None:
    page = text_of(browser, PLACES[place](failing))

    assert "7 of 1,000 requests failed" in page
    assert "7 failed</span>" in page


def test_failed_requests_are_on_the_experiment_in_comparisons_and_in_files(
    browser: Client, failing: Task
) -> None:
    assert failing.best_experiment is not None
    best = failing.best_experiment.pk
    others = failing.experiments.exclude(pk=best)
    own = text_of(browser, f"/experiments/{best}/")
    compared = text_of(browser, f"/compare/?experiment={best}&experiment={others[0].pk}")
    report = export_results(failing, ExportFormat.HTML).content
    rows = list(csv.DictReader(io.StringIO(export_results(failing, ExportFormat.CSV).content)))
    documents = {
        one["experiment_id"]: one for one in as_document(task_report(failing))["experiments"]
    }

    assert "7 failed</span>" in own
    assert "7 of 1,000 requests failed" in compared
    assert "7 of 1000 requests failed" in report
    assert {row["experiment_failed_requests"] for row in rows if row["is_best"] == "true"} == {"7"}
    assert documents[best]["num_failed_requests"] == 7
    assert browser.get(f"/api/experiments/{best}").json()["num_failed_requests"] == 7


def test_where_none_failed_nothing_is_marked(browser: Client, verified: Task) -> None:
    assert "failed</span>" not in text_of(browser, f"/tasks/{verified.pk}/?status=SUCCESS")


# --- Several objectives ---


def front_numbers(task: Task) -> list[int]:
    """By the definition: one latency and one throughput."""
    found = task.experiments.filter(status="SUCCESS")
    scores = {
        one.number: (
            one.objective_scores["e2e_latency_mean_s"],
            -one.objective_scores["output_throughput_tokens_per_s"],
        )
        for one in found
    }
    return sorted(
        number
        for number, own in scores.items()
        if not any(
            other != own and other[0] <= own[0] and other[1] <= own[1] for other in scores.values()
        )
    )


def test_the_page_shows_the_front_and_its_knee(browser: Client, several: Task) -> None:
    page = text_of(browser, f"/tasks/{several.pk}/")
    table = page.split('aria-label="Pareto front"')[1].split("</table>")[0]
    best = several.best_experiment
    assert best is not None

    shown = [int(one) for one in re.findall(r'href="/experiments/\d+/">(\d+)', table)]
    assert sorted(shown) == front_numbers(several)
    assert f'>{best.number} <span class="small">knee</span>' in table
    for metric in ("e2e_latency_mean_s", "output_throughput_tokens_per_s"):
        assert formatting.metric(metric, best.value_of(metric)) in page


def test_each_objective_has_a_column_to_sort_by(browser: Client, several: Task) -> None:
    key = "objective.output_throughput_tokens_per_s"
    page = text_of(browser, f"/tasks/{several.pk}/?sort=-{key}&status=SUCCESS")
    values = {
        one.number: one.objective_values["output_throughput_tokens_per_s"]
        for one in several.experiments.filter(status="SUCCESS")
    }
    shown = [int(one) for one in re.findall(r'<a id="experiment-(\d+)"', page)]

    assert shown == sorted(values, key=lambda number: -values[number])
    assert 'aria-sort="descending"' in page


def test_charts_have_the_front_and_the_hypervolume(browser: Client, several: Task) -> None:
    page = browser.get(f"/tasks/{several.pk}/charts/").content.decode()
    data: dict[str, Any] = {
        key: json.loads(html.unescape(found))
        for key, found in re.findall(
            r'id="(\w+)-chart".*?<script[^>]*>(.*?)</script>', page, flags=re.DOTALL
        )
    }
    numbers = {one[0]: one[1] for one in data["objectives"]["points"]}
    shares = [step[1] for step in data["hypervolume"]["steps"]]

    assert sorted(numbers[pk] for pk in data["objectives"]["front"]) == front_numbers(several)
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    assert "reference point is 1.1" in page


def test_documents_and_exports_have_the_front(browser: Client, several: Task) -> None:
    detail = browser.get(f"/api/tasks/{several.pk}").json()
    printed = as_document(task_report(several))
    report = export_results(several, ExportFormat.HTML).content

    assert detail["pareto_front"] == printed["pareto_front"]
    assert sorted(one["number"] for one in printed["pareto_front"]) == front_numbers(several)
    assert [one["number"] for one in printed["pareto_front"] if one["is_knee"]] == [
        printed["best_experiment"]
    ]
    assert [one["metric"] for one in detail["objectives"]] == [
        "e2e_latency_mean_s",
        "output_throughput_tokens_per_s",
    ]
    assert "<h2>Pareto front</h2>" in report


def test_lists_show_the_first_objective_and_how_many_more(browser: Client, several: Task) -> None:
    for address in ("/tasks/", "/"):
        assert "E2E latency mean and 1 more" in text_of(browser, address)


def test_one_objective_has_no_front(browser: Client, verified: Task) -> None:
    assert "Pareto front</h3>" not in text_of(browser, f"/tasks/{verified.pk}/")
    assert browser.get(f"/api/tasks/{verified.pk}").json()["pareto_front"] == []
