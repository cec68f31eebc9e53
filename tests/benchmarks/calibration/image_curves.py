"""Learning curves of image models, forecast one at a time as in Lee et al. 2025, arXiv:2505.23032.

``python -m tests.benchmarks.calibration.image_curves FOLDER`` writes ``image_curves.csv`` beside this file: mean scores
over 72 curves, ours and those published. Each curve's first points are fitted and the rest are forecast: by the law of
the published sampler without a path, by every law that was proposed for such curves with one, and by these together,
each with the same weight. Scores are kept as the suite keeps its own, so that a run that was stopped goes on where it
was.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

import bayesfit as bf
from bayesfit.parallel import run_jobs
from bayesfit.scores import log_score
from tests.benchmarks import honest
from tests.benchmarks.calibration import KEPT, digest, keep

TABLE = Path(__file__).with_name("image_curves.csv")
#: Levels of central intervals whose coverage is compared with what they promise.
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
PAPER = "Alabdulmohsin et al. 2022"
#: The laws that were proposed for these curves: M2, M3 and M4, and the broken law.
LAWS = ("power_floor", "shifted_power", "m4", "bnsl")
PLAIN, TOGETHER = "m4", "all four, drift"
#: Figures of Lee et al. 2025 and its authors' rebuttal: RMSLE, log-likelihood, MSCE; MCMC by emcee.
PUBLISHED = {
    "NSL-PFN": (0.0280, 3.330, 0.0512),
    "LC-PFN": (0.0428, 2.429, 0.1809),
    "MCMC, M4": (0.0422, 3.024, 0.0381),
    "MCMC, BNSL": (0.0645, 2.921, 0.0773),
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One curve."""

    name: str
    table: pd.DataFrame

    @property
    def kept(self) -> Path:
        """Where the scores are kept."""
        return KEPT / f"{self.name}-{digest(Path(__file__))}.csv"


def scored(curve: Curve) -> pd.DataFrame:
    """Return one row a method: the scores of a curve as the paper defines them."""
    if curve.kept.is_file():
        return pd.read_csv(curve.kept)
    start = time.process_time()
    first = curve.table["split"] == "fit"
    with warnings.catch_warnings():
        # far forecasts are the point, and checks that fail are counted
        warnings.simplefilter("ignore")
        context, target = (
            bf.Runs.from_frame(curve.table.loc[rows, ["x", "loss"]].reset_index(drop=True), law="m4")
            for rows in (first, ~first)
        )
        plain = _fitted(context, "m4", None)
        drifting = {law: _fitted(context, law, honest(PAPER)) for law in LAWS}
        fits = {PLAIN: plain, **{f"{law}, drift": fit for law, fit in drifting.items()}}
        drawn = {name: fit.forecast(target.table, allow_unconverged=True).draws for name, fit in fits.items()}
        equal = dict.fromkeys(drifting, 1.0)
        drawn[TOGETHER] = bf.average(drifting, target.table, weights=equal, allow_unconverged=True).draws
        density = {name: log_score(fit, target, "loss") for name, fit in fits.items()}
    each = [density[f"{law}, drift"] for law in LAWS]
    density[TOGETHER] = logsumexp(each, axis=0) - np.log(len(each))
    passed = {name: fit.check().passed for name, fit in fits.items()}
    passed[TOGETHER] = all(passed[f"{law}, drift"] for law in LAWS)
    rows = [
        {
            "curve": curve.name,
            "method": name,
            **scores(draws.values.reshape(-1, len(target)), target.values("loss")),
            "log_likelihood": float(density[name].mean()),
            "passed_checks": passed[name],
        }
        for name, draws in drawn.items()
    ]
    table = pd.DataFrame(rows)
    keep(table, curve.kept)
    print(f"scored {curve.name} in {time.process_time() - start:.0f} s", flush=True)
    return table


def _fitted(context: bf.Runs, law: str, structure: Any) -> bf.Fit:
    return bf.fit(
        context,
        law,
        structure=structure,
        draws=1000,
        tune=1000,
        cores=1,
        seed=0,
        progress=False,
        # once, for the time it takes, as in the suite
        sampler={"attempts": 1},
        allow=["few_runs"],
    )


def scores(drawn: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return RMSLE of the median and MSCE over levels, from draws (rows) of each point (columns)."""
    middle = np.maximum(np.median(drawn, axis=0), 1e-9)
    inside = []
    for level in LEVELS:
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
        inside.append(((low <= truth) & (truth <= high)).mean())
    return {
        "rmsle": float(np.sqrt(np.mean((np.log(middle) - np.log(truth)) ** 2))),
        "msce": float(np.mean((np.array(inside) - LEVELS) ** 2)),
    }


def curves(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the published curves by name."""
    table = pd.read_csv(folder / "learning_curves_image.csv").rename(columns={"examples_seen": "x", "error": "loss"})
    return {str(name): part for name, part in table.groupby("curve", sort=False)}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean scores by method, and the published ones."""
    ours = rows.groupby("method", sort=False)[["rmsle", "log_likelihood", "msce"]].mean()
    ours["curves"] = rows.groupby("method").size()
    ours["failed_checks"] = (~rows["passed_checks"].astype(bool)).groupby(rows["method"]).sum()
    known = pd.DataFrame.from_dict(PUBLISHED, orient="index", columns=["rmsle", "log_likelihood", "msce"])
    return pd.concat([ours.assign(published=False), known.assign(curves=72, published=True)]).rename_axis("method")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.calibration.image_curves")
    parser.add_argument("folder", type=Path, help="folder of the published tables")
    parser.add_argument("--workers", type=int, help="processes at once; all processors by default")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every n-th curve, and write nothing")
    told = parser.parse_args()
    if not (told.folder / "learning_curves_image.csv").is_file():
        parser.error(f"there is no learning_curves_image.csv in {told.folder}")
    chosen = [*curves(told.folder).items()][:: told.every]
    jobs = [Curve(name=name, table=table) for name, table in chosen]
    found = pd.concat(run_jobs(scored, jobs, workers=told.workers), ignore_index=True)
    result = summary(found)
    with pd.option_context("display.width", 160, "display.max_columns", None):
        print(result.to_string(float_format=lambda value: f"{value:.4g}"))
    if told.every == 1:
        result.to_csv(TABLE, float_format="%.4g")
