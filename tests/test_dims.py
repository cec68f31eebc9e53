"""Laws over vectors: closing them for the levels at hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit.card_file import read_card
from bayesfit.expression import parse_expression
from bayesfit.typeset import plain

CARD = """
id = "mixture"
equations = "loss = c + exp(u + sum(t*(share - mean.share), domain))"
[inputs.share]
support = "simplex"
dim = "domain"
[outputs.loss]
[parameters.c]
prior = "LogitNormal(1.5, 1.5, 0, min.loss)"
[parameters.u]
prior = "Normal(0, 1)"
[parameters.t]
prior = "Normal(0, max.share)"
dim = "domain"
[derived.k]
formula = "exp(u - sum(t*mean.share, domain))"
"""


def test_a_law_is_closed_for_the_columns_it_finds() -> None:
    law = read_card(CARD)
    assert law.dims == ("domain",)
    closed = law.closed(["run", "share_web", "share_code", "loss"])
    assert closed.dims == ()
    assert list(closed.inputs) == ["share_web", "share_code"]
    assert list(closed.parameters) == ["c", "u", "t_web", "t_code"]
    assert closed.parameters["t_code"].prior.text == "Normal(0, max.share_code)"
    assert closed.simplexes == {"share": ("share_web", "share_code")}
    known = {"c": 2.0, "u": -1.0, "t_web": 0.5, "t_code": -2.0, "share_web": 0.7, "share_code": 0.3}
    known |= {"mean.share_web": 0.5, "mean.share_code": 0.5}
    assert closed.mean(known)["loss"] == pytest.approx(2 + np.exp(-1 + 0.5 * 0.2 - 2 * -0.2))
    assert closed.derived["k"].formula.evaluate(known) == pytest.approx(np.exp(-1 - (0.5 * 0.5 - 2 * 0.5)))
    # an ordinary law from here on
    assert closed.closed() is closed
    assert bf.Law.from_text("loss = E", priors={"E": "Normal(0, 1)"}).closed(["share_web"]).id == "custom"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["loss"], "mixture reads share over domain: one column for each, such as share_web"),
        (["share_web"], "one column for each"),
        (["share_web", "share_a-b"], "'a-b' cannot be part of a name"),
    ],
)
def test_what_gives_no_levels_is_told(names: list[str], message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        read_card(CARD).closed(names)


def test_a_vector_stands_inside_a_sum_over_its_dim() -> None:
    wrong = CARD.replace("sum(t*(share - mean.share), domain))", "t + sum(share, domain))")
    with pytest.raises(bf.SpecError, match=r"'t' has a value for each domain; use it inside sum\(..., domain\)"):
        read_card(wrong + '\n[levels]\ndomain = ["web", "code"]').closed()
    with pytest.raises(bf.SpecError, match="needs levels of its dim 'domain'"):
        read_card(CARD).closed()


def test_proportions_are_read_fitted_and_forecast() -> None:
    rng = np.random.default_rng(0)
    parts = rng.dirichlet([2, 2, 2], 25)
    names = ["web", "code", "books"]
    t = np.array([-2.0, 1.0, 0.5])
    loss = 2 + np.exp(-0.5 + (parts - parts.mean(axis=0)) @ t) * np.exp(0.003 * rng.standard_normal(25))
    table = pd.DataFrame({f"share_{name}": parts[:, i] for i, name in enumerate(names)}).assign(loss=loss)
    runs = bf.Runs.from_frame(table, law="mix_exp")
    assert runs.inputs == ("share_web", "share_code", "share_books")
    fit = bf.fit(runs, "mix_exp", seed=1, draws=500, tune=500, progress=False, structure=None)
    apart = fit.posterior["t_web"] - fit.posterior["t_code"]
    assert float(apart.mean()) == pytest.approx(-3.0, abs=4 * float(apart.std()))
    # only differences are known: the sum of the three keeps the width of its prior
    total = fit.posterior["t_web"] + fit.posterior["t_code"] + fit.posterior["t_books"]
    assert float(total.std()) > 3
    found = fit.forecast({"share_web": 0.5, "share_code": 0.25, "share_books": 0.25})
    truth = 2 + np.exp(-0.5 + (np.array([0.5, 0.25, 0.25]) - parts.mean(axis=0)) @ t)
    band = found.interval(0.99)
    assert band["lower"].iloc[0] < truth < band["upper"].iloc[0]
    with pytest.raises(bf.DataError, match=r"share_web, share_code, share_books add up to 1\.1, expected 1"):
        bf.fit(
            bf.Runs.from_frame(table.assign(share_web=table["share_web"] + 0.1), law="mix_exp"),
            "mix_exp",
            structure=None,
        )


@pytest.mark.parametrize(
    "text",
    [
        "a - (b - c) - d + e",
        "a/(b*c)/d",
        "-(a + b)**-c*d",
        "a**b**c",
        "(a < b)*c + (a >= 2.5e-7)",
        "logaddexp(a, -b)*boxcox(c, 1e-3)",
        "a*(b/ref.x)**-(c - mean.y)",
    ],
)
def test_plain_text_says_the_same(text: str) -> None:
    expression = parse_expression(text)
    again = parse_expression(plain(expression.node))
    rng = np.random.default_rng(1)
    for _ in range(20):
        values = {name: float(rng.uniform(0.5, 2)) for name in expression.names}
        assert again.evaluate(values) == pytest.approx(expression.evaluate(values), rel=1e-12, nan_ok=True)
