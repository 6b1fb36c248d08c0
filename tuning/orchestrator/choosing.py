"""Which of a task's experiments is the best."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from tuning.domain.contenders import Candidate
from tuning.domain.lifecycle import ExperimentPurpose, ExperimentStatus
from tuning.domain.objectives import Evaluation, best_of
from tuning.domain.pareto import Point, knee
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment
from tuning.orchestrator.control import WORTH_ANOTHER_LAUNCH


def best_experiment(spec: TaskSpec, experiments: Collection[Experiment]) -> Experiment | None:
    """The best of the experiments that succeeded; the earlier one when two are equal.

    With one objective that is the best score, over all launches of a configuration that was
    repeated. With several it is the knee of their Pareto front.
    """
    succeeded = [
        one
        for one in sorted(experiments, key=lambda one: one.number)
        if one.is_first_launch and one.state is ExperimentStatus.SUCCESS
    ]
    if len(spec.objectives) > 1:
        return _knee(spec, succeeded)
    known = candidates(experiments) or [_alone(one) for one in succeeded]
    repeated = [one for one in known if len(one.scores) > 1]
    by_number = {one.number: one for one in succeeded}
    best = best_of(
        (
            (one.number, Evaluation(one.mean(), one.mean(), feasible=True, verdicts=()))
            for one in repeated or known
        ),
        spec.objective,
    )
    return None if best is None else by_number[best]


def candidates(experiments: Iterable[Experiment]) -> list[Candidate]:
    """Configurations that succeeded, with the score of each launch, in the order of their numbers.

    One that failed when it was launched again is none.
    """
    repeats: dict[int, list[Experiment]] = {}
    first: list[Experiment] = []
    for one in sorted(experiments, key=lambda one: one.number):
        if one.is_first_launch:
            first.append(one)
        elif one.why is ExperimentPurpose.REPEAT and one.original_id is not None:
            repeats.setdefault(one.original_id, []).append(one)
    return [
        Candidate(one.number, _scores([one, *repeats.get(one.pk, [])]))
        for one in first
        if one.state is ExperimentStatus.SUCCESS
        and not any(map(failed_by_itself, repeats.get(one.pk, [])))
    ]


def failed_by_itself(experiment: Experiment) -> bool:
    """Whether a failure is the configuration's own."""
    failure = experiment.failure
    return failure is not None and failure.kind not in WORTH_ANOTHER_LAUNCH


def scores_of(spec: TaskSpec, experiment: Experiment) -> Point | None:
    """Its score by each objective; None unless it was measured to the end."""
    if len(spec.objectives) == 1:
        return None if experiment.score is None else (experiment.score,)
    scores = [experiment.objective_scores.get(one.metric) for one in spec.objectives]
    known = tuple(score for score in scores if score is not None)
    return known if len(known) == len(scores) else None


def _alone(experiment: Experiment) -> Candidate:
    return Candidate(experiment.number, _scores([experiment]))


def _scores(launches: Sequence[Experiment]) -> tuple[float, ...]:
    return tuple(
        one.score
        for one in launches
        if one.state is ExperimentStatus.SUCCESS and one.score is not None
    )


def _knee(spec: TaskSpec, succeeded: Sequence[Experiment]) -> Experiment | None:
    scored = [(one, point) for one in succeeded if (point := scores_of(spec, one)) is not None]
    directions = [one.direction for one in spec.objectives]
    index = knee([point for _, point in scored], directions)
    return None if index is None else scored[index][0]
