"""Scores of forecasts: against closed forms, and across scales of noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.integrate import quad

import bayesfit as bf
from bayesfit.scores import crps, log_density, log_score, score


def test_crps_is_that_of_the_normal_distribution() -> None:
    """Gneiting and Raftery 2007, equation 21, against its estimate from quantiles."""
    truth = np.array([-1.3, 0.0, 0.4, 2.5])
    draws = np.sort(stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000))
    exact = truth * (2 * stats.norm.cdf(truth) - 1) + 2 * stats.norm.pdf(truth) - 1 / np.sqrt(np.pi)
    np.testing.assert_allclose(crps(np.repeat(draws[:, None], 4, axis=1), truth), exact, atol=1e-3)
    assert crps(np.full((50, 1), 3.0), np.array([5.0])) == pytest.approx(2.0)


def larger(fit: bf.Fit, **columns: list[float]) -> bf.Runs:
    table = {"params": [2e10, 4e10], "tokens": [4e11, 8e11], "loss": [2.0, 1.95], **columns}
    return bf.Runs.from_frame(pd.DataFrame(table), loss_se="se" if "se" in columns else None)


@pytest.mark.parametrize("on", ["log", "identity"])
def test_densities_are_of_the_loss_itself(plain_fit: bf.Fit, on: str) -> None:
    """Whatever scale noise acts on, the predictive density integrates to one over losses."""
    from dataclasses import replace

    law = plain_fit.law
    noise = replace(law.outputs["loss"].noise, on=on)
    fit = replace(plain_fit, law=law.with_noise(noise))

    def density(loss: float) -> float:
        runs = larger(fit, params=[2e10], tokens=[4e11], loss=[loss])
        return float(np.exp(log_score(fit, runs, "loss"))[0])

    middle = float(plain_fit.forecast({"params": [2e10], "tokens": [4e11]}).quantiles([0.5]).iloc[0, 0])
    total = quad(density, 0.5 * middle, 1.5 * middle, points=[middle], limit=100, epsabs=1e-3)[0]
    assert total == pytest.approx(1.0, abs=0.01)


def test_log_density_follows_the_law_draw_by_draw(plain_fit: bf.Fit) -> None:
    runs = larger(plain_fit)
    expected = plain_fit.forecast(runs.to_frame()[["params", "tokens"]]).expected
    sigma = plain_fit.posterior["sigma"].values[..., None]
    r = (np.log(runs.values("loss")) - np.log(expected.values)) / sigma
    by_hand = stats.t.logpdf(r, 4) - np.log(sigma) - np.log(runs.values("loss"))
    np.testing.assert_allclose(log_density(plain_fit, runs, "loss").values, by_hand, rtol=1e-9)


def test_a_measured_error_widens_the_density(plain_fit: bf.Fit) -> None:
    far = larger(plain_fit, loss=[2.4, 2.4])
    measured = larger(plain_fit, loss=[2.4, 2.4], se=[0.2, 0.2])
    assert (log_score(plain_fit, measured, "loss") > log_score(plain_fit, far, "loss") + 1).all()


def test_scores_of_a_run_on_the_median_are_best(plain_fit: bf.Fit) -> None:
    median = plain_fit.forecast({"params": [2e10], "tokens": [4e11]}).quantiles([0.5]).iloc[0, 0]
    table = score(
        plain_fit,
        larger(plain_fit, params=[2e10] * 3, tokens=[4e11] * 3, loss=[median, 0.8 * median, 1.2 * median]),
        "loss",
    )
    assert table["log_score"].idxmax() == 0
    assert (table[["crps", "interval_score"]].idxmin() == 0).all()
    assert table["error"].to_numpy() == pytest.approx([0, -np.log(0.8), -np.log(1.2)], abs=2e-3)
    assert table["pit"].to_numpy() == pytest.approx([0.5, 0, 1], abs=0.02)
    assert table["inside_50"].tolist() == [True, False, False]
    # beyond the interval, the score grows by 2/0.1 for each unit missed
    width = table.loc[0, "interval_score"]
    lower = np.log(plain_fit.forecast({"params": [2e10], "tokens": [4e11]}).interval(0.9)["lower"].iloc[0])
    missed = lower - np.log(0.8 * median)
    assert table.loc[1, "interval_score"] == pytest.approx(width + 20 * missed, rel=0.02)
