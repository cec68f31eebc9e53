"""Where the law is right, bands must stay narrow: forecasts of simulated studies at a thousand times their compute.

Runs follow Hoffmann's coefficients at eight budgets, five sizes each within half a decade of the square root rule; the
truth is the law's value at 1e23 FLOP and 20 tokens a parameter, so bands are those of the law's value, without noise.

``python -m tests.benchmarks.calibration.simulated`` writes ``simulated.csv``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import bayesfit as bf
from bayesfit.discrepancy import Structure
from bayesfit.parallel import run_jobs

TABLE = Path(__file__).with_name("simulated.csv")
SETS = 60
TRUTH = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
TARGET = 1e23
#: Name, noise of the log loss, structure, and what the 95% band must do: least coverage and largest mean width.
CASES: tuple[tuple[str, float, Structure | None, float, float], ...] = (
    ("law trusted, 1% noise", 0.01, None, 0.93, 0.177),
    ("drift, 1% noise", 0.01, Structure(), 0.95, 0.45),
    ("drift, 0.2% noise", 0.002, Structure(), 0.95, 0.20),
)
#: Largest mean absolute error of the trusted law: the best rival's.
ERROR = 0.016


def loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the true loss."""
    found: np.ndarray = TRUTH["E"] + TRUTH["A"] * params ** -TRUTH["alpha"] + TRUTH["B"] * tokens ** -TRUTH["beta"]
    return found


def simulated(noise: float, seed: int) -> bf.Runs:
    """Return forty runs."""
    budgets = np.repeat(np.geomspace(1e18, 10**20.5, 8), 5)
    params = np.sqrt(budgets / 120) * 10 ** np.tile(np.linspace(-0.5, 0.5, 5), 8)
    tokens = budgets / (6 * params)
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(budgets)))
    return bf.Runs.from_frame(
        pd.DataFrame({"params": params, "tokens": tokens, "loss": loss(params, tokens) * scatter})
    )


def target() -> pd.DataFrame:
    """Return the run to forecast."""
    params = np.sqrt(TARGET / 120)
    return pd.DataFrame({"params": [params], "tokens": [20 * params]})


@dataclass(frozen=True, kw_only=True)
class Set:
    """One simulated study and the case it belongs to."""

    case: int
    seed: int


def banded(one: Set) -> dict[str, float]:
    """Return the ends of the 95% band, the median and whether checks passed."""
    _, noise, structure, _, _ = CASES[one.case]
    runs = simulated(noise, one.seed)
    with warnings.catch_warnings():
        # the target is far, on purpose
        warnings.simplefilter("ignore")
        fit = bf.fit(runs, "chinchilla", structure=structure, draws=1000, tune=500, cores=1, seed=0, progress=False)
        drawn = fit.forecast(target(), allow_unconverged=True).expected.values.ravel()
    low, middle, high = np.quantile(drawn, [0.025, 0.5, 0.975])
    return {"case": one.case, "low": low, "median": middle, "high": high, "passed_checks": fit.check().passed}


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Return coverage, mean width and mean absolute error of each case, with what is asked of them."""
    truth = float(loss(*target().to_numpy().T)[0])
    rows = []
    for case, (name, _, _, coverage, width) in enumerate(CASES):
        mine = found[found["case"] == case]
        held = (mine["low"] <= truth) & (truth <= mine["high"])
        rows.append(
            {
                "case": name,
                "sets": len(mine),
                "coverage_95": held.mean(),
                "coverage_wanted": coverage,
                "width": (mine["high"] - mine["low"]).mean(),
                "width_wanted": width,
                "error": np.abs(mine["median"] / truth - 1).mean(),
                "failed_checks": int((~mine["passed_checks"].astype(bool)).sum()),
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    jobs = [Set(case=case, seed=seed) for case in range(len(CASES)) for seed in range(SETS)]
    result = summary(pd.DataFrame(run_jobs(banded, jobs)))
    result.to_csv(TABLE, index=False, float_format="%.4g")
    with pd.option_context("display.width", 160, "display.max_columns", None):
        print(result.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
