"""Parameters of a level that lie off their centres together: density, prior, recovery, new levels, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesfit as bf
from bayesfit.build import build
from bayesfit.correlation import (
    correlation_pairs,
    correlation_root,
    correlations,
    partial_concentrations,
    partial_name,
)
from bayesfit.errors import SpecError
from bayesfit.geometry import standard_normals
from bayesfit.pooling import How, Pooling, plan_parameters, spread_name
from tests.calibration import LAW
from tests.test_build import everything_of, expected_logp

pytestmark = pytest.mark.xdist_group("correlation")

NAMES = ("E", "a", "alpha")
RHO = -0.9


def matrix_of(partials: np.ndarray, count: int) -> np.ndarray:
    root = np.zeros((count, count))
    for row, entries in enumerate(correlation_root(partials, count, np.sqrt)):
        root[row, : row + 1] = entries
    return root


def runs_of(levels: int, each: int, seed: int) -> bf.Runs:
    """Return families whose amplitudes and exponents go apart together."""
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(levels), each)
    shifts = rng.multivariate_normal([0, 0], [[1, RHO], [RHO, 1]], levels)
    params = np.tile(np.geomspace(1e8, 1e10, each), levels)
    a, alpha = 0.5 * np.exp(0.4 * shifts[code, 0]), 0.3 * np.exp(0.3 * shifts[code, 1])
    loss = (1.5 + a * (params / 1e9) ** -alpha) * np.exp(0.01 * rng.standard_normal(len(code)))
    family = [f"f{i:02d}" for i in code]
    return bf.Runs.from_frame(
        pd.DataFrame({"params": params, "loss": loss, "family": family}), groups=["family"], allow=["units"]
    )


@pytest.mark.parametrize("levels", [3, 14])
@pytest.mark.parametrize("how", [{"effects": "correlated"}, {"effects": "correlated", "E": "complete"}])
def test_log_density_is_that_of_correlated_shifts(levels: int, how: dict[str, How]) -> None:
    runs = runs_of(levels, 6, 1)
    plans = plan_parameters(LAW, runs, Pooling(by=("family",), how=how))
    built = build(LAW, plans, runs)
    everything = everything_of(built)
    together = [name for name in NAMES if how.get(name) != "complete"]
    rng = np.random.default_rng(levels)
    count = len(together)
    for _ in range(3):
        spreads = {
            spread_name(plan.name, group): float(np.exp(rng.normal(-2, 0.5))) for plan in plans for group in plan.shared
        }
        shares = rng.uniform(0.1, 0.9, count * (count - 1) // 2)
        root = matrix_of(2 * shares - 1, count)
        mixing, scale = np.eye(len(built.geometry.pull)), np.ones(len(built.geometry.pull))
        places = np.array([block.where for block in built.blocks if block.offset and block.plan.name in together])
        for block in built.blocks:
            if block.offset:
                scale[block.where] = spreads[spread_name(block.plan.name, "family")]
        for level in range(levels):
            own = np.array([where.start + level for where in places])
            mixing[np.ix_(own, own)] = root
        w = rng.standard_normal(len(scale))
        point = {"w": w} | {f"{name}_log__": np.log(value) for name, value in spreads.items()}
        point[f"{partial_name('family')}_logodds__"] = np.log(shares / (1 - shares))
        value, slope, z = everything(point)
        leaf = np.eye(len([block for block in built.blocks if block.group == "family"]))
        leaf[:count, :count] = root
        plain = standard_normals(built.geometry, built.blocks, w[None], scale[None], leaf[None])[0]
        np.testing.assert_allclose(plain, z, rtol=1e-6, atol=1e-8)
        # |w| is the distance from the approximation's centre in units of its width
        spread = scale[:, None] * mixing
        precision = spread.T @ built.geometry.information @ spread + np.eye(len(w))
        off = z - np.linalg.solve(precision, spread.T @ built.geometry.pull)
        assert off @ precision @ off == pytest.approx(w @ w, rel=1e-6, abs=1e-8)
        shifted = mixing @ z
        expected = expected_logp(LAW, built, runs, shifted, spreads) - 0.5 * np.linalg.slogdet(precision)[1]
        expected += stats.norm.logpdf(z).sum() - stats.norm.logpdf(shifted).sum()
        b = partial_concentrations(count)
        expected += (stats.beta.logpdf(shares, b, b) + np.log(shares * (1 - shares))).sum()
        assert value == pytest.approx(expected, rel=1e-7, abs=1e-5)
        assert np.isfinite(slope).all()


def test_partial_correlations_give_the_lkj_prior() -> None:
    """Its marginals are beta distributions on (-1, 1), here with parameter 2 - 1 + 4/2 = 3: variance 1/7."""
    rng = np.random.default_rng(0)
    b = partial_concentrations(4)
    draws = 2 * rng.beta(b[:, None], b[:, None], (len(b), 40_000)) - 1
    rows = correlation_root(draws, 4, np.sqrt)
    for row in range(4):
        np.testing.assert_allclose(sum(entry**2 for entry in rows[row]), 1.0)
        for column in range(row):
            pair = sum(one * other for one, other in zip(rows[row], rows[column], strict=False))
            assert np.var(pair) == pytest.approx(1 / 7, rel=0.03)
            assert np.mean(pair) == pytest.approx(0.0, abs=0.01)
    assert correlation_pairs(("p", "q", "r")) == ["p~q", "p~r", "q~r"]


@pytest.fixture(scope="module")
def fit() -> bf.Fit:
    return bf.fit(
        runs_of(24, 6, 2),
        LAW,
        by=["family"],
        pooling={"effects": "correlated", "E": "complete", "noise": "complete"},
        draws=1000,
        tune=700,
        seed=1,
        progress=False,
        structure=None,
    )


def test_the_correlation_is_found(fit: bf.Fit) -> None:
    assert fit.check().passed, fit.check()
    found = fit.posterior["correlation_family"].sel(pair="a~alpha").values.ravel()
    assert np.quantile(found, 0.05) < RHO < np.quantile(found, 0.95)
    assert np.mean(found < -0.5) > 0.99


def test_a_new_level_lies_off_in_the_same_way(fit: bf.Fit) -> None:
    """Small models of an unseen family say whether its amplitude is high; its exponent is low then."""
    grid = {"params": [1e8, 1e9, 1e10], "family": "unseen"}
    excess = np.log(fit.forecast(grid).expected - fit.posterior["E"]).values.reshape(-1, 3)
    correlation = np.corrcoef(excess[:, 1], excess[:, 0] - excess[:, 2])[0, 1]
    assert correlation < -0.6
    matrix = correlations(fit.posterior, "family", ("a", "alpha"))
    np.testing.assert_allclose(np.diagonal(matrix, axis1=-2, axis2=-1), 1.0)


def test_a_correlated_fit_is_saved_and_scored(fit: bf.Fit, tmp_path: Path) -> None:
    fit.save(tmp_path / "fit.nc")
    again = bf.load(tmp_path / "fit.nc")
    new = {"params": 1e10, "family": "new"}
    pd.testing.assert_frame_equal(again.forecast(new).table(), fit.forecast(new).table())
    table = fit.sensitivity()
    assert np.isfinite(table[["prior", "likelihood"]].to_numpy()).all()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"a": "correlated"}, "only a is correlated over family, and nothing with it"),
        ({"noise": "correlated", "a": "correlated"}, "noise scales do not correlate"),
        ({"effects": "correlatd"}, "did you mean 'correlated'"),
    ],
)
def test_what_cannot_correlate_is_refused(how: dict[str, str], said: str) -> None:
    runs = runs_of(3, 6, 1)
    with pytest.raises(SpecError, match=said):
        plan_parameters(LAW, runs, Pooling(by=("family",), how=how))  # type: ignore[arg-type]  # wrong on purpose
