"""From the measurements of an experiment to one number, and which experiment is the best.

Two reductions lead from many load points to one value. A minimised metric (a latency) is averaged
over all load points, since a user meets each of them. A maximised metric (a throughput) takes the
best concurrency of each scenario, averaged over the scenarios: throughput asks what the engine can
do at most, and the points below its saturation say nothing of that. Repeats of a point are reduced
to their median first, so that one disturbed run does not decide.

Goodput is the exception to "a limit must hold at every load point": it asks up to where it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from types import MappingProxyType
from typing import TypeVar

from tuning.domain.goodput import GOODPUT_METRICS, keeps_limits, with_goodput
from tuning.domain.metrics import ERROR_RATE, GOODPUT, Direction
from tuning.domain.slo import Slo, Verdict, judge

Key = TypeVar("Key")


@dataclass(frozen=True)
class Objective:
    """The metric to optimise and which way. `name` is how the task file calls it."""

    name: str
    metric: str
    direction: Direction


NAMED_OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        objective.name: objective
        for objective in (
            Objective("minimize_latency", "e2e_latency_mean_s", Direction.MINIMIZE),
            Objective("maximize_throughput", "output_throughput_tokens_per_s", Direction.MAXIMIZE),
            Objective("maximize_goodput", GOODPUT, Direction.MAXIMIZE),
            Objective("minimize_ttft", "ttft_mean_s", Direction.MINIMIZE),
            Objective("minimize_tpot", "tpot_mean_s", Direction.MINIMIZE),
        )
    }
)


def metric_objective(metric: str, direction: Direction) -> Objective:
    """An objective over any metric; one that has a name of its own is given that name."""
    for named in NAMED_OBJECTIVES.values():
        if (named.metric, named.direction) == (metric, direction):
            return named
    return Objective(f"{direction}_{metric}", metric, direction)


@dataclass(frozen=True)
class MeasuredPoint:
    """One repeat of one load point. `metrics` has names of `tuning.domain.metrics`."""

    scenario: str
    concurrency: int
    repeat: int
    metrics: Mapping[str, float]
    num_requests: int
    num_failed_requests: int


@dataclass(frozen=True)
class Evaluation:
    """What an experiment is worth.

    `value` is in the metric's own unit, None when it was not measured at every load point.
    `score` is the value made worse by the penalties of broken limits, in the same unit and
    direction. Only a feasible experiment can be the best.
    """

    value: float | None
    score: float | None
    feasible: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class _LoadPoint:
    """A load point with its repeats reduced to one."""

    scenario: str
    concurrency: int
    metrics: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.scenario}, concurrency {self.concurrency}"


def evaluate(
    points: Sequence[MeasuredPoint], objective: Objective, slos: Sequence[Slo]
) -> Evaluation:
    """Reduce, judge and score all measurements of one experiment.

    Without a point, or with one that lacks the objective's metric, there is no value and the
    experiment is not feasible.
    """
    (evaluation,) = evaluate_each(points, [objective], slos)
    return evaluation


def evaluate_each(
    points: Sequence[MeasuredPoint], objectives: Sequence[Objective], slos: Sequence[Slo]
) -> tuple[Evaluation, ...]:
    """As `evaluate`, by each of several objectives. Penalties make the score of every one worse."""
    load_points = _reduce_repeats(points)
    if any(objective.metric in GOODPUT_METRICS for objective in objectives):
        load_points = _good_load_points(load_points, slos)
    by_name = {str(point): point.metrics for point in load_points}
    verdicts = tuple(judge(slo, by_name) for slo in slos)
    penalty = sum(verdict.penalty for verdict in verdicts)
    keeps_limits = not any(item.breaks_hard_limit for item in verdicts)
    values = [_reduce_load_points(load_points, objective) for objective in objectives]
    return tuple(
        Evaluation(
            value=value,
            score=_penalised(value, objective, penalty),
            feasible=value is not None and keeps_limits,
            verdicts=verdicts,
        )
        for value, objective in zip(values, objectives, strict=True)
    )


def values_of(
    points: Sequence[MeasuredPoint], objectives: Sequence[Objective]
) -> list[float | None]:
    """The value that `evaluate` gives for each objective, with the repeats reduced only once."""
    load_points = _reduce_repeats(points)
    return [_reduce_load_points(load_points, objective) for objective in objectives]


def best_of(
    candidates: Iterable[tuple[Key, Evaluation | None]], objective: Objective
) -> Key | None:
    """The key of the best feasible experiment by score; the first of equals, or None.

    An evaluation of None stands for an experiment that failed.
    """
    best: tuple[Key, float] | None = None
    for key, evaluation in candidates:
        if evaluation is None or not evaluation.feasible or evaluation.score is None:
            continue
        if best is None or objective.direction.prefers(evaluation.score, best[1]):
            best = key, evaluation.score
    return None if best is None else best[0]


def gain(best: float | None, baseline: float | None, objective: Objective) -> float | None:
    """How much better `best` is, relative to the baseline: 0.25 is a quarter better.

    Negative when it is worse; None without a baseline, or when that is 0.
    """
    if best is None or not baseline:
        return None
    change = (best - baseline) / baseline
    return -change if objective.direction is Direction.MINIMIZE else change


def _reduce_repeats(points: Sequence[MeasuredPoint]) -> list[_LoadPoint]:
    repeats: dict[tuple[str, int], list[MeasuredPoint]] = {}
    for point in points:
        repeats.setdefault((point.scenario, point.concurrency), []).append(point)
    return [
        _LoadPoint(scenario, concurrency, _reduced_metrics(group))
        for (scenario, concurrency), group in repeats.items()
    ]


def _good_load_points(points: Sequence[_LoadPoint], slos: Sequence[Slo]) -> list[_LoadPoint]:
    """Those of each scenario that keep the hard limits, or else its lowest concurrency.

    Goodput is looked for beyond the limits, too: what breaks them there is no fault.
    """
    counted = []
    for scenario in dict.fromkeys(point.scenario for point in points):
        rivals = [point for point in points if point.scenario == scenario]
        good = [point for point in rivals if keeps_limits(point.metrics, slos)]
        counted += good or [min(rivals, key=lambda point: point.concurrency)]
    return [
        replace(point, metrics=with_goodput(point.metrics, point.concurrency, slos))
        for point in counted
    ]


def _reduced_metrics(repeats: Sequence[MeasuredPoint]) -> dict[str, float]:
    """The median of each metric that every repeat has, and the error rate of all requests."""
    names = set.intersection(*(set(point.metrics) for point in repeats))
    metrics = {name: median(point.metrics[name] for point in repeats) for name in sorted(names)}
    metrics[ERROR_RATE] = _error_rate(repeats)
    return metrics


def _error_rate(repeats: Sequence[MeasuredPoint]) -> float:
    """Counted over all repeats: a median would hide the one repeat in which requests failed."""
    requests = sum(point.num_requests for point in repeats)
    failed = sum(point.num_failed_requests for point in repeats)
    return failed / requests if requests else 1.0


def _reduce_load_points(points: Sequence[_LoadPoint], objective: Objective) -> float | None:
    by_scenario: dict[str, list[float]] = {}
    for point in points:
        value = point.metrics.get(objective.metric, math.nan)
        by_scenario.setdefault(point.scenario, []).append(value)
    everywhere = [value for values in by_scenario.values() for value in values]
    if not everywhere or not all(math.isfinite(value) for value in everywhere):
        return None
    if objective.direction is Direction.MINIMIZE:
        return fmean(everywhere)
    return fmean(max(values) for values in by_scenario.values())


def _penalised(value: float | None, objective: Objective, penalty: float) -> float | None:
    if value is None:
        return None
    factor = 1 + penalty
    return value * factor if objective.direction is Direction.MINIMIZE else value / factor
