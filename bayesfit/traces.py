"""Where ridges lie: the optimum of all else with a floor held, as runs have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bayesfit.correlation import correlated_of
from bayesfit.knots import KNOT, owner_of
from bayesfit.penalised import Penalised
from bayesfit.pooling import Block, ParameterPlan, spread_name
from bayesfit.priors import NUMPY_LINKS, ResolvedPrior
from bayesfit.ridges import KNOTS, Ridge, curve, past

if TYPE_CHECKING:
    from bayesfit.runs import Runs

#: Standard deviations of the floor between points, points to a side at most, at least in all, and how much less likely
#: (natural log) the last may be.
_STRIDE = 0.5
_MOST_POINTS = 10
_FEWEST_POINTS = 4
_LOWEST = 8.0
#: Iterations of a climb from one point to the next, and to the first.
_CLIMB = 25
_FIRST_CLIMB = 100
#: A ridge is followed that within this many standard deviations of the floor is off the straight line by more than
#: this squared distance, in standard deviations across it: of any level, or of a floor that does not vary, since such
#: fits mix well until ridges bend more.
_NEAR = 2.0
_STRAIGHT = 0.1
_STRAIGHT_ALONE = 9.0
#: Fewest runs a parameter with which such a floor's ridge is followed. With fewer, noise may be anything, and where the
#: ridge lies depends on it.
_RUNS_ALONE = 2
#: Fewest runs of a level that has a ridge of its own: one or two agree with too many curves.
_FEWEST_RUNS = 3
_STEP = 1e-6


@dataclass(frozen=True, kw_only=True)
class _Trace:
    """How what some runs tell of goes along with their floor.

    Parameters
    ----------
    runs
        Which runs (truth values).
    places
        What goes along, as entries of the vector.
    values
        The floor at points along the ridge, less the pilot's, on the link scale, in rising order.
    steps
        How far what goes along is from the pilot's there (points by entries): locations as standard normals, shifts on
        the link scale.
    near
        Which points are within two standard deviations of the pilot's.
    held
        The precision with which priors held each entry, for what all levels share. Shifts of levels go without: their
        populations hold against the ridge, of whatever standard deviation.
    """

    runs: np.ndarray
    places: np.ndarray
    values: np.ndarray
    steps: np.ndarray
    near: np.ndarray
    held: np.ndarray


def ridges_of(problem: Penalised, z: np.ndarray, spreads: dict[str, float], unit: np.ndarray) -> tuple[Ridge, ...]:
    """Return the ridges that bend too much for a quadratic approximation, at the pilot's optimum.

    Parameters
    ----------
    problem
        The log posterior.
    z, spreads
        The pilot's optimum, and the populations' standard deviations there.
    unit
        The latter for each entry of `z`, one for locations.
    """
    if problem.entries.size or correlated_of(problem.plans)[0]:
        return ()
    single = [block for block in problem.blocks if not block.offset and block.group is None]
    slopes = {output: slope / unit for output, slope in problem.slopes(z, spreads)[2].items()}
    covariance = np.linalg.inv(problem.curvature(z, spreads)[1]) * np.outer(unit, unit)
    found = []
    for block in single:
        floor, sigma = block.plan.name, float(block.plan.prior.sigma)
        shifts = [other for other in problem.blocks if other.plan.name == floor and other.offset]
        if floor not in problem.moving or problem.law.parameters[floor].role != "floor":
            continue
        if not shifts and len(problem.runs) < _RUNS_ALONE * len(single):
            continue
        at = [sigma, float(z[block.where.start]) * sigma]
        if not shifts:
            cells, traces = np.zeros((1, 0)), [_of_all(problem, z, spreads, unit, block)]
        else:
            groups = tuple(str(shift.group) for shift in shifts)
            cell_of, entries = _cells(problem, shifts)
            own = [place for shift in shifts for place in _places(shift)]
            cells = np.array([np.isin(own, of_cell) for of_cell in entries], dtype=float)
            at += (cells @ (z * unit)[own]).tolist()
            by, traces = np.array([sigma, *np.ones(len(shifts))]), []
            for number, of_cell in enumerate(entries):
                whole = [block.where.start, *of_cell]
                sd = float(np.sqrt(by @ covariance[np.ix_(whole, whole)] @ by))
                traces.append(_of_cell(problem, z, spreads, floor, groups, cell_of == number, sd))
        knots, pulls, distances = zip(*(_pulled(problem, slopes, trace) for trace in traces), strict=True)
        if max(distances) > (_STRAIGHT if shifts else _STRAIGHT_ALONE):
            places, kept = _kept(np.array(pulls))
            found.append(
                Ridge(floor=floor, knots=np.array(knots), places=places, pulls=kept, at=np.array(at), cells=cells)
            )
    return tuple(found)


def _cells(problem: Penalised, shifts: Sequence[Block]) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each run by the groups of a parameter's shifts, and the shifts of each cell as entries."""
    codes = np.column_stack([problem.runs.codes(str(shift.group)) for shift in shifts])
    _, first, cell_of = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    return cell_of.ravel(), codes[first] + [shift.where.start for shift in shifts]


def _kept(pulls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which entries each cell pulls, filled up, and with what: of many cells, each pulls few."""
    pulled = pulls.any(axis=2)
    places = np.argsort(~pulled, axis=1, kind="stable")[:, : pulled.sum(axis=1).max()]
    return places, np.take_along_axis(pulls, places[:, :, None], axis=1)


def _pulled(problem: Penalised, slopes: dict[str, np.ndarray], trace: _Trace) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the knots of a trace's curves, with what strength they pull, and how far off the straight line it goes.

    The distance is the squared one in standard deviations, at the farthest of its near points.
    """
    if len(trace.values) < _FEWEST_POINTS:
        return np.linspace(-1.0, 1.0, KNOTS), np.zeros((problem.size, KNOTS)), 0.0
    knots, coefficients = curve(trace.values, trace.steps)
    off = past(trace.values[trace.near], knots, np) @ coefficients.T
    pulls, distances = np.zeros((problem.size, KNOTS)), np.zeros(len(off))
    pulls[trace.places] = trace.held[:, None] * coefficients
    for output, by_run in slopes.items():
        slope = by_run[trace.runs]
        information = problem.law.outputs[output].noise.location_information
        pulls += information * slope.T @ (slope[:, trace.places] @ coefficients)
        distances += information * ((off @ slope[:, trace.places].T) ** 2).sum(axis=1)
    return knots, pulls, float(distances.max(initial=0.0))


def _of_all(problem: Penalised, z: np.ndarray, spreads: dict[str, float], unit: np.ndarray, floor: Block) -> _Trace:
    """Return how all else goes along with a floor that is one for all runs."""
    points, rises = _points(problem, z, spreads, [floor.where.start])
    steps = (points - z) * unit
    return _Trace(
        runs=np.ones(len(problem.runs), dtype=bool),
        places=np.arange(problem.size),
        values=steps[:, floor.where.start] * float(floor.plan.prior.sigma),
        steps=steps,
        near=rises < 0.5 * _NEAR**2,
        held=_shared(problem) / unit**2,
    )


def _of_cell(
    problem: Penalised,
    z: np.ndarray,
    spreads: dict[str, float],
    floor: str,
    groups: tuple[str, ...],
    told: np.ndarray,
    sd: float,
) -> _Trace:
    """Return how all that a cell's runs tell of goes along with its floor, whose standard deviation is given.

    As the cell has it by itself, with wide priors: what the sampler adds is the pull of its likelihood, and
    populations of any standard deviation hold against that as they do against any other.
    """
    if told.sum() < _FEWEST_RUNS or not all((part[told] > 0).any() for part in problem.has.values()):
        # too few runs, or none that shows some output, do not tell where the ridge lies
        none = np.zeros(0)
        return _Trace(runs=told, places=none.astype(int), values=none, steps=none[:, None], near=none > 0, held=none)
    cell = _Cell.of(problem, z, spreads, groups, told)
    alone = cell.problem
    held = [place for block in alone.blocks if block.plan.name == floor for place in _places(block)]
    start, _value = alone.climb(cell.start, cell.spreads, _FIRST_CLIMB, held=held)
    steps = (_points(alone, start, cell.spreads, held)[0] - start) * cell.units
    along = np.setdiff1d(np.arange(alone.size), alone.noise_entries)
    precision = np.divide(1.0, cell.units**2, out=np.zeros(alone.size), where=cell.units > 0)
    return _Trace(
        runs=told,
        places=cell.places[along],
        values=steps[:, held[0]],
        steps=steps[:, along],
        near=np.abs(steps[:, held[0]]) < _NEAR * sd,
        held=(_shared(problem)[cell.places] * precision)[along],
    )


def _shared(problem: Penalised) -> np.ndarray:
    """Return 1 for what all runs share, locations and the knots of their path, 0 for shifts of levels."""
    found = np.ones(problem.size)
    for block in problem.blocks:
        if block.offset and block.group != KNOT:
            found[block.where] = 0.0
    return found


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """One level of a group, or of several at once, as a study by itself.

    Parameters
    ----------
    problem, start, spreads
        Its log posterior, the place of the pilot's optimum in it, and standard deviations of what varies in it.
    places, units
        For each entry of its vector an entry of the vector of all runs that moves its runs alike, and what a step of
        one is there: locations as standard normals, shifts on the link scale.
    """

    problem: Penalised
    start: np.ndarray
    spreads: dict[str, float]
    places: np.ndarray
    units: np.ndarray

    @classmethod
    def of(
        cls, problem: Penalised, z: np.ndarray, spreads: dict[str, float], groups: tuple[str, ...], told: np.ndarray
    ) -> _Cell:
        """Return a cell of groups, from the pilot's optimum for all and which runs are in it."""
        runs = problem.runs.select(told)
        level = {group: int(problem.runs.codes(group)[told][0]) for group in groups}
        blocks = {(block.plan.name, block.group): block for block in problem.blocks}
        parts = told.size / told.sum()
        own_plans = (_by_itself(plan, spreads, level, parts, problem.runs, runs) for plan in problem.plans)
        alone = Penalised(problem.law, tuple(own_plans), runs)
        # a law's reference point is that of all runs
        alone.known.update(problem.runs.summaries())
        plans = {plan.name: plan for plan in problem.plans}
        start, places, units = np.zeros(alone.size), np.zeros(alone.size, dtype=int), np.zeros(alone.size)
        wide: dict[str, float] = {}
        for block in alone.blocks:
            name, where, plan = block.plan.name, block.where, plans[block.plan.name]
            if block.offset:
                # paths of the cell's levels and that of all are one here
                paths = [f"{group}:{KNOT}" for group in groups if f"{group}:{KNOT}" in plan.shared]
                sources = [*paths, KNOT] if block.group == KNOT else [str(block.group)]
                entries = [_matching(blocks[name, source], block, level) for source in sources]
                sds = np.array([spreads[spread_name(name, source)] for source in sources])
                # what all runs share is held by one prior, of which each cell has its part
                scale = float(np.linalg.norm(sds * [np.sqrt(parts) if source == KNOT else 1.0 for source in sources]))
                wide[spread_name(name, str(block.group))] = scale
                start[where] = sum(sd * z[there] for sd, there in zip(sds, entries, strict=True)) / scale
                places[where], units[where] = entries[0], scale
                continue
            places[where] = location = _matching(blocks[name, plan.separate], block, level)
            if plan.about_zero:
                continue
            prior = plan.prior if plan.separate is None else block.plan.prior
            link = prior.latent(z[location], NUMPY_LINKS)
            units[where] = 1 / _slope(prior, z[location])
            for group in reversed([group for group in plan.shared if group in level]):
                places[where] = shift = _matching(blocks[name, group], block, level)
                link = link + spreads[spread_name(name, group)] * z[shift]
                units[where] = 1.0
            start[where] = block.plan.prior.standard(prior.value(link, NUMPY_LINKS))
            units[where] *= _slope(block.plan.prior, start[where])
        return cls(problem=alone, start=start, spreads=wide, places=places, units=units)


def _by_itself(
    plan: ParameterPlan, spreads: dict[str, float], level: dict[str, int], parts: float, runs: Runs, own: Runs
) -> ParameterPlan:
    """Return the plan of a parameter for one cell alone, whose populations are part of the prior's width."""
    prior = plan.prior
    if plan.separate in level:
        prior = prior.map(lambda argument: float(argument[level[str(plan.separate)]]))
    elif plan.separate is not None:
        levels = runs.levels(plan.separate)
        kept = [levels.index(name) for name in own.levels(plan.separate)]
        prior = prior.map(lambda argument: np.asarray(argument)[kept])
    elif prior.family != "HalfNormal":
        # what all runs share is held by one prior, of which each cell has its part
        sds = [spreads[spread_name(plan.name, group)] for group in plan.shared if group in level]
        wide = np.linalg.norm([prior.sigma, *sds]) if sds else prior.sigma * np.sqrt(parts)
        prior = replace(prior, sigma=float(wide))
    if plan.knots is not None:
        shared = (KNOT, *(group for group in plan.shared if owner_of(group) not in ("", *level)))
    else:
        shared = tuple(group for group in plan.shared if group not in level)
    return replace(plan, prior=prior, separate=None if plan.separate in level else plan.separate, shared=shared)


def _places(block: Block) -> range:
    return range(block.where.start, block.where.stop)


def _matching(there: Block, here: Block, level: dict[str, int]) -> np.ndarray:
    """Return the entries of a block of all runs' vector that stand for those of a block of one cell's."""
    group = str(there.group) if there.plan.knots is None else owner_of(str(there.group))
    if group in level:
        first = there.where.start + len(here.labels) * level[group]
        return np.arange(first, first + len(here.labels))
    return np.array([there.where.start + there.labels.index(label) for label in here.labels])


def _slope(prior: ResolvedPrior, z: np.ndarray) -> np.ndarray:
    """Return the slope of the link scale by the standard normal."""
    above, below = prior.latent(z + _STEP, NUMPY_LINKS), prior.latent(z - _STEP, NUMPY_LINKS)
    found: np.ndarray = (above - below) / (2 * _STEP)
    return found


def _points(
    problem: Penalised, z: np.ndarray, spreads: dict[str, float], held: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return optima with the first of the entries held at values about its own, and how much less likely they are.

    In the entry's rising order; the other entries that are held stay.
    """
    first = problem.objective(z, spreads)
    free = np.setdiff1d(np.arange(problem.size), [*held[1:], *problem.noise_entries])
    own = int(np.searchsorted(free, held[0]))
    points, rises, stride = [z], [0.0], 0.0
    for side in (1, -1):
        at = z
        for _ in range(_MOST_POINTS):
            covariance = np.linalg.inv(problem.curvature(at, spreads)[1][np.ix_(free, free)])
            stride = stride or _STRIDE * float(np.sqrt(covariance[own, own]))
            # along the ridge as it runs here: off it, runs are many standard deviations away, and climbing is slow
            at = at.copy()
            at[free] += side * stride * covariance[:, own] / covariance[own, own]
            at, value = problem.climb(at, spreads, _CLIMB, held=held)
            if not value - first < _LOWEST:
                break
            points.append(at)
            rises.append(value - first)
    order = np.argsort([point[held[0]] for point in points])
    return np.array(points)[order], np.array(rises)[order]
