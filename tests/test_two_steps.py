"""Laws in two steps: accuracy follows a run's own task loss, in the fit, the forecast and the scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit.evaluation import before_moves, law_values
from bayesfit.forecast import forecast_rows
from bayesfit.pooling import Pooling, plan_parameters
from bayesfit.scenarios import read_scenarios
from bayesfit.scores import log_score

pytestmark = pytest.mark.xdist_group("two_steps")

TRUTH = {"c": 0.75, "b": 0.035, "top": 0.96, "k": 12.0, "L0": 0.72, "follow": 0.9}


def simulated(seed: int, n: int = 40) -> bf.Runs:
    """Return runs whose task losses scatter widely about the law, and accuracies little about the second step."""
    rng = np.random.default_rng(seed)
    flops = np.geomspace(6e18, 1e22, n)
    law = TRUTH["c"] - TRUTH["b"] * np.log(flops / np.exp(np.log(flops).mean()))
    task_loss = law + 0.03 * rng.standard_t(4, n)
    own = (1 - TRUTH["follow"]) * law + TRUTH["follow"] * task_loss
    mean = 0.25 + (TRUTH["top"] - 0.25) / (1 + np.exp(-TRUTH["k"] * (TRUTH["L0"] - own)))
    accuracy = 1 / (1 + np.exp(-(np.log(mean / (1 - mean)) + 0.05 * rng.standard_t(4, n))))
    table = pd.DataFrame({"flops": flops, "chance": 0.25, "task_loss": task_loss, "accuracy": accuracy})
    # some runs were not evaluated, of some the loss was lost
    table.loc[3::8, "accuracy"] = np.nan
    table.loc[5::9, "task_loss"] = np.nan
    return bf.Runs.from_frame(table, law="llama3_two_step")


@pytest.fixture(scope="module")
def fit() -> bf.Fit:
    return bf.fit(simulated(1), "llama3_two_step", draws=1000, seed=1, progress=False, structure=None)


def test_every_row_counts_and_the_truth_is_found(fit: bf.Fit) -> None:
    assert fit.check().passed, fit.check()
    table = fit.summary(0.99)
    for name, value in TRUTH.items():
        # six of them at once; the noise of one set of runs may well lie three standard deviations off for one
        assert abs(table.loc[name, "median"] - value) < 4 * table.loc[name, "sd"], name
    assert table.loc["follow", "q0.5"] > 0.5


def test_the_steps_share_their_residuals_in_every_draw(fit: bf.Fit) -> None:
    at = {"flops": 1e22, "chance": 0.25}
    loss, accuracy = (fit.forecast(at, output=name) for name in ("task_loss", "accuracy"))
    off = [np.ravel(found.draws - found.expected) for found in (loss, accuracy)]
    assert np.corrcoef(*off)[0, 1] < -0.6
    # the law alone knows nothing of a run's luck
    assert accuracy.expected.std() < 0.6 * accuracy.draws.std()


def test_a_run_is_scored_as_it_is_forecast(fit: bf.Fit) -> None:
    """Held-out runs are scored without a look at their task loss, which would make the score too good."""
    held_out = simulated(2)
    drawn = log_score(fit, held_out, "accuracy")
    told = log_score(fit, held_out, "accuracy", drawn=False)
    assert len(drawn) == int((~np.isnan(held_out.values("accuracy"))).sum())
    assert told.mean() > drawn.mean() + 0.3
    assert drawn.mean() > 0


def test_both_routes_to_an_accuracy_are_compared_in_one_call() -> None:
    runs = simulated(3)
    _, comparison = bf.compare_laws(
        runs,
        ["llama3_two_step", "log_acc_power"],
        output="accuracy",
        rolling=False,
        draws=500,
        tune=500,
        seed=1,
        workers=1,
    )
    assert list(comparison.table.index.sort_values()) == ["llama3_two_step", "log_acc_power"]


def test_a_task_without_losses_takes_the_scale_of_the_others() -> None:
    """One loss a model serves all its tasks: it stands in the rows of one of them."""
    table = simulated(1).to_frame().assign(task=["one", "two"] * 20)
    table.loc[table["task"] == "two", "task_loss"] = np.nan
    runs = bf.Runs.from_frame(
        table.dropna(subset=["task_loss", "accuracy"], how="all"), law="llama3_two_step", groups=["task"]
    )
    plans = {plan.name: plan for plan in plan_parameters(bf.law("llama3_two_step"), runs, Pooling(by=("task",)))}
    alone = bf.law("llama3_two_step").parameters["L0"].prior.resolve(runs.summaries())
    assert plans["L0"].prior.mu == pytest.approx(alone.mu)


def test_an_accuracy_is_told_from_the_error_of_the_loss_it_follows_from() -> None:
    """Before the law errs, neither its task loss nor its accuracy is moved."""
    asked = {"draws": 100, "tune": 200, "chains": 2, "seed": 1, "progress": False, "sampler": {"attempts": 1}}
    fit = bf.fit(simulated(1), "llama3_two_step", structure="drift", **asked)
    table = read_scenarios({"flops": [1e22, 1e24], "chance": 0.25}, fit)
    law = before_moves(fit, table, "accuracy")["structure"]
    still = fit.idata.copy(deep=True)
    for name in [name for name in still["latent"].data_vars if "drift_offset" in name]:
        still["latent"][name] = 0 * still["latent"][name]
    fixed, _ = law_values(replace(fit, idata=still), table.assign(flops=1e22))
    # at a run inside the data no more of the path is drawn
    at_a_run = [drawn.isel(scenario=0).transpose("chain", "draw") for drawn in (law, fixed["accuracy"])]
    np.testing.assert_allclose(*at_a_run)
    found = forecast_rows(fit, table, "accuracy", seed=1)
    parts = found.components
    np.testing.assert_allclose(parts["total"] ** 2, parts["law"] ** 2 + parts["structure"] ** 2 + parts["noise"] ** 2)
    assert parts["structure"].iloc[1] > parts["structure"].iloc[0]
