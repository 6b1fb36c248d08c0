"""What the replays gave, as tables in Markdown."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from benchmarks.replay.family import Family, Half
from benchmarks.replay.session import GOALS, Result

OURS = "bayesian"
REFERENCE = "tpe"
AT_MOST_OF_REFERENCE = 0.6
AT_MOST_OF_BEST_OTHER = 0.75


def launches(result: Result, goal: float) -> int:
    """Launches until the goal; the whole budget where it was not reached, which is too few."""
    return result.launches[str(goal)] or result.budget


class Comparison:
    """Results of several strategies on several families."""

    def __init__(self, results: Iterable[Result], families: Sequence[Family]) -> None:
        self._results: dict[tuple[str, str], list[Result]] = defaultdict(list)
        for result in results:
            self._results[result.family, result.strategy].append(result)
        measured = {family for family, _ in self._results}
        self.families = [family for family in families if family.name in measured]
        names = dict.fromkeys(strategy for _, strategy in self._results)
        self.strategies = list(names)

    def mean_launches(self, family: str, strategy: str, goal: float) -> float:
        return fmean(launches(one, goal) for one in self._results[family, strategy])

    def ratios(self, strategy: str, to: str, goal: float, half: Half | None) -> list[float]:
        """The mean launches of one strategy in units of another's, for each family."""
        return [
            self.mean_launches(family.name, strategy, goal)
            / self.mean_launches(family.name, to, goal)
            for family in self.of(half)
        ]

    def of(self, half: Half | None) -> list[Family]:
        return [family for family in self.families if half in {None, family.half}]

    def family_table(self) -> str:
        """A line for each family and strategy."""
        header = (
            "| family | configurations | half | strategy | mean, median to 5 % | to 2 % | found "
            "| GPU s to 5 % | failed | ask |\n|---|--:|---|---|--:|--:|--:|--:|--:|--:|"
        )
        lines = [self._line(family, name) for family in self.families for name in self.strategies]
        return "\n".join([header, *lines])

    def _line(self, family: Family, strategy: str) -> str:
        results = self._results[family.name, strategy]
        counts = {goal: [launches(one, goal) for one in results] for goal in GOALS}
        found = fmean(one.launches[str(GOALS[0])] is not None for one in results)
        gpu_s = fmean(one.gpu_s[str(GOALS[0])] or one.gpu_s_spent for one in results)
        to_goals = " | ".join(
            f"{fmean(counts[goal]):.1f}, {median(counts[goal]):.0f}" for goal in GOALS
        )
        return (
            f"| {family.name} | {len(family.configurations)} | {family.half} | {strategy} "
            f"| {to_goals} | {found:.0%} | {gpu_s:,.0f} "
            f"| {fmean(one.failed_share for one in results):.1%} "
            f"| {fmean(one.ask_s for one in results) * 1000:.0f} ms |"
        )

    def summary_table(self, half: Half | None) -> str:
        """A line for each strategy: means over the families of a half."""
        families = self.of(half)
        lines = [
            f"| {half or 'all'}: {len(families)} families | launches to 5 % | to 2 % "
            f"| of {REFERENCE}'s, mean (geometric) | GPU s of {REFERENCE}'s | failed "
            "| repeated failures | ask |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        return "\n".join(lines + [self._summary(name, half) for name in self.strategies])

    def _summary(self, strategy: str, half: Half | None) -> str:
        families = self.of(half)
        means = [
            fmean(self.mean_launches(family.name, strategy, goal) for family in families)
            for goal in GOALS
        ]
        return (
            f"| {strategy} | {means[0]:.1f} | {means[1]:.1f} "
            f"| {self._shown_ratio(strategy, half)} | {self._gpu_ratio(strategy, half)} "
            f"| {self._mean(families, strategy, 'failed_share'):.1%} "
            f"| {self._mean(families, strategy, 'repeated_failures'):.1%} "
            f"| {self._mean(families, strategy, 'ask_s') * 1000:.0f} ms |"
        )

    def _mean(self, families: Sequence[Family], strategy: str, field: str) -> float:
        return fmean(
            fmean(float(getattr(one, field)) for one in self._results[family.name, strategy])
            for family in families
        )

    def _shown_ratio(self, strategy: str, half: Half | None) -> str:
        if REFERENCE not in self.strategies:
            return "-"
        ratios = self.ratios(strategy, REFERENCE, GOALS[0], half)
        return f"{fmean(ratios):.2f} ({_geometric_mean(ratios):.2f})"

    def _gpu_ratio(self, strategy: str, half: Half | None) -> str:
        if REFERENCE not in self.strategies:
            return "-"
        ratios = [
            self._gpu_s(family.name, strategy) / self._gpu_s(family.name, REFERENCE)
            for family in self.of(half)
        ]
        return f"{fmean(ratios):.2f}"

    def _gpu_s(self, family: str, strategy: str) -> float:
        return fmean(
            one.gpu_s[str(GOALS[0])] or one.gpu_s_spent for one in self._results[family, strategy]
        )

    def verdict(self, half: Half | None, ours: str = OURS) -> str:
        """Our strategy against the bars."""
        others = [name for name in self.strategies if not name.startswith(OURS)]
        if ours not in self.strategies or REFERENCE not in others:
            return "No verdict: it takes our strategy and TPE."
        to_reference = fmean(self.ratios(ours, REFERENCE, GOALS[0], half))
        best = min(others, key=lambda name: fmean(self.ratios(name, REFERENCE, GOALS[0], half)))
        lines = [
            f"- launches to 5 %, {ours} / {REFERENCE}: {to_reference:.2f} "
            f"(at most {AT_MOST_OF_REFERENCE} is wanted)",
            f"- {ours} / {best}, the best other strategy over all families: "
            f"{fmean(self.ratios(ours, best, GOALS[0], half)):.2f} "
            f"(at most {AT_MOST_OF_BEST_OTHER} is wanted)",
            f"- {ours} / the best other strategy of each family: "
            f"{fmean(self._to_best_of_each(ours, others, half)):.2f}",
        ]
        if "random" in others:
            lines.append(self._against_random(ours, half))
        return "\n".join(lines)

    def _to_best_of_each(self, ours: str, others: Sequence[str], half: Half | None) -> list[float]:
        return [
            self.mean_launches(family.name, ours, GOALS[0])
            / min(self.mean_launches(family.name, name, GOALS[0]) for name in others)
            for family in self.of(half)
        ]

    def _against_random(self, ours: str, half: Half | None) -> str:
        """Families where ours needs more launches, with how sure that is (in standard errors)."""
        worse = []
        for family in self.of(half):
            mine = [launches(one, GOALS[0]) for one in self._results[family.name, ours]]
            random = [launches(one, GOALS[0]) for one in self._results[family.name, "random"]]
            difference = fmean(mine) - fmean(random)
            if difference > 0:
                error = math.hypot(_standard_error(mine), _standard_error(random))
                worse.append(f"{family.name} by {difference:.1f} ± {error:.1f}")
        return f"- worse than random on {len(worse)} families" + "".join(
            f"; {one}" for one in worse
        )


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(fmean(math.log(value) for value in values))


def _standard_error(values: Sequence[int]) -> float:
    if len(values) < 2:
        return math.inf
    mean = fmean(values)
    return math.sqrt(sum((one - mean) ** 2 for one in values) / (len(values) - 1) / len(values))
