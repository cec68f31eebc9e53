"""Score forecasts of runs whose outcome is known: log score, CRPS, interval score, coverage.

Gneiting, Raftery 2007, Strictly Proper Scoring Rules, Prediction, and Estimation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayesfit.evaluation import law_values, seen_in
from bayesfit.forecast import drawn_values, forecast_rows
from bayesfit.pooling import trials_of

if TYPE_CHECKING:
    from bayesfit.card import Law
    from bayesfit.fitting import Fit
    from bayesfit.runs import Runs

#: Central intervals whose coverage is counted.
LEVELS = (0.5, 0.8, 0.9, 0.95)
#: Where classes of distance beyond the fitted runs begin, in decades; the last has no end.
DISTANCES = (0.0, 0.25, 0.5, 1.0, 2.0)
#: The interval of the interval score.
_SCORED = 0.9
#: How often what a run shows of other outputs is drawn for each draw of the posterior.
_REPEATS = 8


def log_density(fit: Fit, runs: Runs, output: str, *, drawn: bool = False, seed: int = 0) -> xr.DataArray:
    """Return the log density of an output's values under each draw.

    Parameters
    ----------
    fit
        The fit.
    runs
        Runs with the law's inputs and the fit's groups; levels that the fit never saw are drawn from
        their population.
    output
        The output; runs that lack it are left out.
    drawn, seed
        Where the law reads what a run showed of another output: whether that is drawn, as in a forecast (and
        averaged over), or taken from the runs.

    Returns
    -------
    xarray.DataArray
        Dims (chain, draw, run). The density is that of the output in its own unit, whatever scale its
        noise acts on, so that fits with noise on the log and on the loss itself can be compared; for
        counts it is the probability of the count.
    """
    place = np.flatnonzero(~np.isnan(runs.values(output)))
    runs = runs.select(~np.isnan(runs.values(output)))
    if drawn and fit.law.linked:
        total = np.full((fit.posterior.sizes["chain"], fit.posterior.sizes["draw"], len(runs)), -np.inf)
        for repeat in range(_REPEATS):
            values, scales = drawn_values(fit, runs.table, output, seed=seed, first=repeat * len(runs))
            total = np.logaddexp(total, _density(fit, runs, output, values, scales))
        density = total - np.log(_REPEATS)
    else:
        density = _density(fit, runs, output, *law_values(fit, runs.table, seen_in(fit, runs.table)))
    coords = {"chain": fit.posterior["chain"].values, "draw": fit.posterior["draw"].values, "run": place}
    return xr.DataArray(density, dims=("chain", "draw", "run"), coords=coords, name=output)


def _density(
    fit: Fit,
    runs: Runs,
    output: str,
    values: Mapping[str, xr.DataArray],
    scales: Mapping[str, xr.DataArray],
) -> np.ndarray:
    noise = fit.law.outputs[output].noise
    trials = trials_of(fit.law, output, runs)
    observed = runs.values(output)
    order = ("chain", "draw", "scenario")
    shape = (fit.posterior.sizes["chain"], fit.posterior.sizes["draw"], len(runs))
    mean = np.broadcast_to(values[output].transpose(..., "scenario").values, shape)
    sigma: np.ndarray | float = 0.0
    if noise.has_scale:
        scale = scales[fit.law.sigmas[output]]
        sigma = scale.transpose(*(dim for dim in order if dim in scale.dims)).values
        sigma = sigma if "scenario" in scale.dims else sigma[..., None]
    if output == "loss" and runs.loss_se is not None:
        sigma = np.hypot(sigma, noise.measured(runs.loss_se, observed))
    with np.errstate(all="ignore"):
        on_scale = noise.logpdf(noise.observed(observed), noise.observed(mean), sigma, trials)
        jacobian = {"log": np.log(observed), "logit": np.log(observed) + np.log1p(-observed)}.get(noise.on, 0.0)
    # a draw at which the law has no value gives the data no density
    return np.asarray(np.nan_to_num(on_scale - jacobian, nan=-np.inf))


def log_score(fit: Fit, runs: Runs, output: str, *, drawn: bool = True, seed: int = 0) -> np.ndarray:
    """Return the log predictive density of each run, averaged over the draws; higher is better.

    Arguments are those of `log_density`; runs that lack the output are left out.
    """
    from scipy.special import logsumexp

    found = log_density(fit, runs, output, drawn=drawn, seed=seed)
    density = found.values.reshape(-1, found.sizes["run"])
    score: np.ndarray = logsumexp(density, axis=0) - np.log(len(density))
    return score


def score(fit: Fit, runs: Runs, output: str, *, seed: int = 0) -> pd.DataFrame:
    """Score a fit on runs that it has not seen.

    Parameters
    ----------
    fit
        The fit; whether its diagnostics hold is for the caller to ask.
    runs
        The runs.
    output
        The output.
    seed
        Seed of the noise.

    Returns
    -------
    pandas.DataFrame
        One row a run that has the output, in order: ``observed``, ``median`` and ``decades`` beyond the
        fitted runs; ``log_score`` (higher is better); ``error`` of the median, ``crps`` and
        ``interval_score`` of the 90% interval (lower is better), these three on the log of positive outputs
        (0.01 is about 1%) and in the unit of shares and signed ones; ``pit``, the probability below what was
        observed; and ``inside_50`` and so on, whether the central interval held it.
    """
    runs = runs.select(~np.isnan(runs.values(output)))
    observed = runs.values(output)
    found = forecast_rows(fit, runs.table, output, seed=seed)
    draws = found.draws.values.reshape(-1, len(runs))
    if output == "loss" and runs.loss_se is not None:
        draws = draws + runs.loss_se * np.random.default_rng([seed, 2]).standard_normal(draws.shape)
    truth, drawn = observed, draws
    if scored_on_log(fit.law, fit.runs, output):
        # a fit with noise on the loss itself may put a little below zero
        truth, drawn = np.log(observed), np.log(np.maximum(draws, 1e-9 * observed))
    scored = score_draws(drawn, truth)
    scored.insert(0, "observed", observed)
    scored.insert(1, "median", np.median(draws, axis=0))
    scored.insert(2, "decades", found.distance)
    scored.insert(3, "log_score", log_score(fit, runs, output, seed=seed))
    return scored


def score_draws(drawn: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """Score predictive draws, however they were made.

    Parameters
    ----------
    drawn
        One row a draw, one column a run.
    truth
        What each run showed, on the same scale.

    Returns
    -------
    pandas.DataFrame
        One row a run: ``error`` of the median, ``crps``, ``interval_score`` of the 90% interval, ``pit`` and
        ``inside_50`` and so on, as `score` gives them.
    """
    drawn = np.sort(drawn, axis=0)
    low, high = np.quantile(drawn, [(1 - _SCORED) / 2, (1 + _SCORED) / 2], axis=0)
    missed = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    table = pd.DataFrame(
        {
            "error": np.median(drawn, axis=0) - truth,
            "crps": crps(drawn, truth),
            "interval_score": (high - low) + 2 / (1 - _SCORED) * missed,
            "pit": (drawn < truth).mean(axis=0),
        }
    )
    for level in LEVELS:
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        table[f"inside_{100 * level:.0f}"] = (low <= truth) & (truth <= high)
    return table


def distance_class(decades: np.ndarray | pd.Series, edges: Sequence[float] = DISTANCES) -> np.ndarray:
    """Return which class of distance each number of decades lies in: the place of the edge at which it begins."""
    return np.digitize(decades, [*edges[1:]], right=True)


def scored_on_log(law: Law, runs: Runs, output: str) -> bool:
    """Return whether an output is scored on its logarithm: where it is positive and no share."""
    values = runs.values(output)
    return bool((values[~np.isnan(values)] > 0).all()) and law.support.get(output, "positive") != "share"


def crps(drawn: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of sorted draws (rows) for each column's truth."""
    n = len(drawn)
    # the mean distance between two draws, from their order
    places = (2 * np.arange(1, n + 1) - n - 1)[:, None]
    apart = 2 / n**2 * (places * drawn).sum(axis=0)
    found: np.ndarray = np.abs(drawn - truth).mean(axis=0) - 0.5 * apart
    return found
