"""Tasks, families and checkpoints in the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bayesfit as bf
import bayesfit.store
from tests.cli.terminal import run, squeezed
from tests.posteriors import made_fit
from tests.test_checkpoints import ladder
from tests.test_task_plots import TRUTH, scattered, task_runs


@pytest.mark.xdist_group("cli_tasks")
def test_checkpoints_and_a_population_are_fitted_and_plotted(tmp_path: Path) -> None:
    table = tmp_path / "ladder.csv"
    ladder(runs=6, checkpoints=6).to_csv(table, index=False)
    fit = tmp_path / "fit.nc"
    settings = ("--draws", "600", "--tune", "400", "--chains", "2", "--seed", "1", "--out", fit)
    law = ("--law", "chinchilla", "--checkpoints", "run_name", "--population", "public_chinchilla", "--fix", "E=1.7")
    law = (*law, "--structure", "drift")
    told = run("fit", table, *law, *settings)
    assert "loss_shift_sd_run_name" in told.stdout
    assert "loss_drift_sd_knot" in told.stdout
    # a check may name a knot; the coefficients leave them out
    assert not [line for line in told.stdout.splitlines() if line.lstrip("│ ").startswith("loss_drift[")]
    loaded = bf.load(fit)
    assert loaded.pooling.checkpoints == "run_name"
    assert loaded.law.population is not None
    # a scenario need not name a run, and one that does is taken at its word
    for more in ((), ("--set", "run_name=r5")):
        told = run("forecast", fit, "--set", "params=1e10", "--set", "tokens=2e11", *more)
        assert "median" in told.stdout


def test_wrong_words_are_told(tmp_path: Path) -> None:
    table = tmp_path / "ladder.csv"
    ladder(runs=3, checkpoints=4).to_csv(table, index=False)
    for option, name, message, code in (
        ("--checkpoints", "run_nam", "no column 'run_nam' (did you mean 'run_name'?)", 1),
        ("--structure", "drfit", "'drfit' is not one of 'auto'", 2),
        ("--population", "publik", "there is no population 'publik'", 2),
    ):
        told = run("fit", table, "--law", "chinchilla", option, name, "--out", tmp_path / "f.nc", code=code)
        assert message in squeezed(told.stderr)


def test_the_risk_of_an_accuracy_is_to_fall_below(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = made_fit(task_runs(), bf.law("task_two_step"), scattered(TRUTH), ["task"])
    monkeypatch.setattr(bayesfit.store, "load", lambda _: fit)
    options = ("--set", "params=1e9", "--set", "tokens=2e10", "--set", "task=arc", "--output", "accuracy")
    assert "accuracy below 0.6 is a miss" in run("risk", "fit.nc", "--limit", 0.6, *options).stdout
    told, above = (
        json.loads(run("risk", "fit.nc", "--limit", 0.6, *options, "--json", *more).stdout)
        for more in ((), ("--worse", "above"))
    )
    assert (told["worse"], above["worse"]) == ("below", "above")
    assert told["risks"][0]["prob_miss"] == pytest.approx(1 - above["risks"][0]["prob_miss"], abs=0.05)
    assert "no accuracy reaches a limit of 60" in squeezed(
        run("risk", "fit.nc", "--limit", 60, *options, code=2).stderr
    )
    losses = ("risk", "fit.nc", "--limit", 0.8, *options[:6], "--output", "task_loss")
    assert "task_loss above 0.8 is a miss" in run(*losses).stdout


def test_a_forecast_is_called_what_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = made_fit(task_runs(), bf.law("task_two_step"), scattered(TRUTH), ["task"])
    monkeypatch.setattr(bayesfit.store, "load", lambda _: fit)
    at = ("--set", "params=1e9", "--set", "tokens=2e10", "--set", "task=arc")
    scenario = {"params": 1e9, "tokens": 2e10, "task": "arc"}
    for asked, name in ((None, "accuracy"), ("task_loss", "task_loss"), ("own", "own")):
        told = run("forecast", "fit.nc", *at, "--json", *([] if asked is None else ["--output", asked]))
        found = json.loads(told.stdout)
        median = fit.forecast(scenario, output=name).table()["median"].iloc[0]
        assert found["output"] == name
        assert found["forecasts"][0]["median"] == pytest.approx(median)
    assert run("forecast", "fit.nc", *at).stdout.startswith("accuracy in share, 90% interval")
    # an equation that is not observed has no unit
    assert run("forecast", "fit.nc", *at, "--output", "own").stdout.startswith("own, 90% interval")
