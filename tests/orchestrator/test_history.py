"""What a strategy is told of a task's experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.utils import timezone

from tests.orchestrator.recording import OWNER, run_next
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentEvent, ExperimentStatus, TaskStatus
from tuning.domain.search import build_strategy
from tuning.domain.search.base import LimitedValue, PriorTask, Proposal, Trial
from tuning.domain.spec import TaskSpec
from tuning.models import Task
from tuning.orchestrator import trials as module
from tuning.orchestrator.advance import advance
from tuning.orchestrator.lease import claim

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]
BAYESIAN: dict[str, Any] = {"strategy": "bayesian", "max_iterations": 4}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[Trial]]:
    """The history of each question to the strategy of the task."""
    histories: list[list[Trial]] = []

    class Listening:
        def __init__(self, spec: TaskSpec, priors: Sequence[PriorTask] = ()) -> None:
            self._strategy = build_strategy(spec, priors)

        def ask(self, history: Sequence[Trial], n: int) -> list[Proposal]:
            histories.append(list(history))
            return self._strategy.ask(history, n)

    monkeypatch.setattr(module, "build_strategy", Listening)
    return histories


def break_limit(task: Task, score: float, ttft_s: float) -> None:
    """End the next experiment as one that was measured and broke its limit."""
    (experiment_id,) = advance(task.pk).ready
    lease = claim(experiment_id, OWNER)
    assert lease is not None
    lease.move(ExperimentEvent.ENGINE_READY)
    lease.end(
        ExperimentEvent.FAILED,
        failure_kind=FailureKind.SLO_VIOLATED.value,
        failure_message="ttft_p99_s was too large",
        objective_value=score,
        score=score,
        slo_verdicts=[{"metric": "ttft_p99_s", "actual": ttft_s}],
        finished_at=timezone.now(),
    )


def test_a_broken_limit_is_told_with_what_was_measured(
    make_task: MakeTask, told: list[list[Trial]]
) -> None:
    task = make_task(optimization=BAYESIAN, slo={"ttft_p99_s": 0.5})
    run_next(task, 10.0)
    break_limit(task, score=20.0, ttft_s=2.0)
    advance(task.pk)
    trial = told[-1][1]
    assert trial.status is ExperimentStatus.FAILED
    assert trial.failure_kind is FailureKind.SLO_VIOLATED
    assert (trial.score, trial.measured) == (None, 20.0)
    assert trial.limited == (LimitedValue("ttft_p99_s", 2.0, max=0.5),)


def test_what_was_never_measured_has_nothing_to_tell(
    make_task: MakeTask, told: list[list[Trial]]
) -> None:
    task = make_task(optimization=BAYESIAN, slo={"ttft_p99_s": 0.5})
    run_next(task, 10.0)
    run_next(task, None)
    advance(task.pk)
    trial = told[-1][1]
    assert (trial.score, trial.measured, trial.limited) == (None, None, ())


def test_a_bayesian_task_runs_to_its_end(make_task: MakeTask) -> None:
    task = make_task(optimization=BAYESIAN)
    for value in (10.0, 11.0, 30.0, 12.0, 13.0):
        run_next(task, value)
    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.state is TaskStatus.COMPLETED
    assert task.best_experiment is not None
    assert task.best_experiment.number == 2
