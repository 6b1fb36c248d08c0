"""The course of a configuration whose goodput is sought: probes instead of given concurrencies."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tuning.domain.goodput import keeps_limits
from tuning.domain.measuring.course import End, EndKind, Measure, Past, Step, Traffic
from tuning.domain.measuring.goodput import MOST_PROBES, Probe, edge_of, next_probe, probes_of
from tuning.domain.measuring.limits import limited_metrics
from tuning.domain.measuring.loads import Load
from tuning.domain.measuring.noise import noise_of
from tuning.domain.measuring.pruning import Pruning
from tuning.domain.metrics import GOODPUT
from tuning.domain.objectives import MeasuredPoint

OVERLOAD_MARGIN = 1.1
"""How much more an engine may serve below an overload than in it."""


class GoodputCourse:
    """Searches each scenario's edge, from the lowest to the highest of its concurrencies.

    A probe counts once; `repeats` plays no part, because what is close to a limit is repeated by
    itself. A configuration is given up where even at a load that breaks the limits it serves less
    than the best one does within them: fewer clients do not get more out of it.
    """

    def __init__(self, traffic: Traffic, pruning: Pruning) -> None:
        self._traffic = traffic
        self._pruning = pruning

    def next_step(self, points: Sequence[MeasuredPoint], past: Sequence[Past]) -> Step:
        scenarios = list(dict.fromkeys(load.scenario for load in self._traffic.loads))
        if len(scenarios) == 1 and (hopeless := self._hopeless(points, past)):
            return hopeless
        for scenario in scenarios:
            level = self._next_level(scenario, points, past)
            if level is not None:
                load = Load(scenario, level)
                there = (one.scenario == scenario and one.concurrency == level for one in points)
                return Measure(load, sum(there))
        return End(EndKind.COMPLETE)

    def _next_level(
        self, scenario: str, points: Sequence[MeasuredPoint], past: Sequence[Past]
    ) -> int | None:
        levels = [load.concurrency for load in self._traffic.loads if load.scenario == scenario]
        limited = [slo.metric for slo in self._traffic.slos if slo.hard]
        everything = [*(one.points for one in past), points]
        noise = max((noise_of(everything, metric).log_sd for metric in limited), default=0.0)
        found = [edge_of(self._probes(scenario, one.points)).good for one in past]
        hints = [edge for edge in found if edge is not None]
        return next_probe(
            self._probes(scenario, points),
            min(levels),
            max(levels),
            noise,
            round(median(hints)) if hints else None,
        )

    def _probes(self, scenario: str, points: Sequence[MeasuredPoint]) -> list[Probe]:
        measured = [
            (one.concurrency, limited_metrics(one)) for one in points if one.scenario == scenario
        ]
        return probes_of(measured, self._traffic.slos)

    def _hopeless(self, points: Sequence[MeasuredPoint], past: Sequence[Past]) -> End | None:
        scores = {one.number: one.score for one in past if one.score is not None}
        if self._pruning is Pruning.OFF or not scores or self._traffic.objective.metric != GOODPUT:
            return None
        best = max(scores, key=lambda number: scores[number])
        rates = [
            one.metrics["requests_per_s"]
            for one in points
            if "requests_per_s" in one.metrics
            and not keeps_limits(limited_metrics(one), self._traffic.slos)
        ]
        bound = max(rates, default=float("inf")) * OVERLOAD_MARGIN
        if bound >= scores[best] or not scores[best]:
            return None
        served = max(rates)
        return End(
            EndKind.PRUNED,
            f"Even with more clients than the limits allow it serves {served:.4g} requests/s; "
            f"experiment {best} serves {scores[best]:.4g} within them.",
            (),
            {
                "score_bound": bound,
                "best_score": scores[best],
                "best_experiment": best,
                "probes": len(points),
                "most_probes": MOST_PROBES,
            },
        )
