"""The PyMC model says the same as the law, and the sampler's coordinates change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
from scipy import stats

from bayesfit.build import build
from bayesfit.card import Law
from bayesfit.card_rules import _IN_MODEL
from bayesfit.catalog import law, laws
from bayesfit.errors import SpecError
from bayesfit.geometry import along_ridges, standard_normals
from bayesfit.noise import Noise
from bayesfit.pooling import Pooling, plan_parameters, spread_name, trials_of
from bayesfit.population import Population
from bayesfit.priors import NUMPY_LINKS
from bayesfit.runs import Runs
from bayesfit.simulation import simulate

#: Compiles in a second; the rewrite left out takes minutes where a formula nests Newton steps.
QUICK = pytensor.compile.mode.get_mode("FAST_COMPILE").excluding("local_greedy_distributor")
CARDS = [entry.id for entry in laws()]


def check_coordinates(built, w, z, scale) -> float:
    """Check that `w` is `z` seen from the quadratic approximation; return the map's log determinant.

    Whatever the order in which the precision was factored, ``|w|`` is the distance of `z` from the
    approximation's centre in units of its width. What a ridge that bends adds to `z` rests on floors, which stay.
    """
    geometry = built.geometry
    precision = scale[:, None] * geometry.information * scale[None, :] + np.eye(len(w))
    straight = z - along_ridges(geometry, built.blocks, z[None], scale[None])[0]
    off = straight - np.linalg.solve(precision, scale * geometry.pull)
    assert off @ precision @ off == pytest.approx(w @ w, rel=1e-6, abs=1e-8)
    return -0.5 * np.linalg.slogdet(precision)[1]


def normals_of(built):
    """Compile the model's standard normals as a function of a point."""
    model = built.model
    (z,) = model.replace_rvs_by_values([model["z"]])
    return model.compile_fn(z, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore")


def everything_of(built):
    """Compile log density, gradient and standard normals as one function of a point."""
    model = built.model
    (z,) = model.replace_rvs_by_values([model["z"]])
    outputs = [model.logp(jacobian=True), model.dlogp(jacobian=True), z]
    return model.compile_fn(outputs, inputs=model.value_vars, mode=QUICK)


def plain_normals(built, w, spreads):
    """Return the standard normals of a point by the function that reads draws."""
    scale = np.ones(len(w))
    for block in built.blocks:
        if block.offset:
            scale[block.where] = spreads[spread_name(block.plan.name, block.group)]
    return standard_normals(built.geometry, built.blocks, w[None], scale[None])[0]


def expected_logp(entry: Law, built, runs, z, spreads) -> float:
    """Log density of standard normals, spreads (on their log scale) and data, by scipy and the law alone.

    `z` are the entries' places in their own priors, which a population makes correlated.
    """
    prior = entry.population
    total = stats.norm.logpdf(z).sum()
    if prior is not None:
        starts = {block.plan.name: block.where.start for block in built.blocks if not block.offset}
        own = [starts[name] for name in prior.parameters]
        total += stats.multivariate_normal.logpdf(z[own], prior.centre, prior.covariance)
        # the density is that of the sampler's normals, of which the places are a linear map
        total += np.linalg.slogdet(np.array(prior.covariance))[1] / 2 - stats.norm.logpdf(z[own]).sum()
    start, values = 0, {}
    for plan in built.plans:
        size = 1 if plan.separate is None else len(runs.levels(plan.separate))
        location = plan.prior.map(np.asarray).latent(z[start : start + size], NUMPY_LINKS)
        start += size
        u = location[runs.codes(plan.separate)] if plan.separate else np.repeat(location, len(runs))
        for group in plan.shared:
            levels = len(runs.levels(group))
            spread = spreads[spread_name(plan.name, group)]
            total += stats.halfnorm.logpdf(spread, scale=plan.spread) + np.log(spread)
            u = u + spread * z[start : start + levels][runs.codes(group)]
            start += levels
        prior = plan.prior.map(np.asarray)
        if plan.separate:
            code = runs.codes(plan.separate)
            prior = prior.map(lambda argument, code=code: argument[code])
        values[plan.name] = prior.value(u, NUMPY_LINKS)
    known = {name: runs.values(name) for name in entry.inputs} | runs.summaries() | values
    # what a run showed of an output; what the law says of it where the run showed nothing
    law_alone = entry.mean(known)
    for output in entry.linked:
        shown = runs.values(output)
        known[f"seen.{output}"] = np.where(np.isnan(shown), law_alone[output], shown)
    means = entry.mean(known)
    scales = {output: values[sigma] for output, sigma in entry.sigmas.items()}
    for output, part in entry.outputs.items():
        noise, observed, sigma = part.noise, runs.values(output), scales.get(output)
        if runs.loss_se is not None and output == "loss":
            sigma = np.hypot(sigma, runs.loss_se / observed)
        trials = trials_of(entry, output, runs)
        if trials is not None:
            # no number of items makes a count of a missing accuracy
            observed = np.where(np.isnan(observed), 0.0, observed)
        density = noise.logpdf(noise.observed(observed), noise.observed(means[output]), sigma, trials)
        total += density[~np.isnan(runs.values(output))].sum()
    return total


def point_of(built, w, spreads):
    return {"w": w} | {f"{name}_log__": np.log(value) for name, value in spreads.items()}


@pytest.mark.parametrize("name", CARDS)
def test_log_density_is_that_of_the_law_and_has_a_gradient(name: str) -> None:
    entry = law(name).closed()
    runs = simulate(entry, seed=3).runs
    built = build(entry, plan_parameters(entry, runs, Pooling()), runs)
    everything = everything_of(built)
    rng = np.random.default_rng(0)
    size = len(built.geometry.pull)
    lower = np.linalg.cholesky(built.geometry.information + np.eye(size))
    for _ in range(100):
        prior_draw = rng.standard_normal(size)
        # where the ridge bends, floors stay and all else is moved by what rests on them
        bent = along_ridges(built.geometry, built.blocks, prior_draw[None], np.ones((1, size)))[0]
        w = lower.T @ (prior_draw - bent) - np.linalg.solve(lower, built.geometry.pull)
        value, slope, z = everything({"w": w})
        np.testing.assert_allclose(z, prior_draw, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(plain_normals(built, w, {}), prior_draw, rtol=1e-6, atol=1e-7)
        log_determinant = check_coordinates(built, w, z, np.ones(size))
        expected = expected_logp(entry, built, runs, z, {}) + log_determinant
        assert value == pytest.approx(expected, rel=1e-7, abs=1e-5)
        assert np.isfinite(slope).all()


@pytest.mark.parametrize("kind", ["student_t", "laplace", "normal", "frontier"])
@pytest.mark.parametrize(
    ("levels", "how"),
    [
        (3, {}),
        (3, {"a": "none", "E": "complete", "noise": "complete"}),
        (14, {}),
        # leaves without a single spread, and a root that comes first in the vector
        (14, {"E": "complete", **dict.fromkeys(("a", "b", "alpha", "beta", "noise"), "none")}),
    ],
)
def test_log_density_with_groups(kind: str, levels: int, how: dict[str, str]) -> None:
    """14 levels of six parameters are factored leaf by leaf, 3 levels as one matrix."""
    entry = law("chinchilla").with_noise(kind)
    runs = simulate(entry, n=12, group="family", levels=levels, seed=1).runs
    plans = plan_parameters(entry, runs, Pooling(by=("family",), how=how))
    built = build(entry, plans, runs)
    everything = everything_of(built)
    rng = np.random.default_rng(levels)
    for _ in range(3):
        spreads = {
            spread_name(plan.name, group): float(np.exp(rng.normal(-2, 0.5))) for plan in plans for group in plan.shared
        }
        w = rng.standard_normal(len(built.geometry.pull))
        scale = []
        for plan in plans:
            scale += [1.0] * (1 if plan.separate is None else levels)
            for group in plan.shared:
                scale += [spreads[spread_name(plan.name, group)]] * levels
        point = point_of(built, w, spreads)
        value, slope, z = everything(point)
        np.testing.assert_allclose(plain_normals(built, w, spreads), z, rtol=1e-6, atol=1e-8)
        log_determinant = check_coordinates(built, w, z, np.array(scale))
        expected = expected_logp(entry, built, runs, z, spreads) + log_determinant
        assert value == pytest.approx(expected, rel=1e-7, abs=1e-5)
        assert np.isfinite(slope).all()


def test_determinant_with_two_floors() -> None:
    entry = law("loss_to_loss").closed()
    runs = simulate(entry, seed=3).runs
    built = build(entry, plan_parameters(entry, runs, Pooling()), runs)
    assert len(built.geometry.ridges) == 2
    # no input can take the place of a part of the map
    own = {*built.pieces} - {*built.data} - {*built.numbers}
    assert {name for name in own if "." not in name} <= _IN_MODEL
    size = len(built.geometry.pull)
    # far enough out that both ridges bend
    w = 2 * np.random.default_rng(1).standard_normal(size)
    bent = along_ridges(built.geometry, built.blocks, plain_normals(built, w, {})[None], np.ones((1, size)))
    assert np.abs(bent).max() > 0.1
    shifted = w + 1e-5 * np.concatenate([np.eye(size), -np.eye(size)])
    z = standard_normals(built.geometry, built.blocks, shifted, np.ones(shifted.shape))
    sign, found = np.linalg.slogdet((z[:size] - z[size:]) / 2e-5)
    assert sign > 0
    assert found == pytest.approx(-0.5 * np.linalg.slogdet(built.geometry.information + np.eye(size))[1], abs=1e-4)


@pytest.mark.parametrize("levels", [3, 14])
@pytest.mark.parametrize(
    ("by", "how"),
    [
        (("family",), {}),
        (("family",), {"E": "complete"}),
        (("family",), {"a": "complete", "beta": "none"}),
        (("family", "site"), {"b": {"family": "complete", "site": "none"}}),
    ],
)
def test_determinant_is_that_of_the_map(levels: int, by: tuple[str, ...], how: dict[str, Any]) -> None:
    """Floors that runs leave open, by level or of all, have ridges that bend, a factor of one in the determinant."""
    entry = law("chinchilla")
    runs = few_runs_of(entry, levels)
    plans = plan_parameters(entry, runs, Pooling(by=by, how=how))
    built = build(entry, plans, runs)
    assert [ridge.floor for ridge in built.geometry.ridges] == ["E"]
    rng = np.random.default_rng(levels)
    # floors at which the ridge is far from straight
    w = 2 * rng.standard_normal(len(built.geometry.pull))
    spreads = {name: value * float(np.exp(rng.normal(0, 0.5))) for name, value in built.geometry.spreads.items()}
    scale = np.ones(len(w))
    for block in built.blocks:
        if block.offset:
            scale[block.where] = spreads[spread_name(block.plan.name, block.group)]
    shifted = w + 1e-5 * np.concatenate([np.eye(len(w)), -np.eye(len(w))])
    z = standard_normals(built.geometry, built.blocks, shifted, np.tile(scale, (len(shifted), 1)))
    sign, found = np.linalg.slogdet((z[: len(w)] - z[len(w) :]) / 2e-5)
    point = plain_normals(built, w, spreads)
    log_determinant = check_coordinates(built, w, point, scale)
    assert sign > 0
    assert found == pytest.approx(log_determinant, abs=1e-4)
    value, slope, again = everything_of(built)(point_of(built, w, spreads))
    np.testing.assert_allclose(again, point, rtol=1e-6, atol=1e-8)
    assert value == pytest.approx(expected_logp(entry, built, runs, point, spreads) + log_determinant, rel=1e-7)
    assert np.isfinite(slope).all()


def few_runs_of(entry: Law, levels: int) -> Runs:
    """Return six precise runs a family, of sizes within a factor of two."""
    rng = np.random.default_rng(0)
    size = np.tile(np.geomspace(3e7, 6e7, 6), levels)
    frame = pd.DataFrame({"params": size, "tokens": size * rng.uniform(10, 40, len(size))})
    frame["family"] = np.repeat([f"family {level}" for level in range(levels)], 6)
    frame["site"] = np.tile(["east", "west"], 3 * levels)
    loss = 1.7 + 400 * frame["params"] ** -0.34 + 410 * frame["tokens"] ** -0.28
    frame["loss"] = loss * np.exp(0.001 * rng.standard_normal(len(size)))
    return Runs.from_frame(frame, law=entry, groups=["family", "site"], allow=["few_runs"])


@pytest.mark.parametrize("name", ["task_two_step", "llama3_two_step"])
def test_a_run_may_lack_an_output(name: str) -> None:
    """A run without an accuracy tells of the first step alone, one without a loss of the second through the law."""
    entry = law(name)
    simulated = simulate(entry, n=24, seed=4).runs
    frame = simulated.to_frame()
    frame.loc[:6, "accuracy"] = np.nan
    frame.loc[15:, "task_loss"] = np.nan
    runs = Runs.from_frame(frame, law=entry, n_items="n_items" if "n_items" in frame else None, allow=["units"])
    built = build(entry, plan_parameters(entry, runs, Pooling()), runs)
    everything = everything_of(built)
    rng = np.random.default_rng(1)
    for _ in range(5):
        w = rng.standard_normal(len(built.geometry.pull))
        value, slope, z = everything({"w": w})
        expected = expected_logp(entry, built, runs, z, {}) + check_coordinates(built, w, z, np.ones(len(w)))
        assert value == pytest.approx(expected, rel=1e-7, abs=1e-5)
        assert np.isfinite(slope).all()


POPULATION = Population(
    id="made_up",
    law="chinchilla",
    parameters=("alpha", "E", "beta"),
    centre=(0.3, -0.2, 0.1),
    covariance=((0.5, 0.2, -0.1), (0.2, 0.8, 0.0), (-0.1, 0.0, 0.3)),
)


@pytest.mark.parametrize("levels", [1, 3, 14])
def test_a_population_correlates_the_parameters(levels: int) -> None:
    entry = law("chinchilla").with_population(POPULATION)
    group = "family" if levels > 1 else None
    runs = simulate(entry, n=12, group=group, levels=levels, seed=1).runs
    plans = plan_parameters(entry, runs, Pooling(by=("family",) if group else ()))
    built = build(entry, plans, runs)
    everything = everything_of(built)
    rng = np.random.default_rng(levels)
    for _ in range(3):
        spreads = {
            spread_name(plan.name, name): float(np.exp(rng.normal(-2, 0.5))) for plan in plans for name in plan.shared
        }
        w = rng.standard_normal(len(built.geometry.pull))
        scale = []
        for plan in plans:
            scale += [1.0] + [spreads[spread_name(plan.name, name)] for name in plan.shared for _ in range(levels)]
        value, slope, z = everything(point_of(built, w, spreads))
        np.testing.assert_allclose(plain_normals(built, w, spreads), z, rtol=1e-6, atol=1e-8)
        log_determinant = check_coordinates(built, w, z, np.array(scale))
        expected = expected_logp(entry, built, runs, built.geometry.placed(z), spreads) + log_determinant
        assert value == pytest.approx(expected, rel=1e-7, abs=1e-5)
        assert np.isfinite(slope).all()


def test_a_population_is_of_one_value() -> None:
    entry = law("chinchilla").with_population(POPULATION)
    runs = simulate(entry, group="family", levels=3, seed=1).runs
    plans = plan_parameters(entry, runs, Pooling(by=("family",), how={"alpha": "none"}))
    with pytest.raises(SpecError, match="is of one alpha, and every family has one of its own here"):
        build(entry, plans, runs)


def test_measured_errors_are_added_in_quadrature() -> None:
    import pandas as pd

    entry = law("mup_width")
    frame = simulate(entry, seed=2).runs.to_frame()
    frame["se"] = np.linspace(0.001, 0.1, len(frame))
    runs = Runs.from_frame(pd.DataFrame(frame), inputs=["params"], loss_se="se")
    built = build(entry, plan_parameters(entry, runs, Pooling()), runs)
    w = np.zeros(len(built.geometry.pull))
    z = normals_of(built)({"w": w})
    expected = expected_logp(entry, built, runs, z, {}) + check_coordinates(built, w, z, np.ones(len(w)))
    found = built.model.compile_logp(jacobian=True, mode="FAST_COMPILE")({"w": w})
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-5)


def test_the_pilot_starts_where_the_posterior_is_flat() -> None:
    """At w = 0 the gradient in w vanishes: the pilot found the mode and its curvature.

    The noise scale is at the mode of its marginal posterior, above that of the joint one.
    """
    entry = law("chinchilla").with_noise(Noise(kind="normal"))
    runs = simulate(entry, seed=5).runs
    built = build(entry, plan_parameters(entry, runs, Pooling()), runs)
    slope = built.model.compile_dlogp(jacobian=True, mode="FAST_COMPILE")
    found = slope({"w": np.zeros(6)})
    assert np.abs(found[:5]).max() < 1e-3
    assert -1 < found[5] < 0


def test_unknown_pooling_is_refused() -> None:
    entry = law("chinchilla")
    runs = simulate(entry, group="family", levels=3, seed=1).runs
    for how, message in (
        ({"alfa": "none"}, "did you mean 'alpha'"),
        ({"alpha": "partially"}, "did you mean 'partial'"),
        ({"alpha": {"task": "none"}}, "not in by"),
    ):
        with pytest.raises(SpecError, match=message):
            plan_parameters(entry, runs, Pooling(by=("family",), how=how))  # type: ignore[arg-type]  # wrong on purpose


def test_models_are_pymc_models_with_named_dims() -> None:
    entry = law("chinchilla")
    runs = simulate(entry, group="family", levels=3, seed=1).runs
    built = build(entry, plan_parameters(entry, runs, Pooling(by=("family",))), runs)
    assert isinstance(built.model, pm.Model)
    assert built.model.coords["family"] == ("family_0", "family_1", "family_2")
    assert {rv.name for rv in built.model.free_RVs} == {"w"} | {
        f"{name}_sd_family" for name in ("E", "a", "b", "alpha", "beta", "sigma")
    }
    assert pytensor.config.floatX == "float64"
