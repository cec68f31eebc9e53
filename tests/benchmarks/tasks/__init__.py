"""Task accuracies of larger models, forecast from smaller ones, beside the published figures.

``python -m tests.benchmarks.tasks FOLDER [STUDY ...]`` reads the studies' tables in FOLDER, splits them as published,
fits the training rows, scores the held-out rows and rewrites the rows of these studies (all by default) in
``table.csv``. One more study is one module with a ``STUDY`` (the title its rows begin with) and a ``results``, named in
`STUDIES`. How a study's law was chosen, on training rows alone, stands in its module.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayesfit as bf
from bayesfit.card import Input, Output, Parameter
from bayesfit.expression import parse_equations

TABLE = Path(__file__).with_name("table.csv")
COLUMNS = ["study", "what", "published", "ours", "coverage_90", "n", "passed_checks", "seconds"]
#: The modules of the studies; the last part of each name is what the command calls it.
STUDIES = (
    "tests.benchmarks.tasks.gadre",
    "tests.benchmarks.tasks.clip",
    "tests.benchmarks.tasks.open_models",
    "tests.benchmarks.tasks.gemstones",
    "tests.benchmarks.tasks.olmo",
)
#: Settings of every fit: chains one after the other, so that a study takes one processor.
SAMPLING: dict[str, Any] = {"chains": 4, "cores": 1, "progress": False}


def short_names() -> dict[str, str]:
    """Return the module of each study by the name that the command takes."""
    return {module.rpartition(".")[2]: module for module in STUDIES}


def own_law(
    text: str,
    parameters: Mapping[str, tuple[str, float | None]],
    *,
    inputs: Mapping[str, Input],
    outputs: Mapping[str, bf.Noise],
    id: str,
) -> bf.Law:
    """Return a law of one's own.

    Parameters
    ----------
    text
        Its equations.
    parameters
        Prior, and the half-normal scale of how far groups lie apart; None where there is one value for all.
    inputs, outputs
        The columns it reads, and the noise of what is observed.
    id
        A name for it.
    """
    return bf.Law(
        id=id,
        equations=parse_equations(text.strip()),
        inputs=dict(inputs),
        outputs={name: Output(noise=noise) for name, noise in outputs.items()},
        parameters={
            name: Parameter(prior=bf.Prior.parse(prior), spread=spread, varies=spread is not None)
            for name, (prior, spread) in parameters.items()
        },
    )


def bands(forecast: bf.Forecast) -> pd.DataFrame:
    """Return the median and the 90% interval of each scenario (columns median, lower, upper)."""
    return bands_of(forecast.draws.values.reshape(-1, len(forecast.scenarios)))


def bands_of(draws: np.ndarray) -> pd.DataFrame:
    """Return the median and the equal-tailed 90% interval of each column of draws (rows)."""
    quantiles = np.quantile(draws, [0.5, 0.05, 0.95], axis=0).T
    return pd.DataFrame(quantiles, columns=pd.Index(["median", "lower", "upper"]))


def held(band: pd.DataFrame, observed: np.ndarray) -> np.ndarray:
    """Return whether each interval, ends included, holds what was observed."""
    inside: np.ndarray = ((band["lower"] <= observed) & (observed <= band["upper"])).to_numpy()
    return inside


@dataclass
class Scores:
    """The rows of one study's table, as they are scored.

    Parameters
    ----------
    study
        Its title.
    band
        Median and 90% interval of each held-out row, as `bands` gives them.
    observed
        What the held-out rows showed.
    passed
        Whether the checks of every fit behind them hold.
    """

    study: str
    band: pd.DataFrame
    observed: np.ndarray
    passed: bool
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, what: str, mask: np.ndarray | None = None, *, published: float = float("nan"), relative: bool = False
    ) -> None:
        """Add a row: mean absolute error of the medians, and the share of the intervals that hold.

        Parameters
        ----------
        what
            What the figures are of.
        mask
            Which held-out rows, all by default.
        published
            The figure to compare with.
        relative
            Whether errors are taken as a share of what was observed.
        """
        chosen = np.ones(len(self.observed), dtype=bool) if mask is None else np.asarray(mask)
        band, truth = self.band[chosen], self.observed[chosen]
        errors = np.abs(band["median"].to_numpy() - truth) / (truth if relative else 1.0)
        self.rows.append(
            {
                "study": self.study,
                "what": what,
                "published": published,
                "ours": float(errors.mean()),
                "coverage_90": float(held(band, truth).mean()),
                "n": int(chosen.sum()),
                "passed_checks": self.passed,
            }
        )

    def table(self, seconds: float) -> pd.DataFrame:
        """Return the rows, with the seconds of processor time that the study took."""
        return pd.DataFrame(self.rows).assign(seconds=round(seconds))[COLUMNS]


@contextmanager
def far_and_unchecked() -> Iterator[None]:
    """Forecast larger models, also from a fit whose checks fail: the table says whether they hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bf.ExtrapolationWarning)
        warnings.simplefilter("ignore", bf.ConvergenceWarning)
        yield


def saved() -> pd.DataFrame:
    """Return the table as it was last written; empty if there is none."""
    return pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=COLUMNS)


def rows_of(table: pd.DataFrame, study: str) -> pd.DataFrame:
    """Return the rows whose study begins with this title."""
    return table[table["study"].str.startswith(study)]


def replaced(table: pd.DataFrame, study: str, found: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a study's rows exchanged for those found, in their place or at its end."""
    old = rows_of(table, study).index
    before = table.loc[: old[0] - 1] if len(old) else table
    after = table.loc[old[-1] + 1 :] if len(old) else table.iloc[:0]
    parts = [part for part in (before, found[COLUMNS], after) if len(part)]
    return pd.concat(parts, ignore_index=True)


def run(name: str, folder: Path, seed: int = 0) -> pd.DataFrame:
    """Run a study, rewrite its rows of the table and return them."""
    module, start = import_module(short_names()[name]), time.process_time()
    found: pd.DataFrame = module.results(folder, seed)
    if "seconds" not in found:
        found = found.assign(seconds=round(time.process_time() - start))
    replaced(saved(), module.STUDY, found).to_csv(TABLE, index=False, float_format="%.6g")
    return found[COLUMNS]
