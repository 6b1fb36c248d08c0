"""Is the winner really better? Decided from rounds in which it and a reference were measured anew.

Whatever wins a search was lucky, too: the best of many noisy values lies above its own mean. So the
values that made it win count for nothing here. Winner and reference are launched again, one after
the other, in turn (A B, B A, A B …), so that a machine that gets slower hurts both alike.

The values of one round make one ratio. Ratios of times and rates are products of many small
influences, so their logarithms d are taken to be normal, and the interval is Student's for the
mean of paired differences ("The probable error of a mean", Biometrika 6, 1908):

    mean(d) ± t(n - 1) * sd(d) / sqrt(n)

with d = log(winner / reference) for a metric to maximise, whose gain is exp(mean(d)) - 1, and
d = log(reference / winner) for one to minimise, whose gain is 1 - exp(-mean(d)): as
`tuning.domain.objectives.gain` has it.

Intervals of ratios from few launches, rather than single runs, are what Georges, Buytaert and
Eeckhout ("Statistically rigorous Java performance evaluation", OOPSLA 2007) and Kalibera and Jones
("Rigorous benchmarking in reasonable time", ISMM 2013) ask of a benchmark. Between two equal
configurations such an interval lies above 0 in 2.5 % of all tasks, whatever the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from statistics import fmean, stdev
from typing import Any

from tuning.domain.distributions import student_t
from tuning.domain.metrics import Direction

FEWEST_ROUNDS = 2
"""One round has no interval."""

NOISIEST_CV = 0.05
"""Above this coefficient of variation of one measurement, "no difference" would say too much."""

CONTRADICTION = 0.05
"""Rounds contradict each other when one shows such a gain and another such a loss."""

_LARGEST_LOGARITHM = 100.0
"""Two rounds that disagree wildly have an interval beyond what a float can hold."""


class Finding(StrEnum):
    """What the rounds show of winner and reference."""

    BETTER = "better"
    NO_DIFFERENCE = "no_difference"
    WORSE = "worse"
    UNSTABLE = "unstable"
    NOT_VERIFIED = "not_verified"


class Reference(StrEnum):
    """What the winner is compared with."""

    BASELINE = "baseline"
    RUNNER_UP = "runner_up"


@dataclass(frozen=True)
class Round:
    """The values of winner and reference in one round, None for what could not be measured."""

    winner: float | None
    reference: float | None


@dataclass(frozen=True)
class GainVerdict:
    """How much better the winner is than the reference in one metric, and how sure that is.

    `gain` is relative, 0.25 for 25 % better; `low` and `high` bound it with 95 % confidence, None
    where no interval can be told. `noise_cv` is the estimated coefficient of variation of a single
    measurement. `rounds` counts those in which both were measured. `failed_requests` counts those
    of all the winner's measurements. `number` and `against_number` are those of their experiments.
    `reason` is a clause for people, without a full stop.
    """

    metric: str
    finding: Finding
    number: int | None = None
    against: Reference = Reference.BASELINE
    against_number: int | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    noise_cv: float | None = None
    rounds: int = 0
    failed_requests: int = 0
    reason: str = ""

    def as_document(self) -> dict[str, Any]:
        """JSON values that `of_document` reads."""
        return asdict(self)

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> GainVerdict:
        return cls(
            **document
            | {
                "finding": Finding(document["finding"]),
                "against": Reference(document["against"]),
            }
        )

    @property
    def is_verified(self) -> bool:
        return self.finding is not Finding.NOT_VERIFIED


def judge_rounds(
    metric: str, direction: Direction, rounds: Sequence[Round], faults: Sequence[str] = ()
) -> GainVerdict:
    """The verdict on one metric. `faults` tell of each launch of the winner that went wrong.

    A winner that fails when it is launched again is unstable, however fast it was otherwise.
    """
    verdict = _compared(metric, direction, rounds)
    if faults:
        return replace(verdict, finding=Finding.UNSTABLE, reason="; ".join(faults))
    return verdict


def _compared(metric: str, direction: Direction, rounds: Sequence[Round]) -> GainVerdict:
    pairs = [
        (one.winner, one.reference)
        for one in rounds
        if one.winner is not None and one.reference is not None
    ]
    unknown = GainVerdict(metric, Finding.NOT_VERIFIED, rounds=len(pairs))
    if any(value <= 0 for pair in pairs for value in pair):
        return replace(unknown, reason="a value of 0 has no ratio")
    sign = -1 if direction is Direction.MINIMIZE else 1
    ratios = [sign * (math.log(winner) - math.log(reference)) for winner, reference in pairs]
    if len(ratios) < FEWEST_ROUNDS:
        return replace(
            unknown,
            gain=_gain_of(ratios[0], direction) if ratios else None,
            reason=f"{len(ratios)} of {len(rounds)} rounds were measured, and it takes two",
        )
    mean, spread = fmean(ratios), stdev(ratios)
    reach = student_t(len(ratios) - 1) * spread / math.sqrt(len(ratios))
    noise_cv = _cv(spread)
    finding, reason = _finding(mean, reach, noise_cv, [_gain_of(one, direction) for one in ratios])
    return replace(
        unknown,
        finding=finding,
        gain=_gain_of(mean, direction),
        low=_gain_of(mean - reach, direction),
        high=_gain_of(mean + reach, direction),
        noise_cv=noise_cv,
        reason=reason,
    )


def _cv(spread: float) -> float:
    """Of a single measurement: a ratio, with this standard deviation of its logarithm, has the
    noise of two."""
    return math.sqrt(math.expm1(min(spread**2 / 2, _LARGEST_LOGARITHM)))


def _finding(
    mean: float, reach: float, noise_cv: float, gains: Sequence[float]
) -> tuple[Finding, str]:
    if mean - reach > 0:
        return Finding.BETTER, ""
    if mean + reach < 0:
        return Finding.WORSE, ""
    least, most = min(gains), max(gains)
    if least < -CONTRADICTION and most > CONTRADICTION:
        return Finding.UNSTABLE, f"the rounds contradict each other ({least:+.0%} to {most:+.0%})"
    if noise_cv > NOISIEST_CV:
        return Finding.UNSTABLE, f"measurements vary by {noise_cv:.0%}, too much to tell"
    return Finding.NO_DIFFERENCE, ""


def _gain_of(logarithm: float, direction: Direction) -> float:
    bounded = max(-_LARGEST_LOGARITHM, min(logarithm, _LARGEST_LOGARITHM))
    return -math.expm1(-bounded) if direction is Direction.MINIMIZE else math.expm1(bounded)
