"""The pilot finds the optimum that the sampler should start from, also where laws have several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit.discrepancy import with_structure
from bayesfit.geometry import along_ridges, standard_normals
from bayesfit.penalised import Penalised
from bayesfit.pilot import _likeliest, pilot
from bayesfit.pooling import Pooling, plan_parameters, spread_name
from tests.calibration import POOLED, families_drift


@pytest.mark.parametrize("name", ["chinchilla", "farseer", "bnsl", "data_constrained", "routed_bilinear", "u_shape"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_optimum_is_no_worse_than_the_one_above_the_truth(name: str, seed: int) -> None:
    law = bf.law(name).closed()
    assert law.recovery is not None
    simulation = bf.simulate(law, seed=seed)
    plans = plan_parameters(law, simulation.runs, Pooling())
    problem = Penalised(law, plans, simulation.runs)
    geometry = pilot(law, plans, simulation.runs)
    found = np.linalg.solve(geometry.information + np.eye(problem.size), geometry.pull)
    truth = {**simulation.truth, **dict.fromkeys(law.sigmas.values(), law.recovery.sigma)}
    above = np.array([float(plan.prior.standard(np.asarray(truth[plan.name]))) for plan in plans])
    for _ in range(8):
        above, _value = problem.climb(problem.settle(above, {}), {}, 25)
    assert problem.objective(found, {}) <= problem.objective(above, {}) + 0.1


def test_families_whose_spreads_grow_stay_where_the_law_is_defined() -> None:
    # each family's level moved with its spread, below its floor, where the law is undefined: all was not a number
    runs, law, _truth = families_drift(24, apart=0.5)
    geometry = pilot(law, plan_parameters(law, runs, POOLED), runs)
    assert np.isfinite(geometry.information).all()
    assert np.isfinite(geometry.pull).all()
    assert np.isfinite([*geometry.spreads.values()]).all()


#: Floors by family where families are alike, and where they are far apart.
ALIKE, FAR = (1.5, 1.5, 1.5, 1.5), (0.3, 0.6, 1.2, 2.4)


@pytest.mark.parametrize(
    ("floors", "by", "how", "drifts", "most"),
    [
        (ALIKE, ("family",), {}, False, 1.0),
        (ALIKE, ("family",), {}, True, 1.5),
        # all floors together are known better than most are: each has a ridge of its own
        (FAR, ("family",), {}, False, 1.5),
        (FAR, ("family",), {}, True, 3.0),
        # one exponent for all goes along with floors that do not
        (FAR, ("family",), {"alpha": "complete"}, False, 1.5),
        (ALIKE, ("family",), {"a": "none"}, True, 2.0),
        (ALIKE, ("family",), {"E": "complete"}, True, 2.0),
        # the floor of a cell is the sum of shifts
        (ALIKE, ("family", "task"), {}, False, 1.5),
        (ALIKE, ("family", "task"), {"a": {"task": "none"}}, True, 3.0),
        (ALIKE, ("family", "task"), {"E": {"task": "complete"}}, True, 4.0),
    ],
)
def test_ridges_are_followed_where_they_bend(
    floors: tuple[float, ...], by: tuple[str, ...], how: dict[str, Any], drifts: bool, most: float
) -> None:
    """Few precise runs leave the floors open, and the posterior is round only in coordinates that bend with it."""
    law = bf.law("power_floor")
    runs = simulation_of(law, floors, tasks=len(by))
    if drifts:
        law = with_structure(law, bf.Structure(scale=0.02), runs)
    plans = plan_parameters(law, runs, Pooling(by=by, how=how))
    geometry, problem = pilot(law, plans, runs), Penalised(law, plans, runs)
    assert [ridge.floor for ridge in geometry.ridges] == ["E"]
    scale = np.ones(problem.size)
    for block in problem.blocks:
        if block.offset:
            scale[block.where] = geometry.spreads[spread_name(block.plan.name, str(block.group))]
    w = np.random.default_rng(0).standard_normal((400, problem.size))
    # noise at the pilot's scale
    w[:, problem.noise_entries] = 0.0
    scatter = []
    for bent in (geometry, replace(geometry, ridges=())):
        z = standard_normals(bent, problem.blocks, w, np.tile(scale, (len(w), 1)))
        off = [problem.objective(one, geometry.spreads) for one in z] - 0.5 * (w**2).sum(axis=1)
        scatter.append(np.subtract(*np.quantile(off, [0.75, 0.25])))
    assert scatter[0] < min(most, 0.7 * scatter[1])


def test_a_level_that_lacks_an_output_says_nothing_of_where_ridges_lie() -> None:
    law = bf.law("loss_to_loss_joint").closed()
    frame = bf.simulate(law, n=12, group="corpus", levels=3, seed=1).runs.to_frame()
    frame.loc[frame["corpus"] == frame["corpus"].iloc[0], "source_loss"] = np.nan
    runs = bf.Runs.from_frame(frame, law=law, groups=["corpus"], allow=["few_runs"])
    geometry = pilot(law, plan_parameters(law, runs, Pooling(by=("corpus",))), runs)
    assert [ridge.floor for ridge in geometry.ridges] == ["E0", "E1"]
    for ridge in geometry.ridges:
        assert [bool(pulls.any()) for pulls in ridge.pulls] == [False, True, True]


@pytest.mark.parametrize(("runs", "has_its_own"), [(2, False), (3, True)])
def test_a_level_has_a_ridge_of_its_own_with_runs_enough(runs: int, has_its_own: bool) -> None:
    """One run agrees with too many curves: families of the demo, one of them a single model, mixed worse with it."""
    law = bf.law("power_floor")
    known = simulation_of(law)
    place_in_family = known.table.groupby("family").cumcount()
    known = known.select((known.table["family"] != "a") | (place_in_family < runs))
    geometry = pilot(law, plan_parameters(law, known, Pooling(by=("family",))), known)
    assert [bool(pulls.any()) for pulls in geometry.ridges[0].pulls] == [has_its_own, True, True, True]


@pytest.mark.parametrize(("runs", "followed"), [(12, ["E"]), (7, [])])
def test_one_group_follows_its_ridge_with_runs_enough(runs: int, followed: list[str]) -> None:
    """With fewer than two runs a parameter noise may be anything, and the ridge is that of one noise scale."""
    law = bf.law("power_floor")
    frame = pd.DataFrame({"x": np.geomspace(3e7, 3e8, runs)})
    rng = np.random.default_rng(2)
    frame["loss"] = (1.5 + (frame["x"] / 1e8) ** -0.2) * np.exp(0.001 * rng.standard_normal(runs))
    few = bf.Runs.from_frame(frame, law=law, allow=["few_runs"])
    geometry = pilot(law, plan_parameters(law, few, Pooling()), few)
    assert [ridge.floor for ridge in geometry.ridges] == followed


def test_a_path_bends_along_the_ridge_too() -> None:
    """With its floor held the optimum of all else, knots of a path of all runs too, is where the map has it."""
    law, decades = bf.law("power_floor"), np.linspace(-1.2, 1.2, 60)
    rng = np.random.default_rng(0)
    path = 0.05 * np.sin(2.5 * decades) + 0.005 * rng.standard_normal(60)
    frame = pd.DataFrame({"x": 1e8 * 10**decades, "loss": (0.25 + 0.3 * 10 ** (-0.3 * decades)) * np.exp(path)})
    runs = bf.Runs.from_frame(frame, law=law)
    law = with_structure(law, bf.Structure(), runs)
    plans = plan_parameters(law, runs, Pooling())
    geometry, problem = pilot(law, plans, runs), Penalised(law, plans, runs)
    assert [ridge.floor for ridge in geometry.ridges] == ["E"]
    # a path that is far larger than its prior says is found before sampling starts
    assert geometry.spreads["loss_drift_sd_knot"] > 5 * bf.Structure().path_prior("log")[0]
    knots = next(block.where for block in problem.blocks if block.offset)
    scale = np.ones(problem.size)
    scale[knots] = geometry.spreads["loss_drift_sd_knot"]
    precision = scale[:, None] * geometry.information * scale + np.eye(problem.size)
    floor = next(block.where.start for block in problem.blocks if block.plan.name == "E")
    free = np.setdiff1d(np.arange(problem.size), [floor, *problem.noise_entries])
    across = precision[np.ix_(free, free)]
    start = standard_normals(geometry, problem.blocks, np.zeros((1, problem.size)), scale[None])[0]
    start, _ = problem.climb(start, geometry.spreads, 200, held=[floor])
    for step in (-0.4, -0.2, 0.2, 0.4):
        held = start.copy()
        held[floor] += step
        there, _ = problem.climb(held, geometry.spreads, 200, held=[floor])
        line = -np.linalg.solve(across, precision[free, floor]) * step
        bent = along_ridges(geometry, problem.blocks, there[None], scale[None])[0]
        off = (there - start)[free] - line
        left = off - bent[free]
        assert off @ across @ off > 0.3
        assert left @ across @ left < 0.1 * (off @ across @ off)
        assert np.abs(bent[knots]).max() > 1e-3


@pytest.mark.parametrize("ratio", [0.2, 1.0, 15.0])
def test_a_spread_settles_where_prior_and_squares_have_it(ratio: float) -> None:
    runs = simulation_of(bf.law("power_floor"))
    law = with_structure(bf.law("power_floor"), bf.Structure(scale=0.01, scale_sd=0.8), runs)
    problem = Penalised(law, plan_parameters(law, runs, Pooling()), runs)
    (block,) = (block for block in problem.blocks if block.offset)
    count, squares = len(block.labels), len(block.labels) * (ratio * 0.01) ** 2
    logs = np.linspace(np.log(0.0005), np.log(0.5), 20_001)
    minus = count * logs + 0.5 * squares * np.exp(-2 * logs) + 0.5 * ((logs - np.log(0.01)) / 0.8) ** 2
    assert _likeliest(block, squares) == pytest.approx(np.exp(logs[minus.argmin()]), rel=1e-3)


def simulation_of(law: bf.Law, floors: tuple[float, ...] = ALIKE, tasks: int = 1) -> bf.Runs:
    """Return four families of six precise runs, of twelve where they are far apart, on one task or two."""
    rng = np.random.default_rng(2)
    x, frames = np.geomspace(3e7, 3e8, 6 if floors == ALIKE else 12), []
    amplitudes = (1.0, 1.05, 0.97, 1.1) if floors == ALIKE else floors
    for task in range(tasks):
        for family, floor, amplitude in zip("abcd", floors, amplitudes, strict=True):
            curve = floor * (1 + 0.3 * task) + amplitude * (1 + 0.1 * task) * (x / 1e8) ** -0.2
            loss = curve * np.exp(0.001 * rng.standard_normal(len(x)))
            frames.append(pd.DataFrame({"x": x, "family": family, "task": f"task {task}", "loss": loss}))
    groups = ["family", "task"] if tasks > 1 else ["family"]
    return bf.Runs.from_frame(pd.concat(frames, ignore_index=True), law=law, groups=groups, allow=["few_runs"])
