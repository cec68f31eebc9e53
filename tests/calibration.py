"""Simulation-based calibration: truths drawn from the prior must rank uniformly among the posterior's draws.

Priors are fixed numbers here: data-aware ones move with each simulated data set, for which uniform ranks are not
promised. ``python -m tests.calibration`` (two hours) rewrites ``tests/calibration.csv``.

Talts, Betancourt, Simpson, Vehtari, Gelman 2018, arXiv:1804.06788.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import bayesfit as bf
from bayesfit.noise import Noise
from bayesfit.priors import NUMPY_LINKS, Prior

TABLE = Path(__file__).with_suffix(".csv")
SETS, RANKS, LEVELS = 120, 99, 4
MODELS = ("one family", "families")

LAW = bf.Law.from_text(
    "loss = E + a*(params/ref.params)**-alpha",
    priors={
        "E": "LogitNormal(1, 0.7, 0, 2)",
        "a": "LogNormal(log(0.5), 0.5)",
        "alpha": "LogNormal(log(0.3), 0.4)",
    },
    noise=Noise(scale=Prior.parse("LogNormal(log(0.01), 0.3)")),
    id="calibrated",
)


def simulated(seed: int, grouped: bool) -> tuple[bf.Runs, dict[str, float]]:
    """Draw truths from the prior and runs from the truths."""
    rng = np.random.default_rng([seed, grouped])
    levels = LEVELS if grouped else 1
    code = np.repeat(np.arange(levels), 8 if grouped else 15)
    params = np.exp(rng.uniform(np.log(1e8), np.log(1e10), len(code)))
    truth: dict[str, float] = {}
    values = {}
    for name, parameter in LAW.parameters.items():
        prior = parameter.prior.resolve({})
        u = prior.latent(rng.standard_normal(), NUMPY_LINKS)
        shift = np.zeros(levels)
        if grouped:
            truth[f"{name}_sd_family"] = abs(rng.normal(0, parameter.group_spread))
            shift = truth[f"{name}_sd_family"] * rng.standard_normal(levels)
            truth[f"{name}_population"] = float(prior.value(u, NUMPY_LINKS))
            truth[f"{name}[0]"] = float(prior.value(u + shift[0], NUMPY_LINKS))
        else:
            truth[name] = float(prior.value(u, NUMPY_LINKS))
        values[name] = prior.value(u + shift, NUMPY_LINKS)[code]
    truth["sigma"] = float(np.exp(rng.normal(np.log(0.01), 0.3)))
    centre = np.exp(np.log(params).mean())
    mean = values["E"] + values["a"] * (params / centre) ** -values["alpha"]
    loss = mean * np.exp(truth["sigma"] * rng.standard_t(4, len(code)))
    table = pd.DataFrame({"params": params, "loss": loss, "family": [f"f{i}" for i in code]})
    return bf.Runs.from_frame(table, groups=["family"], allow=["units"]), truth


def draws_of(fit: bf.Fit, name: str) -> np.ndarray:
    """Return the posterior draws behind a name of `simulated`."""
    plain, _, level = name.partition("[")
    array = fit.posterior[plain]
    return (array.sel(family="f0") if level else array).values.ravel()


def calibrate(grouped: bool, sets: int = SETS) -> pd.DataFrame:
    """Return one row a quantity: uniformity of its ranks, coverage of 90% intervals, failed checks."""
    ranks: dict[str, list[int]] = {}
    failed = 0
    groups: dict[str, Any] = {"by": ["family"], "pooling": {"noise": "complete"}} if grouped else {}
    for seed in range(sets):
        runs, truth = simulated(seed, grouped)
        # chains one after the other: both models are calibrated side by side
        fit = bf.fit(runs, LAW, seed=seed, draws=1000, cores=1, progress=False, **groups)
        failed += not fit.check().passed
        for name, value in truth.items():
            draws = draws_of(fit, name)
            kept = draws[:: len(draws) // RANKS][:RANKS]
            ranks.setdefault(name, []).append(int((kept < value).sum()))
    rows = []
    for name, found in ranks.items():
        p = stats.kstest((np.array(found) + 0.5) / (RANKS + 1), "uniform").pvalue
        inside = np.mean([0.05 * RANKS <= rank <= 0.95 * RANKS for rank in found])
        rows.append((MODELS[grouped], name, sets, round(p, 4), round(inside, 3), failed))
    columns = ["model", "quantity", "sets", "uniform_p", "inside_90", "failed_checks"]
    return pd.DataFrame(rows, columns=columns)


def saved() -> pd.DataFrame:
    """Return the committed table."""
    return pd.read_csv(TABLE)


if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        table = pd.concat(pool.map(calibrate, (False, True)), ignore_index=True)
    table.to_csv(TABLE, index=False)
    print(table.to_string())
