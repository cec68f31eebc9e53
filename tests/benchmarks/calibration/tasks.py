"""Public studies of task accuracies: how far their laws drift on the log-odds, and how their bands do.

Tasks are levels of a group, so that a study has two paths' scales: of the path that all its tasks share, and of each
task's own. The law is what a user of the package would take for the study's columns, and that of the tasks' benchmark
for CLIP's, which no card covers with its training sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tests.benchmarks.calibration.suite import Study
from tests.benchmarks.tasks import clip, gadre, gemstones, olmo

#: Each task's own ceiling is left open by the runs and mixes slowly (Gadre's C4: paths of .24 with it, of .27 so).
ONE_CEILING: Mapping[str, Any] = {"room": "complete"}
#: One first step for all tasks: they are answered by the same models, whose loss on one text is known.
ONE_LOSS = dict.fromkeys(("m", "f_params", "f_tokens", "alpha", "beta", "task_loss_drift"), "complete")
#: More draws from the start cost less than a second attempt.
LONG: Mapping[str, Any] = {"draws": 2000, "tune": 1500, "sampler": {"attempts": 1}}


def task_studies(folder: Path) -> dict[str, Study]:
    """Return the studies by name, read from the folder of their published tables."""
    found = [_olmo(folder), _clip(folder), _gemstones(folder), *_gadre(folder)]
    return {study.name: study for study in found}


def _study(
    name: str, paper: str, table: pd.DataFrame, scale: pd.Series, output: str = "accuracy", **about: Any
) -> Study:
    scales = scale.to_numpy(float)
    return Study(name=name, paper=paper, table=table, scale=scales, output=output, by=("task",), **about)


def _olmo(folder: Path) -> Study:
    table = pd.read_csv(folder / "olmo_ladder.csv").drop(columns=["accuracy"])
    table = table[table["task"].isin(olmo.TASKS)]
    table = table.rename(columns={"bpb_ma5": "task_loss", "accuracy_ma5": "accuracy"})
    table = table.dropna(subset=["accuracy", "task_loss"]).reset_index(drop=True)
    return _study(
        "olmo_tasks",
        olmo.STUDY,
        table[["params", "tokens", "chance", "task", "task_loss", "accuracy"]],
        6.0 * table["params"] * table["tokens"],
        law="task_two_step",
        inputs=("params", "tokens", "chance"),
        options={"noise": {"accuracy": olmo.NOISE}, "pooling": ONE_CEILING, **LONG},
    )


def _clip(folder: Path) -> Study:
    """Return all four training sets; the log-odds of an error are those of an accuracy, turned over."""
    law, table = clip.law(), pd.concat(clip.read(folder), ignore_index=True)
    return _study(
        "clip_tasks",
        clip.STUDY,
        table[[*law.inputs, "task", "error"]],
        table["macs"],
        "error",
        law=law,
        inputs=tuple(law.inputs),
        along="samples_seen*macs_per_sample",
    )


def _gemstones(folder: Path) -> Study:
    """Return the last checkpoints of all runs, which saw the same tokens."""
    table = pd.read_csv(folder / "gemstones_tasks.csv").rename(columns={"random_baseline": "chance"})
    # a task without a chance level is left out
    table = table.dropna(subset=["chance", "accuracy"]).sort_values("step")
    table = table.groupby(["model", "task"]).tail(1).reset_index(drop=True)
    table["flops"] = 6.0 * table["params"] * table["tokens"]
    return _study(
        "gemstones_tasks",
        gemstones.STUDY,
        table[["flops", "chance", "task", "accuracy"]],
        table["flops"],
        law="log_acc_power",
        inputs=("flops", "chance"),
    )


def _gadre(folder: Path) -> Iterator[Study]:
    """Yield the seventeen tasks of each corpus; scores of 0, which have no log-odds, are left out."""
    table = pd.read_csv(folder / "gadre_tasks.csv").rename(columns={"random_baseline": "chance"})
    table = table[(table["in_17_split"] == 1) & (table["accuracy"] > 0)]
    # a model has one loss: it stands in one of its rows
    table["task_loss"] = table["loss_c4_val"].where(~table.duplicated(["dataset", "run"]))
    for corpus, part in table.groupby("dataset", sort=True):
        part = part.reset_index(drop=True)
        yield _study(
            f"gadre_{str(corpus).lower()}_tasks",
            gadre.STUDY,
            part[["params", "tokens", "chance", "task", "task_loss", "accuracy"]],
            part["flops"],
            law="task_two_step",
            inputs=("params", "tokens", "chance"),
            # some tasks are answered from the start, some hardly at all: no population holds both
            options={
                "noise": {"accuracy": olmo.NOISE},
                "pooling": {**ONE_LOSS, **ONE_CEILING, "q": {"task": "none"}},
                **LONG,
            },
        )
