"""A folder, a table of runs, and a terminal of no particular width."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.terminal import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def runs_file(folder: Path) -> Path:
    path = folder / "runs.csv"
    made = run("simulate", "cerebras_c", "--out", path, "--n", 10, "--group", "family", "--levels", 3, "--seed", 2)
    assert "30 runs of cerebras_c" in made.stdout
    return path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep default file names out of the checkout, and the width of the terminal out of the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
