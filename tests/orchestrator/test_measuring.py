"""Which loads an experiment measures, and how it ends, with engines whose speed is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from django.test import Client

from controllers.base import (
    Benchmark,
    BenchmarkPlan,
    BenchmarkRun,
    CacheFlush,
    Controller,
    Deployment,
    DeploymentRequest,
    EngineState,
    EngineStatus,
    LoadPoint,
    LogSink,
    PointByPointRun,
    PointResult,
    Tick,
)
from tuning.documents.experiment import experiment_detail
from tuning.domain.failures import Failure
from tuning.models import Experiment, Task
from tuning.orchestrator.choosing import best_experiment
from tuning.orchestrator.drive import drive
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.ports import Ports

pytestmark = pytest.mark.django_db(transaction=True)

MakeTask = Callable[..., Task]
CONCURRENCIES = [1, 4, 16, 64]


def speed(threads: int) -> Callable[[int], float]:
    """Tokens/s over concurrency of an engine with so many threads; the baseline has one."""
    peak = 100.0 * threads
    return lambda concurrency: peak * concurrency / (concurrency + 32)


@dataclass
class FakeEngines:
    """Ready at once. Remembers what each was launched with."""

    launched: dict[str, DeploymentRequest] = field(default_factory=dict)

    def deploy(self, request: DeploymentRequest, log: LogSink, tick: Tick) -> Deployment:
        self.launched[request.identity.name] = request
        return Deployment(request.identity, "http://127.0.0.1:9", ("engine",))

    def status(self, deployment: Deployment) -> EngineStatus:
        return EngineStatus(EngineState.READY)

    def exit_failure(self, deployment: Deployment) -> Failure | None:
        return None

    def recent_log(self, deployment: Deployment, lines: int = 50) -> list[str]:
        return []

    def delete(self, deployment: Deployment) -> None:
        pass

    def threads(self, deployment: Deployment) -> int:
        return int(self.launched[deployment.identity.name].parameters.get("threads", 1))


def result_of(point: LoadPoint, threads: int, failed_requests: int = 0) -> PointResult:
    tokens_per_s = speed(threads)(point.concurrency)
    latency_s = 8 * point.concurrency / tokens_per_s
    metrics = {
        "output_throughput_tokens_per_s": tokens_per_s,
        "requests_per_s": tokens_per_s / 8,
        "e2e_latency_mean_s": latency_s,
        "e2e_latency_p99_s": latency_s,
        "error_rate": failed_requests / 10,
    }
    return PointResult(
        point, metrics, 10, failed_requests, 100 / tokens_per_s, {}, CacheFlush.PARTLY
    )


class FakeRun:
    """Each point is there as soon as it is asked for."""

    failure = None
    phase = "measuring"

    def __init__(self, threads: int, failing_at: int | None) -> None:
        self._threads = threads
        self._failing_at = failing_at
        self._results: list[PointResult] = []
        self.finished = False

    def measure(self, point: LoadPoint) -> None:
        assert self.is_idle
        failed = 1 if point.concurrency == self._failing_at else 0
        self._results.append(result_of(point, self._threads, failed))

    @property
    def is_idle(self) -> bool:
        return not self._results

    def poll(self) -> list[PointResult]:
        results, self._results = self._results, []
        return results

    def stop(self) -> None:
        self.finished = True


class FakeJob:
    """Takes all points at once, in the order of the plan; one more is there at each poll."""

    failure: Failure | None = None
    phase = "job"

    def __init__(self, threads: int, plan: BenchmarkPlan) -> None:
        self._results = [result_of(point, threads) for point in plan.points()]
        self.handed_out = 0

    @property
    def finished(self) -> bool:
        return not self._results

    def poll(self) -> list[PointResult]:
        if not self._results:
            return []
        self.handed_out += 1
        return [self._results.pop(0)]

    def stop(self) -> None:
        """As a run that was stopped in the middle says."""
        if self._results:
            self.failure = Failure("benchmark_failed", "was stopped")  # type: ignore[arg-type]
        self._results = []


RUN: type[PointByPointRun] = FakeRun
JOB: type[BenchmarkRun] = FakeJob


@dataclass
class FakeBenchmark:
    engines: FakeEngines
    as_job: bool = False
    failing_at: int | None = None

    def start(
        self, deployment: Deployment, plan: BenchmarkPlan, workdir: Path, log: LogSink
    ) -> BenchmarkRun:
        threads = self.engines.threads(deployment)
        return FakeJob(threads, plan) if self.as_job else FakeRun(threads, self.failing_at)


@pytest.fixture
def tune(make_task: MakeTask, tmp_path: Path) -> Callable[..., list[Experiment]]:
    """One thread is the baseline's; the configurations follow in the order of `threads`."""

    def run(
        threads: list[int],
        as_job: bool = False,
        failing_at: int | None = None,
        **sections: Any,
    ) -> list[Experiment]:
        benchmark = {"num_concurrency": CONCURRENCIES} | sections.pop("benchmark", {})
        task = make_task(parameters={"threads": threads}, benchmark=benchmark, **sections)
        engines = FakeEngines()
        ports = Ports(
            instance="test",
            owner=this_process(),
            controller=cast(Controller, engines),
            benchmark=cast(Benchmark, FakeBenchmark(engines, as_job, failing_at)),
            log=lambda source, text: said.append(text),
            results_dir=tmp_path,
            tokenizer_for=lambda spec: "unused",
        )
        drive(task.pk, ports)
        return list(task.experiments.order_by("number"))

    said: list[str] = []
    run.said = said  # type: ignore[attr-defined]
    return run


def measured(experiment: Experiment) -> list[int]:
    rows = experiment.measurements.order_by("pk").values_list("concurrency", flat=True)
    return list(rows)


Tune = Callable[..., list[Experiment]]


MINIMIZE = {"optimization": {"objective": "minimize_latency"}}


def test_a_hopeless_configuration_is_stopped_and_says_why(tune: Tune) -> None:
    baseline, best, hopeless = tune([8, 2], **MINIMIZE)

    assert measured(baseline) == CONCURRENCIES
    assert baseline.early_end == {}
    assert best.status == "SUCCESS"
    assert hopeless.status == "PRUNED"
    (only,) = measured(hopeless)
    assert hopeless.objective_value is None
    assert hopeless.failure is None

    end = hopeless.early_end
    assert end["kind"] == "pruned"
    assert [load["concurrency"] for load in end["skipped"]] == [
        level for level in CONCURRENCIES if level != only
    ]
    assert end["numbers"]["best_experiment"] == best.number
    assert end["numbers"]["best_score"] == best.score
    assert end["numbers"]["chance"] < 0.01
    assert best.score < end["numbers"]["score_bound"] < 4.26 / 2
    assert "experiment 1 has 0.5325 s" in end["reason"]
    assert any(end["reason"] in line for line in tune.said)  # type: ignore[attr-defined]

    task = Task.objects.get()
    assert task.best_experiment_id == best.pk
    assert best_experiment(task.parsed_spec(), [baseline, best, hopeless]) == best


def test_the_reason_is_on_the_pages_and_in_the_document(tune: Tune, admin_client: Client) -> None:
    *_, hopeless = tune([8, 2], **MINIMIZE)
    document = experiment_detail(hopeless).model_dump(mode="json")
    assert document["early_end"]["kind"] == "pruned"
    assert document["early_end"]["numbers"]["loads_measured"] == 1
    assert document["measurements"][0]["cache_flush"] == "partly"

    page = admin_client.get(f"/experiments/{hopeless.pk}/").content.decode()
    assert "Stopped early" in page
    assert "The chance to beat that is at most" in page
    assert "Not measured: D(16,8) at concurrency 1," in page
    assert "1 of these 1 measurements" in page
    table = admin_client.get(f"/tasks/{hopeless.task_id}/").content.decode()
    assert "badge-PRUNED" in table
    assert "hardly the best" in table


def test_loads_that_can_t_be_the_best_one_are_left_out(tune: Tune) -> None:
    _, better, *others = tune([4, 2, 3, 5, 6, 7])
    assert better.early_end["kind"] == "enough"
    assert measured(better)[0] == 64
    # The more have shown that the highest concurrency gives most, the fewer loads it takes.
    *_, last = others
    assert measured(last) == [64]
    assert last.early_end["kind"] == "enough"
    assert "The best concurrency is known" in last.early_end["reason"]
    for experiment, threads in zip([better, *others], [4, 2, 3, 5, 6, 7], strict=True):
        assert experiment.objective_value == speed(threads)(64)


def test_limits_that_a_load_may_break_have_it_measured(tune: Tune) -> None:
    """A lower limit may be broken at any lower concurrency."""
    _, better, _ = tune([4, 2], slo={"output_throughput_tokens_per_s": 1})
    assert sorted(measured(better)) == CONCURRENCIES
    assert better.early_end == {}


def test_off_measures_everything_in_the_order_of_the_file(tune: Tune) -> None:
    experiments = tune([4, 2], optimization={"pruning": "off"})
    assert [measured(one) for one in experiments] == [CONCURRENCIES] * 3
    assert {one.status for one in experiments} == {"SUCCESS"}


def test_a_broken_limit_ends_the_rest_but_for_the_baseline(tune: Tune) -> None:
    baseline, slow, fast = tune([2, 8], slo={"e2e_latency_p99_s": 2.0})
    assert baseline.failure_kind == slow.failure_kind == "slo_violated"
    assert measured(baseline) == CONCURRENCIES
    assert measured(slow) == [64]
    assert slow.early_end["kind"] == "slo_broken"
    assert slow.failure_message.startswith(
        "e2e_latency_p99_s was 3.84 s at D(16,8), concurrency 64"
    )
    # A value of one load can't be compared with those of all loads.
    assert slow.objective_value is None
    assert baseline.objective_value is not None
    assert fast.status == "SUCCESS"


def test_one_failed_request_is_enough(tune: Tune) -> None:
    _, failing, _ = tune([4, 2], failing_at=64)
    assert failing.failure_kind == "slo_violated"
    assert measured(failing) == [64]


def test_a_benchmark_that_takes_all_points_at_once_is_stopped_too(tune: Tune) -> None:
    baseline, best, hopeless = tune([64, 2], as_job=True, **MINIMIZE)
    assert measured(baseline) == CONCURRENCIES
    assert best.status == "SUCCESS"
    assert hopeless.status == "PRUNED"
    assert 0 < len(measured(hopeless)) < len(CONCURRENCIES)


def test_repeats_follow_on_what_was_not_left_out(tune: Tune) -> None:
    *_, last = tune([4, 2, 3, 5, 6, 7], benchmark={"repeats": 3})
    assert measured(last) == [64, 64, 64]
    assert [one.repeat for one in last.measurements.order_by("pk")] == [0, 1, 2]


GOODPUT: Mapping[str, Any] = {
    "optimization": {"objective": "maximize_goodput"},
    "slo": {"e2e_latency_p99_s": 4.0},
    "benchmark": {"num_concurrency": [1, 200]},
}


def goodput_of(threads: int) -> int:
    """The highest concurrency with a latency of 4 s at most: 8 c / X(c) <= 4."""
    return max(level for level in range(1, 201) if 8 * level / speed(threads)(level) <= 4.0)


def test_goodput_is_found_within_five_percent_and_ten_probes(tune: Tune) -> None:
    experiments = tune([2, 3, 4], **GOODPUT)
    for experiment, threads in zip(experiments, [1, 2, 3, 4], strict=True):
        levels = measured(experiment)
        true = goodput_of(threads)
        assert len(levels) <= 10
        good = [level for level in levels if level <= true]
        assert max(good) >= true / 1.05 - 1
        assert experiment.status == "SUCCESS"
        assert experiment.objective_value == pytest.approx(speed(threads)(max(good)) / 8)


def test_less_than_the_best_even_when_overloaded_is_given_up(tune: Tune) -> None:
    *_, worse = tune([4, 2], **GOODPUT)
    assert worse.status == "PRUNED"
    assert len(measured(worse)) < 4
    assert "Even with more clients than the limits allow" in worse.early_end["reason"]


def test_without_a_dialogue_goodput_is_that_of_the_listed_concurrencies(tune: Tune) -> None:
    sections = {**GOODPUT, "benchmark": {"num_concurrency": [1, 8, 32, 128]}}
    _, experiment, _ = tune([4, 2], as_job=True, **sections)
    assert measured(experiment) == [1, 8, 32, 128]
    assert experiment.status == "SUCCESS"
    assert experiment.objective_value == pytest.approx(speed(4)(128) / 8)


def test_what_breaks_its_limits_at_the_lowest_concurrency_is_infeasible(tune: Tune) -> None:
    sections = {**GOODPUT, "slo": {"e2e_latency_p99_s": 0.01}}
    baseline = tune([4, 2], **sections)[0]
    assert baseline.failure_kind == "slo_violated"
    assert 1 in measured(baseline)
    assert baseline.objective_value == 0
