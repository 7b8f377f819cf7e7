"""What is believed of the rate of failures: the arithmetic, and that intervals are honest."""

from __future__ import annotations

import math

import numpy as np
import pytest

from holdfast.effectiveness import belief
from holdfast.policy.moment import Failures

HOUR_S = 3600.0


def test_the_gamma_distribution_against_closed_forms_and_tables() -> None:
    assert belief.gamma_cdf(1.0, 2.0) == pytest.approx(1 - math.exp(-2.0))
    assert belief.gamma_cdf(0.5, 1.3) == pytest.approx(math.erf(math.sqrt(1.3)))
    # Chi-squared, 10 degrees of freedom: 18.307 is the 95 % point of the tables.
    assert belief.gamma_quantile(5.0, 0.95) * 2 == pytest.approx(18.307, abs=1e-3)
    assert belief.gamma_quantile(400.0, 0.5) == pytest.approx(400.0 - 1 / 3, abs=1e-2)


def test_what_was_seen_soon_weighs_more_than_the_prior() -> None:
    often = belief.posterior(belief.prior(), Failures(400, 1200 * HOUR_S))
    assert often.mean_mtbf_s == pytest.approx(3.0 * HOUR_S, rel=0.02)
    assert often.mtbf_s(0.95) / often.mtbf_s(0.05) < 1.2
    never = belief.posterior(belief.prior(), Failures(0, 2000 * HOUR_S))
    assert never.mean_mtbf_s > 1000 * HOUR_S
    assert never.mtbf_s(0.95) / never.mtbf_s(0.05) > 100


def test_a_word_of_the_user_weighs_as_much_as_one_failure() -> None:
    told = belief.prior(10 * HOUR_S)
    assert told.mean_mtbf_s == 10 * HOUR_S
    assert belief.posterior(told, Failures(1, 0.0)).mean_mtbf_s == 5 * HOUR_S


def test_nine_of_ten_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    before = belief.prior(24 * HOUR_S)
    held = 0
    for mtbf_s in before.drawn_mtbf_s(rng, 500):
        watched_s = 48 * HOUR_S
        seen = Failures(int(rng.poisson(watched_s / mtbf_s)), watched_s)
        after = belief.posterior(before, seen)
        held += after.mtbf_s(0.05) <= mtbf_s <= after.mtbf_s(0.95)
    assert 430 <= held <= 470
