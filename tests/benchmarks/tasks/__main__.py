"""``python -m tests.benchmarks.tasks FOLDER [STUDY ...]``."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from tests.benchmarks.tasks import run, short_names

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tasks", description="Score studies of tasks.")
    parser.add_argument("folder", type=Path, help="folder of the published tables")
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"of {', '.join(short_names())}; all by default")
    told = parser.parse_args()
    if not told.folder.is_dir():
        parser.error(f"there is no folder {told.folder}; name the one that holds the published tables")
    if unknown := [name for name in told.studies if name not in short_names()]:
        parser.error(f"unknown study '{unknown[0]}'; known: {', '.join(short_names())}")
    with pd.option_context("display.width", 160, "display.max_columns", None, "display.max_colwidth", 70):
        for name in told.studies or short_names():
            print(run(name, told.folder).to_string(index=False, float_format=lambda value: f"{value:.3g}"), flush=True)
