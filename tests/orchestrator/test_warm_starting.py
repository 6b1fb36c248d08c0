"""Tasks that start from what earlier ones have measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.orchestrator.accelerators import FakeHost
from tests.orchestrator.recording import OWNER, run_next
from tests.orchestrator.test_parallel import Engines, measuring
from tests.past_tasks import BATCHES, Speed, fast_in_a_corner, past_task, spec_of, started, warm
from tuning.domain.lifecycle import ExperimentEvent, ExperimentPurpose, ExperimentStatus, TaskStatus
from tuning.domain.names import FlagValue
from tuning.domain.similarity import Hardware
from tuning.domain.warm_start import FOUND_NONE, EarlierTask, in_words
from tuning.housekeeping import delete_task
from tuning.models import Experiment, Task, WorkerHeartbeat
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import resume, submit
from tuning.orchestrator.drive import drive
from tuning.orchestrator.known_hardware import KnownHardware
from tuning.orchestrator.lease import claim
from tuning.orchestrator.trials import proposals
from tuning.orchestrator.warm_starting import (
    MOST_EXPERIMENTS,
    MOST_TASKS,
    learnt_from,
    useless,
)

pytestmark = pytest.mark.django_db


def run_all(task: Task, speed: Speed = fast_in_a_corner) -> list[Mapping[str, FlagValue]]:
    """Run a task to its end; what was tried by the search, in its order."""
    while step := advance(task.pk).ready:
        parameters = Experiment.objects.get(pk=step[0]).parameters
        value = speed(parameters) if "batch-size" in parameters else 50.0
        run_next(task, value)
    searched = task.experiments.filter(purpose=ExperimentPurpose.SEARCH.value)
    return list(searched.order_by("number").values_list("parameters", flat=True))


# --- What is proposed ---


def test_a_warm_start_goes_where_the_earlier_task_was_best() -> None:
    cold_task = started(spec_of())
    cold = run_all(cold_task)
    delete_task(cold_task.pk)
    earlier = past_task()
    task = started(spec_of(True))
    tried = run_all(task)
    assert warm(task) == [earlier.pk]
    assert tried[0] == cold[0], "the first launch is what a cold start begins with"
    assert tried[1]["batch-size"] == 1024
    assert tried[1] != cold[1]
    best = max(map(fast_in_a_corner, tried[:3]))
    assert best > max(map(fast_in_a_corner, cold[:3]))


def test_a_smaller_model_elsewhere_with_other_flags_still_helps() -> None:
    past_task(
        model={"id_or_path": "SmolLM2-360M-Instruct.Q4_1.gguf"},
        parameters={"batch-size": BATCHES, "threads": [2, 4, 8], "parallel": [1, 4]},
        count=42,
    )
    task = started(spec_of(True))
    (earlier,) = task.earlier_tasks
    assert 0.2 < earlier.similarity < 0.6
    assert len(earlier.experiments) == 21, "one value of the flag that is not tuned here"
    assert run_all(task)[1]["batch-size"] == 1024


def test_the_baseline_and_further_launches_are_what_they_were() -> None:
    past_task()
    optimization = {"baseline": True, "verification": 2, "max_iterations": 3}
    task = started(spec_of(True, optimization=optimization))
    run_all(task)
    task.refresh_from_db()
    assert task.state is TaskStatus.COMPLETED
    purposes = list(task.experiments.order_by("number").values_list("purpose", flat=True))
    assert purposes == ["baseline", *["search"] * 3, *["verification"] * 4]
    assert task.experiments.get(number=0).parameters == {"ctx-size": 2048}


def test_with_several_objectives_each_is_learnt_from() -> None:
    objectives = ["maximize_throughput", "minimize_ttft"]
    metrics = ("output_throughput_tokens_per_s", "ttft_mean_s")
    earlier = past_task(optimization={"objective": objectives})
    for one in earlier.experiments.all():
        values = dict(zip(metrics, (one.score, 1 / fast_in_a_corner(one.parameters)), strict=True))
        Experiment.objects.filter(pk=one.pk).update(
            objective_scores=values, objective_values=values
        )
    spec = spec_of(True, optimization={"objective": objectives})
    task = started(spec)
    (learnt,) = learnt_from(task, spec)
    assert all(len(point) == 2 for _, point in learnt.results)
    first = task.experiments.get()
    values = {metrics[0]: 120.0, metrics[1]: 0.01}
    lease = claim(first.pk, OWNER)
    assert lease is not None
    lease.move(ExperimentEvent.ENGINE_READY)
    lease.end(
        ExperimentEvent.MEASURED,
        objective_value=120.0,
        score=120.0,
        objective_values=values,
        objective_scores=values,
        finished_at=timezone.now(),
    )
    measured = list(task.experiments.all())
    asked = proposals(spec, measured, 2, [learnt])
    assert asked == proposals(spec, measured, 2, [learnt])
    assert asked != proposals(spec, measured, 2)
    assert asked[0].parameters["batch-size"] == 1024


# --- Which tasks ---


def test_the_most_similar_come_first_and_no_more_than_some() -> None:
    same = past_task()
    loads = [{"num_concurrency": [2 * 4**place]} for place in range(1, 6)]
    others = [past_task(benchmark=load) for load in loads]
    task = started(spec_of(True))
    assert warm(task) == [same.pk, *(one.pk for one in others[: MOST_TASKS - 1])]
    alike = [one.similarity for one in task.earlier_tasks]
    assert alike == sorted(alike, reverse=True)
    assert len(set(alike)) == MOST_TASKS


@pytest.mark.parametrize(
    "sections",
    [
        {"base_runtime": "vllm", "parameters": {"max-num-seqs": [1, 2, 4]}},
        {"optimization": {"objective": "minimize_latency"}},
        {"parameters": {"parallel": [1, 2, 4]}},
        {"count": 2},
    ],
)
def test_what_can_not_be_compared_is_not_picked(sections: dict[str, Any]) -> None:
    past_task(speed=lambda parameters: 1.0, **sections)
    task = started(spec_of(True))
    assert task.warm_start == []
    assert task.started_from == FOUND_NONE
    assert advance(task.pk).ready, "the search goes on without"


def test_three_configurations_are_enough() -> None:
    earlier = past_task(count=3)
    assert warm(started(spec_of(True))) == [earlier.pk]


def test_of_a_long_task_some_of_every_quality_are_kept() -> None:
    flags = {"batch-size": [16 * place for place in range(1, 101)], "threads": [1, 2]}
    earlier = past_task(count=100, parameters=flags)
    (chosen,) = started(spec_of(True, parameters=flags)).earlier_tasks
    assert len(set(chosen.experiments)) == MOST_EXPERIMENTS
    ranked = list(earlier.experiments.order_by("score").values_list("number", flat=True))
    assert {ranked[0], ranked[-1]} <= set(chosen.experiments)
    halves = [sum(one in chosen.experiments for one in half) for half in (ranked[:50], ranked[50:])]
    assert halves == [MOST_EXPERIMENTS / 2] * 2


def test_a_task_that_starts_cold_remembers_nothing() -> None:
    past_task()
    task = started(spec_of(False))
    assert task.warm_start is None
    assert task.started_from == ""


def test_one_that_still_runs_can_be_learnt_from() -> None:
    running = past_task()
    Task.objects.filter(pk=running.pk).update(
        status="RUNNING", finished_at=None, best_experiment=None
    )
    assert warm(started(spec_of(True))) == [running.pk]


def test_failed_and_broken_experiments_and_baselines_teach_nothing() -> None:
    earlier = past_task()
    worst, second, third = earlier.experiments.order_by("number")[:3]
    Experiment.objects.filter(pk=worst.pk).update(status="FAILED", failure_kind="slo_violated")
    Experiment.objects.filter(pk=second.pk).update(number=0, purpose="baseline")
    Experiment.objects.filter(pk=third.pk).update(status="PRUNED")
    (chosen,) = started(spec_of(True)).earlier_tasks
    assert set(chosen.experiments) == set(range(4, 10))


def test_soft_limits_of_one_task_are_none_of_the_other() -> None:
    soft: dict[str, Any] = {"slo": {"ttft_p99_s": {"max": 0.5, "hard": False}}}
    earlier = past_task(**soft)
    Experiment.objects.filter(task=earlier).update(score=1.0)
    task, spec = started(spec_of(True)), spec_of(True)
    (learnt,) = learnt_from(task, spec)
    assert len({point for _, point in learnt.results}) > 1, "values, without their penalties"
    alike = spec_of(True, **soft)
    (learnt,) = learnt_from(started(alike), alike)
    assert {point for _, point in learnt.results} == {(1.0,)}


def test_the_same_host_is_more_alike_than_another() -> None:
    past_task()
    now = timezone.now()
    for host in ("elsewhere", "here"):
        WorkerHeartbeat.objects.all().delete()
        WorkerHeartbeat.objects.create(
            name=f"{host}/1/1.0", host=host, pid=1, concurrency=1, started_at=now, heartbeat_at=now
        )
        task = started(spec_of(True))
        (chosen,) = task.earlier_tasks
        assert chosen.similarity == pytest.approx(0.9 * (1.0 if host == "elsewhere" else 0.6))


def test_a_driver_tells_where_its_task_runs() -> None:
    past_task()
    (chosen,) = started(spec_of(True), driver="elsewhere/1/1.00").earlier_tasks
    assert chosen.similarity == 0.9


def test_hosts_tell_of_themselves_through_workers_and_experiments() -> None:
    earlier = past_task()
    last = earlier.experiments.order_by("-pk")[0]
    Experiment.objects.filter(pk=last.pk).update(
        environment={"cpu_count": 4, "memory_mib": "much", "gpus": [0, 1]}
    )
    now = timezone.now()
    WorkerHeartbeat.objects.create(
        name="gpus/1/1.0",
        host="gpus",
        pid=1,
        concurrency=1,
        gpus=2,
        cards_mib=[24_000, 80_000],
        started_at=now,
        heartbeat_at=now,
    )
    known, spec = KnownHardware(), spec_of()
    assert known.of_the_past(spec, ["elsewhere", ""]) == Hardware(
        frozenset({"elsewhere"}), has_cards=True, cpu_count=4
    )
    assert known.of_the_future(earlier, spec) == Hardware(
        frozenset({"gpus"}), has_cards=True, card_mib=80_000
    )
    assert known.of_the_past(spec, []) == Hardware()
    assert known.of_the_past(spec, ["nobody"]) == Hardware(frozenset({"nobody"}))


def test_a_cluster_is_known_by_its_namespace() -> None:
    spec = spec_of(deployment_mode="ome", model={"namespace": "tuning"})
    cluster = Hardware(frozenset({"tuning"}), in_cluster=True)
    assert KnownHardware().of_the_past(spec, ["whoever-asked"]) == cluster
    assert KnownHardware().of_the_future(Task(driver="here/1/1.0"), spec) == cluster


# --- Once and for all ---


def test_what_ends_meanwhile_changes_nothing() -> None:
    earlier = past_task(count=5)
    task = started(spec_of(True))
    run_next(task, 100.0)
    before = (task.warm_start, asked(task))
    past_task()
    further = earlier.experiments.get(number=1)
    further.pk, further.number, further.score = None, 99, 10.0**6
    further.configuration_hash = "another"
    further.save()
    advance(task.pk)
    task.refresh_from_db()
    measured = list(task.experiments.filter(status=ExperimentStatus.SUCCESS.value))
    spec = task.parsed_spec()
    again = proposals(spec, measured, 2, learnt_from(task, spec))
    assert (task.warm_start, again) == before
    assert again != proposals(spec, measured, 2)


def test_a_deleted_task_is_left_out_of_a_search_that_goes_on() -> None:
    gone, stays = past_task(), past_task()
    task = started(spec_of([gone.pk, stays.pk]))
    assert len(learnt_from(task, task.parsed_spec())) == 2
    delete_task(gone.pk)
    assert len(learnt_from(task, task.parsed_spec())) == 1
    delete_task(stays.pk)
    assert learnt_from(task, task.parsed_spec()) == []
    run_all(task)
    task.refresh_from_db()
    assert task.state is TaskStatus.COMPLETED
    assert warm(task) == [stays.pk, gone.pk], "what it started from remains known"


def test_a_task_that_is_gone_before_the_start_is_left_out() -> None:
    gone, stays = past_task(), past_task()
    task = submit(spec_of([gone.pk, stays.pk]))
    delete_task(gone.pk)
    advance(task.pk)
    task.refresh_from_db()
    assert warm(task) == [stays.pk]


def test_an_earlier_task_that_can_not_be_read_any_more_is_left_out() -> None:
    broken = past_task()
    task = started(spec_of(True))
    Task.objects.filter(pk=broken.pk).update(
        spec={**broken.spec, "of_another_release": True}, created_at=timezone.now() - timedelta(9)
    )
    assert learnt_from(task, task.parsed_spec()) == []
    assert warm(started(spec_of(True))) == []
    (problem,) = useless(spec_of([broken.pk]), None)
    assert "can't read any more" in problem.message


def test_a_resumed_task_goes_on_from_what_it_started_from() -> None:
    past_task()
    task = started(spec_of(True))
    first = task.warm_start
    Task.objects.filter(pk=task.pk).update(status="CANCELLED", finished_at=timezone.now())
    past_task()
    resume(task.pk)
    advance(task.pk)
    task.refresh_from_db()
    assert task.warm_start == first


def test_one_that_was_cancelled_before_its_start_decides_when_it_is_resumed() -> None:
    earlier = past_task()
    task = submit(spec_of(True))
    Task.objects.filter(pk=task.pk).update(status="CANCELLED", finished_at=timezone.now())
    resume(task.pk)
    advance(task.pk)
    task.refresh_from_db()
    assert warm(task) == [earlier.pk]


# --- Telling ---


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("baseline", [True, False])
def test_the_log_says_once_what_a_search_started_from(baseline: bool) -> None:
    earlier = past_task()
    task = submit(spec_of(True, optimization={"baseline": baseline, "max_iterations": 2}))
    said: list[str] = []
    host = FakeHost(gpus=0)
    drive(task.pk, measuring(host, Engines(host), said=said))
    lines = [line for line in said if line.startswith("Started from")]
    assert lines == [f"Started from task {earlier.pk} (similarity 0.54)."]
    assert said.index(lines[0]) == 0


def test_one_several_and_no_tasks_in_words() -> None:
    tasks = [
        EarlierTask(number, similarity, (1, 2, 3))
        for number, similarity in ((12, 0.812), (9, 0.4), (3, 0.35))
    ]
    assert in_words([]) == FOUND_NONE
    assert in_words(tasks[:1]) == "Started from task 12 (similarity 0.81)."
    assert (
        in_words(tasks)
        == "Started from task 12 (similarity 0.81), task 9 (0.40) and task 3 (0.35)."
    )
    assert [EarlierTask.of_document(one.as_document()) for one in tasks] == tasks


def asked(task: Task) -> Sequence[Any]:
    spec = task.parsed_spec()
    return proposals(spec, list(task.experiments.all()), 2, learnt_from(task, spec))
