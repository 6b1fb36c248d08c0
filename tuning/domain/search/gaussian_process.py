"""An ensemble of Gaussian processes: one for each plausible setting of its hyperparameters.

From five measurements nobody can tell how long a length scale is; a single best guess would be far
too sure of itself. So hyperparameters are drawn from their prior, weighted by the evidence, and
moved by Metropolis steps: a small sequential Monte Carlo sampler. Sources:

- the processes: C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning",
  2006, chapters 2, 4 and 5;
- the sampler: N. Chopin, "A sequential particle filter method for static models", Biometrika 89,
  2002; moves by differences of particles: C. J. F. ter Braak, "A Markov Chain Monte Carlo version
  of the genetic algorithm Differential Evolution", Statistics and Computing 16, 2006;
- the additive kernel: D. Duvenaud et al., "Additive Gaussian Processes", NIPS 2011;
- several tasks: E. V. Bonilla et al., "Multi-task Gaussian Process Prediction", NIPS 2007.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuning.domain.search.bayesian_encoding import Apart, Array, Flags, Places

OWN_TASK = 0


@dataclass(frozen=True)
class Priors:
    """What is believed before anything was measured. Chosen on the development half of
    benchmarks/search.py; all are means and deviations of normal distributions.

    Lengths are logarithms in units of a flag's whole range. `additive` is the logit of the share
    of the variance that flags have each by themselves. `noise` is the logarithm of the noise's
    deviation in units of the signal's, `earlier_noise` that of earlier tasks. `kinship` is the
    logit of how much of its signal a related earlier task shares with this one.
    """

    number_length: tuple[float, float] = (0.2, 0.6)
    name_length: tuple[float, float] = (1.0, 0.6)
    flag_weight: tuple[float, float] = (0.0, 0.7)
    additive: tuple[float, float] = (1.5, 1.0)
    noise: tuple[float, float] = (math.log(0.02), 1.0)
    earlier_noise: tuple[float, float] = (math.log(0.05), 1.5)
    kinship: tuple[float, float] = (1.5, 1.5)


PRIORS = Priors()
MEAN_VARIANCE = 1.0
"""Of the constant that the process varies around, in units of the signal's variance."""
SHAPE, RATE = 1.0, 1.0
"""Of the inverse gamma distribution of the signal's variance."""
TASK_VARIANCE = 4.0
"""Of each task's own constant: scores of two tasks are on different levels."""

IN_CACHE = 60_000
"""About so many numbers are worked on at a time, so that they stay near the processor."""
BLOCK = 256
"""So many points are predicted at a time, for the same reason."""
UNRELATED = -5.0
"""The kinship of a task that has nothing to do with this one."""

DRAWS = 96
MEMBERS = 16
STEPS = (0.4, 0.7)
"""Of each move, in units of the difference of two members."""
JITTER = 0.15
"""Of each move, in units of the prior's deviation."""
MOST_POINTS = 80
"""Hyperparameters are inferred from at most so many points; more would tell little more."""


@dataclass(frozen=True)
class Points:
    """Where something was measured: how far apart, and for which task each point."""

    apart: Apart
    tasks: Places


class Ensemble:
    """Members are the rows of `_theta`: lengths, log weights of the flags, additive, noise; with
    earlier tasks also their noise and the kinship of each.

    `weights` are the probabilities that an earlier task has anything to do with this one. Each
    member either believes so or does not; measuring decides between them.
    """

    def __init__(self, is_name: Flags, weights: Sequence[float] = ()) -> None:
        self._is_name = is_name
        self._flags = len(is_name)
        rows = [PRIORS.name_length if name else PRIORS.number_length for name in is_name]
        rows += [PRIORS.flag_weight] * self._flags
        rows += [PRIORS.additive, PRIORS.noise]
        rows += [PRIORS.earlier_noise] if weights else []
        self._centre, self._spread = np.array(rows).T
        self._weights = np.array(weights, dtype=np.float64)
        self._theta = np.append(self._centre, np.full(len(weights), UNRELATED))[None]

    def fit(self, points: Points, values: Array, rng: np.random.Generator) -> None:
        """Learn from standardised values; `points` says where they are."""
        chosen = _spread_by_rank(values, MOST_POINTS)
        few = Points(points.apart.among(chosen), points.tasks[chosen])
        self._infer(few, values[chosen], rng)
        self.condition(points, values)

    def condition(self, points: Points, values: Array) -> None:
        """Learn from values with the hyperparameters as they are."""
        self._tasks = points.tasks
        self._solve(self._theta, points, values)

    def predict(self, apart: Apart) -> tuple[Array, Array]:
        """Mean and deviation of the signal of this task, without noise: (members, points).

        `apart` goes from the points learnt from to those asked for.
        """
        blocks = [self._predict_few(block) for block in apart.blocks(BLOCK)]
        means, deviations = zip(*blocks, strict=True)
        return np.concatenate(means, axis=1), np.concatenate(deviations, axis=1)

    def _predict_few(self, apart: Apart) -> tuple[Array, Array]:
        own = np.full(apart.shape[1], OWN_TASK)
        kernel = self._kernel(self._theta, apart, self._tasks, own)
        whitened = self._inverse @ kernel
        mean = self._mean[:, None] + np.einsum("snm,sn->sm", whitened, self._residual)
        unexplained = 1 - np.einsum("snm,sn->sm", whitened, self._ones)
        own_variance = 1.0 + (TASK_VARIANCE if len(self._weights) else 0.0)
        variance = np.maximum(own_variance - (whitened**2).sum(axis=1), 1e-9)
        variance += unexplained**2 / self._precision[:, None]
        return mean, np.sqrt(variance * self._scale[:, None])

    def _infer(self, points: Points, values: Array, rng: np.random.Generator) -> None:
        drawn = self._draw(rng)
        evidence = self._solve(drawn, points, values)
        weights = np.exp(evidence - evidence.max())
        places = (np.arange(MEMBERS) + rng.random()) / MEMBERS * weights.sum()
        kept = np.minimum(np.searchsorted(np.cumsum(weights), places), DRAWS - 1)
        theta, posterior = drawn[kept], evidence[kept] + self._log_prior(drawn[kept])
        for step in STEPS:
            difference = theta[rng.permutation(MEMBERS)] - theta[rng.permutation(MEMBERS)]
            shape = slice(0, len(self._centre))
            moved = theta.copy()
            moved[:, shape] += step * difference[:, shape] + self._jitter(rng)
            reached = self._solve(moved, points, values) + self._log_prior(moved)
            accepted = np.log(rng.random(MEMBERS)) < reached - posterior
            theta = np.where(accepted[:, None], moved, theta)
            posterior = np.where(accepted, reached, posterior)
        self._theta = theta

    def _draw(self, rng: np.random.Generator) -> Array:
        """Hyperparameters from their prior: (draws, hyperparameters)."""
        shape = self._centre + self._spread * rng.standard_normal((DRAWS, len(self._centre)))
        size = (DRAWS, len(self._weights))
        kinship = PRIORS.kinship[0] + PRIORS.kinship[1] * rng.standard_normal(size)
        related = rng.random(size) < self._weights
        return np.hstack([shape, np.where(related, kinship, UNRELATED)])

    def _jitter(self, rng: np.random.Generator) -> Array:
        jitter: Array = JITTER * self._spread * rng.standard_normal((MEMBERS, len(self._centre)))
        return jitter

    def _log_prior(self, theta: Array) -> Array:
        shape = theta[:, : len(self._centre)]
        log_prior: Array = -0.5 * (((shape - self._centre) / self._spread) ** 2).sum(axis=1)
        return log_prior

    def _solve(self, theta: Array, points: Points, values: Array) -> Array:
        """Condition on the values; returns the log evidence of each row of theta.

        Constant and signal variance are integrated out: the first is normal, the second inverse
        gamma, so that both have closed forms.
        """
        count = len(values)
        kernel = self._kernel(theta, points.apart, points.tasks, points.tasks)
        noise = self._noise_variance(theta, points.tasks)
        lower = np.linalg.cholesky(kernel + noise[:, :, None] * np.eye(count))
        self._inverse = np.linalg.solve(lower, np.broadcast_to(np.eye(count), lower.shape))
        self._ones = self._inverse.sum(axis=2)
        whitened = self._inverse @ values
        self._precision = (self._ones**2).sum(axis=1) + 1 / MEAN_VARIANCE
        projection = (self._ones * whitened).sum(axis=1)
        self._mean = projection / self._precision
        self._residual = whitened - self._mean[:, None] * self._ones
        misfit = (whitened**2).sum(axis=1) - projection**2 / self._precision
        shape = SHAPE + count / 2
        self._scale = (RATE + misfit / 2) / shape
        log_determinant = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        evidence: Array = (
            -log_determinant - 0.5 * np.log(self._precision) - shape * np.log(RATE + misfit / 2)
        )
        return evidence

    def _noise_variance(self, theta: Array, tasks: Places) -> Array:
        """Of each point: (members, points). Earlier tasks have one of their own: that they were
        disturbed says nothing of this one."""
        first = 2 * self._flags + 1
        levels = np.exp(2 * theta[:, first : len(self._centre)]) + 1e-6
        variance: Array = levels[:, np.minimum(tasks, 1)]
        return variance

    def _kernel(self, theta: Array, apart: Apart, left: Places, right: Places) -> Array:
        """Covariances for each row of theta: (members, left points, right points)."""
        size = max(1, IN_CACHE // (len(left) * len(right)))
        kernel = np.empty((len(theta), len(left), len(right)))
        for first in range(0, len(theta), size):
            some = slice(first, first + size)
            kernel[some] = self._kernel_of_few(theta[some], apart)
        kinships = theta[:, len(self._centre) :]
        return kernel if kinships.shape[1] == 0 else _across_tasks(kernel, kinships, left, right)

    def _kernel_of_few(self, theta: Array, apart: Apart) -> Array:
        weights = np.exp(theta[:, self._flags : 2 * self._flags])
        weights /= weights.sum(axis=1, keepdims=True)
        share = 1 / (1 + np.exp(-theta[:, 2 * self._flags]))
        together = np.ones((len(theta), *apart.shape))
        singly = np.zeros_like(together)
        for flag, table in enumerate(apart.tables):
            scaled = table / np.exp(theta[:, flag])[:, None, None]
            alike = np.exp(-scaled) if self._is_name[flag] else _matern_5_2(scaled)
            places = apart.left[flag][:, None] * table.shape[1] + apart.right[flag]
            spread = alike.reshape(len(theta), -1).take(places, axis=1)
            together *= spread
            spread *= (share * weights[:, flag])[:, None, None]
            singly += spread
        together *= (1 - share)[:, None, None]
        return together + singly


def _across_tasks(kernel: Array, kinships: Array, left: Places, right: Places) -> Array:
    """The kernel within a task; between two of them only what both are believed to share."""
    shared = np.concatenate([np.ones((len(kinships), 1)), 1 / (1 + np.exp(-kinships))], axis=1)
    same = (left[:, None] == right[None, :]).astype(np.float64)
    between = shared[:, left, None] * shared[:, None, right]
    across: Array = kernel * np.where(same > 0, 1.0, between) + TASK_VARIANCE * same
    return across


def _matern_5_2(distance: Array) -> Array:
    scaled = math.sqrt(5) * distance
    covariance: Array = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return covariance


def _spread_by_rank(values: Array, most: int) -> Places:
    """Places of at most so many values, from the best to the worst alike."""
    order = np.argsort(-values, kind="stable")
    if len(order) <= most:
        return np.arange(len(values))
    return np.sort(order[np.linspace(0, len(order) - 1, most).round().astype(int)])
