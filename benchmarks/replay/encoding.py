"""Configurations as vectors, for those peers that want vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.replay.family import Family
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Configuration

Vectors = npt.NDArray[np.float64]


def is_ordinal(values: Sequence[FlagValue]) -> bool:
    """True for three numbers and more; two values of anything are as good as two names."""
    return all(type(value) in {int, float} for value in values) and len(values) > 2


def vectors(family: Family, configurations: Sequence[Configuration]) -> Vectors:
    """A row for each configuration: ranks of numbers from 0 to 1, and a 1 for each other value."""
    columns = []
    for flag, parameter in family.space.parameters.items():
        values = list(parameter.values())
        places = np.array([values.index(one[flag]) for one in configurations])
        if is_ordinal(values):
            columns.append((places / (len(values) - 1))[:, None])
        else:
            columns.append(np.eye(len(values))[places])
    return np.hstack(columns)
