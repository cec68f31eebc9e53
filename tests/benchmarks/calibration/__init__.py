"""Calibration of extrapolated bands on public studies, ours beside rivals'.

``python -m tests.benchmarks.calibration FOLDER`` reads the published tables in FOLDER, hides the largest runs of every
study (`suite`), makes bands of the log loss by every method, and writes ``table.csv`` (one row a split and method),
``summary.csv`` and two plots beside this file; with ``--accuracies`` it hides the larger models of studies of tasks
(`tasks`) and writes ``accuracies.csv``. Work done is kept in ``build/calibration`` and taken up again as long as the
code it came from is the same.
"""

from __future__ import annotations

import ast
import hashlib
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

import bayesfit as bf
from bayesfit import datasets
from bayesfit.discrepancy import with_structure
from bayesfit.outer import with_outer_exponent
from bayesfit.parallel import run_jobs
from bayesfit.scores import DISTANCES, LEVELS, distance_class, score_draws
from tests.benchmarks.calibration import rivals
from tests.benchmarks.calibration.kinds import Answer, averaged, drifting, exponent_alone, fitted, own_errors
from tests.benchmarks.calibration.suite import Split

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
#: What a forecast's certificate reads.
PUBLIC = ROOT / "bayesfit" / "datasets" / "calibration.csv"
KEPT = ROOT / "build" / "calibration"
#: What certificates speak of.
OUTPUTS = ("loss", "accuracy")
#: Ours; its path without an exponent, which is compared and no rival; and the one of the rivals without structure.
OURS, ALONE, PLAIN = "drift", "path alone", "plain law"
#: Whichever of ours and the plain law a user gets who says nothing of structure.
DEFAULT = "default"
RIVALS = {
    "Huber, bootstrap": rivals.huber,
    "wild bootstrap": rivals.wild_bootstrap,
    "Gaussian process": rivals.gaussian_process,
}


def _by_rival(name: str, split: Split) -> Answer:
    return rivals.by_group(RIVALS[name], split), {"passed_checks": True}


BANDS: dict[str, Callable[[Split], Answer]] = {
    PLAIN: partial(fitted, structure=None),
    **{name: partial(_by_rival, name) for name in RIVALS},
    ALONE: partial(drifting, outer=False),
    OURS: partial(drifting, outer=True),
    "exponent alone": exponent_alone,
    "own errors": own_errors,
    "three forms": partial(averaged, drift=False),
    "three forms, drift": partial(averaged, drift=True),
}
#: What the suite scores on every study; all of `BANDS` are compared where the law is Chinchilla's.
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
    drawn, told = BANDS[job.method](job.split)
    study = job.split.study
    table = score_draws(drawn, study.drawn(job.split.test.values(study.output)))
    about = {"study": study.name, "paper": study.paper, "part": job.split.part}
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
        # a law that gets no exponent has one fit that serves both
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


def drifts_by_default(split: Split) -> bool:
    """Return whether the law of a split drifts for a user who says nothing of structure."""
    study = split.study
    law = bf.law(study.law).closed()
    return bool(with_structure(law, "auto", split.train, study.by, study.checkpoints).drifts)


def with_usual(table: pd.DataFrame, splits: Iterable[Split]) -> pd.DataFrame:
    """Return the table of splits with a column ``usual``: whether these are the bands of ours that a user gets."""
    drifting = {(split.study.name, split.part): drifts_by_default(split) for split in splits}
    usual = [OURS if drifting[key] else PLAIN for key in zip(table["study"], table["part"], strict=True)]
    return table.assign(usual=table["method"] == usual)


def by_distance(rows: pd.DataFrame, output: str = "loss") -> pd.DataFrame:
    """Return how our bands of an output did by study and class of distance, as `bayesfit.datasets.calibration` has it.

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
    table = table.reset_index()
    table.insert(2, "output", output)
    return table


def publish(rows: pd.DataFrame, output: str) -> None:
    """Replace what certificates read of an output."""
    record = datasets.calibration()
    found = by_distance(rows, output)
    parts = [found if one == output else record[record["output"] == one] for one in OUTPUTS]
    pd.concat(parts, ignore_index=True).to_csv(PUBLIC, index=False, float_format="%.4g")


def pooled(table: pd.DataFrame, ours: str = OURS) -> pd.DataFrame:
    """Return coverage over studies and scores against the best rival, one row a method.

    Splits of a study count alike, then studies of a paper, then papers. ``interval_ratio`` and ``crps_ratio`` are
    geometric means of ours over the method; those of the row "best rival" over the best of each study.
    ``failed_checks`` counts the splits whose fit the package would refuse to forecast from.
    """
    inside = [f"inside_{100 * level:.0f}" for level in LEVELS]
    scores = ["interval_score", "crps"]
    table = table.assign(**{name: np.log(table[name]) for name in scores})
    studies = table.groupby(["method", "paper", "study"])[[*inside, *scores]].mean()
    own = studies.loc[ours][scores]
    others = studies[~studies.index.get_level_values("method").isin([ours, ALONE, DEFAULT])]
    best = others[scores].groupby(["paper", "study"]).min()
    coverage = studies[inside].groupby(["method", "paper"]).mean().groupby("method").mean()
    least = studies["inside_95"].groupby("method").min()
    failed = (~table["passed_checks"].astype(bool)).groupby(table["method"]).sum()
    rows = []
    for name in (*coverage.index, "best rival"):
        against = best if name == "best rival" else studies.loc[name][scores]
        ratio = np.exp((own - against).groupby("paper").mean().mean())
        row = {"method": name, "interval_ratio": ratio["interval_score"], "crps_ratio": ratio["crps"]}
        if name != "best rival":
            row |= {**coverage.loc[name], "least_95": least[name], "failed_checks": failed[name]}
        rows.append(row)
    return pd.DataFrame(rows)[["method", *inside, "least_95", "failed_checks", "interval_ratio", "crps_ratio"]]


def summarised(table: pd.DataFrame) -> pd.DataFrame:
    """Return the summary of the suite: `pooled`, and what holds of the bands that a user gets by default.

    Those drift or trust the law, by study (`with_usual`), and have a row of their own, "default"; "best rival of
    default" has their scores over the best of each study, where "best rival" has those of drift everywhere.
    """
    usual = table[table["usual"]].assign(method=DEFAULT)
    theirs = pd.concat([usual, table[table["method"].isin([PLAIN, *RIVALS])]])
    best = pooled(theirs, DEFAULT).query("method == 'best rival'").assign(method="best rival of default")
    return pd.concat([pooled(pd.concat([table, usual])), best], ignore_index=True)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Return the kinds of bands of ours, each beside the best rival of each study, as `pooled` has it.

    The trusted law is a rival of every other kind, and is itself held against the other three.
    """
    rows = []
    for kind in dict.fromkeys(table.loc[~table["method"].isin([*RIVALS]), "method"]):
        found = pooled(table[table["method"].isin([kind, PLAIN, *RIVALS])], kind).set_index("method")
        ratios = found.loc["best rival", ["interval_ratio", "crps_ratio"]]
        rows.append(found.loc[kind].drop(ratios.index).to_dict() | {"kind": kind, **ratios})
    return pd.DataFrame(rows).set_index("kind").reset_index()


def _digest(name: str) -> str:
    """Return a fingerprint of the code that a method's scores come from."""
    files = [HERE / "suite.py", HERE.parent / "studies.py"]
    return digest(*files, HERE / "rivals.py", ours=False) if name in RIVALS else digest(*files, HERE / "kinds.py")


@cache
def digest(*files: Path, ours: bool = True) -> str:
    """Return a fingerprint of what files say, and of the package where scores are of ours; comments say nothing."""
    package = [*sorted((ROOT / "bayesfit").glob("*.py")), *sorted((ROOT / "models").rglob("*.toml"))] if ours else []
    return hashlib.sha256("\0".join(_said(file) for file in (*files, *package)).encode()).hexdigest()[:12]


def _said(file: Path) -> str:
    """Return a file without what does nothing: comments, layout, and texts that stand alone, as docstrings do."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".toml":
        return repr(tomllib.loads(text))
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            node.body = [one for one in node.body if not _is_text(one)]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
