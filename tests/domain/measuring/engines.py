"""Engines whose speed at each load is known, and what a course makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tuning.domain.measuring.course import (
    Course,
    End,
    EndKind,
    Measure,
    Past,
    PrunedCourse,
    Traffic,
)
from tuning.domain.measuring.loads import Load, load_of
from tuning.domain.measuring.pruning import Pruning
from tuning.domain.objectives import NAMED_OBJECTIVES, MeasuredPoint, Objective, evaluate
from tuning.domain.slo import Slo

SCENARIO = "D(100,100)"
THROUGHPUT = NAMED_OBJECTIVES["maximize_throughput"]
LATENCY = NAMED_OBJECTIVES["minimize_latency"]
OUTPUT_TOKENS = 100


@dataclass(frozen=True)
class Engine:
    """A closed loop: latency is `idle_s` for one client and grows as soon as the engine, which
    makes `peak` tokens/s at most, has to share (asymptotic bounds of queueing networks)."""

    peak: float
    idle_s: float = 1.0

    def tokens_per_s(self, concurrency: int) -> float:
        return OUTPUT_TOKENS * concurrency / self.latency_s(concurrency)

    def latency_s(self, concurrency: int) -> float:
        return self.idle_s + OUTPUT_TOKENS * concurrency / self.peak


def loads(*concurrencies: int) -> list[Load]:
    return [Load(SCENARIO, one) for one in concurrencies]


def point(engine: Engine, load: Load, repeat: int = 0, failed: int = 0) -> MeasuredPoint:
    latency_s = engine.latency_s(load.concurrency)
    metrics = {
        "output_throughput_tokens_per_s": engine.tokens_per_s(load.concurrency),
        "requests_per_s": engine.tokens_per_s(load.concurrency) / OUTPUT_TOKENS,
        "e2e_latency_mean_s": latency_s,
        "e2e_latency_p99_s": latency_s,
    }
    return MeasuredPoint(load.scenario, load.concurrency, repeat, metrics, 100, failed)


def traffic(
    objective: Objective = THROUGHPUT,
    concurrencies: Sequence[int] = (1, 4, 16, 64),
    repeats: int = 1,
    slos: Sequence[Slo] = (),
) -> Traffic:
    return Traffic(loads(*concurrencies), repeats, objective, slos)


def follow(
    course: Course,
    past: Sequence[Past],
    measure: Callable[[Load, int], MeasuredPoint],
) -> tuple[list[MeasuredPoint], End]:
    """Take every step of a course."""
    points: list[MeasuredPoint] = []
    step = course.next_step(points, past)
    while isinstance(step, Measure):
        points.append(measure(step.load, step.repeat))
        step = course.next_step(points, past)
    return points, step


def whole(number: int, engine: Engine, of: Traffic) -> Past:
    points = [point(engine, load) for load in of.loads]
    return ended(number, engine, of, points, EndKind.COMPLETE)


def ended(
    number: int, engine: Engine, of: Traffic, points: Sequence[MeasuredPoint], kind: EndKind
) -> Past:
    seconds = {
        load_of(one): engine.latency_s(one.concurrency) * 100 / one.concurrency for one in points
    }
    score = None
    if kind in {EndKind.COMPLETE, EndKind.ENOUGH}:
        score = evaluate(points, of.objective, of.slos).score
    return Past(number, points, score, seconds)


def search(
    engines: Sequence[Engine], of: Traffic, pruning: Pruning = Pruning.SAFE
) -> tuple[list[Past], list[End]]:
    """Measure one engine after the other; the first one is the baseline."""
    past, ends = [whole(0, engines[0], of)], [End(EndKind.COMPLETE)]
    for number, engine in enumerate(engines[1:], start=1):
        points, end = follow(PrunedCourse(of, pruning), past, partial(point, engine))
        past.append(ended(number, engine, of, points, end.kind))
        ends.append(end)
    return past, ends
