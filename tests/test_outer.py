"""The outer exponent: which laws get one, and what it does to them."""

from __future__ import annotations

import numpy as np
import pytest

import bayesfit as bf
from bayesfit.outer import with_outer_exponent

POINT = {"E": 1.7, "a": 0.5, "b": 0.4, "alpha": 0.34, "beta": 0.28}
PRIOR = bf.Prior.parse("LogNormal(0, 0.3)")
REFERENCE = {"ref.params": 1e9, "ref.tokens": 2e10}


def values(law: bf.Law, outer: float, params: float, tokens: float) -> float:
    known = {**POINT, **REFERENCE, "params": np.array([params]), "tokens": np.array([tokens]), "loss_outer": outer}
    return float(law.mean(known)["loss"][0])


def test_an_exponent_of_one_changes_nothing() -> None:
    law = bf.law("chinchilla")
    bent = with_outer_exponent(law, PRIOR)
    plain = law.mean({**POINT, **REFERENCE, "params": np.array([7e10]), "tokens": np.array([1.4e12])})["loss"][0]
    assert values(bent, 1.0, 7e10, 1.4e12) == pytest.approx(plain, rel=1e-12)


def test_what_lies_above_the_floor_is_raised_to_it() -> None:
    bent = with_outer_exponent(bf.law("chinchilla"), PRIOR)
    # at the geometric mean of the runs nothing moves
    assert values(bent, 1.5, 1e9, 2e10) == pytest.approx(1.7 + 0.9)
    above = 0.5 * 70**-0.34 + 0.4 * 70**-0.28
    assert values(bent, 1.5, 7e10, 1.4e12) == pytest.approx(1.7 + 0.9 * (above / 0.9) ** 1.5)


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
    assert (with_outer_exponent(law, PRIOR) is not law) == gets
