"""What a search strategy is told of a task's experiments, and what it proposes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.scalarising import scalarised, weights
from tuning.domain.search import build_strategy
from tuning.domain.search.base import Proposal, Trial, limited_values
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment
from tuning.orchestrator.choosing import scores_of


def proposals(spec: TaskSpec, experiments: Sequence[Experiment], wanted: int) -> list[Proposal]:
    """Up to `wanted` configurations to try next.

    With several objectives, each proposal looks for another part of the front.

    Raises:
        SpaceError: the space can't be searched by the strategy of the task.
    """
    tried = [one for one in experiments if one.is_first_launch]
    if len(spec.objectives) == 1:
        scores = {one.pk: one.score for one in tried if one.score is not None}
        return build_strategy(spec).ask([_trial(spec, one, scores) for one in tried], wanted)
    found: list[Proposal] = []
    for _ in range(wanted):
        scores = _combined_scores(spec, tried, proposal=len(tried) + len(found))
        history = [*(_trial(spec, one, scores) for one in tried), *map(_asked_for, found)]
        another = build_strategy(spec).ask(history, 1)
        if not another:
            break
        found += another
    return found


def _combined_scores(
    spec: TaskSpec, tried: Sequence[Experiment], proposal: int
) -> dict[int, float]:
    """By primary key, of all that were measured to the end."""
    scores = {one.pk: point for one in tried if (point := scores_of(spec, one)) is not None}
    feasible = [
        one.pk for one in tried if one.pk in scores and one.state is ExperimentStatus.SUCCESS
    ]
    weighting = weights(len(spec.objectives), spec.optimization.seed, proposal)
    directions = [one.direction for one in spec.objectives]
    return scalarised(scores, directions, weighting, feasible)


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
