"""Compute that families need for the same result: exact on made posteriors, right on simulated runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

import bayesfit as bf
from bayesfit.diagnostics import CheckResult, Diagnostics
from bayesfit.equivalence import equivalent_compute, equivalents
from bayesfit.noise import Scale
from bayesfit.path import fit_path
from tests.posteriors import CHAINS, DRAWS, FAMILIES, family_runs, lines, made_fit, normal

PRIOR = "LogNormal(0, 1)"


def law_of(text: str, *, on: Scale = "identity", **priors: str) -> bf.Law:
    return bf.Law.from_text(text, priors=priors, noise=bf.Noise(on=on))


def test_ratios_of_parallel_lines_are_exact_in_every_draw() -> None:
    fit = lines(np.exp(normal(9, np.log(0.4), 0.1)))
    found = equivalents(fit, reference="oak", at=1e21)
    nu, theta = fit.posterior["nu"].values, fit.posterior["theta"].values
    for place, name in enumerate(FAMILIES):
        expected = np.exp((nu[..., 0] - nu[..., place]) / theta).ravel()
        np.testing.assert_allclose(found.draws[name], expected, rtol=1e-9)


def test_table_holds_quantiles_of_the_ratios_the_least_compute_first() -> None:
    fit = lines()
    table = equivalent_compute(fit, reference="oak", at=1e21, prob=0.8)
    assert [*table.columns] == ["family", "median", "lower", "upper"]
    assert table["family"].tolist() == ["elm", "oak", "ash"]
    nu = fit.posterior["nu"].values
    ratio = np.exp((nu[..., 0] - nu[..., 1]) / 0.4).ravel()
    expected = np.quantile(ratio, [0.5, 0.1, 0.9], method="inverted_cdf")
    np.testing.assert_allclose(table.iloc[0, 1:].to_numpy(float), expected, rtol=1e-9)
    assert table.iloc[1, 1:].tolist() == [1.0, 1.0, 1.0]
    # on parallel lines it does not matter where one looks
    other = equivalent_compute(fit, reference="oak", at="3e22", prob=0.8)
    np.testing.assert_allclose(other.iloc[:, 1:].to_numpy(float), table.iloc[:, 1:].to_numpy(float), rtol=1e-9)


def test_reference_is_looked_at_in_the_middle_of_its_runs() -> None:
    found = equivalents(lines(), reference="elm")
    # elm has twice the compute of oak: from 2e20 to 2e23
    assert found.at == pytest.approx(2 * np.sqrt(1e20 * 1e23))
    assert (found.group, found.reference, found.x, found.output) == ("family", "elm", "flops", "score")
    assert equivalents(lines()).reference == "oak"


def test_power_law_with_a_floor_is_solved_to_a_thousandth() -> None:
    law = law_of("loss = E + a*(flops/ref.flops)**-alpha", on="log", E=PRIOR, a=PRIOR, alpha=PRIOR)
    runs = family_runs(law)
    amplitude = {"oak": 0.5, "elm": np.exp(normal(3, np.log(0.6), 0.05)), "ash": 0.4}
    alpha = {"oak": 0.2, "elm": 0.2, "ash": np.exp(normal(4, np.log(0.15), 0.1))}
    fit = made_fit(runs, law, {"E": 0.3, "a": amplitude, "alpha": alpha, "sigma": 0.01}, ["family"])
    found = equivalents(fit, reference="oak", at=1e22)
    centre = float(np.exp(np.log(runs.values("flops")).mean()))
    target = 0.5 * (1e22 / centre) ** -0.2
    elm = (target / fit.posterior["a"].sel(family="elm").values) ** (-1 / 0.2) * centre / 1e22
    ash = (target / 0.4) ** (-1 / fit.posterior["alpha"].sel(family="ash").values) * centre / 1e22
    np.testing.assert_allclose(found.draws["elm"], elm.ravel(), rtol=1e-3)
    np.testing.assert_allclose(found.draws["ash"], ash.ravel(), rtol=1e-3)


def test_draws_that_never_get_there_are_infinite_and_quantiles_stay_right() -> None:
    law = law_of("loss = E + a*(flops/ref.flops)**-alpha", on="log", E=PRIOR, a=PRIOR, alpha=PRIOR)
    # a quarter of elm's draws has its floor above what oak reaches; ash starts below it
    floors = np.where(np.arange(CHAINS * DRAWS) % 4 == 0, 2.0, 0.3).reshape(CHAINS, DRAWS)
    values = {
        "E": {"oak": 0.3, "elm": floors, "ash": 0.3},
        "a": {"oak": 0.5, "elm": 0.5, "ash": 1e-9},
        "alpha": 0.2,
        "sigma": 0.01,
    }
    fit = made_fit(family_runs(law), law, values, ["family"])
    found = equivalents(fit, reference="oak", at=1e22)
    assert np.isinf(found.draws["elm"]).mean() == 0.25
    assert (found.draws["ash"] == 0).all()
    table = equivalent_compute(fit, reference="oak", at=1e22, prob=0.9).set_index("family")
    assert table.loc["elm", "median"] == pytest.approx(1.0, rel=1e-3)
    assert table.loc["elm", "lower"] == pytest.approx(1.0, rel=1e-3)
    assert table.loc["elm", "upper"] == np.inf
    assert equivalent_compute(fit, reference="oak", at=1e22, prob=0.4).set_index("family").loc["elm", "upper"] < 1.1
    assert table.loc["ash"].tolist() == [0.0, 0.0, 0.0]
    assert [*table.index] == ["ash", "oak", "elm"]


def test_other_inputs_go_along_the_familys_own_path() -> None:
    law = bf.law("chinchilla")
    params = np.tile(np.geomspace(1e8, 1e10, 6), 2)
    family = np.repeat(["oak", "elm"], 6)
    tokens = params * np.where(family == "oak", 20.0, 200.0)
    table = pd.DataFrame({"family": family, "params": params, "tokens": tokens})
    table["loss"] = np.linspace(3.5, 2.2, 12)
    runs = bf.Runs.from_frame(table, inputs=["params", "tokens"], groups=["family"])
    centre = runs.summaries()
    values = {"E": 1.7, "a": 0.5, "b": 0.4, "alpha": 0.34, "beta": 0.28, "sigma": 0.01}
    fit = made_fit(runs, law, values, ["family"])

    def loss(flops: float, ratio: float) -> float:
        size = np.sqrt(flops / 6 / ratio)
        known = {**values, **centre, "params": size, "tokens": ratio * size}
        return float(law.mean(known)["loss"])

    target = loss(1e21, 20.0)
    expected = brentq(lambda log: loss(np.exp(log), 200.0) - target, np.log(1e18), np.log(1e26))
    found = equivalents(fit, reference="oak", at=1e21)
    np.testing.assert_allclose(found.draws["elm"], np.exp(expected) / 1e21, rtol=1e-3)


def test_chance_is_held_at_that_of_the_familys_runs() -> None:
    law = bf.law("log_acc_power")
    runs = family_runs(law, chance=np.repeat([0.25, 0.0, 0.25], 6))
    fit = made_fit(runs, law, {"a": 0.7, "alpha": 0.15, "sigma": 0.05}, ["family"])
    found = equivalents(fit, reference="oak", at=1e21)
    np.testing.assert_allclose(found.draws["ash"], 1.0, rtol=1e-3)
    # without the gift of guessing it takes more: exp(-a_elm) = 0.25 + 0.75 exp(-a_oak)
    centre = runs.summaries()["ref.flops"]
    oak = 0.7 * (1e21 / centre) ** -0.15
    elm = (-np.log(0.25 + 0.75 * np.exp(-oak)) / 0.7) ** (-1 / 0.15) * centre / 1e21
    np.testing.assert_allclose(found.draws["elm"], elm, rtol=1e-3)
    path = fit_path(fit, "flops", np.arange(6, 12))
    assert path.held == {"chance": 0.0}


def test_the_last_output_is_compared_if_it_is_a_share() -> None:
    law = bf.law("llama3_two_step")
    runs = family_runs(law, chance=0.25, accuracy=np.linspace(0.3, 0.8, 18))
    values = {"c": {"oak": 0.7, "elm": 0.63, "ash": 0.7}, "b": 0.035, "top": 0.95, "k": 12, "L0": 0.7}
    values |= {name: 0.5 for name in law.free if name not in values} | {"sigma_task_loss": 0.02, "sigma_accuracy": 0.1}
    fit = made_fit(runs, law, values, ["family"])
    found = equivalents(fit, reference="oak", at=1e21)
    assert found.output == "accuracy"
    # in a chain the same accuracy is the same task loss
    np.testing.assert_allclose(found.draws["elm"], np.exp(-0.07 / 0.035), rtol=1e-3)
    first = equivalents(fit, reference="oak", at=1e21, output="task_loss")
    np.testing.assert_allclose(first.draws["elm"], np.exp(-0.07 / 0.035), rtol=1e-9)


def test_other_groups_are_held_at_the_level_with_the_most_runs() -> None:
    law = bf.law("family_efficiency")
    runs = family_runs(law)
    suite = ["a", "b", "b", "b", "b", "b"] * 3
    table = runs.table.assign(suite=suite)[["family", "suite", "flops", "score"]]
    both = replace(runs, table=table, groups=("family", "suite"))
    nu = {"oak": 0.0, "elm": 0.4, "ash": 0.0}
    fit = made_fit(both, law, {"nu": nu, "theta": 0.4, "sigma": 0.2}, ["family", "suite"])
    found = equivalents(fit, reference="oak")
    # the runs of suite b alone
    assert found.at == pytest.approx(np.sqrt(runs.values("flops")[1] * runs.values("flops")[5]))
    np.testing.assert_allclose(found.draws["elm"], np.exp(-1.0), rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reference": "oka"}, "no level 'oka' to compare with.*did you mean 'oak'"),
        ({"group": "famly"}, "does not tell levels of 'famly' apart.*did you mean 'family'"),
        ({"x": "flop"}, "did you mean 'flops'"),
        ({"output": "scor"}, "did you mean 'score'"),
        ({"at": "much"}, "such as 1e22, found 'much'"),
        ({"at": -1.0}, "found -1.0"),
        ({"prob": 1.0}, "found 1.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        equivalent_compute(lines(), **{"reference": "oak", **arguments})


def test_fits_without_groups_are_refused() -> None:
    law = bf.law("family_efficiency")
    fit = made_fit(family_runs(law), law, {"nu": 0.0, "theta": 0.4, "sigma": 0.2})
    with pytest.raises(bf.SpecError, match=r"no group to compare; fit with by=\['family'\]"):
        equivalent_compute(fit, reference="oak")


def test_laws_that_turn_over_are_refused_with_the_share_of_draws() -> None:
    law = law_of(
        "score = nu + theta*log(flops/ref.flops) - q*log(flops/ref.flops)**2", nu="Normal(0, 1)", theta=PRIOR, q=PRIOR
    )
    bend = np.where(np.arange(CHAINS * DRAWS) % 5 == 0, 0.02, 1e-12).reshape(CHAINS, DRAWS)
    values = {"nu": 0.0, "theta": 0.4, "q": {"oak": 1e-12, "elm": bend, "ash": 1e-12}, "sigma": 0.2}
    fit = made_fit(family_runs(law), law, values, ["family"])
    with pytest.raises(bf.SpecError, match=r"rises with flops, but not everywhere in 20% of the draws of elm"):
        equivalent_compute(fit, reference="oak")


def test_a_law_that_ends_is_read_as_far_as_it_goes() -> None:
    # no value at all below a thousandth of the middle of the runs
    law = law_of("score = nu + theta*log(log(flops/ref.flops) + 8)", nu="Normal(0, 1)", theta=PRIOR)
    nu = {"oak": 0.0, "elm": 0.3, "ash": 3.0}
    fit = made_fit(family_runs(law), law, {"nu": nu, "theta": 1.0, "sigma": 0.2}, ["family"])
    found = equivalents(fit, reference="oak", at=3e21)
    centre = fit.runs.summaries()["ref.flops"]
    reached = np.log(np.log(3e21 / centre) + 8)
    expected = np.exp(np.exp(reached - 0.3) - 8) * centre / 3e21
    np.testing.assert_allclose(found.draws["elm"], expected, rtol=2e-3)
    assert (found.draws["ash"] < 1e-3).all()


def test_fits_that_fail_their_checks_are_refused_unless_allowed() -> None:
    fit = lines()
    failure = CheckResult(name="r_hat", passed=False, found="1.2", needed="1.01", value=1.2, advice="sample longer")
    fit.__dict__["_diagnostics"] = Diagnostics(results=(failure,))
    with pytest.raises(bf.NotConvergedError):
        equivalent_compute(fit, reference="oak")
    with pytest.warns(bf.errors.ConvergenceWarning):
        assert len(equivalent_compute(fit, reference="oak", allow_unconverged=True)) == 3


@pytest.fixture(scope="session")
def simulated() -> tuple[bf.Fit, dict[str, float]]:
    """Return a small fit of families that need 1, 3 and 0.4 times the compute of the first, and these ratios."""
    rng = np.random.default_rng(4)
    ratios = dict(zip(FAMILIES, (1.0, 3.0, 0.4), strict=True))
    parts = []
    for name, ratio in ratios.items():
        flops = np.geomspace(1e20, 1e23, 9) * np.exp(rng.normal(0, 0.2, 9))
        score = 0.35 * np.log(flops / ratio / 3e21) + rng.normal(0, 0.08, 9)
        parts.append(pd.DataFrame({"family": name, "flops": flops, "score": score}))
    runs = bf.Runs.from_frame(pd.concat(parts), law="family_efficiency", groups=["family"])
    # a target of one's own means one attempt
    sampler = {"nuts": {"target_accept": 0.9}}
    settings: dict[str, Any] = {
        "draws": 200,
        "tune": 300,
        "chains": 2,
        "seed": 1,
        "sampler": sampler,
        "progress": False,
    }
    fit = bf.fit(runs, "family_efficiency", by=["family"], **settings, structure=None)
    return fit, ratios


def test_intervals_hold_the_true_ratios(simulated: tuple[bf.Fit, dict[str, float]]) -> None:
    fit, ratios = simulated
    table = equivalents(fit, reference="oak").table(0.98).set_index("family")
    assert [*table.index] == ["ash", "oak", "elm"]
    for name, ratio in ratios.items():
        assert table.loc[name, "lower"] <= ratio <= table.loc[name, "upper"]
    # and say something: neither reaches the reference's 1
    assert table.loc["ash", "upper"] < 1 < table.loc["elm", "lower"]
