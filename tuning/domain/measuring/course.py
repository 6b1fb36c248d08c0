"""What to do next with a configuration that is being measured: go on, or why not.

A course is asked after each measurement and decides from what has been measured alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from statistics import fmean, median
from typing import Protocol

from tuning.domain.goodput import own_limits
from tuning.domain.measuring.catching import Outlook
from tuning.domain.measuring.limits import broken_for_good, can_break
from tuning.domain.measuring.loads import Curve, Load, by_load, curve_of, load_of
from tuning.domain.measuring.noise import Noise, noise_of
from tuning.domain.measuring.order import Experience
from tuning.domain.measuring.pruning import LARGEST_CHANCE, Pruning
from tuning.domain.measuring.saturation import Saturation, saturation_of
from tuning.domain.measuring.shapes import Scaling, Shapes, scaling_of
from tuning.domain.metrics import METRICS, OUTPUT_THROUGHPUT, Direction
from tuning.domain.objectives import MeasuredPoint, Objective, evaluate
from tuning.domain.slo import Slo

E2E_LATENCY = "e2e_latency_mean_s"


@dataclass(frozen=True)
class Traffic:
    """What is to be measured of every configuration, and what it is judged by."""

    loads: Sequence[Load]
    repeats: int
    objective: Objective
    slos: Sequence[Slo]


@dataclass(frozen=True)
class Past:
    """Another configuration of the same task, as far as it was measured.

    `score` is set where it may be the best one. `seconds` is how long its loads took.
    """

    number: int
    points: Sequence[MeasuredPoint]
    score: float | None = None
    seconds: Mapping[Load, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """Measure this load next; `repeat` counts from 0."""

    load: Load
    repeat: int


class EndKind(StrEnum):
    """Why nothing more is measured."""

    COMPLETE = "complete"
    ENOUGH = "enough"
    PRUNED = "pruned"
    SLO_BROKEN = "slo_broken"


@dataclass(frozen=True)
class End:
    """Nothing more is to be measured: why, in a sentence and in numbers, and what is left out."""

    kind: EndKind
    reason: str = ""
    skipped: Sequence[Load] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    def as_document(self) -> dict[str, object]:
        """As it is stored; empty when everything was measured."""
        if self.kind is EndKind.COMPLETE:
            return {}
        return {
            "kind": self.kind.value,
            "reason": self.reason,
            "skipped": [
                {"scenario": load.scenario, "concurrency": load.concurrency}
                for load in self.skipped
            ],
            "numbers": dict(self.numbers),
        }


Step = Measure | End


class Course(Protocol):
    def next_step(self, points: Sequence[MeasuredPoint], past: Sequence[Past]) -> Step:
        """What follows on `points`, measured of this configuration in this order."""
        ...


class WholeCourse:
    """Every load, one whole repeat after the other: for whatever others are compared with."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic

    def next_step(self, points: Sequence[MeasuredPoint], past: Sequence[Past]) -> Step:
        return next_repeat(self.traffic.loads, self.traffic.repeats, points) or End(
            EndKind.COMPLETE
        )


class LimitedCourse:
    """Every load, until a hard limit is broken for good."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic

    def next_step(self, points: Sequence[MeasuredPoint], past: Sequence[Past]) -> Step:
        step = WholeCourse(self.traffic).next_step(points, past)
        return _broken(self.traffic, points) or step if isinstance(step, Measure) else step


def _broken(traffic: Traffic, points: Sequence[MeasuredPoint]) -> End | None:
    done = by_load(points)
    verdict = broken_for_good(done, traffic.slos, traffic.repeats)
    if verdict is None:
        return None
    missing = tuple(load for load in traffic.loads if load not in done)
    return End(EndKind.SLO_BROKEN, f"{verdict}.", missing)


def next_repeat(
    loads: Sequence[Load], repeats: int, points: Sequence[MeasuredPoint]
) -> Measure | None:
    """The first load that is measured least often, until each was measured `repeats` times."""
    times = {load: sum(load_of(point) == load for point in points) for load in loads}
    least = min(loads, key=lambda load: times[load], default=None)
    if least is None:
        return None
    return Measure(least, times[least]) if times[least] < repeats else None


class PrunedCourse:
    """The most telling load first, and no more than it takes to know the configuration's place."""

    def __init__(self, traffic: Traffic, pruning: Pruning) -> None:
        self.traffic = traffic
        self._tail = LARGEST_CHANCE[pruning]

    def next_step(self, points: Sequence[MeasuredPoint], past: Sequence[Past]) -> Step:
        return _Moment(self.traffic, self._tail, points, past).step()


class _Moment:
    """One decision."""

    def __init__(
        self,
        traffic: Traffic,
        tail: float,
        points: Sequence[MeasuredPoint],
        past: Sequence[Past],
    ) -> None:
        self.traffic = traffic
        self._objective = traffic.objective
        self._tail = tail
        self._points = points
        self._past = past
        self._done = by_load(points)
        self._missing = [load for load in traffic.loads if load not in self._done]

    def step(self) -> Step:
        due = self._due()
        if due is None:
            return End(EndKind.COMPLETE)
        broken = _broken(self.traffic, self._points)
        return broken or self._enough() or self._hopeless() or self._next_measure()

    def _due(self) -> Measure | None:
        """What would be measured next if nothing spoke against it."""
        if self._missing:
            return Measure(self._missing[0], 0)
        return next_repeat(list(self._done), self.traffic.repeats, self._points)

    # --- Reasons to stop ---

    def _hopeless(self) -> End | None:
        best = self._best
        if best is None or best.score is None or not self._curve:
            return None
        chance = self._outlook.chance_to_beat(best.score)
        if chance >= self._tail:
            return None
        bound = self._outlook.optimistic_score(self._tail)
        assert bound is not None
        return End(
            EndKind.PRUNED,
            self._why_hopeless(best, bound, chance),
            tuple(self._missing),
            {
                "chance": chance,
                "score_bound": bound,
                "best_score": best.score,
                "best_experiment": best.number,
                "noise_cv": self._noise.log_sd,
                "loads_measured": len(self._done),
                "loads": len(self.traffic.loads),
            },
        )

    def _why_hopeless(self, best: Past, bound: float, chance: float) -> str:
        unit = METRICS[self._objective.metric].unit
        word = "at least" if self._minimises else "at most"
        measured = f"{len(self._done)} of {len(self.traffic.loads)} loads"
        return (
            f"After {measured}, {self._objective.metric} can be expected to be {word} {bound:.4g} "
            f"{unit}; experiment {best.number} has {best.score:.4g} {unit}. The chance to beat it "
            f"is {chance:.2g} at most, with noise of {self._noise}."
        )

    def _enough(self) -> End | None:
        """When the loads that are left would change nothing: the value is known without them."""
        if self._wanted or self._next_repeat is not None:
            return None
        reasons = [f"{one}." for one in self._saturations]
        reasons.append(
            f"The best concurrency is known: {self._objective.metric} would stay the same with "
            f"{', '.join(map(str, self._missing))}."
        )
        return End(EndKind.ENOUGH, " ".join(reasons), tuple(self._missing))

    # --- Going on ---

    def _next_measure(self) -> Measure:
        if self._wanted:
            return Measure(self._experience.next_load(self._curve, self._wanted), 0)
        assert self._next_repeat is not None
        return self._next_repeat

    @cached_property
    def _wanted(self) -> list[Load]:
        """The missing loads that may change the value or break a limit."""
        return [load for load in self._missing if not self._adds_nothing(load)]

    @property
    def _next_repeat(self) -> Measure | None:
        return next_repeat(list(self._done), self.traffic.repeats, self._points)

    def _adds_nothing(self, load: Load) -> bool:
        if can_break(load, self._done, self.traffic.slos):
            return False
        if self._outlook.adds_nothing(load, self._tail):
            return True
        is_peak = self._objective.direction is Direction.MAXIMIZE
        if not is_peak or scaling_of(self._objective.metric) is not Scaling.THROUGHPUT:
            return False
        return any(load.scenario == one.at.scenario and load > one.at for one in self._saturations)

    @cached_property
    def _saturations(self) -> list[Saturation]:
        throughput = curve_of(self._points, OUTPUT_THROUGHPUT)
        latency = curve_of(self._points, E2E_LATENCY)
        scenarios = dict.fromkeys(load.scenario for load in self._done)
        found = (
            saturation_of(throughput, latency, scenario, self._noise.log_sd)
            for scenario in scenarios
        )
        return [one for one in found if one is not None]

    # --- What is known ---

    @property
    def _minimises(self) -> bool:
        return self._objective.direction is Direction.MINIMIZE

    @cached_property
    def _curve(self) -> Curve:
        return curve_of(self._points, self._objective.metric)

    @cached_property
    def _best(self) -> Past | None:
        best: Past | None = None
        score: float | None = None
        for one in self._past:
            if one.score is not None and (
                score is None or self._objective.direction.prefers(one.score, score)
            ):
                best, score = one, one.score
        return best

    @cached_property
    def _noise(self) -> Noise:
        measured = [one.points for one in self._past]
        return noise_of([*measured, self._points], self._objective.metric)

    @cached_property
    def _shapes(self) -> Shapes:
        curves = [curve_of(one.points, self._objective.metric) for one in self._past]
        return Shapes(curves, self._objective.metric, self._noise.log_sd)

    @cached_property
    def _outlook(self) -> Outlook:
        unknown = [load for load in self.traffic.loads if load not in self._curve]
        return Outlook(
            self._objective,
            self._curve,
            tuple(unknown),
            self._shapes,
            self._noise,
            self._penalty(),
        )

    def _penalty(self) -> float:
        """What broken soft limits have cost so far, as a share of the value."""
        so_far = evaluate(self._points, self._objective, self.traffic.slos)
        if not so_far.value or not so_far.score:
            return 0.0
        ratio = so_far.score / so_far.value
        return (ratio if self._minimises else 1 / ratio) - 1

    @property
    def _experience(self) -> Experience:
        loads = self.traffic.loads
        return Experience(
            self._objective,
            [curve_of(one.points, self._objective.metric) for one in self._past],
            self._shapes,
            {load: self._seconds(load) for load in loads},
            {load: self._breaking(load) for load in loads} if own_limits(self.traffic.slos) else {},
        )

    def _seconds(self, load: Load) -> float:
        """What earlier configurations took, or rounds of requests where nothing tells."""
        known = [one.seconds[load] for one in self._past if load in one.seconds]
        return median(known) if known else 1 / load.concurrency

    def _breaking(self, load: Load) -> float:
        """The share of earlier configurations that broke a hard limit there."""
        there = [by_load(one.points).get(load, []) for one in self._past]
        broken = [
            broken_for_good({load: points}, self.traffic.slos, len(points)) is not None
            for points in there
            if points
        ]
        return fmean(broken) if broken else 0.0
