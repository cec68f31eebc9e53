"""The pilot finds the optimum that the sampler should start from, also where laws have several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit.discrepancy import with_structure
from bayesfit.geometry import standard_normals
from bayesfit.pilot import _Pilot, pilot
from bayesfit.pooling import Pooling, plan_parameters, spread_name


@pytest.mark.parametrize("name", ["chinchilla", "farseer", "bnsl", "data_constrained", "routed_bilinear", "u_shape"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_optimum_is_no_worse_than_the_one_above_the_truth(name: str, seed: int) -> None:
    law = bf.law(name).closed()
    assert law.recovery is not None
    simulation = bf.simulate(law, seed=seed)
    plans = plan_parameters(law, simulation.runs, Pooling())
    problem = _Pilot(law, plans, simulation.runs)
    geometry = pilot(law, plans, simulation.runs)
    found = np.linalg.solve(geometry.information + np.eye(problem.size), geometry.pull)
    truth = {**simulation.truth, **dict.fromkeys(law.sigmas.values(), law.recovery.sigma)}
    above = np.array([float(plan.prior.standard(np.asarray(truth[plan.name]))) for plan in plans])
    for _ in range(8):
        above, _value = problem.climb(problem.settle(above, {}), {}, 25)
    assert problem.objective(found, {}) <= problem.objective(above, {}) + 0.1


@pytest.mark.parametrize("drifts", [False, True])
def test_ridges_are_followed_where_they_bend(drifts: bool) -> None:
    """Few precise runs leave the floors open, and the posterior is round only in coordinates that bend with it."""
    law = bf.law("power_floor")
    runs = simulation_of(law)
    if drifts:
        law = with_structure(law, bf.Structure(scale=0.02), runs)
    plans = plan_parameters(law, runs, Pooling(by=("family",)))
    geometry, problem = pilot(law, plans, runs), _Pilot(law, plans, runs)
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
    assert scatter[0] < 0.5 * scatter[1]


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


def simulation_of(law: bf.Law) -> bf.Runs:
    """Return four families of six precise runs."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": np.tile(np.geomspace(3e7, 3e8, 6), 4), "family": np.repeat([*"abcd"], 6)})
    amplitude = np.repeat([1.0, 1.05, 0.97, 1.1], 6)
    frame["loss"] = (1.5 + amplitude * (frame["x"] / 1e8) ** -0.2) * np.exp(0.001 * rng.standard_normal(len(frame)))
    return bf.Runs.from_frame(frame, law=law, groups=["family"], allow=["few_runs"])
