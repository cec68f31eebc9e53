"""The examples run; here with few draws, at full length by ``make examples``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_writes_its_figure(script: Path, tmp_path: Path) -> None:
    # fewer draws are fewer than the checks ask for, and would be sampled anew
    environment = {**os.environ, "BAYESFIT_DRAWS": "1000", "BAYESFIT_FIGURES": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (figure,) = tmp_path.glob("*.png")
    assert figure.stat().st_size > 20_000
