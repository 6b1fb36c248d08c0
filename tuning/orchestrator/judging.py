"""From the measurements of an experiment to what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuning.domain.failures import Failure, FailureKind
from tuning.domain.objectives import MeasuredPoint, evaluate_each
from tuning.domain.spec import TaskSpec


@dataclass(frozen=True)
class Judgement:
    """`fields` of the experiment, and why it failed, if it did."""

    fields: Mapping[str, Any]
    failure: Failure | None


def judge_experiment(spec: TaskSpec, points: Sequence[MeasuredPoint]) -> Judgement:
    """Values and scores by each objective, SLO verdicts, and how many requests failed."""
    requests = {
        "num_requests": sum(point.num_requests for point in points),
        "num_failed_requests": sum(point.num_failed_requests for point in points),
    }
    evaluations = evaluate_each(points, spec.objectives, spec.slos)
    by_metric = dict(zip((one.metric for one in spec.objectives), evaluations, strict=True))
    missing = [metric for metric, evaluation in by_metric.items() if evaluation.value is None]
    if missing:
        message = f"No load point has the objective's metric {missing[0]}."
        return Judgement(requests, Failure(FailureKind.BENCHMARK_FAILED, message))
    first = evaluations[0]
    fields = {
        **requests,
        "objective_value": first.value,
        "score": first.score,
        "objective_values": {metric: one.value for metric, one in by_metric.items()},
        "objective_scores": {metric: one.score for metric, one in by_metric.items()},
        "slo_verdicts": [asdict(verdict) for verdict in first.verdicts],
    }
    if first.feasible:
        return Judgement(fields, None)
    broken = "; ".join(str(verdict) for verdict in first.verdicts if verdict.breaks_hard_limit)
    return Judgement(fields, Failure(FailureKind.SLO_VIOLATED, broken))
