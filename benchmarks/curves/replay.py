"""One search replayed: every configuration of a family in random order, measured load by load."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from benchmarks.curves.recorded import E2E_LATENCY, Curves, Family
from tuning.domain.measuring.course import (
    Course,
    EndKind,
    Measure,
    Past,
    PrunedCourse,
    Traffic,
    WholeCourse,
)
from tuning.domain.measuring.loads import Load
from tuning.domain.measuring.pruning import Pruning
from tuning.domain.metrics import Direction
from tuning.domain.objectives import MeasuredPoint, Objective, evaluate

REQUESTS = 100
"""Of each load, where the number of requests is given: the default of a task file."""
ROUNDS = 10
FIXED_S = 60.0
POINT_OVERHEAD_S = 2.0
"""genai-bench's own; docs/GENAI_BENCH_LOGS.md."""


class Cost(StrEnum):
    """What decides how long a load takes: a number of requests (as in task files), a number of
    requests for each client, or a time."""

    REQUESTS = "requests"
    ROUNDS = "rounds"
    TIME = "time"


@dataclass(frozen=True)
class Replayed:
    """`whole_s` is the measuring time of all loads, `spent_s` that of those that were measured.

    `regret` is how much worse the choice is than the one that all measurements would have led to,
    by true values; `pruned` counts the configurations that were stopped.
    """

    whole_s: float
    spent_s: float
    regret: float
    pruned: int


@dataclass(frozen=True)
class Setting:
    """`noise_cv` is put onto each measurement, log-normal."""

    objective: Objective
    cost: Cost
    noise_cv: float = 0.0


def replay(family: Family, setting: Setting, pruning: Pruning, seed: int) -> Replayed:
    """The first configuration takes the part of the baseline: it is measured whole."""
    rng = Random(seed)
    order = rng.sample(range(len(family.configurations)), len(family.configurations))
    traffic = Traffic(family.loads, 1, setting.objective, ())
    past: list[Past] = []
    truths: list[float] = []
    whole: list[float] = []
    whole_s = spent_s = 0.0
    for number, index in enumerate(order):
        curves = family.configurations[index]
        seconds = _seconds(family, index, setting.cost)
        noisy = [_noisy(load, curves, setting, rng) for load in family.loads]
        course = WholeCourse(traffic) if not past else PrunedCourse(traffic, pruning)
        past.append(_measured(course, {_of(one): one for one in noisy}, seconds, past, number))
        truths.append(_value([_point(load, curves) for load in family.loads], setting))
        whole.append(_value(noisy, setting))
        whole_s += sum(seconds.values())
        spent_s += sum(past[-1].seconds.values())
    scores = {one.number: one.score for one in past if one.score is not None}
    chosen = _best(scores, setting.objective)
    without = _best(dict(enumerate(whole)), setting.objective)
    pruned = sum(one.score is None for one in past)
    return Replayed(whole_s, spent_s, _loss(truths[chosen], truths[without], setting), pruned)


def _measured(
    course: Course,
    points: dict[Load, MeasuredPoint],
    seconds: dict[Load, float],
    past: list[Past],
    number: int,
) -> Past:
    taken: list[MeasuredPoint] = []
    step = course.next_step(taken, past)
    while isinstance(step, Measure):
        taken.append(points[step.load])
        step = course.next_step(taken, past)
    spent = {_of(point): seconds[_of(point)] for point in taken}
    assert isinstance(course, WholeCourse | PrunedCourse)
    is_rival = step.kind is not EndKind.PRUNED
    score = evaluate(taken, course.traffic.objective, ()).score if is_rival else None
    return Past(number, taken, score, spent)


def _seconds(family: Family, index: int, cost: Cost) -> dict[Load, float]:
    if family.seconds:
        return dict(family.seconds[index])
    curves = family.configurations[index]
    return {load: _load_s(load, curves[load][E2E_LATENCY], cost) for load in curves}


def _load_s(load: Load, request_s: float, cost: Cost) -> float:
    if cost is Cost.TIME:
        return FIXED_S
    rounds = math.ceil(REQUESTS / load.concurrency) if cost is Cost.REQUESTS else ROUNDS
    return rounds * request_s + POINT_OVERHEAD_S


def _point(load: Load, curves: Curves) -> MeasuredPoint:
    return MeasuredPoint(load.scenario, load.concurrency, 0, curves[load], REQUESTS, 0)


def _noisy(load: Load, curves: Curves, setting: Setting, rng: Random) -> MeasuredPoint:
    factor = math.exp(rng.gauss(0.0, setting.noise_cv)) if setting.noise_cv else 1.0
    point = _point(load, curves)
    return replace(point, metrics={name: one * factor for name, one in point.metrics.items()})


def _of(point: MeasuredPoint) -> Load:
    return Load(point.scenario, point.concurrency)


def _value(points: list[MeasuredPoint], setting: Setting) -> float:
    value = evaluate(points, setting.objective, ()).value
    assert value is not None
    return value


def _best(scores: dict[int, float], objective: Objective) -> int:
    choose = min if objective.direction is Direction.MINIMIZE else max
    return choose(scores, key=lambda number: scores[number])


def _loss(chosen: float, without: float, setting: Setting) -> float:
    minimises = setting.objective.direction is Direction.MINIMIZE
    return chosen / without - 1 if minimises else 1 - chosen / without
