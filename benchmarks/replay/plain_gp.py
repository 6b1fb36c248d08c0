"""A Gaussian process with expected improvement as it stands in textbooks.

Five random launches, then scikit-learn's regressor (Matérn 5/2, a length scale for each column,
noise) and the candidate with the largest expected improvement (J. Močkus, 1975; D. R. Jones et
al., "Efficient Global Optimization of Expensive Black-Box Functions", 1998). What failed counts as
the worst value seen.
"""

from __future__ import annotations

import warnings
from random import Random

import numpy as np
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from benchmarks.replay.encoding import Vectors, vectors
from benchmarks.replay.family import Family
from tuning.domain.metrics import Direction
from tuning.domain.parameters import Configuration
from tuning.domain.search.base import Trial, hashes_of
from tuning.domain.space import configuration_hash

RANDOM_LAUNCHES = 5
MOST_CANDIDATES = 2_000


class PlainGp:
    def __init__(self, family: Family, seed: int) -> None:
        self._family = family
        self._seed = seed
        self._sign = 1.0 if family.direction is Direction.MAXIMIZE else -1.0
        self._order = family.space.listing()
        self._rng = Random(seed)
        self._rng.shuffle(self._order)

    def next(self, history: list[Trial]) -> Configuration | None:
        tried = hashes_of(history)
        untried = [one for one in self._order if configuration_hash(one) not in tried]
        scores = [self._sign * trial.score for trial in history if trial.score is not None]
        if not untried or len(history) < RANDOM_LAUNCHES or len(set(scores)) < 2:
            return untried[0] if untried else None
        candidates = self._rng.sample(untried, k=min(len(untried), MOST_CANDIDATES))
        targets = np.array(
            [min(scores) if one.score is None else self._sign * one.score for one in history]
        )
        inputs = vectors(self._family, [trial.parameters for trial in history])
        gains = self._expected_improvement(inputs, targets, vectors(self._family, candidates))
        return candidates[int(np.argmax(gains))]

    def _expected_improvement(self, inputs: Vectors, targets: Vectors, at: Vectors) -> Vectors:
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
            np.ones(inputs.shape[1]), (0.05, 20.0), nu=2.5
        ) + WhiteKernel(1e-3, (1e-6, 1e-1))
        model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=self._seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inputs, targets)
        mean, deviation = model.predict(at, return_std=True)
        deviation = np.maximum(deviation, 1e-12)
        gain = mean - targets.max()
        z = gain / deviation
        improvement: Vectors = gain * norm.cdf(z) + deviation * norm.pdf(z)
        return improvement
