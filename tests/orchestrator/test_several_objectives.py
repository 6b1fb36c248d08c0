"""A task with several objectives: what is proposed, and which experiment is the best."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from tests.orchestrator.recording import OWNER
from tuning.domain.lifecycle import ExperimentEvent
from tuning.domain.verdict import Finding, GainVerdict
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.lease import claim
from tuning.orchestrator.trials import proposals

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]

THROUGHPUT, TTFT = "output_throughput_tokens_per_s", "ttft_mean_s"
OBJECTIVES = ["maximize_throughput", "minimize_ttft"]

FRONT = [(100.0, 0.50), (60.0, 0.10), (95.0, 0.15), (50.0, 0.40)]
"""Of the four configurations: two extremes, the knee, and one that is dominated."""


def both_task(make_task: MakeTask, **optimization: object) -> Task:
    return make_task(optimization={"objective": OBJECTIVES, **optimization})


def run_next(task: Task, throughput: float, ttft_s: float) -> Experiment:
    (experiment_id,) = advance(task.pk).ready
    lease = claim(experiment_id, OWNER)
    assert lease is not None
    lease.move(ExperimentEvent.ENGINE_READY)
    values = {THROUGHPUT: throughput, TTFT: ttft_s}
    lease.end(
        ExperimentEvent.MEASURED,
        objective_value=throughput,
        score=throughput,
        objective_values=values,
        objective_scores=values,
        finished_at=timezone.now(),
    )
    return Experiment.objects.get(pk=experiment_id)


def test_the_knee_of_the_front_is_the_best(make_task: MakeTask) -> None:
    task = both_task(make_task, baseline=False)
    for values in FRONT:
        run_next(task, *values)

    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.best_experiment is not None
    assert task.best_experiment.number == 3


def test_the_best_so_far_is_remembered_because_no_score_can_tell(make_task: MakeTask) -> None:
    task = both_task(make_task, baseline=False)
    for values in FRONT[:3]:
        run_next(task, *values)
    advance(task.pk)
    task.refresh_from_db()

    assert task.best_experiment is not None
    assert task.best_experiment.number == 3
    listed = Task.objects.with_best().get(pk=task.pk)
    assert vars(listed)["best_id"] == task.best_experiment_id


def test_the_first_objective_says_which_way_lists_sort(make_task: MakeTask) -> None:
    task = make_task(optimization={"objective": ["minimize_ttft", "maximize_throughput"]})
    for value in (4.0, 2.0):
        (experiment_id,) = advance(task.pk).ready
        lease = claim(experiment_id, OWNER)
        assert lease is not None
        lease.move(ExperimentEvent.ENGINE_READY)
        lease.end(
            ExperimentEvent.MEASURED,
            objective_value=value,
            score=value,
            finished_at=timezone.now(),
        )
    Task.objects.filter(pk=task.pk).update(best_experiment=None)

    row = vars(Task.objects.with_gain().get(pk=task.pk))
    assert row["best_id"] == task.experiments.get(number=1).pk
    assert row["gain"] == pytest.approx(0.5)


def test_each_objective_has_a_verdict(make_task: MakeTask) -> None:
    task = both_task(make_task, verification=2)
    for values in [(50.0, 0.20), *FRONT]:
        run_next(task, *values)
    rounds = [(95.0, 0.40), (50.0, 0.20), (50.1, 0.20), (95.1, 0.41)]
    for values in rounds:
        run_next(task, *values)

    assert advance(task.pk).finished
    task.refresh_from_db()
    verdicts = [GainVerdict.of_document(one) for one in task.verdicts]
    assert [one.metric for one in verdicts] == [THROUGHPUT, TTFT]
    assert [one.finding for one in verdicts] == [Finding.BETTER, Finding.WORSE]
    assert task.best_experiment is not None
    assert task.best_experiment.number == 3, "worse in one of two is no defeat"


@pytest.mark.parametrize("strategy", ["grid_search", "random", "bayesian"])
def test_any_strategy_proposes_each_configuration_once(make_task: MakeTask, strategy: str) -> None:
    task = both_task(make_task, strategy=strategy, max_iterations=4, max_parallel=3, baseline=False)
    ready = advance(task.pk).ready

    assert len(ready) == 3
    experiments = list(Experiment.objects.filter(pk__in=ready))
    assert len({one.configuration_hash for one in experiments}) == 3


def test_the_same_experiments_lead_to_the_same_proposals(make_task: MakeTask) -> None:
    task = both_task(make_task)
    run_next(task, 50.0, 0.2)
    run_next(task, 60.0, 0.1)
    experiments = list(task.experiments.all())
    spec = task.parsed_spec()

    assert proposals(spec, experiments, 2) == proposals(spec, experiments, 2)
    assert proposals(spec, experiments, 99) == proposals(spec, experiments, 3)
