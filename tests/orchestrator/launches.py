"""A small task whose search is run, and then its further launches, without an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.orchestrator.recording import run_next
from tuning.domain.verdict import GainVerdict
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance

MakeTask = Callable[..., Task]

SEARCHED = {(None, None): 10.0, (1, 1): 11.0, (1, 4): 30.0, (2, 1): 12.0, (2, 4): 13.0}
"""What each configuration of the small task gives, the baseline first; number 2 wins."""


def verified_task(make_task: MakeTask, rounds: int = 2, **optimization: Any) -> Task:
    return make_task(optimization={"verification": rounds, **optimization})


def key_of(experiment: Experiment) -> tuple[Any, Any]:
    return experiment.parameters.get("threads"), experiment.parameters.get("parallel")


def search(task: Task, values: Mapping[Any, float | None] = SEARCHED) -> None:
    """Run all that the search proposes."""
    while True:
        step = advance(task.pk)
        queued = Experiment.objects.filter(pk__in=step.ready)
        if not queued or not all(one.is_first_launch for one in queued):
            return
        run_next(task, values[key_of(queued[0])])


def launched_again(task: Task, values: list[float | None]) -> list[tuple[int, int]]:
    """Run so many further launches; of which original and in which round each was."""
    order = []
    for value in values:
        experiment = run_next(task, value)
        assert experiment.original is not None
        assert experiment.round is not None
        assert experiment.parameters == experiment.original.parameters
        order.append((experiment.original.number, experiment.round))
    return order


def verdict_of(task: Task) -> GainVerdict:
    task.refresh_from_db()
    (verdict,) = task.verdicts
    return GainVerdict.of_document(verdict)
