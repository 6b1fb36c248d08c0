"""The fragment that shows the charts of a task, each with its data and the same as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from statistics import fmean
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.seeding import Seeding
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.domain.spec import parse_task
from tuning.models import Experiment, Task
from tuning.orchestrator.control import submit
from tuning.web.charts import reading

KEYS = ("history", "curves", "pareto", "parallel", "importance", "timeline")

Browser = Callable[[User], Client]


def fragment_of(client: Client, task_id: int) -> str:
    response = client.get(f"/tasks/{task_id}/charts/", HTTP_HX_REQUEST="true")
    assert response.status_code == 200
    return response.content.decode()


def data_of(html: str) -> dict[str, Any]:
    """The JSON of each chart by its key, read as strictly as a browser does."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    views = re.findall(
        r'<chart-view id="(\w+)-chart".*?<template><script [^>]*>(.*?)</script></template>',
        html,
        re.DOTALL,
    )
    return {key: json.loads(text, parse_constant=refuse) for key, text in views}


def rows_of(html: str, key: str) -> list[list[str]]:
    card = html.partition(f'id="{key}-card"')[2].partition("</section>")[0]
    body = card.partition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row)]
        for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    ]


@pytest.mark.django_db
class TestFragment:
    def test_every_chart_has_its_data_and_the_same_as_a_table(
        self, browser: Client, seeding: Seeding
    ) -> None:
        task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=12)

        html = fragment_of(browser, task_id)

        assert tuple(data_of(html)) == KEYS
        for key in KEYS:
            assert rows_of(html, key), key

    def test_history_and_best_agree_with_the_database(
        self, browser: Client, seeding: Seeding
    ) -> None:
        task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED, experiments=12))
        html = fragment_of(browser, task.pk)
        history = data_of(html)["history"]

        best = task.best_experiment
        assert best is not None
        assert history["best"][-1] == [best.number, best.objective_value]
        successes = task.experiments.filter(status="SUCCESS")
        assert {(row[0], row[5]) for row in history["experiments"] if row[3] == "success"} == set(
            successes.values_list("pk", "objective_value")
        )
        assert [row[2] for row in history["experiments"] if row[0] == best.pk] == ["best"]
        assert len(rows_of(html, "history")) == task.experiments.count()

    def test_curves_and_front_agree_with_the_measurements(
        self, browser: Client, seeding: Seeding
    ) -> None:
        task = Task.objects.get(pk=seeding.task(index=1, fate=TaskStatus.COMPLETED))
        data = data_of(fragment_of(browser, task.pk))
        best = task.best_experiment
        assert best is not None
        measured = list(best.measurements.order_by("concurrency"))

        curve = next(one for one in data["curves"]["curves"] if one["id"] == best.pk)
        assert curve["role"] == "best"
        assert [point[:3] for point in curve["points"]["D(1000,200)"]] == [
            [
                one.concurrency,
                one.metrics["output_throughput_tokens_per_s"],
                one.metrics["tpot_p50_s"],
            ]
            for one in measured
        ]
        place = next(row for row in data["pareto"]["points"] if row[0] == best.pk)[5:]
        assert place == pytest.approx(
            [
                max(one.metrics["output_throughput_tokens_per_s"] for one in measured),
                fmean(one.metrics["e2e_latency_p99_s"] for one in measured),
                fmean(one.metrics["ttft_p99_s"] for one in measured),
            ]
        )
        # It has the highest throughput of all, so nothing dominates it.
        assert data["pareto"]["fronts"]["ttft_p99_s"][0] == best.pk

    def test_a_broken_slo_keeps_its_value_but_is_never_the_best(
        self, browser: Client, seeding: Seeding
    ) -> None:
        task = Task.objects.get(pk=seeding.task(index=1, fate=TaskStatus.RUNNING))
        best = task.experiments.filter(status="SUCCESS").order_by("-score")[0]
        kind = FailureKind.SLO_VIOLATED.value
        task.experiments.filter(pk=best.pk).update(status="FAILED", failure_kind=kind)

        data = data_of(fragment_of(browser, task.pk))

        row = next(row for row in data["history"]["experiments"] if row[0] == best.pk)
        assert row[3:] == ["SLO violated", row[4], best.objective_value]
        assert best.number not in [number for number, _ in data["history"]["best"]]
        assert best.pk not in data["pareto"]["fronts"]["ttft_p99_s"]

    @pytest.mark.parametrize("fate", [TaskStatus.DRAFT, TaskStatus.PENDING])
    def test_a_task_without_experiments_says_what_is_missing(
        self, fate: TaskStatus, browser: Client, seeding: Seeding
    ) -> None:
        html = fragment_of(browser, seeding.task(fate=fate))

        assert data_of(html) == {}
        for reason in (
            "No experiment has ended yet.",
            "No load point has been measured yet.",
            "No experiment has succeeded yet.",
            "No configuration beside the baseline has ended yet.",
            "too few to tell",
            "No experiment has been launched yet.",
        ):
            assert reason in html

    def test_with_failures_alone_there_is_still_something_to_see(
        self, browser: Client, owner: User, task_document: dict[str, Any]
    ) -> None:
        task = submit(parse_task(task_document), owner=owner)
        for number, parameters in enumerate([{}, {"threads": 1, "parallel": 4}]):
            failed_experiment(task, number, parameters)

        html = fragment_of(browser, task.pk)

        assert set(data_of(html)) == {"history", "parallel", "timeline"}
        assert data_of(html)["history"]["best"] == []
        assert [row[1] for row in rows_of(html, "history")] == ["out of memory"] * 2

    def test_one_success_is_drawn(self, browser: Client, seeding: Seeding) -> None:
        task = Task.objects.get(pk=seeding.task(fate=TaskStatus.RUNNING, experiments=3))
        task.experiments.exclude(number=0).delete()

        data = data_of(fragment_of(browser, task.pk))

        assert set(data) == {"history", "curves", "pareto", "timeline"}

    def test_too_many_experiments_are_cut_and_the_card_says_so(
        self, browser: Client, seeding: Seeding, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "MOST_EXPERIMENTS", 4)
        task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED, experiments=12))
        assert task.best_experiment is not None

        html = fragment_of(browser, task.pk)

        drawn = {row[1] for row in data_of(html)["history"]["experiments"]}
        assert drawn == {0, 8, 9, 10, 11, task.best_experiment.number}
        assert f"{len(drawn)} of 12 experiments are drawn" in html

    def test_what_a_user_wrote_cannot_end_the_data(
        self, browser: Client, owner: User, task_document: dict[str, Any]
    ) -> None:
        nasty = "</script></template><img src=x>"
        task_document["parameters"] = {"chat-template": [nasty, "b"]}
        task = submit(parse_task(task_document), owner=owner)
        failed_experiment(task, 1, {"chat-template": nasty})

        html = fragment_of(browser, task.pk)

        assert "<img" not in html
        assert data_of(html)["parallel"]["lines"][0]["settings"] == [nasty]

    def test_queries_do_not_grow_with_the_experiments(
        self, browser: Client, seeding: Seeding
    ) -> None:
        counts = []
        for experiments in (4, 30):
            task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=experiments)
            with CaptureQueriesContext(
                connection,
            ) as queries:
                fragment_of(browser, task_id)
            counts.append(len(queries))

        assert counts[0] == counts[1] <= 10

    def test_only_who_may_see_the_task_sees_its_charts(
        self, seeding: Seeding, stranger: User, browser_of: Browser
    ) -> None:
        task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=2)

        assert browser_of(stranger).get(f"/tasks/{task_id}/charts/").status_code == 404
        assert Client().get(f"/tasks/{task_id}/charts/").status_code == 302


def failed_experiment(task: Task, number: int, parameters: dict[str, Any]) -> Experiment:
    now = timezone.now()
    return Experiment.objects.create(
        task=task,
        number=number,
        purpose="search" if number else "baseline",
        parameters=parameters,
        configuration_hash=str(number),
        status=ExperimentStatus.FAILED.value,
        failure_kind=FailureKind.OUT_OF_MEMORY.value,
        attempt=1,
        started_at=now - timedelta(seconds=30),
        finished_at=now,
        cleanup_s=1.0,
    )


class TestImportanceIntervals:
    def test_a_flag_without_effect_is_called_flat(self, browser: Client, seeding: Seeding) -> None:
        task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED, experiments=40))
        for one in task.experiments.filter(number__gt=0):
            value = 2.0 if one.parameters["schedule-policy"] == "lpm" else 1.0
            # Something that no flag decides.
            value += 0.01 * (one.number % 7)
            Experiment.objects.filter(pk=one.pk).update(
                status="SUCCESS", failure_kind="", objective_value=value, score=value
            )

        html = fragment_of(browser, task.pk)
        flags = {one["flag"]: one for one in data_of(html)["importance"]["flags"]}
        found = {row[0]: row[3] for row in rows_of(html, "importance")}

        decides, idle = flags["schedule-policy"], flags["enable-torch-compile"]
        assert 0.9 < decides["low"] <= decides["share"] <= decides["high"] <= 1
        assert not decides["flat"]
        assert idle["flat"]
        assert idle["low"] == 0
        assert found["schedule-policy"] == "has an effect"
        assert found["enable-torch-compile"] == "flat"
        assert "Flat, as far as can be told: " in html
