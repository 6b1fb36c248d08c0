"""What a real run gave, as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.real_run.searches import LaunchedAgain, Search, is_as_good
from tuning.domain.objectives import Objective
from tuning.formatting import flags, metric, verdict

LEAST_CONFIGURATIONS = 36
LEAST_RATIO = 5.0
EXHAUSTIVE = "exhaustive"
BAYESIAN = "bayesian"
BASELINE = "baseline"


@dataclass(frozen=True)
class Outcome:
    """Both searches, and what became of their winners."""

    objective: Objective
    configurations: int
    exhaustive: Search
    bayesian: Search
    again: LaunchedAgain

    @property
    def ratio(self) -> float:
        """How many times less wall time the second one took."""
        return self.exhaustive.wall_s / self.bayesian.wall_s

    @property
    def keeps_the_bars(self) -> bool:
        return all(kept for kept, _ in self.bars())

    def bars(self) -> list[tuple[bool, str]]:
        """Each with whether it is kept."""
        found = self.again.verdict(BAYESIAN, EXHAUSTIVE)
        same = "the same configuration" if found is None else verdict(found)
        return [
            (
                self.configurations >= LEAST_CONFIGURATIONS,
                f"{self.configurations} configurations (at least {LEAST_CONFIGURATIONS})",
            ),
            (
                is_as_good(found),
                f"winner of {BAYESIAN} against that of the exhaustive search: {same} "
                "(no difference or better)",
            ),
            (
                self.ratio >= LEAST_RATIO,
                f"wall time, exhaustive / {BAYESIAN}: {self.ratio:.1f} (at least {LEAST_RATIO:g})",
            ),
        ]

    def as_text(self) -> str:
        return "\n\n".join([self._searches(), self._again(), self._verdicts()])

    def _searches(self) -> str:
        name = self.objective.metric
        lines = [
            f"| search | launches | pruned | loads | wall time | winner | {name} |",
            "|---|--:|--:|--:|--:|---|--:|",
        ]
        lines += [
            f"| {one.name} | {one.launches} | {one.pruned} | {one.loads} | {one.wall_s:.0f} s "
            f"| {flags(one.winner)} | {metric(name, one.value)} |"
            for one in (self.exhaustive, self.bayesian)
        ]
        return "\n".join([*lines, "", "Both with the baseline, neither with verification."])

    def _again(self) -> str:
        rounds = len(self.again.contestants[0].values)
        numbers = " | ".join(str(number) for number in range(1, rounds + 1))
        lines = [
            f"| launched again in turn, {self.objective.metric} of round | flags | {numbers} |",
            f"|---|---|{'--:|' * rounds}",
        ]
        lines += [
            f"| {' and '.join(one.names)} | {flags(one.parameters)} | {_cells(one.values)} |"
            for one in self.again.contestants
        ]
        return "\n".join(lines)

    def _verdicts(self) -> str:
        gains = [
            f"- winner of {name} against the {BASELINE}: {verdict(found)}"
            for name in (EXHAUSTIVE, BAYESIAN)
            if (found := self.again.verdict(name, BASELINE)) is not None
        ]
        bars = [f"- {text}: {'kept' if kept else 'MISSED'}" for kept, text in self.bars()]
        return "\n".join([*gains, *bars])


def _cells(values: Iterable[float | None]) -> str:
    return " | ".join("failed" if one is None else f"{one:.4g}" for one in values)
