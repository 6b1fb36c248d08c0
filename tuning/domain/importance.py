"""How much of the differences between configurations each flag explains by itself.

The measure is the share of the objective's variance that lies between groups of experiments with
the same value of the flag: the main effect, or first-order Sobol index Var(E[Y|X]) / Var(Y)
(I. M. Sobol', "Sensitivity estimates for nonlinear mathematical models", 1993). Estimated from few
experiments the plain ratio is too large, because chance makes groups differ, too. So Kelley's
correction is applied (T. L. Kelley, "An unbiased correlation ratio measure", PNAS 21, 1935):

    epsilon squared = 1 - (SSW / (n - k)) / (SST / (n - 1))

with n experiments in k groups, SST the sum of squares around the mean of all, and SSW the one
around the mean of each group. A flag without effect gets 0 on average; what comes out below is
cut to 0. Effects that only two flags have together are in nobody's share, so the shares need not
add up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tuning.domain.names import FlagValue

MOST_GROUPS = 5
"""Into how many groups of about the same size the many values of a numeric flag are put."""

FEWEST_IN_A_GROUP = 3
"""How many experiments such a group has on average at least."""


@dataclass(frozen=True)
class Group:
    """Experiments with the same value of a flag, or with neighbouring ones of a numeric flag.

    `values` are the distinct ones in ascending order; `mean` is the objective's, in its own unit.
    """

    values: tuple[FlagValue, ...]
    count: int
    mean: float


@dataclass(frozen=True)
class Effect:
    """`share` is from 0 to 1, and None where nothing can be said: the flag has only one value, or
    hardly any two experiments have the same one."""

    flag: str
    share: float | None
    groups: tuple[Group, ...]

    @property
    def count(self) -> int:
        """How many experiments have set the flag."""
        return sum(group.count for group in self.groups)


@dataclass(frozen=True)
class _Sample:
    setting: FlagValue
    value: float


def main_effects(
    experiments: Sequence[tuple[Mapping[str, FlagValue], float]], flags: Sequence[str]
) -> list[Effect]:
    """The effect of each flag on the objective, the largest first and the unknown ones last.

    `experiments` are parameters with the objective's value. One that does not set a flag, as the
    baseline, is left out for that flag.
    """
    effects = [_effect(flag, experiments) for flag in flags]
    return sorted(effects, key=lambda effect: (effect.share is None, -(effect.share or 0.0)))


def _effect(flag: str, experiments: Sequence[tuple[Mapping[str, FlagValue], float]]) -> Effect:
    samples = [
        _Sample(parameters[flag], value) for parameters, value in experiments if flag in parameters
    ]
    groups = _grouped(samples)
    described = [
        Group(
            values=tuple(dict.fromkeys(sample.setting for sample in group)),
            count=len(group),
            mean=fmean(sample.value for sample in group),
        )
        for group in groups
    ]
    return Effect(flag, _explained(groups), tuple(described))


def _explained(groups: Sequence[Sequence[_Sample]]) -> float | None:
    """Epsilon squared, from 0 to 1; 0 when all values are equal."""
    everything = [sample.value for group in groups for sample in group]
    degrees_within = len(everything) - len(groups)
    if len(groups) < 2 or degrees_within < 1:
        return None
    if min(everything) == max(everything):
        return 0.0
    total = _squares(everything)
    within = sum(_squares([sample.value for sample in group]) for group in groups)
    unexplained = (within / degrees_within) / (total / (len(everything) - 1))
    return min(max(1 - unexplained, 0.0), 1.0)


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values)


def _grouped(samples: Sequence[_Sample]) -> list[list[_Sample]]:
    settings = {(type(sample.setting), sample.setting) for sample in samples}
    if not all(_is_number(sample.setting) for sample in samples):
        return _by_value(samples)
    if len(settings) <= max(2, min(MOST_GROUPS, len(samples) // FEWEST_IN_A_GROUP)):
        return _by_value(sorted(samples, key=_number))
    return _by_quantile(sorted(samples, key=_number))


def _by_value(samples: Sequence[_Sample]) -> list[list[_Sample]]:
    groups: dict[tuple[type, FlagValue], list[_Sample]] = {}
    for sample in samples:
        groups.setdefault((type(sample.setting), sample.setting), []).append(sample)
    return list(groups.values())


def _by_quantile(samples: Sequence[_Sample]) -> list[list[_Sample]]:
    """Neighbours together. Equal values are never torn apart, so groups may differ in size."""
    bins = max(2, min(MOST_GROUPS, len(samples) // FEWEST_IN_A_GROUP))
    groups: dict[int, list[_Sample]] = {}
    number = 0
    for rank, sample in enumerate(samples):
        if rank == 0 or samples[rank - 1].setting != sample.setting:
            number = rank * bins // len(samples)
        groups.setdefault(number, []).append(sample)
    return list(groups.values())


def _is_number(setting: FlagValue) -> bool:
    return isinstance(setting, int | float) and not isinstance(setting, bool)


def _number(sample: _Sample) -> float:
    return float(sample.setting)
