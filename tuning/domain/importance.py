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

The interval of a share is that of the analysis of variance: F = (SSB / (k - 1)) / (SSW / (n - k))
is noncentral, and the bounds are the noncentralities L for which it would be as large, or as small,
in 2.5 % of all cases, as shares L / (L + n) (J. H. Steiger, "Beyond the F test", Psychological
Methods 9(2), 2004). It is exact for normal values and few experiments, where a bootstrap is not:
drawing experiments twice makes groups look more alike within. A flag whose interval begins at 0
is called flat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tuning.domain.distributions import CONFIDENCE, noncentral_f_cdf
from tuning.domain.names import FlagValue
from tuning.domain.parameters import is_number

MOST_GROUPS = 5
"""Into how many groups of about the same size the many values of a numeric flag are put."""

FEWEST_IN_A_GROUP = 3
"""How many experiments such a group has on average at least."""

_ROUNDING = 1e-24
_PRECISION = 1e-4


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
    hardly any two experiments have the same one. `low` and `high` bound it with 95 % confidence."""

    flag: str
    share: float | None
    groups: tuple[Group, ...]
    low: float | None = None
    high: float | None = None

    @property
    def count(self) -> int:
        """How many experiments have set the flag."""
        return sum(group.count for group in self.groups)

    @property
    def is_flat(self) -> bool:
        """Whether chance alone could make such a difference; False where nothing can be said."""
        return self.low is not None and self.low <= 0


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
    explained = _explained(groups)
    if explained is None:
        return Effect(flag, None, tuple(described))
    return Effect(flag, explained.share, tuple(described), *explained.interval)


@dataclass(frozen=True)
class _Explained:
    share: float
    interval: tuple[float, float]


def _explained(groups: Sequence[Sequence[_Sample]]) -> _Explained | None:
    """Epsilon squared with its interval; 0 when all values are equal."""
    everything = [sample.value for group in groups for sample in group]
    degrees = len(groups) - 1, len(everything) - len(groups)
    if min(degrees) < 1:
        return None
    total = _squares(everything)
    within = sum(_squares([sample.value for sample in group]) for group in groups)
    # Rounding leaves a trace of a difference between values that are all equal, or all explained.
    if total <= _ROUNDING * sum(value**2 for value in everything):
        return _Explained(0.0, (0.0, 0.0))
    if within <= _ROUNDING * total:
        return _Explained(1.0, (1.0, 1.0))
    share = 1 - (within / degrees[1]) / (total / (len(everything) - 1))
    statistic = ((total - within) / degrees[0]) / (within / degrees[1])
    low, high = (
        _share_at(statistic, degrees, probability)
        for probability in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2)
    )
    share = min(max(share, 0.0), 1.0)
    # The correction for chance takes a little more from the share than from its interval.
    return _Explained(share, (min(low, share), max(high, share)))


def _share_at(statistic: float, degrees: tuple[int, int], probability: float) -> float:
    """The share for which F is at most `statistic` with this probability; 0 where none is."""

    def is_reached(noncentrality: float) -> bool:
        return noncentral_f_cdf(statistic, degrees, noncentrality) > probability

    if not is_reached(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while is_reached(high):
        low, high = high, 2 * high
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        low, high = (middle, high) if is_reached(middle) else (low, middle)
    return low / (low + sum(degrees) + 1)


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values)


def _grouped(samples: Sequence[_Sample]) -> list[list[_Sample]]:
    settings = {(type(sample.setting), sample.setting) for sample in samples}
    if not all(is_number(sample.setting) for sample in samples):
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


def _number(sample: _Sample) -> float:
    return float(sample.setting)
