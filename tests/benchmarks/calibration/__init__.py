"""Calibration of extrapolated bands on public studies, ours beside rivals'.

``python -m tests.benchmarks.calibration FOLDER`` reads the published tables in FOLDER, hides the largest runs of every
study (`suite`), makes bands of the log loss by every method, and writes ``table.csv`` (one row a split and method),
``summary.csv`` and two plots beside this file. Work done is kept in ``build/calibration`` and taken up again as long as
the code it came from is the same.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayesfit as bf
from bayesfit.discrepancy import Structure
from bayesfit.outer import with_outer_exponent
from bayesfit.parallel import run_jobs
from bayesfit.scores import DISTANCES, LEVELS, distance_class, score_draws
from tests.benchmarks import honest
from tests.benchmarks.calibration import rivals
from tests.benchmarks.calibration.suite import Split

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
#: What a forecast's certificate reads.
PUBLIC = ROOT / "bayesfit" / "datasets" / "calibration.csv"
KEPT = ROOT / "build" / "calibration"
#: Ours; its path without an exponent, which is compared and no rival; and the one of the rivals without structure.
OURS, ALONE, PLAIN = "drift", "path alone", "plain law"
ALLOW = ("few_runs", "one_group", "collinear")

Answer = tuple[np.ndarray, dict[str, Any]]


def fitted(split: Split, structure: Structure | None, seed: int = 0) -> Answer:
    """Return predictive draws of the log loss by a fit of ours, and what its checks say."""
    study = split.study
    with warnings.catch_warnings():
        # trouble in sampling is told by the checks, far forecasts are the point
        warnings.simplefilter("ignore")
        fit = bf.fit(
            split.train,
            study.law,
            by=list(study.by),
            checkpoints=study.checkpoints,
            structure=structure,
            draws=1000,
            tune=500,
            cores=1,
            seed=seed,
            progress=False,
            # once, for the time it takes; a user's fit is sampled again where its checks fail, and these are counted
            sampler={"attempts": 1},
            allow=list(ALLOW),
        )
        forecast = fit.forecast(split.test.table, output="loss", allow_unconverged=True)
    drawn = forecast.draws.values.reshape(-1, len(split.test))
    return np.log(np.maximum(drawn, 1e-9)), {"passed_checks": fit.check().passed}


def method(name: str) -> Callable[[Split], Answer]:
    """Return how a method makes draws."""
    if name == PLAIN:
        return lambda split: fitted(split, None)
    if name in (OURS, ALONE):
        return lambda split: fitted(split, replace(honest(split.study.paper), outer=name == OURS))
    return lambda split: (rivals.by_group(RIVALS[name], split), {"passed_checks": True})


RIVALS = {
    "Huber, bootstrap": rivals.huber,
    "wild bootstrap": rivals.wild_bootstrap,
    "Gaussian process": rivals.gaussian_process,
}
METHODS = (PLAIN, *RIVALS, ALONE, OURS)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One split and method."""

    split: Split
    method: str

    @property
    def kept(self) -> Path:
        """Where the scores are kept."""
        return KEPT / f"{self.split.name}-{self.method}-{_digest(self.method)}.csv".replace(" ", "_")


def scored(job: Job) -> pd.DataFrame:
    """Return one row a held-out run: how its band did, and how far out it lies."""
    if job.kept.is_file():
        return pd.read_csv(job.kept).assign(decades=job.split.decades)
    start = time.process_time()
    drawn, told = method(job.method)(job.split)
    table = score_draws(drawn, np.log(job.split.test.values("loss")))
    about = {"study": job.split.study.name, "paper": job.split.study.paper, "part": job.split.part}
    for place, (column, value) in enumerate({**about, "method": job.method}.items()):
        table.insert(place, column, value)
    table["decades"] = job.split.decades
    for column, value in {**told, "seconds": time.process_time() - start}.items():
        table[column] = value
    keep(table, job.kept)
    print(f"scored {job.method} on {job.split.name} in {table['seconds'].iloc[0]:.0f} s", flush=True)
    return table


def keep(table: pd.DataFrame, path: Path) -> None:
    """Write scores, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    table.to_csv(scratch, index=False, float_format="%.6g")
    scratch.replace(path)


def scores(splits: Iterable[Split], methods: Sequence[str], workers: int | None = None) -> pd.DataFrame:
    """Return one row a split, method and held-out run."""
    jobs, twice = [], []
    for split in splits:
        law = bf.law(split.study.law)
        # a law of one term has no use for the exponent, so one fit serves both
        same = {ALONE, OURS} <= {*methods} and with_outer_exponent(law) is law
        twice += [split.study.name] * same
        jobs += [Job(split=split, method=method) for method in methods if not (same and method == ALONE)]
    rows = pd.concat(run_jobs(scored, jobs, workers=workers), ignore_index=True)
    again = rows[rows["study"].isin(twice) & (rows["method"] == OURS)].assign(method=ALONE)
    return pd.concat([rows, again], ignore_index=True)


def by_split(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean scores of every split and method."""
    inside = [f"inside_{100 * level:.0f}" for level in LEVELS]
    groups = rows.groupby(["study", "paper", "part", "method"], sort=False)
    means = groups[[*inside, "interval_score", "crps", "error"]].mean()
    means.insert(0, "runs", groups.size())
    means["decades"] = groups["decades"].median()
    means["passed_checks"] = groups["passed_checks"].all()
    means["seconds"] = groups["seconds"].first().round()
    return means.reset_index()


def by_distance(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how our bands did in each study and class of distance, as `bayesfit.datasets.calibration` tells it.

    A fit that fails its checks gives no forecast, so what its bands held is no evidence for one.
    """
    inside = [f"inside_{100 * level:.0f}" for level in LEVELS]
    rows = rows[~rows["method"].isin([*RIVALS]) & rows["passed_checks"].astype(bool)].rename(
        columns={"method": "bands"}
    )
    place = distance_class(rows["decades"])
    rows = rows.assign(**{"from": np.array(DISTANCES)[place], "to": np.array([*DISTANCES[1:], np.inf])[place]})
    groups = rows.groupby(["study", "paper", "bands", "from", "to"], sort=False)
    table = groups[inside].mean()
    table.insert(0, "farthest", groups["decades"].max())
    table.insert(1, "runs", groups.size())
    return table.reset_index()


def pooled(table: pd.DataFrame) -> pd.DataFrame:
    """Return coverage over studies and scores against the best rival, one row a method.

    Splits of a study count alike, then studies of a paper, then papers. ``interval_ratio`` and ``crps_ratio`` are
    geometric means of ours over the method; those of the row "best rival" over the best of each study.
    ``failed_checks`` counts the splits whose fit the package would refuse to forecast from.
    """
    inside = [f"inside_{100 * level:.0f}" for level in LEVELS]
    scores = ["interval_score", "crps"]
    table = table.assign(**{name: np.log(table[name]) for name in scores})
    studies = table.groupby(["method", "paper", "study"])[[*inside, *scores]].mean()
    ours = studies.loc[OURS][scores]
    others = studies[~studies.index.get_level_values("method").isin([OURS, ALONE])]
    best = others[scores].groupby(["paper", "study"]).min()
    coverage = studies[inside].groupby(["method", "paper"]).mean().groupby("method").mean()
    least = studies["inside_95"].groupby("method").min()
    failed = (~table["passed_checks"].astype(bool)).groupby(table["method"]).sum()
    rows = []
    for name in (*coverage.index, "best rival"):
        against = best if name == "best rival" else studies.loc[name][scores]
        ratio = np.exp((ours - against).groupby("paper").mean().mean())
        row = {"method": name, "interval_ratio": ratio["interval_score"], "crps_ratio": ratio["crps"]}
        if name != "best rival":
            row |= {**coverage.loc[name], "least_95": least[name], "failed_checks": failed[name]}
        rows.append(row)
    return pd.DataFrame(rows)[["method", *inside, "least_95", "failed_checks", "interval_ratio", "crps_ratio"]]


def _digest(name: str) -> str:
    """Return a fingerprint of the code that a method's scores come from."""
    files = [HERE / "suite.py", HERE.parent / "studies.py"]
    return digest(*files, HERE / "rivals.py", ours=False) if name in RIVALS else digest(*files, HERE / "__init__.py")


@cache
def digest(*files: Path, ours: bool = True) -> str:
    """Return a fingerprint of files, and of the package where scores are of ours."""
    package = [*sorted((ROOT / "bayesfit").glob("*.py")), *sorted((ROOT / "models").rglob("*.toml"))] if ours else []
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in (*files, *package))).hexdigest()[:12]
