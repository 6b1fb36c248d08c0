"""What a history tells a model: values, limits, and configurations that fail by themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.domain.parameters import Configuration
from tuning.domain.search.base import Trial
from tuning.domain.search.bayesian_encoding import Array, Encoding, Flags

OWN_FAILURES = frozenset(
    {
        FailureKind.OUT_OF_MEMORY,
        FailureKind.BAD_FLAG,
        FailureKind.TOO_FEW_GPUS,
        FailureKind.STARTUP_TIMEOUT,
        FailureKind.CRASHED,
        FailureKind.BENCHMARK_FAILED,
        FailureKind.BENCHMARK_TIMEOUT,
    }
)
"""Failures that tell something about the configuration; all others are the surroundings' fault."""

FEWEST_TO_CUT = 5
LOWEST = 4.0
"""Values this many times further below the median than the best is above it are cut off: how bad a
bad configuration is exactly teaches nothing about good ones."""


@dataclass(frozen=True)
class Evidence:
    """One task's trials, sorted by what is known of them.

    `scores` are in the objective's own unit, `kept` tells whether every limit held. `excesses` has
    a column for each limit with the `log_excess` of each measured trial. `launched` are those that
    were measured or failed by themselves; `failed` tells which. `pending` have no outcome yet.
    """

    measured: tuple[Configuration, ...]
    scores: Array
    kept: Flags
    excesses: Array
    launched: tuple[Configuration, ...]
    failed: Flags
    pending: tuple[Configuration, ...]


def evidence_of(history: Sequence[Trial], encoding: Encoding, direction: Direction) -> Evidence:
    """Sort a history; trials that say nothing of the configuration are left out."""
    known = [trial for trial in history if encoding.covers(trial.parameters)]
    scored = [(trial, _score(trial)) for trial in known]
    measured = [(trial, score) for trial, score in scored if score is not None]
    pruned = [trial for trial in known if trial.status is ExperimentStatus.PRUNED]
    if measured and pruned:
        middling = median(score for _, score in measured)
        measured += [(trial, _at_most(middling, trial, direction)) for trial in pruned]
    failed = [trial for trial, score in scored if score is None and _is_own_failure(trial)]
    trials = [trial for trial, _ in measured]
    return Evidence(
        measured=tuple(trial.parameters for trial in trials),
        scores=np.array([score for _, score in measured], dtype=np.float64),
        kept=np.array([trial.failure_kind is None for trial in trials], dtype=np.bool_),
        excesses=_excesses(trials),
        launched=tuple(trial.parameters for trial in [*trials, *failed]),
        failed=np.array([*map(_broke_what_has_no_ratio, trials), *[True] * len(failed)], np.bool_),
        pending=tuple(trial.parameters for trial in known if not trial.status.is_terminal),
    )


def comparable(tasks: Sequence[Array], direction: Direction) -> list[Array]:
    """The scores of several tasks as values of which larger is better, on one scale.

    Logarithms where all are above 0, since what flags do to speed multiplies. The first task's
    mean is subtracted from its values, each other's from its own; one deviation serves all.
    """
    sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
    positive = all((scores > 0).all() for scores in tasks)
    values = [_cut(sign * (np.log(scores) if positive else scores)) for scores in tasks]
    centred = [each - each.mean() if len(each) else each for each in values]
    deviation = float(np.concatenate(centred).std())
    return [each / max(deviation, 1e-9) for each in centred]


def _cut(values: Array) -> Array:
    if len(values) < FEWEST_TO_CUT:
        return values
    middle, best = float(np.median(values)), float(values.max())
    if best <= middle:
        return values
    return np.maximum(values, middle - LOWEST * (best - middle))


def _score(trial: Trial) -> float | None:
    """The score of a trial that was measured to its end, whether or not it kept the limits."""
    score = trial.score if trial.measured is None else trial.measured
    is_comparable = trial.status is ExperimentStatus.SUCCESS or (
        trial.failure_kind is FailureKind.SLO_VIOLATED
    )
    return score if is_comparable and score is not None and math.isfinite(score) else None


def _at_most(middling: float, pruned: Trial, direction: Direction) -> float:
    """What a pruned trial counts as: middling, or what it would hardly have been better than if
    that is worse. A bound that has no logarithm would take those of all others away."""
    bound = pruned.pruned_at
    if bound is None or not math.isfinite(bound) or bound <= 0 < middling:
        return middling
    return min(middling, bound) if direction is Direction.MAXIMIZE else max(middling, bound)


def _is_own_failure(trial: Trial) -> bool:
    return trial.failure_kind in OWN_FAILURES or trial.failure_kind is FailureKind.SLO_VIOLATED


def _broke_what_has_no_ratio(trial: Trial) -> bool:
    """True when a limit is broken that no ratio tells of, as that no request may fail."""
    told = [one.log_excess for one in trial.limited]
    return trial.failure_kind is FailureKind.SLO_VIOLATED and not any(
        excess is not None and excess > 0 for excess in told
    )


def _excesses(trials: Sequence[Trial]) -> Array:
    """A column for each limit that every trial tells of."""
    rows = [
        {(one.metric, one.max is None): one.log_excess for one in trial.limited} for trial in trials
    ]
    limits = [
        limit
        for limit in (rows[0] if rows else {})
        if all(row.get(limit) is not None for row in rows)
    ]
    columns = [[row[limit] for row in rows] for limit in limits]
    return np.array(columns, dtype=np.float64).reshape(len(limits), len(rows)).T
