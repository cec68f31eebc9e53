"""The quick penalised fit from which the sampler's coordinates come, and posterior modes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bayesfit.card import Law
from bayesfit.errors import SpecError
from bayesfit.geometry import Geometry
from bayesfit.penalised import Penalised
from bayesfit.pooling import Block, spread_name
from bayesfit.traces import ridges_of

if TYPE_CHECKING:
    from bayesfit.pooling import ParameterPlan
    from bayesfit.runs import Runs

#: Rounds of adjusting noise scales and spreads.
_ROUNDS = 8
#: The same with groups or paths at most, while spreads and noise scales still move by this much (on the log, and as
#: normals).
_MOST_ROUNDS = 50
_SETTLED = 0.02
_ITERATIONS = 60
_STARTS = 6
#: Iterations of a climb between two adjustments of the noise scales, and the gain below which a start is done.
_CLIMB = 25
_GAIN = 1e-2


def pilot(law: Law, plans: tuple[ParameterPlan, ...], runs: Runs) -> Geometry:
    """Find coordinates for sampling from a quick penalised fit.

    Raises
    ------
    SpecError
        If the law has no finite value at any of several draws from its priors.
    """
    problem = Penalised(law, plans, runs)
    shared = [block for block in problem.blocks if block.offset]
    spreads = {spread_name(block.plan.name, str(block.group)): 0.5 * block.plan.spread for block in shared}
    z = _start(problem, spreads)
    for number in range(_MOST_ROUNDS):
        spreads_before, noise_before = {**spreads}, z[problem.noise_entries]
        z, _value = problem.climb(problem.settle(z, spreads), spreads, _ITERATIONS)
        information = problem.curvature(z, spreads)[1]
        variance = np.diag(np.linalg.inv(information))
        for block in shared:
            name = spread_name(block.plan.name, str(block.group))
            # expectation-maximisation step for the population's standard deviation
            squares = float(np.sum(z[block.where] ** 2 + variance[block.where])) * spreads[name] ** 2
            spreads[name] = _likeliest(block, squares)
            # levels stay where they are: moved with their spread, they may leave where the law is defined
            z[block.where] *= spreads_before[name] / spreads[name]
        # a path and noise that take turns at the same deviations settle slowly
        changes = [np.log(spreads[name] / spreads_before[name]) for name in spreads]
        moved = np.abs([*changes, *(z[problem.noise_entries] - noise_before)]).max(initial=0.0)
        if number + 1 >= (_MOST_ROUNDS if shared and moved > _SETTLED else _ROUNDS):
            break
    if shared:
        z, _value = problem.climb(z, spreads, _ITERATIONS)
    # from units of the population's standard deviation to the link scale, the priors taken out
    unit = np.ones(problem.size)
    for block in shared:
        unit[block.where] = spreads[spread_name(block.plan.name, str(block.group))]
    gradient, information = problem.curvature(z, spreads)
    likelihood = (information - np.eye(problem.size)) / np.outer(unit, unit)
    pull = likelihood @ (z * unit) - (gradient - z) / unit
    return Geometry(
        ridges=ridges_of(problem, z, spreads, unit),
        information=likelihood,
        pull=pull,
        spreads=spreads,
        entries=problem.entries,
        centre=problem.centre,
        root=problem.root,
    )


def _likeliest(block: Block, squares: float) -> float:
    """Return the likeliest standard deviation of a block's entries, from the expected sum of their squares."""
    plan, count = block.plan, len(block.labels)
    least = 0.05 * plan.spread
    if not plan.spread_sd:
        return float(np.clip(np.sqrt(squares / count), least, 3.0 * plan.spread))
    # of its logarithm, whose prior is normal: Newton's steps on a convex function
    found = np.log(max(np.sqrt(squares / count), least))
    for _ in range(20):
        pulled = (found - np.log(plan.spread)) / plan.spread_sd**2
        inside = squares * np.exp(-2 * found)
        found -= (count - inside + pulled) / (2 * inside + 1 / plan.spread_sd**2)
    return float(max(np.exp(found), least))


def posterior_mode(law: Law, plans: tuple[ParameterPlan, ...], runs: Runs) -> dict[str, float]:
    """Return the parameters at the mode of the posterior of the standard normals; see `Fit.mode`."""
    from scipy.optimize import minimize

    problem = Penalised(law, plans, runs)
    z = _start(problem, {})
    for _ in range(_ROUNDS):
        z = problem.climb(problem.settle(z, {}), {}, _ITERATIONS)[0]
    # Laplace noise has corners, at which a method without slopes does not get stuck
    found = minimize(
        problem.objective,
        z,
        args=({},),
        method="Nelder-Mead",
        options={"maxiter": 20_000, "xatol": 1e-7, "fatol": 1e-9},
    )
    rows = problem.rows(found.x, {})
    return {plan.name: float(problem.value(plan.name, rows[plan.name])[0]) for plan in plans}


def _start(problem: Penalised, spreads: dict[str, float]) -> np.ndarray:
    """Return the best of a few climbs, from the middle of the priors and from draws of them.

    Laws of many parameters have several optima, which only show what they are worth once the noise
    scales have settled; the one around which most of the posterior lies, by Laplace's approximation, is
    best. Populations are searched with all levels alike.
    """
    if spreads:
        alike = Penalised(problem.law, tuple(replace(plan, shared=()) for plan in problem.plans), problem.runs)
        found, z = _start(alike, {}), np.zeros(problem.size)
        same = {block.plan.name: block for block in alike.blocks}
        for block in problem.blocks:
            if not block.offset:
                z[block.where] = found[same[block.plan.name].where]
        return z
    rng = np.random.default_rng(0)
    best, least = None, np.inf
    for number in range(_STARTS):
        z = rng.standard_normal(problem.size) if number else np.zeros(problem.size)
        z, value = problem.climb(z, {}, _CLIMB)
        for _ in range(_ROUNDS):
            before = value
            z, value = problem.climb(problem.settle(z, {}), {}, _CLIMB)
            if not before - value > _GAIN:
                break
        if np.isfinite(value):
            value += 0.5 * np.linalg.slogdet(problem.curvature(z, {})[1])[1]
        if value < least:
            best, least = z, value
    if best is None:
        raise SpecError(
            f"the law {problem.law.id} has no finite value at draws from its priors on these runs; "
            f"check its formula's domain (logarithms and roots of negative numbers) and its priors"
        )
    return best
