"""What a comparison costs, as a ratio to one fit in the same run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

SIX = "chinchilla,kaplan_nd,gadre_overtrain,farseer,kaplan_n,kaplan_d"


def seconds(folder: Path, *arguments: str) -> float:
    """Return the wall time of a command, everything from starting Python counted."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bayesfit.cli", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - started


@pytest.mark.slow
def test_six_forms_cost_at_most_three_fits(data_dir: Path, tmp_path: Path) -> None:
    """Chinchilla's 240 runs: one fit, and six forms with their hidden runs, alternately; the best of each counts."""
    table = pd.read_csv(data_dir / "chinchilla_epoch.csv")
    table[table["in_published_fit"] == 1].to_csv(tmp_path / "runs.csv", index=False)
    fits, comparisons = [], []
    for _ in range(2):
        fits.append(seconds(tmp_path, "fit", "runs.csv", "--law", "chinchilla", "--seed", "1", "--quiet"))
        comparisons.append(seconds(tmp_path, "compare", "runs.csv", "--laws", SIX, "--seed", "1", "--quiet"))
    print(f"one fit {min(fits):.1f} s, six forms {min(comparisons):.1f} s")
    assert min(comparisons) <= 3 * min(fits)
