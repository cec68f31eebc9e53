"""`bayesfit backtest`: what it says, keeps and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import backtesting
from tests.cli.terminal import run

pytestmark = pytest.mark.xdist_group("cli")

QUICK = ("--draws", 200, "--origins", 2, "--seed", 1, "--workers", 1, "--structure", "none")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backtest") / "runs.csv"
    bf.simulate("cerebras_c", seed=4, n=40).runs.table[["flops", "loss"]].to_csv(path, index=False)
    return path


def test_it_says_how_often_bands_held_and_keeps_what_it_did(table: Path) -> None:
    kept, figure = table.parent / "kept", table.parent / "calibration.png"
    said = run("backtest", table, "--law", "cerebras_c", *QUICK, "--resume", kept, "--out", figure)
    assert "By cut in flops: runs above it were hidden" in said.stdout
    assert "By decades beyond the fitted runs" in said.stdout
    assert "90% bands held" in said.stdout
    assert "crps, interval_score and error on the log. Higher is better for log_score" in " ".join(said.stdout.split())
    assert figure.stat().st_size > 10_000
    assert len([*kept.glob("*.parquet")]) == 2
    again = run("backtest", table, "--law", "cerebras_c", *QUICK, "--resume", kept, "--json")
    document = json.loads(again.stdout)
    assert document["verdict"] in said.stdout
    assert document["summary"]["runs"] == sum(row["runs"] for row in document["origins"])
    assert sum(row["runs"] for row in document["pit"]) == document["summary"]["runs"]


def test_a_formula_takes_its_priors(table: Path) -> None:
    formula = "loss = E + a*(flops/ref.flops)**-alpha"
    said = run("backtest", table, "--law", formula, *QUICK, code=2)
    assert "no prior for E, a, alpha: give one, such as --prior" in " ".join(said.stderr.split())
    priors = ("E=LogitNormal(1.5, 1.5, 0, min.loss)", "a=LogNormal(0, 1)", "alpha=LogNormal(log(0.1), 0.6)")
    given = [word for prior in priors for word in ("--prior", prior)]
    assert "90% bands held" in run("backtest", table, "--law", formula, *given, *QUICK).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--horizon", "-1"), "origins and horizon must be positive"),
        (("--scale", "flop"), "the scale must be a positive input, found 'flop' (did you mean 'flops'?)"),
        (("--resume", "FILE"), "runs.csv is a file; name another"),
        (("--structure", "wrong"), "is not one of 'auto'"),
        (("--out", "figure.txt"), "figure.txt"),
    ],
)
def test_what_it_cannot_do_is_said(table: Path, options: tuple[str, str], message: str) -> None:
    given = [table if word == "FILE" else word for word in options]
    said = run("backtest", table, "--law", "cerebras_c", *given, code=2)
    assert message in " ".join(said.stderr.split())
    # before anything is said to begin
    assert "Fitting" not in said.stdout + said.stderr


def test_too_few_runs_are_told_before_fits_begin(table: Path) -> None:
    few = table.with_name("few.csv")
    pd.read_csv(table).head(6).to_csv(few, index=False)
    said = run("backtest", few, "--law", "cerebras_c", "--allow", "few_runs", code=2)
    assert "leave nothing to hide" in said.stderr
    assert "Fitting" not in said.stdout + said.stderr


def test_what_is_asked_reaches_the_backtest(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def pretend(runs: bf.Runs, law: bf.Law, **arguments: Any) -> bf.Backtest:
        asked.update(arguments, runs=runs, law=law)
        raise bf.SpecError("reached")

    monkeypatch.setattr(backtesting, "backtest", pretend)
    run("backtest", table, "--law", "cerebras_c", "--without", "Hoffmann et al. 2022", code=2)
    assert asked["structure"] == bf.Structure(kind="auto", without=["Hoffmann et al. 2022"])
    assert asked["law"] == bf.law("cerebras_c")
    by_run = table.with_name("by_run.csv")
    pd.read_csv(table).assign(name=["a", "b", "c", "d"] * 10).to_csv(by_run, index=False)
    told = ("--checkpoints", "name", "--pool", "alpha=complete", "--noise", "laplace", "--tune", 77)
    run("backtest", by_run, "--law", "cerebras_c", *told, code=2)
    assert (asked["checkpoints"], asked["pooling"], asked["tune"]) == ("name", {"alpha": "complete"}, 77)
    assert asked["law"].outputs["loss"].noise.kind == "laplace"
    assert asked["runs"].groups == ("name",)
