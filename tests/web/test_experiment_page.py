"""The page of an experiment."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from tests.seeding import Seeding
from tests.web.experiment_pages import page_of
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.models import Experiment, Measurement, Task

pytestmark = pytest.mark.django_db

Browser = Callable[[User], Client]


def cells(page: str, heading: str) -> list[str]:
    """The texts of the row whose heading has this text."""
    for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL):
        texts = [
            " ".join(re.sub(r"<[^>]+>", " ", cell).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        if texts[0] == heading:
            return texts[1:]
    raise AssertionError(f"no row {heading}")


def other_than_best(task: Task) -> Experiment:
    successes = task.experiments.filter(status="SUCCESS", number__gt=1)
    return next(one for one in successes if one.pk != task.best_experiment_id)


# --- Who sees what ---


def test_a_stranger_sees_neither_page_nor_results(
    task: Task, stranger: User, admin_user: User, browser_of: Browser
) -> None:
    experiment = task.experiments.get(number=1)
    for address in ("", "raw/", "raw/?format=zip"):
        assert (
            browser_of(stranger).get(f"/experiments/{experiment.pk}/{address}").status_code == 404
        )
    assert "Experiment 1" in page_of(browser_of(admin_user), experiment)


# --- What it shows ---


def test_what_differs_from_baseline_and_best_is_marked(task: Task, browser: Client) -> None:
    experiment, best = other_than_best(task), task.best_experiment
    assert best is not None
    experiment.parameters = {**best.parameters, "threads": 99}
    experiment.save()
    page = page_of(browser, experiment)
    assert f"Best (experiment {best.number})" in page
    of_best = f"≠ differs: {best.parameters['threads']}"
    assert cells(page, "--threads") == ["99", "≠ differs: default", of_best]
    assert cells(page, "--ctx-size") == ["4096", "same", "same"]
    assert cells(page, "--parallel")[-1] == "same"


def test_the_best_is_called_so_and_the_baseline_compares_with_nothing(
    task: Task, browser: Client
) -> None:
    assert task.best_experiment is not None
    page = page_of(browser, task.best_experiment)
    assert '<span class="badge tone-good">Best</span>' in page
    assert len(cells(page, "--threads")) == 2
    baseline = page_of(browser, task.experiments.get(number=0))
    assert "<h1>Baseline" in baseline
    assert len(cells(baseline, "--threads")) == 2
    assert "the baseline&#x27;s" not in baseline


def test_value_gain_and_verdicts(task: Task, browser: Client) -> None:
    experiment, baseline = other_than_best(task), task.experiments.get(number=0)
    assert experiment.objective_value is not None
    assert baseline.objective_value is not None
    page = page_of(browser, experiment)
    assert f"{experiment.objective_value:.0f} tokens/s" in page
    gain = experiment.objective_value / baseline.objective_value - 1
    assert f"{gain * 100:+.0f} %</strong>" in page
    assert cells(page, "error rate")[0] == "at most 0"
    assert cells(page, "error rate")[-1] == "✓ met"
    assert "Score" not in page


def test_soft_and_hard_limits_are_told_apart(task: Task, browser: Client) -> None:
    experiment = other_than_best(task)
    broken = {**experiment.slo_verdicts[0], "is_met": False, "violation_ratio": 0.25}
    experiment.slo_verdicts = [
        {**broken, "metric": "ttft_p99_s", "actual": 0.5, "breaks_hard_limit": True},
        {**broken, "metric": "tpot_p99_s", "actual": None, "breaks_hard_limit": False},
    ]
    experiment.score = (experiment.objective_value or 0) / 2
    experiment.save()
    page = page_of(browser, experiment)
    assert cells(page, "TTFT p99")[1] == "500 ms"
    assert cells(page, "TTFT p99")[-1] == "✗ broken (+25 %)"
    assert cells(page, "TPOT p99")[1] == "not measured"
    assert cells(page, "TPOT p99")[-1] == "✗ broken (+25 %), soft"
    assert "after the penalties of broken soft SLOs" in page


def test_neighbours_are_linked(task: Task, browser: Client) -> None:
    ids = dict(task.experiments.values_list("number", "pk"))
    first, last = task.experiments.get(number=0), task.experiments.get(number=7)
    page = page_of(browser, task.experiments.get(number=1))
    assert f'id="to-previous" rel="prev" href="/experiments/{ids[0]}/">← Baseline' in page
    assert f'id="to-next" rel="next" href="/experiments/{ids[2]}/">Experiment 2' in page
    assert "to-previous" not in page_of(browser, first)
    assert "to-next" not in page_of(browser, last)


def test_each_concurrency_has_a_row_and_repeats_a_median(task: Task, browser: Client) -> None:
    experiment = other_than_best(task)
    point = experiment.measurements.get(concurrency=2)
    for repeat, throughput in ((1, 100.0), (2, 300.0)):
        metrics = {**point.metrics, "output_throughput_tokens_per_s": throughput}
        del metrics["ttft_p99_s"]
        Measurement.objects.create(
            experiment=experiment,
            scenario=point.scenario,
            concurrency=2,
            repeat=repeat,
            metrics=metrics,
            num_requests=50,
            num_failed_requests=repeat,
            duration_s=30,
        )
    page = page_of(browser, experiment)
    assert len(cells(page, "1")) == 14
    middle = cells(page, "2, median")
    first = point.metrics["output_throughput_tokens_per_s"]
    assert middle[0] == f"{sorted((first, 100.0, 300.0))[1]:.3g}"
    # A metric that a repeat lacks has no median, as in the objective.
    assert middle[4] == "–"
    assert middle[10:12] == ["200", "✗ 3"]
    assert cells(page, "repeat 3")[0] == "300"


def test_scenarios_come_in_the_order_of_the_task(seeding: Seeding, browser: Client) -> None:
    task = Task.objects.get(pk=seeding.task(experiments=2, fate=TaskStatus.RUNNING))
    task.spec["benchmark"]["traffic_scenarios"].reverse()
    task.save()
    page = page_of(browser, task.experiments.get(number=0))
    assert re.findall(r'<h3 id="scenario-\d">(.*?)</h3>', page) == [
        "N(480,240)/(300,150)",
        "D(512,128)",
    ]


def test_phases_command_and_environment(task: Task, browser: Client) -> None:
    experiment = other_than_best(task)
    experiment.deploy_s, experiment.benchmark_s, experiment.cleanup_s = 30.0, 90.0, 0.04
    experiment.command = ["engine", "--name", "a b"]
    experiment.environment = {
        "engine_version": "b4",
        "gpus": [0, 3],
        "memory_mib": 515820,
        "manifests": [{"kind": "InferenceService"}],
        "digest": None,
    }
    experiment.attempt = 2
    experiment.save()
    page = page_of(browser, experiment)
    bars = re.findall(r'<rect class="phase-(\w+)" x="([\d.]+)" y="0" width="([\d.]+)"', page)
    assert [name for name, _, _ in bars] == ["deploy", "benchmark", "cleanup"]
    assert sum(float(width) for _, _, width in bars) == pytest.approx(100, abs=0.01)
    assert float(bars[1][1]) == pytest.approx(float(bars[0][2]), abs=0.01)
    for lasted in ("30 s", "1:30", "0.04 s"):
        assert f"<dd>{lasted}</dd>" in page
    assert "engine --name &#x27;a b&#x27;</pre>" in page
    facts = dict(re.findall(r'<dt>([^<]+)</dt><dd class="breakable">([^<]+)</dd>', page))
    assert facts == {
        "engine version": "b4",
        "GPUs": "0, 3",
        "memory": "515,820 MiB",
        "digest": "–",
    }
    (folded,) = re.findall(r"<details>(.*?)</details>", page, re.DOTALL)
    assert "<summary>Manifests</summary>" in folded
    assert "&quot;kind&quot;: &quot;InferenceService&quot;" in folded
    assert "attempt 2" in page


def test_every_kind_of_failure_has_its_hint(task: Task, browser: Client) -> None:
    experiment = other_than_best(task)
    for kind in FailureKind:
        Experiment.objects.filter(pk=experiment.pk).update(
            status="FAILED", failure_kind=kind.value, failure_message="It <broke>."
        )
        page = page_of(browser, experiment)
        (title,) = re.findall(r'<h2 id="failure-title">(.*?)</h2>', page)
        assert title.lower() == kind.replace("_", " ")
        assert title[0].isupper()
        assert not {"Slo", "gpus"} & set(title.split())
        assert "It &lt;broke&gt;." in page
        assert escape(Failure(kind, "").hint) in page


def test_one_that_was_never_measured_shows_the_end_of_its_log(task: Task, browser: Client) -> None:
    experiment = other_than_best(task)
    experiment.measurements.all().delete()
    Experiment.objects.filter(pk=experiment.pk).update(
        status="FAILED",
        failure_kind="crashed",
        objective_value=None,
        score=None,
        slo_verdicts=[],
        log_tail=["\x1b[31mERROR\x1b[0m <b>no memory</b>", "second"],
        deploy_s=None,
        benchmark_s=None,
        cleanup_s=None,
    )
    page = page_of(browser, experiment)
    assert ">ERROR &lt;b&gt;no memory&lt;/b&gt;\nsecond</pre>" in page
    assert "It has no value" in page
    assert "No load point was measured." in page
    assert "No phase was completed." in page
    assert f'href="/tasks/{task.pk}/logs/?experiment={experiment.number}"' in page


def test_a_value_that_breaks_a_hard_slo_does_not_count(task: Task, browser: Client) -> None:
    experiment = other_than_best(task)
    experiment.status, experiment.failure_kind = "FAILED", "slo_violated"
    experiment.save()
    page = page_of(browser, experiment)
    assert "It does not count" in page


def test_a_running_experiment_is_live(seeding: Seeding, browser: Client) -> None:
    task_id = seeding.task(index=2, experiments=3, fate=TaskStatus.RUNNING)
    experiment = Experiment.objects.get(task=task_id, status="BENCHMARKING")
    experiment.objective_value = experiment.score = None
    experiment.started_at = timezone.now() - timedelta(seconds=100)
    experiment.deploy_s = 40
    experiment.save()
    page = page_of(browser, experiment)
    assert f'<live-updates src="/ws/tasks/{task_id}/">' in page
    assert 'hx-trigger="live from:body' in page
    assert re.search(r'<running-clock seconds="6[01]" step="1">', page)
    assert "0 of at most 3 load points measured" in page
    assert "Not measured to the end yet." in page


def test_a_live_page_is_swapped_when_there_is_something_new(
    seeding: Seeding, browser: Client
) -> None:
    task_id = seeding.task(index=2, experiments=3, fate=TaskStatus.RUNNING)
    experiment = Experiment.objects.get(task=task_id, status="BENCHMARKING")
    htmx = {"HX-Request": "true", "HX-Target": "experiment"}
    fragment = page_of(browser, experiment, **htmx)
    assert fragment.strip().startswith('<div id="experiment" hx-get=')
    assert "<html" not in fragment
    address = re.search(r'hx-get="([^"]+)"', fragment)
    assert address is not None
    assert browser.get(address[1], headers=htmx).status_code == 204
    assert browser.get(address[1]).status_code == 200
    Measurement.objects.create(
        experiment=experiment,
        scenario="D(64,32)",
        concurrency=1,
        metrics={},
        num_requests=1,
        duration_s=1,
    )
    assert (
        "1 of at most 3 load points measured"
        in browser.get(address[1], headers=htmx).content.decode()
    )


def test_one_that_waits_and_one_that_has_ended(task: Task, browser: Client) -> None:
    waiting = other_than_best(task)
    Experiment.objects.filter(pk=waiting.pk).update(
        status=ExperimentStatus.PENDING.value,
        attempt=0,
        command=[],
        environment={},
        deploy_s=None,
        benchmark_s=None,
        cleanup_s=None,
        started_at=None,
        finished_at=None,
        objective_value=None,
        score=None,
    )
    page = page_of(browser, waiting)
    assert "It waits for its turn." in page
    assert "The engine was not launched yet." in page
    assert "live-updates" not in page_of(browser, task.experiments.get(number=0))


def test_without_a_baseline_and_without_a_best(seeding: Seeding, browser: Client) -> None:
    task = Task.objects.get(pk=seeding.task(index=2, experiments=3, fate=TaskStatus.FAILED))
    task.experiments.filter(number=0).delete()
    page = page_of(browser, task.experiments.get(number=2))
    assert len(cells(page, "--threads")) == 1
    assert "to-compare" not in page


@pytest.mark.parametrize("number", [0, 3])
def test_the_number_of_queries(
    number: int, task: Task, browser: Client, django_assert_max_num_queries: Any
) -> None:
    experiment = task.experiments.get(number=number)
    with django_assert_max_num_queries(9):
        page_of(browser, experiment)
