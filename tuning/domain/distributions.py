"""The quantiles that intervals are made of.

SciPy is imported where it is needed: it takes a quarter of a second, and most commands need none.
"""

from __future__ import annotations

CONFIDENCE = 0.95
"""Of every interval that the product states, two-sided."""


def student_t(degrees: float, confidence: float = CONFIDENCE) -> float:
    """How many standard errors a two-sided interval of Student's t reaches to either side."""
    return student_t_quantile(degrees, (1 + confidence) / 2)


def student_t_quantile(degrees: float, probability: float) -> float:
    """What a variable with Student's t distribution exceeds with 1 minus this probability."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def noncentral_f_cdf(statistic: float, degrees: tuple[int, int], noncentrality: float) -> float:
    """The probability that a noncentral F with (between, within) `degrees` is at most this."""
    from scipy.special import ncfdtr

    return float(ncfdtr(*degrees, noncentrality, statistic))
