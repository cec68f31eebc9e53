"""Scenarios that leave out what the runs of their task say: its chance level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit.cli.reading import scenario, suggestion
from bayesfit.scenarios import read_scenarios
from tests.posteriors import made_fit

CHANCE = {"hellaswag": 0.25, "piqa": 0.5}


def fitted(chance: dict[str, float], by: list[str]) -> bf.Fit:
    """Return a fit to four models on two tasks."""
    law = bf.law("log_acc_power")
    table = pd.DataFrame({"flops": np.tile(np.geomspace(1e20, 1e22, 4), 2), "task": np.repeat([*CHANCE], 4)})
    table = table.assign(chance=table["task"].map(chance), accuracy=0.6, family=np.tile(["oak", "elm"], 4))
    table["accuracy"] += np.arange(8) / 100
    runs = bf.Runs.from_frame(table, law=law, inputs=["flops", "chance"], groups=["task", "family"])
    return made_fit(runs, law, {"a": 0.8, "alpha": 0.1, "sigma": 0.05}, by)


@pytest.fixture
def fit() -> bf.Fit:
    return fitted(CHANCE, ["family", "task"])


def test_the_chance_level_of_a_known_task_is_that_of_its_runs(fit: bf.Fit) -> None:
    left_out = {"flops": [1e23, 1e23], "family": "oak", "task": [" piqa", "hellaswag"]}
    assert read_scenarios(left_out, fit)["chance"].tolist() == [0.5, 0.25]
    told = fit.forecast({**left_out, "chance": [0.5, 0.25]}, allow_unconverged=True)
    np.testing.assert_array_equal(fit.forecast(left_out, allow_unconverged=True).draws, told.draws)


def test_that_of_a_new_task_is_asked_for(fit: bf.Fit) -> None:
    for task in ("exam", ["piqa", "exam"]):
        with pytest.raises(bf.DataError, match="the fit needs 'chance'"):
            read_scenarios({"flops": 1e23, "family": "oak", "task": task}, fit)
    # without tasks nobody knows which chance is meant
    with pytest.raises(bf.DataError, match="the fit needs 'chance'"):
        read_scenarios({"flops": 1e23, "family": "oak"}, fitted(CHANCE, ["family"]))
    # unless there is but one
    assert read_scenarios({"flops": 1e23}, fitted(dict.fromkeys(CHANCE, 0.25), []))["chance"].tolist() == [0.25]


def test_another_chance_level_than_the_runs_have_is_told(fit: bf.Fit) -> None:
    with pytest.warns(bf.DataWarning, match=r"row 2 has chance 0\.5, and all runs of its level have 0\.25"):
        read = read_scenarios(
            {"flops": 1e23, "family": "oak", "task": ["piqa", "hellaswag"], "chance": [0.5, 0.5]}, fit
        )
    assert read["chance"].tolist() == [0.5, 0.5]
    with pytest.raises(bf.DataError, match="found 'half'"):
        read_scenarios({"flops": 1e23, "family": "oak", "task": "piqa", "chance": "half"}, fit)


def test_the_command_line_asks_for_it_only_where_it_is_open(fit: bf.Fit) -> None:
    assert suggestion(fit) == "--set flops=1e23 --set family=oak --set task=hellaswag"
    assert "chance" not in scenario(["flops=1e23", "family=oak", "task=piqa"], fit)
    # a name may have a comma, which else stands between several
    table = fit.runs.to_frame().replace({"oak": "O'Neil, Inc."})
    runs = bf.Runs.from_frame(table, inputs=["flops", "chance"], outputs=["accuracy"], groups=["task", "family"])
    odd = replace(fit, runs=runs)
    assert scenario(["flops=1e23", "family=O'Neil, Inc.", "task=piqa"], odd)["family"] == ["O'Neil, Inc."]
    assert scenario(["flops=1e23", "family=elm, O'Neil", "task=piqa"], odd)["family"] == ["elm", "O'Neil"]
    assert "--set chance=0.5" in suggestion(fitted(CHANCE, ["family"]))
