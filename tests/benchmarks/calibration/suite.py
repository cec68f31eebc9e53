"""The public suite: studies, each with runs small and large, and how their large ones are hidden."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

import bayesfit as bf
from bayesfit import datasets
from bayesfit.errors import DataWarning
from bayesfit.forecast import distance
from tests.benchmarks.studies import surfaces

#: Runs below one of these parts of the largest are fitted, the others are held out.
PARTS = (10, 30)
#: Fewest runs that are fitted.
FEWEST = 12


@dataclass(frozen=True, kw_only=True)
class Study:
    """Runs of one corpus of a paper.

    Parameters
    ----------
    name, paper
        Name of the study, and the paper it is of: papers count alike, however many corpora they have.
    table
        Inputs of the law, groups and outputs, one row a run.
    scale
        The axis along which runs are hidden, one value a run.
    law
        The law that is fitted.
    output
        What is scored, on the scale on which laws drift: a loss on its log, a share on its log-odds.
    inputs
        Inputs of the law among columns that could be read otherwise.
    along
        Axis of the path, where it is not what the law has of compute.
    by, checkpoints
        As in `bayesfit.fit`.
    options
        More of its arguments, in the place of the suite's.
    attempts
        How often a fit whose checks fail is sampled at most; as a user's by default.
    """

    name: str
    paper: str
    table: pd.DataFrame
    scale: np.ndarray
    law: bf.Law | str = "chinchilla"
    output: str = "loss"
    inputs: tuple[str, ...] | None = None
    along: str = ""
    by: tuple[str, ...] = ()
    checkpoints: str = ""
    attempts: int = 3
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def runs(self) -> bf.Runs:
        """All runs."""
        groups = [*self.by, *([self.checkpoints] if self.checkpoints else [])]
        with warnings.catch_warnings():
            # copies among the runs are the studies' own
            warnings.simplefilter("ignore", DataWarning)
            return bf.Runs.from_frame(self.table, law=self.law, inputs=self.inputs, groups=groups, name=self.name)

    def drawn(self, values: np.ndarray) -> np.ndarray:
        """Return values of the output on the scale on which they are scored."""
        values = np.maximum(values, 1e-9)
        if self.output == "loss":
            return np.log(values)
        found: np.ndarray = logit(np.minimum(values, 1 - 1e-9))
        return found


@dataclass(frozen=True, kw_only=True)
class Split:
    """A study whose runs above a part of the largest are held out."""

    study: Study
    part: int

    @property
    def small(self) -> np.ndarray:
        """Runs that are fitted, one truth value a run."""
        return self.study.scale <= self.study.scale.max() / self.part

    @property
    def name(self) -> str:
        """A name for files."""
        return f"{self.study.name}-{self.part}"

    @property
    def train(self) -> bf.Runs:
        """Runs that are fitted."""
        return self.study.runs.select(self.small)

    @property
    def test(self) -> bf.Runs:
        """Runs that are held out."""
        return self.study.runs.select(~self.small)

    @property
    def decades(self) -> np.ndarray:
        """How far each held-out run lies beyond the fitted ones, as forecasts count it."""
        return distance(bf.law(self.study.law), self.train, self.test.table)


def splits(studies: dict[str, Study]) -> Iterator[Split]:
    """Yield the splits that leave enough runs to fit; a second one that leaves the same runs is none.

    A model scored on many tasks is one run.
    """
    for study in studies.values():
        before = 0
        for part in PARTS:
            split = Split(study=study, part=part)
            runs = int(split.small.sum())
            tasks = study.table.loc[split.small, "task"].value_counts() if study.output != "loss" else [runs]
            if min(tasks, default=0) >= FEWEST and runs != before:
                yield split
            before = runs


def suite(folder: Path) -> dict[str, Study]:
    """Return all studies of losses by name, read from the folder of their published tables."""
    found = [*_surfaces(folder), *_ladders(folder), *_own_shapes(folder), *_curves(folder)]
    return {study.name: study for study in found}


def corpora(studies: Mapping[str, Study]) -> dict[str, Study]:
    """Return the papers of which several corpora are studies of one law, each as one study whose corpora are families.

    Runs are hidden along each corpus's own compute.
    """
    papers: dict[str, list[Study]] = {}
    for study in studies.values():
        if study.law == "chinchilla" and not study.by and not study.checkpoints:
            papers.setdefault(study.paper, []).append(study)
    return {
        paper: Study(
            name=paper,
            paper=paper,
            table=pd.concat([one.table.assign(corpus=one.name) for one in found], ignore_index=True),
            scale=np.concatenate([one.scale / one.scale.max() for one in found]),
            by=("corpus",),
        )
        for paper, found in papers.items()
        if len(found) > 1
    }


_SURFACES = {
    "Hoffmann": ("chinchilla", "Hoffmann et al. 2022"),
    "Muennighoff": ("data_constrained", "Muennighoff et al. 2023"),
    "C4": ("gadre_c4", "Gadre et al. 2024"),
    "RedPajama": ("gadre_redpajama", "Gadre et al. 2024"),
    "RefinedWeb": ("gadre_refinedweb", "Gadre et al. 2024"),
    "Farseer": ("farseer", "Li et al. 2025, Farseer"),
}


def _surfaces(folder: Path) -> Iterator[Study]:
    for title, table in surfaces(folder).items():
        key = next(key for key in _SURFACES if title.startswith(key) or title.endswith(f", {key}"))
        name, paper = _SURFACES[key]
        yield _over_compute(name, paper, table)
    cells = pd.read_csv(folder / "steplaw_dense.csv").query("cell_best == 1")
    cells = cells.assign(loss=cells["smooth_loss"]).rename(columns={"params_nonembed": "params"})
    yield _over_compute("steplaw", "Li et al. 2025, Step Law", cells)
    cross = pd.read_csv(folder / "loss_to_loss.csv").query("task == 'own_val'")
    for family, table in cross.groupby("family", sort=True):
        yield _over_compute(f"loss_to_loss_{family}", "Brandfonbrener et al. 2024", table)


def _ladders(folder: Path) -> Iterator[Study]:
    ladder = pd.read_csv(folder / "olmo_ladder.csv").drop_duplicates("run")
    yield _over_compute("olmo", "Bhagia et al. 2024", ladder.rename(columns={"c4_loss_ma5": "loss"}))
    gem = pd.read_csv(folder / "gemstones_loss.csv").query("loss_dataset == 'dclm' and schedule == 'hot'")
    # hundreds of checkpoints sample for twenty minutes a fit at a second attempt
    yield replace(_over_compute("gemstones", "McLeish et al. 2025", gem, checkpoints="model"), attempts=1)


def _over_compute(name: str, paper: str, table: pd.DataFrame, checkpoints: str = "") -> Study:
    columns = ["params", "tokens", "loss", *([checkpoints] if checkpoints else [])]
    table = table[columns].dropna().reset_index(drop=True)
    scale = 6 * table["params"].to_numpy(float) * table["tokens"].to_numpy(float)
    return Study(name=name, paper=paper, table=table, scale=scale, checkpoints=checkpoints)


def _own_shapes(folder: Path) -> Iterator[Study]:
    """Yield studies whose law is not one of parameters and tokens."""
    routed = pd.read_csv(folder / "routed_lm.csv").query(
        "final == 1 and top_k == 1 and routing_frequency == 0.5 and seed == 42"
    )
    routed = routed.rename(columns={"num_experts": "experts", "loss_validation": "loss"})
    dense = routed[routed["router"] == "Dense"]
    # as in the paper, dense runs count as one expert of every router
    routers = [part for name, part in routed.groupby("router", sort=True) if name != "Dense"]
    parts = [pd.concat([part, dense.assign(router=part["router"].iloc[0])]) for part in routers]
    table = pd.concat(parts)[["params", "experts", "router", "loss"]].dropna().reset_index(drop=True)
    yield Study(
        name="routed",
        paper="Clark et al. 2022",
        table=table,
        scale=table["params"].to_numpy(float),
        law="routed_bilinear",
        by=("router",),
    )
    table = datasets.table("diloco")
    yield Study(
        name="diloco",
        paper="Charles et al. 2025",
        table=table,
        scale=table["params"].to_numpy(float),
        law="diloco",
        by=("method",),
        # groups of few runs: a second attempt had not ended after ten minutes
        attempts=1,
    )
    table = datasets.table("mup_width")
    yield Study(
        name="mup_width", paper="Yao et al. 2023", table=table, scale=table["params"].to_numpy(float), law="mup_width"
    )
    table = datasets.table("open_models").dropna(subset=["loss"])[["flops", "family", "loss"]].reset_index(drop=True)
    yield Study(
        name="open_models",
        paper="Dey et al. 2023",
        table=table,
        scale=table["flops"].to_numpy(float),
        law="cerebras_c",
        by=("family",),
        # as DiLoCo, after six
        attempts=1,
    )


def _curves(folder: Path) -> Iterator[Study]:
    """Yield every third image curve; test points beyond the split are their own."""
    table = pd.read_csv(folder / "learning_curves_image.csv").rename(columns={"examples_seen": "x", "error": "loss"})
    for curve in table["curve"].unique()[::3]:
        part = table[table["curve"] == curve][["x", "loss"]].reset_index(drop=True)
        yield Study(
            name=f"image_{curve}",
            paper="Alabdulmohsin et al. 2022",
            table=part,
            scale=part["x"].to_numpy(float),
            law="m4",
        )
