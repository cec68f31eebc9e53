"""Checkpoints of training runs: the law with shifts, its density, and the bands it gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit.checkpoints import with_run_shifts
from bayesfit.errors import SpecError
from bayesfit.pooling import Pooling, plan_parameters

#: How far runs lie from the law, and how far a run's checkpoints scatter about the run.
BETWEEN, WITHIN = 0.03, 0.004


def ladder(seed: int = 0, runs: int = 14, checkpoints: int = 12) -> pd.DataFrame:
    """Return checkpoints of runs that each lie off the law by a shift of their own."""
    rng = np.random.default_rng(seed)
    params = np.repeat(np.geomspace(1e8, 3e9, runs), checkpoints)
    tokens = np.tile(np.geomspace(2e9, 2e11, checkpoints), runs)
    shift = np.repeat(BETWEEN * rng.standard_normal(runs), checkpoints)
    law = 1.7 + 0.35 * (params / 6e8) ** -0.3 + 0.4 * (tokens / 2e10) ** -0.3
    loss = law * np.exp(shift + WITHIN * rng.standard_normal(len(params)))
    return pd.DataFrame(
        {
            "params": params,
            "tokens": tokens,
            "loss": loss,
            "run_name": [f"r{i // checkpoints}" for i in range(len(loss))],
        }
    )


def test_the_shift_is_part_of_the_text() -> None:
    plain = bf.law("chinchilla")
    shifted = with_run_shifts(plain)
    assert shifted.text.splitlines()[1] == "loss = loss_typical*exp(loss_shift)"
    assert shifted.text.splitlines()[0].removeprefix("loss_typical") == plain.text.removeprefix("loss")
    assert shifted.parameters["loss_shift"].role == "run"
    # a law that has shifts gets no second ones: refits take the law of the fit
    assert with_run_shifts(shifted) is shifted


@pytest.mark.parametrize(
    ("noise", "typical", "shift", "expected"),
    [
        (bf.Noise(on="log"), 2.0, 0.1, 2.0 * np.exp(0.1)),
        (bf.Noise(on="identity"), 2.0, 0.1, 2.1),
        (bf.Noise(on="logit"), 0.3, 0.5, 1 / (1 + np.exp(-(np.log(0.3 / 0.7) + 0.5)))),
        (bf.Noise(kind="binomial"), 0.3, 0.5, 1 / (1 + np.exp(-(np.log(0.3 / 0.7) + 0.5)))),
        (bf.Noise(kind="beta_binomial"), 0.3, -0.5, 1 / (1 + np.exp(-(np.log(0.3 / 0.7) - 0.5)))),
    ],
)
def test_the_shift_acts_where_the_noise_does(noise: bf.Noise, typical: float, shift: float, expected: float) -> None:
    law = with_run_shifts(bf.Law.from_text("y = m", priors={"m": "Normal(0, 1)"}, noise=noise))
    assert law.mean({"m": typical, "y_shift": shift})["y"] == pytest.approx(expected, rel=1e-12)
    assert law.mean({"m": typical, "y_shift": 0.0})["y"] == pytest.approx(typical, rel=1e-12)


def test_every_output_has_its_own_and_later_steps_see_it() -> None:
    law = with_run_shifts(bf.law("llama3_two_step"))
    assert [name for name, part in law.parameters.items() if part.role == "run"] == [
        "task_loss_shift",
        "accuracy_shift",
    ]
    runs = bf.simulate("llama3_two_step", n=10, seed=1).runs
    frame = runs.to_frame().assign(model=[f"m{i % 3}" for i in range(10)])
    grouped = bf.Runs.from_frame(frame, law="llama3_two_step", groups=["model"], allow=["units"])
    plans = plan_parameters(law, grouped, Pooling(checkpoints="model"))
    assert {plan.name: plan.shared for plan in plans if plan.shared} == {
        "task_loss_shift": ("model",),
        "accuracy_shift": ("model",),
    }
    assert all(plan.about_zero == plan.name.endswith("_shift") for plan in plans)


def test_a_name_in_the_way_is_refused() -> None:
    law = bf.Law.from_text("loss = loss_shift*params", priors={"loss_shift": "Normal(0, 1)"})
    with pytest.raises(SpecError, match="has a 'loss_shift' of its own"):
        with_run_shifts(law)
    with pytest.raises(SpecError, match="is in by and names the runs"):
        Pooling(by=("run_name",), checkpoints="run_name")


# one fit with shifts and one that takes checkpoints for runs of their own


@pytest.fixture(scope="module")
def runs() -> bf.Runs:
    return bf.Runs.from_frame(ladder(), groups=["run_name"])


@pytest.fixture(scope="module")
def shifted(runs: bf.Runs) -> bf.Fit:
    return bf.fit(
        runs,
        "chinchilla",
        fixed={"E": 1.7},
        checkpoints="run_name",
        draws=500,
        tune=500,
        seed=1,
        progress=False,
        structure=None,
    )


@pytest.fixture(scope="module")
def plain(runs: bf.Runs) -> bf.Fit:
    return bf.fit(runs, "chinchilla", fixed={"E": 1.7}, draws=500, tune=500, seed=1, progress=False, structure=None)


@pytest.mark.xdist_group("checkpoints")
def test_the_two_scatters_are_told_apart(shifted: bf.Fit) -> None:
    assert shifted.check().passed, shifted.check()
    table = shifted.summary()
    assert table.loc["loss_shift_sd_run_name", "q5"] < BETWEEN < table.loc["loss_shift_sd_run_name", "q95"]
    # Student-t of 4 degrees has a scale below the standard deviation of the normal it is fitted to
    assert 0.6 * WITHIN < table.loc["sigma", "median"] < 1.1 * WITHIN
    assert not any("loss_shift_population" in name for name in table.index)


@pytest.mark.xdist_group("checkpoints")
def test_the_law_is_less_sure_than_independent_rows_would_make_it(shifted: bf.Fit, plain: bf.Fit) -> None:
    at = {"params": 1e10, "tokens": 2e11}
    widths = [
        float(np.ptp(fit.forecast(at, allow_unconverged=True).expected.quantile([0.05, 0.95]).values))
        for fit in (shifted, plain)
    ]
    assert widths[0] > 1.5 * widths[1]


@pytest.mark.xdist_group("checkpoints")
def test_a_known_run_is_surer_than_a_new_one(shifted: bf.Fit) -> None:
    at = {"params": 3e9, "tokens": 3e11}
    new = shifted.forecast(at).interval().iloc[0]
    named = shifted.forecast(at | {"run_name": "r13"}).interval().iloc[0]
    assert new["upper"] - new["lower"] > 2 * (named["upper"] - named["lower"])


@pytest.mark.xdist_group("checkpoints")
def test_what_is_a_runs_own_is_a_part_of_the_band(shifted: bf.Fit, plain: bf.Fit) -> None:
    at = {"params": 3e9, "tokens": 3e11}
    new, named = (shifted.forecast(at | more).components for more in ({}, {"run_name": "r13"}))
    assert list(new) == ["law", "run", "noise", "total"]
    np.testing.assert_allclose(new["total"] ** 2, new["law"] ** 2 + new["run"] ** 2 + new["noise"] ** 2)
    # as far as runs lie apart, and of a known run what its rows leave open
    assert float(new["run"].iloc[0]) == pytest.approx(BETWEEN, rel=0.4)
    assert (named["run"] < 0.5 * new["run"]).all()
    assert "run" not in plain.forecast(at).components


@pytest.mark.xdist_group("checkpoints")
def test_new_runs_have_shifts_of_their_own(shifted: bf.Fit) -> None:
    draws = shifted.forecast({"params": [3e9, 3e9], "tokens": [2e11, 2e11]}).draws
    first, second = draws.values.reshape(-1, 2).T
    assert np.corrcoef(np.log(first), np.log(second))[0, 1] < 0.9
    again = shifted.forecast({"params": 3e9, "tokens": 2e11})
    np.testing.assert_allclose(again.expected.values[..., 0].std(), first.std(), rtol=0.2)


@pytest.mark.xdist_group("checkpoints")
def test_it_is_saved_with_its_runs(shifted: bf.Fit, tmp_path) -> None:
    loaded = bf.load(shifted.save(tmp_path / "fit.nc"))
    assert loaded.pooling.checkpoints == "run_name"
    at = {"params": 3e9, "tokens": 3e11}
    assert loaded.forecast(at).interval().equals(shifted.forecast(at).interval())


def test_an_interaction_is_a_group_of_its_own() -> None:
    frame = ladder(runs=4, checkpoints=6).assign(corpus=["a", "b"] * 12)
    runs = bf.Runs.from_frame(frame, groups=["run_name", "corpus"])
    assert runs.levels("run_name:corpus")[:3] == ("r0 & a", "r0 & b", "r1 & a")
    assert runs.codes("run_name:corpus").max() == 7
    plans = plan_parameters(bf.law("chinchilla"), runs, Pooling(by=("run_name", "corpus", "run_name:corpus")))
    assert plans[0].shared == ("run_name", "corpus", "run_name:corpus")
    with pytest.raises(SpecError, match="no group 'run_name:size'"):
        runs.levels("run_name:size")
