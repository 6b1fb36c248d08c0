"""What a search strategy is told of a task's experiments, and what it proposes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.pareto import Point
from tuning.domain.scalarising import scalarised, weights
from tuning.domain.search import build_strategy
from tuning.domain.search.base import PriorTask, Proposal, Trial, limited_values
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment
from tuning.orchestrator.choosing import scores_of
from tuning.orchestrator.warm_starting import LearntFrom


def proposals(
    spec: TaskSpec,
    experiments: Sequence[Experiment],
    wanted: int,
    earlier: Sequence[LearntFrom] = (),
) -> list[Proposal]:
    """Up to `wanted` configurations to try next. `earlier` is what other tasks have measured.

    With several objectives, each proposal looks for another part of the front.

    Raises:
        SpaceError: the space can't be searched by the strategy of the task.
    """
    tried = [one for one in experiments if one.is_first_launch]
    if len(spec.objectives) == 1:
        scores = {one.pk: one.score for one in tried if one.score is not None}
        priors = [_prior(one, [point[0] for _, point in one.results]) for one in earlier]
        history = [_trial(spec, one, scores) for one in tried]
        return build_strategy(spec, priors).ask(history, wanted)
    found: list[Proposal] = []
    for _ in range(wanted):
        weighting = weights(
            len(spec.objectives), spec.optimization.seed, proposal=len(tried) + len(found)
        )
        scores = _combined_scores(spec, tried, weighting)
        history = [*(_trial(spec, one, scores) for one in tried), *map(_asked_for, found)]
        priors = [_prior(one, _combined_earlier(spec, one, weighting)) for one in earlier]
        another = build_strategy(spec, priors).ask(history, 1)
        if not another:
            break
        found += another
    return found


def _combined_scores(
    spec: TaskSpec, tried: Sequence[Experiment], weighting: Point
) -> dict[int, float]:
    """By primary key, of all that were measured to the end."""
    scores = {one.pk: point for one in tried if (point := scores_of(spec, one)) is not None}
    feasible = [
        one.pk for one in tried if one.pk in scores and one.state is ExperimentStatus.SUCCESS
    ]
    directions = [one.direction for one in spec.objectives]
    return scalarised(scores, directions, weighting, feasible)


def _combined_earlier(spec: TaskSpec, earlier: LearntFrom, weighting: Point) -> list[float]:
    """As `_combined_scores`, on axes scaled to the earlier task's own front."""
    points = {place: point for place, (_, point) in enumerate(earlier.results)}
    directions = [one.direction for one in spec.objectives]
    return list(scalarised(points, directions, weighting, list(points)).values())


def _prior(earlier: LearntFrom, scores: Sequence[float]) -> PriorTask:
    trials = [
        Trial(parameters, ExperimentStatus.SUCCESS, score, failure_kind=None)
        for (parameters, _), score in zip(earlier.results, scores, strict=True)
    ]
    return PriorTask(earlier.probability, trials)


def _trial(spec: TaskSpec, experiment: Experiment, scores: Mapping[int, float]) -> Trial:
    failure = experiment.failure
    succeeded = experiment.state is ExperimentStatus.SUCCESS
    measured = scores.get(experiment.pk)
    return Trial(
        parameters=experiment.parameters,
        status=experiment.state,
        score=measured if succeeded else None,
        failure_kind=failure.kind if failure else None,
        measured=measured,
        limited=limited_values(spec.slos, experiment.slo_verdicts),
        pruned_at=experiment.early_end.get("numbers", {}).get("score_bound"),
    )


def _asked_for(proposal: Proposal) -> Trial:
    return Trial(proposal.parameters, ExperimentStatus.PENDING, score=None, failure_kind=None)
