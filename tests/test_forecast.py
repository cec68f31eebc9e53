"""Forecasts and their risk."""

from __future__ import annotations

import resource
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit.forecast import Forecast, forecast, forecast_tables
from bayesfit.risk import prob_better, worse_side
from tests.test_fit import ONCE, changed

LARGE = {"params": ["7B", "20B"], "tokens": ["140B", "400B"]}


def broken(fit: bf.Fit) -> bf.Fit:
    diverging = np.ones_like(fit.idata["sample_stats"]["diverging"].values)
    return changed(fit, "sample_stats", diverging=diverging)


def test_the_law_is_evaluated_draw_by_draw(plain_fit: bf.Fit) -> None:
    found = plain_fit.forecast({"params": [7e9], "tokens": [1.4e11]})
    p, refs = plain_fit.posterior, plain_fit.runs.summaries()
    by_hand = (
        p["E"]
        + p["a"] * (7e9 / refs["ref.params"]) ** -p["alpha"]
        + p["b"] * (1.4e11 / refs["ref.tokens"]) ** -p["beta"]
    )
    np.testing.assert_allclose(found.expected.values[..., 0], by_hand.values)


def test_bands_quantiles_and_probabilities_agree(plain_fit: bf.Fit) -> None:
    found = plain_fit.forecast(LARGE)
    band, quantiles = found.interval(0.9), found.quantiles([0.05, 0.5, 0.95])
    np.testing.assert_allclose(band["lower"], quantiles[0.05])
    np.testing.assert_allclose(band["upper"], quantiles[0.95])
    assert (found.interval(0.5)["upper"] - found.interval(0.5)["lower"] < band["upper"] - band["lower"]).all()
    middle = float(quantiles[0.5].iloc[0])
    assert found.prob_below(middle).iloc[0] == pytest.approx(0.5, abs=0.01)
    assert found.prob_below(middle).iloc[0] + found.prob_above(middle).iloc[0] == pytest.approx(1, abs=1e-3)
    with pytest.raises(bf.SpecError, match="between 0 and 1"):
        found.interval(90)


def test_noise_has_the_posterior_scale(plain_fit: bf.Fit) -> None:
    """Student-t noise with four degrees of freedom: its quartiles lie 0.741 scales out."""
    found = plain_fit.forecast(LARGE)
    residual = np.log(found.draws) - np.log(found.expected)
    standard = (residual / plain_fit.posterior["sigma"]).values.ravel()
    assert np.quantile(standard, [0.25, 0.75]) == pytest.approx([-0.7407, 0.7407], abs=0.05)


def test_components_add_in_quadrature(plain_fit: bf.Fit) -> None:
    found = plain_fit.forecast(LARGE)
    parts = found.components
    np.testing.assert_allclose(parts["total"] ** 2, parts["law"] ** 2 + parts["noise"] ** 2)
    total = np.log(found.draws.values).reshape(-1, 2).std(axis=0)
    np.testing.assert_allclose(parts["total"], total, rtol=0.05)


def test_distance_counts_decades_and_far_ones_warn(plain_fit: bf.Fit) -> None:
    runs = plain_fit.runs
    params, tokens = float(runs.values("params").max()), float(runs.values("tokens").max())
    inside = plain_fit.forecast({"params": params / 2, "tokens": tokens / 2})
    assert inside.distance.tolist() == [0.0]
    outside = plain_fit.forecast({"params": 10 * params, "tokens": tokens / 100})
    assert outside.distance[0] == pytest.approx(1.0)
    with pytest.warns(bf.ExtrapolationWarning, match="decades beyond the fitted runs"):
        plain_fit.forecast({"params": 500 * params, "tokens": 500 * tokens})
    far = pd.DataFrame({"params": [params, 500 * params], "tokens": tokens})
    with pytest.warns(bf.ExtrapolationWarning, match="decades beyond the fitted runs"):
        assert len(pd.concat(forecast_tables(plain_fit, far, block=1))) == 2


def test_a_family_never_seen_is_drawn_from_the_population(family_fit: bf.Fit) -> None:
    scenarios = {"flops": 1e22, "family": ["family_0", "new", "newer", "new"]}
    found = family_fit.forecast(scenarios)
    widths = found.interval(0.9)["upper"] - found.interval(0.9)["lower"]
    assert widths.iloc[1] > 1.5 * widths.iloc[0]
    assert found.new_levels == ("", "family", "family", "family")
    expected = found.expected.values.reshape(-1, 4)
    # one new family is one family wherever it stands; another is another
    np.testing.assert_array_equal(expected[:, 1], expected[:, 3])
    assert not np.allclose(expected[:, 1], expected[:, 2])
    # its exponent follows the population: log normal about the centre
    from bayesfit.evaluation import law_values
    from bayesfit.scenarios import read_scenarios

    values, _ = law_values(family_fit, read_scenarios(scenarios, family_fit))
    np.testing.assert_array_equal(values["loss"].transpose("chain", "draw", "scenario"), found.expected)


def test_new_level_of_an_unpooled_parameter_follows_its_prior() -> None:
    runs = bf.simulate("cerebras_c", n=8, group="family", levels=3, sigma=0.005, seed=2).runs
    fit = bf.fit(
        runs,
        "cerebras_c",
        by=["family"],
        pooling={"alpha": "none"},
        draws=300,
        tune=400,
        seed=1,
        progress=False,
        sampler=ONCE,
        structure=None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bf.ConvergenceWarning)
        found = fit.forecast({"flops": 1e22, "family": ["family_0", "new"]}, allow_unconverged=True)
    widths = found.interval(0.9)["upper"] - found.interval(0.9)["lower"]
    assert widths.iloc[1] > 2 * widths.iloc[0]


@pytest.mark.parametrize(
    ("scenarios", "message"),
    [
        ({"params": "7B"}, "the fit needs 'tokens'"),
        ({"parms": "7B", "tokens": "1T"}, "did you mean 'parms'"),
        ({"params": "seven", "tokens": "1T"}, "row 1, column 'params'"),
        ({"params": -1, "tokens": "1T"}, "must be positive"),
        ({"params": [1e9, 2e9], "tokens": [1e9, 2e9, 3e9]}, "different lengths"),
        ({"params": [], "tokens": []}, "no rows"),
        ("70B", "must be a table or a mapping"),
    ],
)
def test_bad_scenarios_are_refused(plain_fit: bf.Fit, scenarios: object, message: str) -> None:
    with pytest.raises((bf.DataError, bf.SpecError), match=message):
        plain_fit.forecast(scenarios)  # type: ignore[arg-type]  # wrong on purpose


def test_a_scenario_needs_a_family(family_fit: bf.Fit) -> None:
    with pytest.raises(bf.DataError, match="give one of family_0, family_1, family_2, or a new name"):
        family_fit.forecast({"flops": 1e22})


def test_a_failed_fit_refuses_and_marks(plain_fit: bf.Fit) -> None:
    bad = broken(plain_fit)
    with pytest.raises(bf.NotConvergedError, match="divergences: 2000 in 2000"):
        bad.forecast(LARGE)
    with pytest.warns(bf.ConvergenceWarning, match="fails its checks"):
        marked = bad.forecast(LARGE, allow_unconverged=True)
    assert not marked.converged
    assert (marked.table()["converged"] == False).all()  # noqa: E712 - the column holds this very value
    assert "converged" in bf.assess_risk(marked, limit=2.0)
    assert "converged" not in plain_fit.forecast(LARGE).table()


def test_streaming_equals_the_forecast_in_one_piece(plain_fit: bf.Fit) -> None:
    scenarios = pd.DataFrame({"params": np.geomspace(1e8, 1e10, 7), "tokens": np.geomspace(1e9, 1e11, 7)})
    whole = plain_fit.forecast(scenarios).table()
    parts = pd.concat(forecast_tables(plain_fit, scenarios, block=3))
    pd.testing.assert_frame_equal(whole, parts)
    pieces = (scenarios.iloc[:4], scenarios.iloc[4:])
    pd.testing.assert_frame_equal(whole, pd.concat(forecast_tables(plain_fit, iter(pieces), block=3)))
    limited = pd.concat(forecast_tables(plain_fit, scenarios, limit=2.0))
    np.testing.assert_allclose(limited["prob_above_2"], plain_fit.forecast(scenarios).prob_above(2.0))


def test_too_many_scenarios_at_once_say_how_to_stream(plain_fit: bf.Fit) -> None:
    scenarios = pd.DataFrame({"params": np.full(20_000, 1e9), "tokens": 1e10})
    with pytest.raises(bf.SpecError, match="forecast_tables"):
        plain_fit.forecast(scenarios)


@pytest.mark.slow
def test_a_million_scenarios_stay_under_two_gigabytes(plain_fit: bf.Fit, tmp_path: Path) -> None:
    saved = plain_fit.save(tmp_path / "fit.nc")
    script = (
        "import sys, resource, numpy as np, pandas as pd, bayesfit as bf\n"
        "from bayesfit.forecast import forecast_tables\n"
        "fit = bf.load(sys.argv[1])\n"
        "table = pd.DataFrame({'params': np.geomspace(1e8, 1e10, 1_000_000), 'tokens': 1e11})\n"
        "print(sum(len(part) for part in forecast_tables(fit, table)))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, saved], capture_output=True, text=True, check=True)
    rows, peak = map(int, done.stdout.split())
    assert rows == 1_000_000
    unit = 1 if sys.platform == "darwin" else 1024
    assert peak * unit < 2e9
    assert resource.getpagesize() > 0


def test_risk_agrees_with_the_draws(plain_fit: bf.Fit) -> None:
    found = plain_fit.forecast(LARGE)
    limit = float(found.quantiles([0.8])[0.8].iloc[0])
    table = bf.assess_risk(found, limit=limit, q=(0.1, 0.9))
    draws = found.draws.values.reshape(-1, 2)[:, 0]
    assert table["prob_miss"].iloc[0] == pytest.approx(0.2, abs=0.01)
    assert table["shortfall"].iloc[0] == pytest.approx((draws[draws > limit] - limit).mean())
    assert table["mean_beyond"].iloc[0] == pytest.approx(draws[draws > limit].mean())
    assert table["q90"].iloc[0] == pytest.approx(np.quantile(draws, 0.9))
    below = bf.assess_risk(found, limit=limit, worse="below")
    assert below["prob_miss"].iloc[0] == pytest.approx(0.8, abs=0.01)
    assert below["mean_beyond"].iloc[0] == pytest.approx(draws[draws < limit].mean())
    never = bf.assess_risk(found, limit=100.0)
    assert (never["prob_miss"] == 0).all()
    assert never["shortfall"].isna().all()
    for arguments, message in (({"limit": np.nan}, "finite"), ({"limit": 2.0, "worse": "up"}, "'above' or 'below'")):
        with pytest.raises(bf.SpecError, match=message):
            bf.assess_risk(found, **arguments)


def scored(fit: bf.Fit, output: str, unit: str, noise: bf.Noise) -> Forecast:
    """Return a forecast of another output, whose draws lie between 0 and 1."""
    found = fit.forecast({"params": ["7B", "20B"], "tokens": ["140B", "400B"]})
    return replace(found, output=output, unit=unit, noise=noise, draws=found.draws / 4)


@pytest.mark.parametrize(
    ("output", "unit", "noise", "side"),
    [
        ("accuracy", "share", bf.Noise(on="logit"), "below"),
        ("accuracy", "share", bf.Noise(kind="binomial", on="identity", trials="n_items"), "below"),
        ("pass_rate", "share", bf.Noise(on="logit"), "below"),
        # a formula's accuracy, whose card says nothing of a share
        ("task_accuracy", "nats", bf.Noise(on="identity"), "below"),
        ("error", "share", bf.Noise(on="log"), "above"),
        ("wer", "share", bf.Noise(on="log"), "above"),
        ("loss", "nats/token", bf.Noise(on="log"), "above"),
        ("tries", "samples", bf.Noise(kind="negative_binomial", on="identity", trials="passes"), "above"),
    ],
)
def test_a_miss_lies_below_for_accuracies_and_above_for_losses(
    plain_fit: bf.Fit, output: str, unit: str, noise: bf.Noise, side: Any
) -> None:
    found = scored(plain_fit, output, unit, noise)
    limit = float(found.quantiles([0.8])[0.8].iloc[0])
    pd.testing.assert_frame_equal(
        bf.assess_risk(found, limit=limit), bf.assess_risk(found, limit=limit, worse=worse_side(found))
    )
    assert worse_side(found) == side
    assert bf.assess_risk(found, limit=limit)["prob_miss"].iloc[0] == pytest.approx(
        0.8 if side == "below" else 0.2, abs=0.01
    )
    better: Any = {"below": "above", "above": "below"}[side]
    pd.testing.assert_frame_equal(prob_better(found), prob_better(found, better=better))


def test_a_limit_that_no_outcome_reaches_is_refused(plain_fit: bf.Fit) -> None:
    accuracy = scored(plain_fit, "accuracy", "share", bf.Noise(on="logit"))
    with pytest.raises(bf.SpecError, match=r"no accuracy reaches a limit of 60: it lies from 0 to 1; .* write 0.6"):
        bf.assess_risk(accuracy, limit=60)
    with pytest.raises(bf.SpecError, match=r"no accuracy reaches a limit of -0\.1"):
        bf.assess_risk(accuracy, limit=-0.1, worse="above")
    with pytest.raises(bf.SpecError, match="no loss reaches a limit of -1: it is always positive"):
        bf.assess_risk(plain_fit.forecast(LARGE), limit=-1)
    # more wrong words than there are
    assert (bf.assess_risk(scored(plain_fit, "wer", "share", bf.Noise(on="log")), limit=1.2)["prob_miss"] == 0).all()


def test_one_run_beats_another(plain_fit: bf.Fit) -> None:
    found = plain_fit.forecast({"params": ["7B", "20B", "7B"], "tokens": ["140B", "400B", "140B"]})
    wins = prob_better(found)
    assert wins.iloc[1, 0] > 0.99
    assert wins.iloc[0, 1] + wins.iloc[1, 0] == pytest.approx(1)
    # the same run twice: noise alone decides
    assert wins.iloc[0, 2] == pytest.approx(0.5, abs=0.05)
    assert prob_better(found, better="above").iloc[0, 1] == pytest.approx(wins.iloc[1, 0])
    assert np.isnan(wins.iloc[0, 0])


def test_outside_the_domain_is_an_error(plain_fit: bf.Fit) -> None:
    law = bf.Law.from_text("loss = a*sqrt(2 - params/ref.params)", priors={"a": "LogNormal(log(median.loss), 0.1)"})
    runs = bf.Runs.from_frame(pd.DataFrame({"params": np.geomspace(9e8, 1.1e9, 20), "loss": 2.0}), allow=["units"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bf.DataWarning)
        fit = bf.fit(runs, law, draws=300, tune=300, seed=1, progress=False, sampler=ONCE, structure=None)
    with pytest.raises(bf.SpecError, match="outside its domain"):
        forecast(replace(fit), {"params": 1e12}, allow_unconverged=True)


def test_an_equation_that_nobody_observes_can_be_forecast() -> None:
    """The critical batch of the card of steps by batch: a band without noise."""
    from bayesfit import datasets

    fit = bf.fit(datasets.critical_batch(), "cbs_steps", draws=300, tune=400, seed=1, progress=False, structure=None)
    found = fit.forecast({"params": ["1.2B", "7B"], "batch": 256}, output="critical_batch")
    p, refs = fit.posterior, fit.runs.summaries()
    grown = (1.2e9 / refs["ref.params"]) ** (p["q"] - p["p"])
    by_hand = 1.2 * 256 + 0.2 * refs["ref.batch"] * p["b"] / p["a"] * grown
    np.testing.assert_allclose(found.draws.values[..., 0], by_hand.values)
    assert (found.components["noise"] == 0).all()
    # Zhang et al. 2024 find 2533
    band = found.interval(0.9)
    assert band["lower"].iloc[0] < 2533 < band["upper"].iloc[0]
    with pytest.raises(bf.SpecError, match=r"no output 'critical'.*; it has steps, critical_batch"):
        fit.forecast({"params": 1e9, "batch": 256}, output="critical")


def test_counts_are_forecast_with_the_scatter_of_their_items() -> None:
    """An accuracy over few items scatters more, whatever the law knows."""
    law = bf.Law.from_text(
        "accuracy = expit(k*log(params/ref.params) + m)",
        priors={"k": "Normal(0, 1)", "m": "Normal(0, 1)"},
        inputs=["params"],
        noise=bf.Noise(kind="binomial"),
    )
    rng = np.random.default_rng(0)
    params, items = np.geomspace(1e8, 1e10, 20), np.full(20, 400)
    right = rng.binomial(items, 1 / (1 + np.exp(-0.5 * np.log(params / 1e9))))
    table = pd.DataFrame({"params": params, "accuracy": right / items, "items": items})
    runs = bf.Runs.from_frame(table, law=law, n_items="items")
    fit = bf.fit(runs, law, draws=300, tune=400, seed=1, progress=False, structure=None)
    assert "sigma" not in fit.posterior
    found = fit.forecast(pd.DataFrame({"params": [1e9, 1e9], "n_items": [20, 2000]}))
    few, many = found.components["noise"]
    assert few == pytest.approx(np.sqrt(0.25 / 20), rel=0.1)
    assert many == pytest.approx(np.sqrt(0.25 / 2000), rel=0.1)
    assert np.isin(np.round(found.draws.values[..., 0] * 20, 9), np.arange(21)).all()
    with pytest.raises(bf.DataError, match="noise of accuracy counts items and needs their number, 'n_items'"):
        bf.fit(bf.Runs.from_frame(table, law=law), law, structure=None)
