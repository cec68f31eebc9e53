"""``python -m tests.benchmarks.calibration FOLDER [STUDY ...] [--kinds | --corpora | --accuracies]``."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from tests.benchmarks.calibration import (
    ALONE,
    BANDS,
    HERE,
    METHODS,
    OURS,
    PLAIN,
    by_split,
    compared,
    pooled,
    publish,
    scores,
    summarised,
    with_usual,
)
from tests.benchmarks.calibration.figures import save
from tests.benchmarks.calibration.suite import corpora, splits, suite
from tests.benchmarks.calibration.tasks import task_studies

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.calibration", description="Score bands.")
    parser.add_argument("folder", type=Path, help="folder of the published tables")
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="a study, or how its name begins; all by default")
    parser.add_argument("--method", action="append", choices=BANDS, help="those of the suite by default")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--kinds", action="store_true", help="compare all kinds on studies of Chinchilla's law; writes kinds.csv"
    )
    what.add_argument(
        "--corpora", action="store_true", help="fit the corpora of a paper as families of one study; writes corpora.csv"
    )
    what.add_argument(
        "--accuracies", action="store_true", help="score bands of task accuracies instead; writes accuracies.csv"
    )
    parser.add_argument("--workers", type=int, default=None, help="processes at once; one a processor by default")
    told = parser.parse_args()
    if not told.folder.is_dir():
        parser.error(f"there is no folder {told.folder}; name the one that holds the published tables")
    known = task_studies(told.folder) if told.accuracies else suite(told.folder)
    chosen = {name: one for name, one in known.items() if not told.studies or name.startswith(tuple(told.studies))}
    if not chosen:
        parser.error(f"no study is called so; known: {', '.join(known)}")
    if told.kinds:
        # the laws that are averaged are of parameters and tokens, and are slow on hundreds of checkpoints
        chosen = {name: one for name, one in chosen.items() if one.law == "chinchilla" and not one.checkpoints}
        if not chosen:
            parser.error("kinds are compared on studies of Chinchilla's law without checkpoints; none of these is one")
    if told.corpora:
        chosen = corpora(chosen)
        if not chosen:
            parser.error("of no paper are two corpora chosen")
    usual = {"kinds": BANDS, "corpora": (PLAIN, OURS), "accuracies": (PLAIN, ALONE)}
    methods = told.method or next((usual[name] for name in usual if getattr(told, name)), METHODS)
    rows = scores(splits(chosen), methods, told.workers)
    table = by_split(rows)
    if [*methods] == [*METHODS]:
        table = with_usual(table, splits(chosen))
    with pd.option_context("display.width", 180, "display.max_columns", None, "display.max_rows", None):
        print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
        if told.corpora and not told.studies and not told.method:
            table.to_csv(HERE / "corpora.csv", index=False, float_format="%.4g")
        if told.accuracies and not told.method:
            print(pooled(table, ALONE).to_string(index=False, float_format=lambda value: f"{value:.3g}"))
            if not told.studies:
                table.to_csv(HERE / "accuracies.csv", index=False, float_format="%.4g")
                publish(rows, "accuracy")
        if [*methods] == [*BANDS]:
            summary = compared(table)
            print(summary.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
            if not told.studies:
                summary.to_csv(HERE / "kinds.csv", index=False, float_format="%.4g")
        if [*methods] == [*METHODS]:
            summary = summarised(table)
            print(summary.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
            if chosen == known:
                table.to_csv(HERE / "table.csv", index=False, float_format="%.4g")
                summary.to_csv(HERE / "summary.csv", index=False, float_format="%.4g")
                save(rows, HERE)
                publish(rows, "loss")
