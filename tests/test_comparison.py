"""Comparing laws: the scores are those of exact refits, the rules hold, the words say what the numbers do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import loo, plots
from bayesfit.backtesting import Backtest
from bayesfit.comparison import Comparison, _common_output, stacking_weights
from bayesfit.scores import log_score

#: The mean of all runs: no law at all, for contrast.
FLAT = bf.Law.from_text(
    "loss = height + 0*params", priors={"height": "LogNormal(log(median.loss), 0.5)"}, inputs=["params"], id="flat"
)


@pytest.fixture(scope="module")
def thirty() -> bf.Fit:
    """Return a fit of 30 runs."""
    runs = bf.simulate("mup_width", seed=3, n=30).runs
    return bf.fit(runs, "mup_width", seed=1, progress=False, structure=None)


@pytest.fixture(scope="module")
def families() -> dict[str, bf.Fit]:
    runs = bf.simulate("cerebras_c", n=10, group="family", levels=3, sigma=0.005, seed=2).runs
    settings = {"seed": 1, "draws": 500, "tune": 500, "progress": False}
    return {
        "pooled": bf.fit(runs, "cerebras_c", by=["family"], **settings, structure=None),
        "one": bf.fit(runs, "cerebras_c", **settings, structure=None),
    }


def test_psis_agrees_with_leaving_every_run_out(thirty: bf.Fit) -> None:
    """Exact refits of all 30 runs, within one standard error; in fact far closer."""
    found = loo.leave_one_out(thirty, "loss")
    exact = []
    for place in range(30):
        left_out = np.arange(30) == place
        again = loo.refit(thirty, thirty.runs.select(~left_out))
        exact.append(log_score(again, thirty.runs.select(left_out), "loss")[0])
    assert abs(found.elpd.elpd - sum(exact)) < found.elpd.se
    assert abs(found.elpd.elpd - sum(exact)) < 0.5
    np.testing.assert_allclose(found.elpd.elpd_i.values, exact, atol=0.35)


def test_a_run_that_importance_sampling_cannot_leave_out_is_refitted(thirty: bf.Fit) -> None:
    table = thirty.runs.to_frame()
    table.loc[table["params"].idxmax(), "loss"] *= 1.2
    runs = bf.Runs.from_frame(table, inputs=["params"])
    fit = bf.fit(runs, thirty.law.with_noise("normal"), seed=1, draws=500, tune=500, progress=False, structure=None)
    found = loo.leave_one_out(fit, "loss")
    assert found.high_k == found.refitted >= 1
    assert found.trusted
    untouched = loo.leave_one_out(fit, "loss", refits=0)
    assert untouched.high_k == found.high_k
    assert not untouched.trusted
    left_out = runs.values("params") == runs.values("params").max()
    exact = log_score(loo.refit(fit, runs.select(~left_out)), runs.select(left_out), "loss")[0]
    place = int(np.flatnonzero(left_out)[0])
    assert found.elpd.elpd_i.values[place] == pytest.approx(exact, abs=0.2)


def test_leaving_out_a_family_asks_how_well_a_new_one_is_told(families: dict[str, bf.Fit]) -> None:
    by_run, by_family = (loo.leave_one_out(families["pooled"], "loss", by=by) for by in (None, "family"))
    assert list(by_family.elpd.elpd_i["family"].values) == ["family_0", "family_1", "family_2"]
    # a family never seen is told far worse than one more run of a family that was
    assert by_family.elpd.elpd < by_run.elpd.elpd - 10
    with pytest.raises(bf.SpecError, match=r"found 'famly' \(did you mean 'family'\?\)"):
        loo.leave_one_out(families["pooled"], "loss", by="famly")


def test_the_better_law_wins_by_both_scores() -> None:
    runs = bf.simulate("cerebras_c", seed=4, n=40).runs
    runs = bf.Runs.from_frame(runs.to_frame().assign(params=runs.values("flops") ** 0.5), inputs=["flops", "params"])
    fits, found = bf.compare_laws(runs, {"power": "cerebras_c", "flat": FLAT}, seed=1, draws=500, workers=2)
    # a path would make up for what a law gets wrong
    assert not any(fit.law.drifts for fit in fits.values())
    assert list(found.table.index) == ["power", "flat"]
    assert found.table.loc["power", "loo_weight"] > 0.95
    assert found.table.loc["power", "rolling_weight"] > 0.95
    assert found.table.loc["flat", "elpd_diff"] < -10
    assert found.prob_better().loc["power", "flat"] > 0.99
    assert "power is best, clearly" in found.verdict
    assert found.table[["fit_converged", "converged"]].all(axis=None)
    # the same from fits that were made before
    again = bf.compare(fits, workers=1)
    pd.testing.assert_frame_equal(again.table, found.table, rtol=0.05, atol=0.05)
    near = found.prob_better(0.5, within=0.25)
    assert near.loc["power", "flat"] > 0.9
    with pytest.raises(bf.SpecError, match="no hidden run lies 5 decades beyond"):
        found.prob_better(5.0)
    figure = plots.plot_compare(found)
    assert figure.axes[0].get_title(loc="left") == "Inside the data: one run left out"
    assert len(figure.axes) == 3


def test_only_the_same_runs_can_be_compared(families: dict[str, bf.Fit], thirty: bf.Fit) -> None:
    with pytest.raises(bf.SpecError, match="different values of loss"):
        bf.compare({"a": families["one"], "b": thirty}, rolling=False)
    one = families["one"]
    table = one.runs.to_frame()
    other = bf.Runs.from_frame(table.assign(flops=table["flops"] * 1.001), inputs=["flops"], groups=["family"])
    with pytest.raises(bf.SpecError, match="different column 'flops'"):
        bf.compare({"a": one, "b": replace(one, runs=other)}, rolling=False)
    counted = replace(one, law=one.law.with_noise("binomial"))
    with pytest.raises(bf.SpecError, match="b counts items and a does not"):
        bf.compare({"a": one, "b": counted}, rolling=False)
    with pytest.raises(bf.SpecError, match="nothing to compare"):
        bf.compare({})


def test_laws_are_not_compared_by_two_structures() -> None:
    table = bf.simulate("mup_width", seed=1, n=15).runs.to_frame()
    runs = bf.Runs.from_frame(table.assign(x=table["params"]), inputs=["params", "x"])
    with pytest.raises(bf.SpecError, match=r"'auto' lets mup_width drift and trusts m4.* structure='drift'"):
        bf.compare_laws(runs, ["mup_width", "m4"], structure="auto")


def test_the_output_that_all_laws_have_is_compared() -> None:
    two, one = bf.law("llama3_two_step"), bf.law("log_acc_power")
    assert _common_output([two, one], None) == "accuracy"
    assert _common_output([two, two], None) == "accuracy"
    assert _common_output([two, two], "task_loss") == "task_loss"
    with pytest.raises(bf.SpecError, match=r"llama3_two_step of task_loss, accuracy; chinchilla of loss.*no output"):
        _common_output([two, bf.law("chinchilla")], None)
    # told before anything is fitted
    runs = bf.simulate("chinchilla", seed=1, n=15).runs
    with pytest.raises(bf.SpecError, match="predict different outputs"):
        bf.compare_laws(runs, ["chinchilla", "log_acc_power"])


def test_stacking_finds_the_mixture_that_scores_best() -> None:
    rng = np.random.default_rng(0)
    # each of two laws is right for its share of the runs
    right = rng.random(4000) < 0.7
    scores = pd.DataFrame({"a": np.where(right, 0.0, -8.0), "b": np.where(right, -8.0, 0.0), "bad": -50.0})
    weights = stacking_weights(scores)
    assert weights["a"] == pytest.approx(right.mean(), abs=0.01)
    assert weights["bad"] < 1e-6
    assert sum(weights.values()) == pytest.approx(1)
    # a law that is never finite does no harm, nor do scores far below the range of floats
    assert stacking_weights(pd.DataFrame({"a": [-2000.0, -1.0], "b": [-np.inf, -np.inf]}))["a"] == pytest.approx(1)


def made_up(errors: dict[str, float], inside: bool, elpd: dict[str, float], scores: dict[str, float]) -> Comparison:
    """Return a comparison of laws whose hidden runs all came out alike."""
    rng = np.random.default_rng(1)
    backtests, rows = {}, {}
    for name, error in errors.items():
        table = pd.DataFrame(
            {
                "origin": np.repeat([1e20, 1e21], 10),
                "run": np.arange(20),
                "observed": 2.0,
                "decades": np.linspace(0.1, 1.0, 20),
                "log_score": scores[name] + 0.1 * rng.standard_normal(20),
                "error": error,
                "crps": abs(error),
                "interval_score": 0.1,
                "converged": True,
                **{f"inside_{level}": inside for level in (50, 80, 90, 95)},
            }
        )
        backtests[name] = Backtest(
            law=name, output="loss", scale="flops", on_log=True, bands="plain law", data="0", table=table
        )
        rows[name] = {"elpd": elpd[name], "elpd_diff": elpd[name] - max(elpd.values()), "dse": 1.0, "high_k": 0}
        rows[name] |= {"refitted": 0, "fit_converged": True, "converged": True, **backtests[name].summary}
    table = pd.DataFrame(rows).T
    pointwise = pd.DataFrame(0.0, index=range(20), columns=list(errors))
    return Comparison(table=table, left_out="run", output="loss", pointwise=pointwise, backtests=backtests)


def test_the_legend_lies_beside_the_errors_it_names() -> None:
    other = "a_law_with_quite_a_long_name"
    figure = plots.plot_compare(
        made_up({"a": 0.01, other: -0.01}, True, {"a": 100.0, other: 80.0}, {"a": 2.0, other: 1.0})
    )
    figure.draw_without_rendering()
    axes, legend = figure.axes[2].get_window_extent(), figure.legends[0].get_window_extent()
    assert legend.x0 >= axes.x1
    assert legend.x1 <= figure.bbox.x1


def test_the_verdict_tells_fits_that_fail_from_refits_that_do() -> None:
    found = made_up({"a": 0.01, "b": -0.01}, True, {"a": 100.0, "b": 80.0}, {"a": 1.0, "b": 2.0})
    assert "fail" not in found.verdict
    found.table.loc["a", "converged"] = False
    assert "Fitted to fewer runs, a did not pass every check" in found.verdict
    assert "mean little" not in found.verdict
    found.table.loc["a", "fit_converged"] = False
    assert "Fits of a fail their checks; their scores mean little." in found.verdict
    assert "Fitted to fewer runs" not in found.verdict


def test_what_is_at_least_so_probable_is_rounded_down(monkeypatch: pytest.MonkeyPatch) -> None:
    found = made_up({"a": 0.01, "b": -0.01}, True, {"a": 100.0, "b": 80.0}, {"a": 2.0, "b": 1.0})
    for odds, said in ((0.9475, "at least 0.94"), (0.95, "at least 0.95"), (0.997, "over 0.99")):
        table = pd.DataFrame({"a": [np.nan, 1 - odds], "b": [odds, np.nan]}, index=["a", "b"])
        monkeypatch.setattr(Comparison, "prob_better", lambda _, table=table: table)
        assert f"with a probability of {said}." in found.verdict


def test_the_verdict_says_when_the_scores_disagree() -> None:
    found = made_up({"a": 0.01, "b": -0.01}, True, {"a": 100.0, "b": 80.0}, {"a": 1.0, "b": 2.0})
    assert "The two disagree: a describes the runs that were made best, b forecasts larger ones best" in found.verdict
    assert "misses the same way" not in found.verdict
    agreed = made_up({"a": 0.01, "b": -0.01}, True, {"a": 100.0, "b": 80.0}, {"a": 2.0, "b": 1.0})
    assert "disagree" not in agreed.verdict
    undecided = made_up({"a": 0.01, "b": -0.01}, True, {"a": 100.0, "b": 80.0}, {"a": 2.0, "b": 2.0})
    assert "cannot be told from" in undecided.verdict


def test_the_verdict_says_when_every_form_misses_the_same_way() -> None:
    found = made_up({"a": 0.04, "b": 0.05}, False, {"a": 100.0, "b": 80.0}, {"a": 2.0, "b": 1.0})
    assert "Every form misses the same way: medians lie 4.0% to 5.0% too high" in found.verdict
    sided = made_up({"a": 0.04, "b": -0.05}, False, {"a": 100.0, "b": 80.0}, {"a": 2.0, "b": 1.0})
    assert "misses the same way" not in sided.verdict
    assert "Every form is too sure of itself: 90% bands hold only 0% to 0% of the hidden runs" in sided.verdict


def test_averages_keep_the_laws_apart(families: dict[str, bf.Fit]) -> None:
    scenario = {"flops": "1e23", "family": "family_0"}
    found = bf.average(families, scenario, weights={"pooled": 3.0, "one": 1.0}, seed=5)
    labels = found.draws["law"].values
    assert (labels == "pooled").mean() == pytest.approx(0.75, abs=0.001)
    for name, fit in families.items():
        alone = fit.forecast({"flops": "1e23", "family": "family_0"} if fit.pooling.by else {"flops": "1e23"})
        mine = found.draws.values[0, labels == name, 0]
        assert np.isin(mine, alone.draws.values.ravel()).all()
    assert found.interval(0.9).shape == (1, 2)
    assert found.components["total"].iloc[0] > 0
    only = bf.average(families, scenario, weights={"pooled": 1.0, "one": 0.0})
    assert set(only.draws["law"].values) == {"pooled"}
    for weights, message in (
        ({"pooled": 1.0}, "no weight for 'one'"),
        ({"pooled": 1.0, "one": 1.0, "ones": 1.0}, r"no such fit \(did you mean 'one'\?\)"),
        ({"pooled": -1.0, "one": 1.0}, "zero or more"),
        ({"pooled": 0.0, "one": 0.0}, "all weights are zero"),
    ):
        with pytest.raises(bf.SpecError, match=message):
            bf.average(families, scenario, weights=weights)


@pytest.mark.slow
def test_farseers_interaction_beats_plain_chinchilla_by_both_scores(data_dir: Path) -> None:
    """Li et al. 2025, arXiv:2506.10972: 407 runs on which the exponent of data changes with size."""
    table = pd.read_csv(data_dir / "farseer.csv")
    runs = bf.Runs.from_frame(table[table["duplicate"] == 0], inputs=["params", "tokens"], loss="loss_bpc")
    _, found = bf.compare_laws(runs, ["chinchilla", "kaplan_nd", "farseer"], draws=1000, seed=1)
    assert found.table["elpd"].idxmax() == found.table["log_score"].idxmax() == "farseer"
    assert found.table.loc["chinchilla", "elpd_diff"] < -10 * found.table.loc["chinchilla", "dse"]
    assert found.prob_better().loc["farseer", "chinchilla"] > 0.99


@pytest.mark.slow
def test_every_form_with_a_floor_misses_the_same_way_on_loss_to_loss(data_dir: Path) -> None:
    """Brandfonbrener et al. 2024, arXiv:2411.12925: six runs 20 times beyond, all forecast 4 to 5% too high."""
    table = pd.read_csv(data_dir / "loss_to_loss.csv", low_memory=False)
    runs = bf.Runs.from_frame(table[table["task"] == "own_val"], inputs=["params", "tokens"], groups=["family"])
    bracket = bf.Law.from_text(
        "loss = E + s*(w*(params/ref.params)**-rho + (1 - w)*ref.tokens/tokens)**beta",
        priors={
            "E": "LogitNormal(1.5, 1.5, 0, min.loss)",
            "s": "LogNormal(log(median.loss - 0.7*min.loss), 1)",
            "w": "LogitNormal(0, 1, 0, 1)",
            "rho": "LogNormal(log(0.75), 0.4)",
            "beta": "LogNormal(log(0.3), 0.6)",
        },
    )
    _, found = bf.compare_laws(
        runs,
        {"chinchilla": "chinchilla", "gadre_overtrain": "gadre_overtrain", "bracket": bracket},
        by=["family"],
        draws=500,
        seed=1,
        folds=bf.Folds(origins=1, horizon=1.33),
    )
    assert "Every form misses the same way" in found.verdict
    assert found.table["error"].between(0.03, 0.06).all()
    assert (found.table["inside_90"] == 0).all()
