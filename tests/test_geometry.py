"""The pilot finds the optimum that the sampler should start from, also where laws have several."""

from __future__ import annotations

import numpy as np
import pytest

import bayesfit as bf
from bayesfit.geometry import _Pilot, pilot
from bayesfit.pooling import Pooling, plan_parameters


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
