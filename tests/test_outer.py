"""The outer exponent: which laws get one, and what it does to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesfit as bf
from bayesfit import evaluation
from bayesfit.diagnostics import Diagnostics, diagnose
from bayesfit.errors import SpecError
from bayesfit.outer import with_outer_exponent
from bayesfit.pooling import Pooling
from tests.posteriors import CHAINS, DRAWS, made_fit
from tests.test_fit import ONCE, changed

POINT = {"E": 1.7, "a": 0.5, "b": 0.4, "alpha": 0.34, "beta": 0.28}
REFERENCE = {"ref.params": 1e9, "ref.tokens": 2e10}
BENT = with_outer_exponent(bf.law("chinchilla"))


def values(level: float, params: float, tokens: float) -> float:
    known = {**POINT, **REFERENCE, "params": np.array([params]), "tokens": np.array([tokens]), "loss_level": level}
    return float(BENT.mean(known)["loss"][0])


def test_there_is_no_law_where_the_floor_lies_above_the_level() -> None:
    """Without a floor below it the law would fall without end, and families far apart had fits that ended there."""
    with np.errstate(invalid="ignore"):
        assert np.isnan(values(1.6, 7e10, 1.4e12))
    assert values(1.8, 7e10, 1.4e12) > POINT["E"]


def test_where_level_and_slopes_agree_it_is_the_law() -> None:
    law = bf.law("chinchilla")
    plain = law.mean({**POINT, **REFERENCE, "params": np.array([7e10]), "tokens": np.array([1.4e12])})["loss"][0]
    assert values(2.6, 7e10, 1.4e12) == pytest.approx(plain, rel=1e-12)
    assert BENT.derived["loss_outer"].formula.evaluate({**POINT, **REFERENCE, "loss_level": 2.6}) == pytest.approx(1.0)


def test_what_lies_above_the_floor_is_raised_to_it() -> None:
    # 1.8 above the floor and slopes of .9: a square root
    assert values(3.5, 1e9, 2e10) == pytest.approx(3.5)
    above = 0.5 * 70**-0.34 + 0.4 * 70**-0.28
    assert values(3.5, 7e10, 1.4e12) == pytest.approx(1.7 + 1.8 * (above / 0.9) ** 0.5)
    assert BENT.derived["loss_outer"].formula.evaluate({**POINT, **REFERENCE, "loss_level": 3.5}) == pytest.approx(0.5)


def test_coefficients_in_a_papers_notation_are_left_out() -> None:
    assert {*BENT.derived} == {"loss_outer"}
    assert not BENT.published
    assert not BENT.from_paper


def test_slopes_at_the_centre_are_those_of_the_law_whatever_the_level() -> None:
    steps = [values(level, 1.001e9, 2e10) - level for level in (2.0, 2.6, 4.0)]
    assert steps == pytest.approx([-0.5 * 0.34 * 0.001] * 3, rel=2e-3)


def test_a_true_exponent_is_found_and_the_law_is_where_it_holds() -> None:
    """Two surfaces, one with an exponent of .5: its interval holds it, and a forecast far out holds the truth."""
    rng = np.random.default_rng(3)
    params, tokens = 10 ** rng.uniform(8, 9.5, 80), 10 ** rng.uniform(9.5, 11.2, 80)
    terms = 0.6 * (params / 1e9) ** -0.4 + 0.5 * (tokens / 2e10) ** -0.45
    for exponent, most in ((0.5, 0.8), (1.0, 1.6)):
        loss = (1.4 + terms**exponent) * np.exp(0.002 * rng.standard_normal(80))
        runs = bf.Runs.from_frame(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}))
        fit = bf.fit(runs, "chinchilla", structure=bf.Structure(outer=True), seed=1, draws=1000, progress=False)
        assert fit.check().passed
        draws = fit.posterior
        found = (draws["a"] + draws["b"]) / (draws["loss_level"] - draws["E"])
        assert fit.summary().loc["loss_outer", "median"] == pytest.approx(float(found.median()), rel=1e-6)
        low, high = np.quantile(found, [0.025, 0.975])
        assert low < exponent < high < most
        off = changed(fit, "latent", loss_level_location=fit.idata["latent"]["loss_level_location"].values + 20)
        (conflict,) = diagnose(off.idata, off.law, off.plans).failures
        assert "structure=bayesfit.Structure(outer=False)" in conflict.advice
        far = fit.forecast({"params": [3e10], "tokens": [6e11]}, output="loss")
        truth = 1.4 + (0.6 * 30**-0.4 + 0.5 * 30**-0.45) ** exponent
        band = far.interval(0.95)
        assert band["lower"].iloc[0] < truth < band["upper"].iloc[0]


@pytest.mark.parametrize(
    ("text", "priors", "gets"),
    [
        ("loss = E + a*(params/ref.params)**-alpha + b*(tokens/ref.tokens)**-beta", {}, True),
        ("loss = a*(params/ref.params)**-alpha + E + b*exp(-beta*tokens/ref.tokens)", {}, True),
        # one term: its own exponent does that
        ("loss = E + a*(params/ref.params)**-alpha", {}, False),
        # no floor, or two
        ("loss = a*(params/ref.params)**-alpha + b*(tokens/ref.tokens)**-beta", {}, False),
        ("loss = E + a + b*(params/ref.params)**-alpha", {}, False),
        # another equation, and inputs without a geometric mean
        ("size = params/ref.params\nloss = E + a*size**-alpha + b*(tokens/ref.tokens)**-beta", {}, False),
        # terms that may be negative
        ("loss = E + a*(params/ref.params)**-alpha - b*(tokens/ref.tokens)**-beta", {}, False),
        ("loss = E + a*(params/ref.params)**-alpha + b*log(tokens/ref.tokens)", {}, False),
        ("loss = E + a*(params/ref.params)**-alpha + b*(tokens/ref.tokens)**-beta", {"b": "Normal(0, 1)"}, False),
    ],
)
def test_only_sums_of_positive_terms_above_a_floor_get_one(text: str, priors: dict[str, str], gets: bool) -> None:
    usual = {"E": "LogitNormal(1.5, 1.5, 0, min.loss)", "a": "LogNormal(0, 1)", "b": "LogNormal(0, 1)"}
    usual |= {"alpha": "LogNormal(log(0.3), 0.6)", "beta": "LogNormal(log(0.3), 0.6)", **priors}
    law = bf.Law.from_text(text, priors={name: prior for name, prior in usual.items() if name in text}, id="own")
    assert (with_outer_exponent(law) is not law) == gets


@pytest.mark.filterwarnings(
    "ignore::bayesfit.errors.ConvergenceWarning", "ignore::bayesfit.errors.ExtrapolationWarning"
)
def test_a_family_never_seen_has_its_floor_below_its_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Families that lie far apart: the floor of one may lie above the level of another, of one family never."""
    table = bf.simulate("chinchilla", n=12, group="family", levels=3, sigma=0.01, seed=5).runs.to_frame()
    table["loss"] *= table["family"].map({"family_0": 0.6, "family_1": 1.0, "family_2": 1.5})
    runs = bf.Runs.from_frame(table, law="chinchilla", groups=["family"])
    settings = {"draws": 250, "tune": 300, "chains": 2, "seed": 1, "progress": False, "sampler": ONCE}
    fit = bf.fit(runs, "chinchilla", by=["family"], structure="drift", **settings)
    ahead = {"params": ["1B", "70B", "1e16"], "tokens": ["20B", "1.4T", "1e17"], "family": "mine"}

    def law_of(scenarios: dict[str, object]) -> np.ndarray:
        told = fit.forecast(scenarios, output="loss_law", allow_unconverged=True)
        return told.expected.values.reshape(-1, len(told.scenarios))

    found = law_of(ahead)
    steps = np.diff(found, axis=1)
    assert (steps < 0).mean() > 0.98
    # where floor and level all but meet the law is steep, and is at its floor to the last digit before the farthest
    assert (steps <= 0).all()
    assert (found > 0).all()
    assert np.isfinite(fit.forecast(ahead, allow_unconverged=True).draws.values).all()
    # the same draws whatever else is asked
    alone = law_of({"params": "70B", "tokens": "1.4T", "family": "mine"})
    np.testing.assert_allclose(alone[:, 0], found[:, 1], rtol=1e-12)
    with monkeypatch.context() as once:
        once.setattr(evaluation, "_MOST_AGAIN", 1)
        with pytest.raises(SpecError, match="it needs loss_level above E, and 1 draws of the populations were not so"):
            law_of(ahead)
    # drawn as they come some are no law, and no band is made of them in silence
    scenarios = fit.forecast(ahead, allow_unconverged=True).scenarios
    unordered = {name: replace(part, above="") for name, part in fit.law.parameters.items()}
    fit = replace(fit, law=replace(fit.law, parameters=unordered))
    values, _ = evaluation.law_values(fit, scenarios)
    unchecked = values["loss_law"].transpose("chain", "draw", "scenario").values.reshape(-1, len(scenarios))
    lawful = (unchecked > 0).all(axis=1)
    assert 0 < 1 - lawful.mean() < 0.2
    np.testing.assert_array_equal(unchecked[lawful], found[lawful])
    # so far below zero that it is no number, or only no loss
    with pytest.raises(SpecError, match=r"has no finite value|where its noise, which acts on the log, has no value"):
        fit.forecast(ahead, allow_unconverged=True)


def test_a_curve_never_seen_has_its_ceiling_above_its_floor() -> None:
    """What holds for levels of an outer exponent holds for any two parameters that a card puts in order."""
    law = bf.law("m4")
    table = pd.DataFrame({"x": np.tile(np.geomspace(1e3, 1e7, 6), 2), "curve": np.repeat(["hard", "easy"], 6)})
    table["loss"] = np.tile(np.linspace(0.9, 0.3, 6), 2) * np.repeat([1.0, 0.05], 6)
    runs = bf.Runs.from_frame(table, law=law, groups=["curve"])
    rng, shape = np.random.default_rng(0), (CHAINS, DRAWS)
    fit = made_fit(runs, law, {"E": 0.0, "eps_0": 0.0, "t": 0.0, "alpha": 1.0, "c": 0.3, "sigma": 0.02})
    # two curves that are far apart, so that floor and ceiling of a third may be anywhere
    rest = dict.fromkeys(("t", "alpha", "c", "noise"), "complete")
    posterior, latent = fit.posterior.copy(), fit.idata["latent"].to_dataset().copy()
    for name in ("E", "eps_0"):
        posterior[f"{name}_sd_curve"] = xr.full_like(posterior["t"], 3.0)
        latent[f"{name}_location"] = xr.zeros_like(posterior["t"])
        offsets = rng.normal(size=(*shape, 2))
        latent[f"{name}_offset_curve"] = xr.DataArray(
            offsets, dims=("chain", "draw", "curve"), coords={"curve": ["hard", "easy"]}
        )
    idata = xr.DataTree.from_dict({"posterior": posterior, "latent": latent})
    fit = replace(fit, idata=idata, pooling=Pooling(by=("curve",), how=rest))
    fit.__dict__["_diagnostics"] = Diagnostics(results=())

    def falls(fit: bf.Fit) -> np.ndarray:
        scenarios = fit.forecast({"x": [1e3, 1e7], "curve": "new"}, allow_unconverged=True).scenarios
        values, _ = evaluation.law_values(fit, scenarios)
        return (values["loss"].diff("scenario") < 0).values

    assert falls(fit).all()
    unordered = {name: replace(part, above="") for name, part in law.parameters.items()}
    turned = replace(fit, law=replace(law, parameters=unordered))
    turned.__dict__["_diagnostics"] = Diagnostics(results=())
    assert 0.05 < 1 - falls(turned).mean() < 0.5
