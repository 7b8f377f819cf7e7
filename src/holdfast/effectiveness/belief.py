"""What may be believed of the rate of failures after few of them were seen.

Failures are counted as a Poisson process of unknown rate λ. The prior is a Gamma distribution, and
so is the posterior: ``shape + failures`` and ``rate + hours watched`` (Gelman et al., Bayesian Data
Analysis, 3rd ed., section 2.6).

The prior without any other word is Gamma(½, 12 h): one failure a day on average, at a weight of
half a failure. Its central 90 % of mean times between failures is from six hours to eight months,
which is about from a thousand GPUs to one machine with eight (arXiv 2410.21680).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.policy.moment import Failures

HOUR_S = 3600.0
PRIOR_SHAPE = 0.5
# Enough for quantiles far below one: those of rare events.
_HALVINGS = 100
PRIOR_MTBF_S = 24.0 * HOUR_S


@dataclass(frozen=True, slots=True)
class Belief:
    """A Gamma distribution of the rate of failures: shape, and rate in seconds."""

    shape: float
    watched_s: float

    @property
    def mean_mtbf_s(self) -> float:
        """The mean time between failures at the mean rate."""
        return self.watched_s / self.shape

    def mtbf_s(self, probability: float) -> float:
        """Return the mean time between failures that is not exceeded with a probability."""
        return self.watched_s / gamma_quantile(self.shape, 1.0 - probability)

    def drawn_mtbf_s(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
        """Return mean times between failures, drawn at random."""
        return self.watched_s / np.maximum(rng.gamma(self.shape, size=count), 1e-12)


def prior(mtbf_s: float | None = None) -> Belief:
    """Return what is believed before anything was seen.

    Args:
        mtbf_s: What somebody expects: then it weighs as much as one failure.
    """
    if mtbf_s is None:
        return Belief(PRIOR_SHAPE, PRIOR_SHAPE * PRIOR_MTBF_S)
    return Belief(1.0, mtbf_s)


def posterior(before: Belief, seen: Failures) -> Belief:
    """Return what is believed after failures were seen, or none for long.

    >>> posterior(prior(3600.0), Failures(3, 4 * 3600.0)).mean_mtbf_s
    4500.0
    """
    return Belief(before.shape + seen.count, before.watched_s + seen.watched_s)


def gamma_quantile(shape: float, probability: float) -> float:
    """Return the quantile of a Gamma distribution of rate one, by bisection.

    >>> round(gamma_quantile(1.0, 0.5), 6) == round(math.log(2.0), 6)
    True
    """
    lower, upper = 0.0, shape + 40.0 * math.sqrt(shape) + 40.0
    for _ in range(_HALVINGS):
        middle = (lower + upper) / 2.0
        if gamma_cdf(shape, middle) < probability:
            lower = middle
        else:
            upper = middle
    return upper


def gamma_cdf(shape: float, x: float) -> float:
    """Return P(shape, x), the regularised lower incomplete gamma function (DLMF 8.7.1)."""
    if x <= 0.0:
        return 0.0
    term = total = 1.0
    place = shape
    while term > total * 1e-16:
        place += 1.0
        term *= x / place
        total += term
    return min(math.exp(shape * math.log(x) - x - math.lgamma(shape + 1.0)) * total, 1.0)
