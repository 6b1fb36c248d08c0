"""From the measurements of an experiment to what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuning.domain.failures import Failure, FailureKind
from tuning.domain.measuring.course import End, EndKind
from tuning.domain.objectives import MeasuredPoint, evaluate_each
from tuning.domain.spec import TaskSpec


@dataclass(frozen=True)
class Judgement:
    """`fields` of the experiment, and why it failed, if it did."""

    fields: Mapping[str, Any]
    failure: Failure | None


def judge_experiment(spec: TaskSpec, points: Sequence[MeasuredPoint], end: End) -> Judgement:
    """Values and scores by each objective, SLO verdicts, and how many requests failed.

    One that was ended early for good has no value: that of some of the loads can't be compared with
    one of all of them.
    """
    recorded: dict[str, Any] = {
        "num_requests": sum(point.num_requests for point in points),
        "num_failed_requests": sum(point.num_failed_requests for point in points),
        "early_end": end.as_document(),
    }
    if end.kind is EndKind.PRUNED:
        return Judgement(recorded, None)
    evaluations = evaluate_each(points, spec.objectives, spec.slos)
    verdicts = evaluations[0].verdicts
    recorded["slo_verdicts"] = [asdict(verdict) for verdict in verdicts]
    if end.kind is EndKind.SLO_BROKEN:
        return Judgement(recorded, Failure(FailureKind.SLO_VIOLATED, end.reason))
    by_metric = dict(zip((one.metric for one in spec.objectives), evaluations, strict=True))
    missing = [metric for metric, evaluation in by_metric.items() if evaluation.value is None]
    if missing:
        message = f"No load point has the objective's metric {missing[0]}."
        return Judgement(recorded, Failure(FailureKind.BENCHMARK_FAILED, message))
    recorded |= {
        "objective_value": evaluations[0].value,
        "score": evaluations[0].score,
        "objective_values": {metric: one.value for metric, one in by_metric.items()},
        "objective_scores": {metric: one.score for metric, one in by_metric.items()},
    }
    if evaluations[0].feasible:
        return Judgement(recorded, None)
    broken = "; ".join(str(verdict) for verdict in verdicts if verdict.breaks_hard_limit)
    return Judgement(recorded, Failure(FailureKind.SLO_VIOLATED, broken))
