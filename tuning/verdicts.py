"""What is known of a task's gain: the one source of every page, report and document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tuning.domain.objectives import Objective, gain
from tuning.domain.verdict import Finding, GainVerdict, Reference
from tuning.models import Task


class Launched(Protocol):
    """What has to be known of an experiment: the model has it, and so may a row of a page."""

    @property
    def number(self) -> int: ...
    @property
    def is_baseline(self) -> bool: ...
    @property
    def num_failed_requests(self) -> int: ...
    def value_of(self, metric: str) -> float | None: ...


def verdicts_of(
    task: Task,
    objectives: Sequence[Objective],
    best: Launched | None,
    baseline: Launched | None,
) -> list[GainVerdict]:
    """For each objective; none where there is nothing to compare. No query.

    A task that has not ended, or is of an older release, has none stored: then it is what was
    measured so far, which nothing supports.
    """
    if task.verdicts:
        return [GainVerdict.of_document(one) for one in task.verdicts]
    if best is None or baseline is None or best.is_baseline:
        return []
    known = [
        GainVerdict(
            objective.metric,
            Finding.NOT_VERIFIED,
            number=best.number,
            against_number=baseline.number,
            gain=gain(
                best.value_of(objective.metric), baseline.value_of(objective.metric), objective
            ),
            failed_requests=best.num_failed_requests,
            reason="nothing was measured again" if task.state.is_terminal else "",
        )
        for objective in objectives
    ]
    return [one for one in known if one.gain is not None]


def about(best: Launched | None, verdicts: Sequence[GainVerdict]) -> list[GainVerdict]:
    """Those on the best itself: a winner that turned out to be worse is the best no more."""
    return [one for one in verdicts if best is not None and one.number == best.number]


def gain_over_baseline(
    task: Task, objective: Objective, best: Launched | None, baseline: Launched | None
) -> float | None:
    """How much better the best is than the baseline, 0.25 for 25 %: as it was verified, or else as
    it was measured; None without both.

    A baseline that was measured but broke an SLO still counts: it is what the user has now.
    """
    if best is None or baseline is None:
        return None
    for one in verdicts_of(task, [objective], best, baseline):
        is_of_both = one.number == best.number and one.against is Reference.BASELINE
        if is_of_both and one.metric == objective.metric and one.gain is not None:
            return one.gain
    return gain(best.value_of(objective.metric), baseline.value_of(objective.metric), objective)
