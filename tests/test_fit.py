"""Fitting: settings, seeds, tables, and the checks that gate a fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesfit as bf
from bayesfit import datasets, sampling
from bayesfit.diagnostics import diagnose
from bayesfit.pooling import Pooling, plan_parameters

#: A single attempt, whatever its checks say: these tests are about something else.
ONCE = {"nuts": {"target_accept": 0.9}}


def changed(fit: bf.Fit, group: str, **arrays: np.ndarray) -> bf.Fit:
    """Return the fit with some of its draws or statistics replaced."""
    tree = {name: fit.idata[name].to_dataset() for name in ("posterior", "latent", "sample_stats")}
    data = tree[group]
    tree[group] = data.assign({name: (data[name].dims, values) for name, values in arrays.items()})
    tree["sample_stats"].attrs = {}
    return replace(fit, idata=xr.DataTree.from_dict(tree))


def failed(fit: bf.Fit) -> set[str]:
    return {result.name for result in diagnose(fit.idata, fit.law, fit.plans).failures}


def test_truth_is_recovered(plain_fit: bf.Fit) -> None:
    truth = bf.simulate("chinchilla", seed=1).truth
    table = plain_fit.summary()
    for name, value in truth.items():
        assert abs(table.loc[name, "mean"] - value) < 4 * table.loc[name, "sd"]
        assert table.loc[name, "sd"] < 0.2 * value
    assert plain_fit.check().passed


def test_same_seed_same_draws_and_other_seed_others(plain_fit: bf.Fit) -> None:
    arguments = {"draws": 500, "tune": 500, "progress": False}
    again = bf.fit(plain_fit.runs, "chinchilla", seed=1, **arguments, structure=None)
    other = bf.fit(plain_fit.runs, "chinchilla", seed=2, **arguments, structure=None)
    for name in plain_fit.posterior:
        np.testing.assert_array_equal(again.posterior[name], plain_fit.posterior[name])
    assert not np.array_equal(other.posterior["E"], plain_fit.posterior["E"])


def test_summary_lists_every_number_once(family_fit: bf.Fit) -> None:
    table = family_fit.summary()
    assert table.index.is_unique
    expected = {f"{name}[family_{i}]" for name in ("E", "a", "alpha", "sigma", "C_c") for i in range(3)}
    expected |= {f"{name}_population" for name in ("E", "a", "alpha", "sigma")}
    expected |= {f"{name}_sd_family" for name in ("E", "a", "alpha", "sigma")}
    assert set(table.index) == expected
    assert list(table.columns) == ["median", "mean", "sd", "q5", "q95"]
    assert (table["q5"] < table["median"]).all()
    assert (table["median"] < table["q95"]).all()
    # equal to quantiles taken by hand
    draws = family_fit.posterior["alpha"].sel(family="family_1").values.ravel()
    assert table.loc["alpha[family_1]", "q95"] == pytest.approx(np.quantile(draws, 0.95))
    with pytest.raises(bf.SpecError, match="between 0 and 1"):
        family_fit.summary(90)


def test_derived_quantities_follow_their_formula(plain_fit: bf.Fit) -> None:
    posterior, refs = plain_fit.posterior, plain_fit.runs.summaries()
    by_hand = posterior["a"] * refs["ref.params"] ** posterior["alpha"]
    np.testing.assert_allclose(plain_fit.derived()["A"], by_hand)


def test_provenance_traces_the_fit(plain_fit: bf.Fit) -> None:
    assert plain_fit.provenance["seed"] == 1
    assert plain_fit.provenance["data_sha256"] == plain_fit.runs.sha256
    assert set(plain_fit.provenance["versions"]) >= {"python", "bayesfit", "pymc", "arviz", "numpy"}
    assert plain_fit.provenance["created"].startswith("20")


def test_a_drawn_seed_is_recorded() -> None:
    from bayesfit.sampling import Sampling

    first, second = Sampling().seeded().seed, Sampling().seeded().seed
    assert first is not None
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"law": "chinchila"}, "did you mean 'chinchilla'"),
        ({"by": "family"}, r"write by=\['family'\]"),
        ({"by": ["famly"]}, "'famly' is not a group"),
        ({"draws": 0}, "draws must be a whole number"),
        ({"chains": 2.5}, "chains must be a whole number"),
        ({"seed": -1}, "seed must be"),
        ({"sampler": {"attempts": 0}}, "attempts must be a whole number of at least 1, found 0"),
        ({"sampler": {"attempts": 1, "target_accept": 0.9}}, r"sampler=\{'nuts': \{'target_accept': 0.9\}\}"),
        ({"sampler": {"atempts": 1}}, r"pm.sample does not take 'atempts' \(did you mean 'attempts'\?\)"),
        ({"sampler": {"random_seed": 3}}, r"'random_seed' is no setting of sampler: write bf.fit\(..., seed=...\)"),
        ({"sampler": {"nuts": {"draws": 5}}}, r"write bf.fit\(..., draws=...\)"),
        ({"sampler": {"nuts": {"target_accept": 95}}}, "target_accept must be a number between 0 and 1, found 95"),
        ({"sampler": {"nuts": 0.9}}, "nuts must be a dict"),
        ({"sampler": "nutpie"}, "sampler must be a dict"),
        ({"fixed": {"F": 0}}, "no parameter 'F'"),
        ({"priors": {"E": "Gamma(1, 2)"}}, "unknown prior 'Gamma'"),
        ({"priors": {"E": "Normal(std.loss, 1)"}}, "attributes are refused"),
        ({"priors": {"E": "Normal(loss, 1)"}}, "data summaries"),
        ({"noise": "cauchy"}, "known: student_t, laplace, normal"),
        ({"pooling": {"alpha": "none"}, "by": ["family", "size"]}, "one group at most"),
        ({"allow": ["colinear"]}, "did you mean 'collinear'"),
    ],
)
def test_what_cannot_be_used_is_refused_before_sampling(arguments: dict, message: str) -> None:
    table = bf.simulate("chinchilla", n=10, group="family", levels=2, seed=1).runs.to_frame()
    table["size"] = ["big" if value > 1e9 else "small" for value in table["params"]]
    runs = bf.Runs.from_frame(table, groups=["family", "size"])
    with pytest.raises((bf.SpecError, bf.DataError), match=message):
        bf.fit(runs, **{"law": "chinchilla", "progress": False, **arguments}, structure=None)


def test_a_setting_that_the_sampler_does_not_know_is_refused(plain_fit: bf.Fit) -> None:
    with pytest.raises(bf.SpecError, match=r"refuses nuts=\{.*'acceptance': 0.9.*\}: Unknown settings attribute"):
        bf.fit(
            plain_fit.runs,
            plain_fit.law,
            draws=50,
            progress=False,
            sampler={"nuts": {"acceptance": 0.9}},
            structure=None,
        )


def test_a_ridge_of_six_runs_is_sampled_again_with_shorter_steps() -> None:
    runs = datasets.open_models()
    six = runs.select((np.array(runs.table["family"]) == "Cerebras-GPT") & (runs.values("params") < 1e10))
    settings = {"draws": 300, "tune": 300, "seed": 1, "progress": False}
    once = bf.fit(six, "cerebras_c", **settings, sampler={"attempts": 1}, structure=None)
    assert once.idata["sample_stats"].attrs["attempts"] == 1
    assert not once.check().passed
    found = bf.fit(six, "cerebras_c", **settings, structure=None)
    stats = found.idata["sample_stats"]
    assert found.check().passed
    assert stats.attrs["attempts"] > 1
    assert stats.attrs["target_accept"] >= 0.99
    assert found.posterior.sizes["draw"] == 300


def test_a_fixed_parameter_is_not_sampled() -> None:
    runs = bf.simulate("power_floor", parameters={"E": 0.0}, seed=3).runs
    found = bf.fit(
        runs, "power_floor", fixed={"E": 0}, draws=300, tune=300, seed=1, progress=False, sampler=ONCE, structure=None
    )
    assert set(found.posterior) == {"a", "alpha", "sigma"}
    assert "E" not in found.summary().index


def test_mode_is_near_the_median_and_needs_no_groups(plain_fit: bf.Fit, family_fit: bf.Fit) -> None:
    mode, table = plain_fit.mode(), plain_fit.summary(0.9)
    for name in ("E", "a", "b", "alpha", "beta", "A"):
        assert table.loc[name, "q5"] < mode[name] < table.loc[name, "q95"]
    with pytest.raises(bf.SpecError, match="without groups"):
        family_fit.mode()


def test_chains_that_disagree_fail(plain_fit: bf.Fit) -> None:
    draws = plain_fit.posterior["alpha"].values.copy()
    draws[0] += 3 * draws.std()
    assert "R-hat" in failed(changed(plain_fit, "posterior", alpha=draws))


def test_slow_mixing_fails(plain_fit: bf.Fit) -> None:
    draws = np.sort(plain_fit.posterior["alpha"].values, axis=1)
    found = failed(changed(plain_fit, "posterior", alpha=draws))
    assert {"bulk effective sample size", "tail effective sample size"} <= found


def test_divergences_fail(plain_fit: bf.Fit) -> None:
    diverging = np.zeros_like(plain_fit.idata["sample_stats"]["diverging"].values)
    diverging[0, :3] = True
    bad = changed(plain_fit, "sample_stats", diverging=diverging)
    assert failed(bad) == {"divergences"}
    assert "3 in 2000 draws" in str(diagnose(bad.idata, bad.law, bad.plans))


def test_stuck_energy_fails(plain_fit: bf.Fit) -> None:
    energy = np.sort(plain_fit.idata["sample_stats"]["energy"].values, axis=1)
    assert failed(changed(plain_fit, "sample_stats", energy=energy)) == {"E-BFMI"}


def test_deep_trees_fail(plain_fit: bf.Fit) -> None:
    deep = np.ones_like(plain_fit.idata["sample_stats"]["maxdepth_reached"].values)
    assert failed(changed(plain_fit, "sample_stats", maxdepth_reached=deep)) == {"tree depth"}


def test_a_prior_against_the_data_fails_and_says_which() -> None:
    runs = bf.simulate("power_floor", seed=3).runs
    found = bf.fit(
        runs,
        "power_floor",
        priors={"alpha": "LogNormal(log(3), 0.3)"},
        draws=300,
        tune=300,
        seed=1,
        sampler=ONCE,
        progress=False,
        structure=None,
    )
    conflict = [result for result in found.check().failures if result.name == "prior-posterior conflict"]
    assert len(conflict) == 1
    assert "alpha" in conflict[0].found
    assert "priors=" in conflict[0].advice


def test_a_conflict_says_what_can_be_done(family_fit: bf.Fit) -> None:
    """What is told can be done as it stands: a spread has no prior of its own to give."""

    def told(group: str, name: str, value: np.ndarray) -> str:
        bad = changed(family_fit, group, **{name: value})
        conflict = diagnose(bad.idata, bad.law, bad.plans).results[-1]
        assert not conflict.passed
        assert conflict.name == "prior-posterior conflict"
        assert name.removesuffix("_location") in conflict.found
        return conflict.advice

    posterior, latent = family_fit.idata["posterior"], family_fit.idata["latent"]
    for name, key in (("a", "a"), ("sigma", "noise")):
        advice = told("posterior", f"{name}_sd_family", 100 * posterior[f"{name}_sd_family"].values)
        pooling = {key: {"family": "none"}}
        assert f"pooling={pooling}" in advice
        assert "priors=" not in advice
        plans = plan_parameters(family_fit.law, family_fit.runs, Pooling(by=("family",), how=pooling))
        assert {plan.name: plan.separate for plan in plans}[name] == "family"
    advice = told("latent", "sigma_location", latent["sigma_location"].values + 20)
    assert "noise={'loss': bayesfit.Noise(kind='student_t', on='log', scale=bayesfit.Prior.parse(...))}" in advice
    wider = bf.Noise(kind="student_t", on="log", scale=bf.Prior.parse("HalfNormal(0.5)"))
    assert family_fit.law.with_noise({"loss": wider}).outputs["loss"].noise.scale.text == "HalfNormal(0.5)"


def test_a_level_on_its_own_equals_a_separate_fit() -> None:
    """Without pooling, a family's posterior does not depend on the other families."""
    simulation = bf.simulate("cerebras_c", n=12, group="family", levels=2, sigma=0.005, seed=4)
    runs = simulation.runs
    arguments = {"draws": 1500, "tune": 500, "seed": 1, "progress": False, "noise": "normal", "sampler": ONCE}
    nothing = dict.fromkeys(["E", "a", "alpha", "noise"], "none")
    together = bf.fit(runs, "cerebras_c", by=["family"], pooling=nothing, **arguments, structure=None)
    one = runs.select(np.array(runs.table["family"]) == "family_0")
    # centre the input alike, so that the parameters mean the same
    ratio = runs.summaries()["ref.flops"] / one.summaries()["ref.flops"]
    alone = bf.fit(one, "cerebras_c", **arguments, structure=None)
    alpha = together.posterior["alpha"].sel(family="family_0")
    assert float(alpha.median()) == pytest.approx(float(alone.posterior["alpha"].median()), rel=0.04)
    amplitude = together.posterior["a"].sel(family="family_0") * ratio**alpha
    assert float(amplitude.median()) == pytest.approx(float(alone.posterior["a"].median()), rel=0.04)
    assert "alpha_population" not in together.posterior


def test_crossed_groups_add_on_the_link_scale() -> None:
    table = bf.simulate("power_floor", n=8, group="family", levels=3, seed=5).runs.to_frame()
    table["task"] = np.resize(["x", "x", "x", "y", "y", "y"], len(table))
    runs = bf.Runs.from_frame(table, inputs=["x"], groups=["family", "task"])
    found = bf.fit(
        runs,
        "power_floor",
        by=["family", "task"],
        draws=100,
        tune=200,
        chains=2,
        seed=1,
        sampler=ONCE,
        progress=False,
        structure=None,
    )
    assert found.posterior["alpha"].dims == ("chain", "draw", "family", "task")
    latent = found.idata["latent"].to_dataset()
    by_hand = np.exp(latent["alpha_location"] + latent["alpha_offset_family"] + latent["alpha_offset_task"])
    xr.testing.assert_allclose(found.posterior["alpha"], by_hand.transpose("chain", "draw", "family", "task"))


@pytest.mark.slow
@pytest.mark.parametrize(("levels", "runs"), [(3, 10), (40, 30)])
def test_neither_three_groups_nor_forty_diverge(levels: int, runs: int) -> None:
    simulated = bf.simulate("chinchilla", n=runs, group="family", levels=levels, sigma=0.01, seed=levels).runs
    found = bf.fit(simulated, "chinchilla", by=["family"], seed=1, progress=False, structure=None)
    assert found.check().passed
    assert found.idata["sample_stats"].attrs["divergences"] == 0


def test_a_compiled_model_serves_other_runs_of_the_same_shape() -> None:
    """The draws are those of a model compiled for the runs themselves."""
    first = bf.simulate("mup_width", seed=1, n=15, group="family", levels=3)
    second = bf.simulate("mup_width", seed=2, n=20, group="family", levels=3)
    settings = {"by": ["family"], "draws": 200, "tune": 300, "seed": 3, "progress": False, "sampler": ONCE}
    sampling._COMPILED.clear()
    alone = bf.fit(second.runs, "mup_width", **settings, structure=None)
    sampling._COMPILED.clear()
    bf.fit(first.runs, "mup_width", **settings, structure=None)
    reused = bf.fit(second.runs, "mup_width", **settings, structure=None)
    assert len(sampling._COMPILED) == 1
    np.testing.assert_allclose(alone.posterior["alpha"].values, reused.posterior["alpha"].values, rtol=1e-6)


def test_a_frontier_lies_below_nearly_all_runs() -> None:
    """Runs above a law by exponential excess: frontier noise finds the law, symmetric noise lies above it."""
    rng = np.random.default_rng(0)
    flops = np.exp(rng.uniform(np.log(1e18), np.log(1e22), 80))
    best = 2.0 + 0.8 * (flops / 1e20) ** -0.15
    loss = best * np.exp(0.002 * rng.standard_normal(80) + rng.exponential(0.05, 80))
    runs = bf.Runs.from_frame(pd.DataFrame({"flops": flops, "loss": loss}))
    settings = {"seed": 1, "draws": 500, "tune": 500, "progress": False}
    fits = {
        kind: bf.fit(runs, "cerebras_c", noise=kind, **settings, structure=None) for kind in ("frontier", "student_t")
    }
    medians = {kind: fit.forecast({"flops": 1e20}).expected.median().item() for kind, fit in fits.items()}
    assert medians["frontier"] == pytest.approx(2.8, rel=0.01)
    assert medians["student_t"] > 2.8 * 1.02


def test_a_quantity_derived_from_held_parameters_has_no_width(plain_fit: bf.Fit) -> None:
    settings = {"draws": 200, "tune": 300, "seed": 1, "progress": False, "sampler": ONCE}
    held = bf.fit(plain_fit.runs, "chinchilla", fixed={"a": 0.36, "alpha": 0.35}, **settings, structure=None)
    row = held.summary().loc["A"]
    assert row["sd"] == pytest.approx(0, abs=1e-6)
    assert row["median"] == pytest.approx(0.36 * held.runs.summaries()["ref.params"] ** 0.35)
