"""A correlated prior from many studies: learnt, kept as a card, fitted with, and told when leant on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit.card_file import card_toml, read_card
from bayesfit.errors import SpecError
from bayesfit.population import Population, learn_population, population

PARAMETERS = ("E", "a", "b", "alpha", "beta")


def study(rng: np.random.Generator, runs: int = 40) -> bf.Runs:
    """Return runs of a study whose two exponents go together over studies, more tightly than each spreads."""
    common = 0.5 * rng.standard_normal()
    alpha, beta = (0.35 * np.exp(common + 0.03 * rng.standard_normal()) for _ in range(2))
    params = np.exp(rng.uniform(np.log(5e7), np.log(5e9), runs))
    tokens = np.exp(rng.uniform(np.log(1e9), np.log(1e11), runs))
    law = 1.8 + 0.3 * (params / 5e8) ** -alpha + 0.4 * (tokens / 1e10) ** -beta
    table = pd.DataFrame({"params": params, "tokens": tokens, "loss": law * np.exp(0.003 * rng.standard_normal(runs))})
    return bf.Runs.from_frame(table)


@pytest.fixture(scope="module")
def learnt() -> Population:
    rng = np.random.default_rng(0)
    return learn_population({f"study {i}": study(rng) for i in range(24)}, "chinchilla", id="made_up")


def test_what_goes_together_over_studies_is_learnt(learnt: Population) -> None:
    assert learnt.parameters == PARAMETERS
    covariance = np.array(learnt.covariance)
    # exponents spread by .5 on the log, most of their prior's .6
    sd = np.sqrt(np.diag(covariance))[3:]
    assert ((sd > 0.5) & (sd < 1.2)).all()
    assert covariance[3, 4] / sd.prod() > 0.7
    prior = bf.law("chinchilla").parameters["alpha"].prior.resolve({})
    assert learnt.centre[3] == pytest.approx(prior.standard(0.35), abs=0.4)


def test_few_studies_that_say_nothing_leave_the_laws_priors() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"params": [1e8, 1e9], "tokens": [1e10, 1.1e10], "loss": [3.0, 2.5]})
    vague = {f"{i}": bf.Runs.from_frame(table * (1 + 0.01 * rng.random((2, 3)))) for i in range(3)}
    found = learn_population(vague, "chinchilla", parameters=["alpha", "beta"])
    assert np.sqrt(found.covariance[1][1]) == pytest.approx(1.0, abs=0.35)


def test_a_card_is_read_back(learnt: Population, tmp_path) -> None:
    import tomli_w

    path = tmp_path / "own.toml"
    path.write_text(tomli_w.dumps(learnt.to_mapping()), encoding="utf-8")
    assert population(path) == learnt
    law = bf.law("chinchilla").with_population(learnt)
    assert read_card(card_toml(law)) == law


def test_the_shipped_populations_can_be_used() -> None:
    shipped = population("public_chinchilla")
    assert len(shipped.studies) == 14
    shipped.require(bf.law(shipped.law))
    # a folder of priors holds no laws
    assert "public_chinchilla" not in [entry.id for entry in bf.laws()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre": [0.0]}, "5 parameters need as many centres"),
        ({"covariance": np.diag([1, 1, 1, 1, -1]).tolist()}, "positive definite"),
        ({"covariance": (np.eye(5) + np.eye(5, k=1)).tolist()}, "symmetric"),
        ({"centre": ["a"] * 5}, "numbers cannot be read"),
        ({"centres": []}, "unknown key 'centres' in a population .did you mean 'centre'"),
        ({"parameters": ["E", "a", "b", "alfa", "beta"]}, "speaks of 'alfa' .did you mean 'alpha'"),
    ],
)
def test_a_wrong_card_is_told(change: dict[str, object], message: str) -> None:
    table = population("public_chinchilla").to_mapping() | change
    with pytest.raises(SpecError, match=message):
        Population.from_mapping(table).require(bf.law("chinchilla"))


def test_an_unknown_one_is_told(tmp_path) -> None:
    with pytest.raises(SpecError, match="did you mean 'public_chinchilla'"):
        population("public_chinchila")
    bad = tmp_path / "bad.toml"
    bad.write_text("id = ", encoding="utf-8")
    with pytest.raises(SpecError, match="not valid TOML"):
        population(bad)
    with pytest.raises(SpecError, match="at least 3 studies"):
        learn_population({}, "chinchilla")


@pytest.mark.xdist_group("population")
def test_few_runs_lean_on_it_and_say_so(learnt: Population) -> None:
    """A study of eight runs: the band at ten times the size narrows, and the fit tells that the prior made it so."""
    runs = study(np.random.default_rng(5), runs=8)
    plain = bf.fit(runs, "chinchilla", draws=500, tune=500, seed=1, progress=False, structure=None)
    informed = bf.fit(runs, "chinchilla", population=learnt, draws=6000, seed=1, progress=False, structure=None)
    at = {"params": 1.5e10, "tokens": 2e11}
    widths = [
        float(np.subtract(*fit.forecast(at, allow_unconverged=True).interval().iloc[0][["upper", "lower"]]))
        for fit in (plain, informed)
    ]
    assert widths[1] < 0.8 * widths[0]
    assert np.corrcoef(*(np.log(informed.posterior[name].values.ravel()) for name in ("alpha", "beta")))[0, 1] > 0.3
    leaning = informed.sensitivity()
    assert leaning.loc["beta", "prior"] > 0.1
    assert leaning.loc["sigma", "likelihood"] > 0.05
    # alpha's own is .051, at which no bound can stand; sixty runs lean on the prior half as much
    many = study(np.random.default_rng(5), runs=60)
    less = bf.fit(
        many, "chinchilla", population=learnt, draws=1500, seed=1, progress=False, structure=None
    ).sensitivity()
    assert (leaning["prior"] > 1.5 * less["prior"])[["alpha", "beta"]].all()
