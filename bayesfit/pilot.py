"""The quick penalised fit from which the sampler's coordinates come, and posterior modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesfit.card import Law
from bayesfit.correlation import correlated_of
from bayesfit.errors import SpecError
from bayesfit.expression import SEEN
from bayesfit.geometry import Geometry
from bayesfit.pooling import Block, layout, levels_of, outcomes, population_of, spread_name, spreading
from bayesfit.priors import NUMPY_LINKS
from bayesfit.ridges import Ridge, displaced

if TYPE_CHECKING:
    from bayesfit.pooling import ParameterPlan
    from bayesfit.runs import Runs

_STEP = 1e-6
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
#: Along a ridge: standard deviations of the floor between points, points to a side at most, at least in all, and how
#: much less likely (natural log) the last may be.
_STRIDE = 0.5
_MOST_POINTS = 10
_FEWEST_POINTS = 4
_LOWEST = 8.0
#: A ridge is followed that within this much of log density (two standard deviations) is off the straight line by more
#: than this squared distance, in standard deviations across it.
_NEAR = 2.0
_STRAIGHT = 1.0
#: The same for a floor that does not vary over groups: such fits mix well until ridges bend more.
_STRAIGHT_ALONE = 9.0
#: Fewest runs a parameter with which such a floor's ridge is followed. With fewer, noise may be anything, and where the
#: ridge lies depends on it.
_RUNS_ALONE = 2


class _Pilot:
    """The log posterior in `z`, given the populations' standard deviations, with its Fisher information."""

    def __init__(self, law: Law, plans: tuple[ParameterPlan, ...], runs: Runs) -> None:
        self.law, self.plans, self.runs = law, plans, runs
        self.blocks = layout(plans, levels_of(plans, runs))
        # which entries of a block each run takes, with their weights
        self.spreading = {
            (block.plan.name, str(block.group)): spreading(block.plan, str(block.group), runs)
            for block in self.blocks
            if block.group is not None
        }
        self.size = self.blocks[-1].where.stop
        self.entries, self.centre, self.root = population_of(law, self.blocks)
        self.known = {name: runs.values(name) for name in law.inputs} | runs.summaries()
        self.noise_of = law.sigmas
        self.noise_entries = np.flatnonzero(
            np.concatenate(
                [np.full(len(block.labels), block.plan.name in self.noise_of.values()) for block in self.blocks]
            )
        )
        self.priors = {plan.name: plan.prior.map(np.asarray) for plan in plans}
        self.priors_by_run = {
            plan.name: prior if plan.separate is None else prior.map(_picked(runs.codes(plan.separate)))
            for plan, prior in zip(plans, self.priors.values(), strict=True)
        }
        self.moving = [plan.name for plan in plans if plan.name not in self.noise_of.values()]
        self.observed, self.measured, self.trials, self.has = {}, {}, {}, {}
        for output, spec in law.outputs.items():
            shown = outcomes(law, output, runs)
            values, self.has[output], self.trials[output] = shown.values, shown.has, shown.trials
            if output in law.linked:
                self.known |= {f"{SEEN}.{output}": values, f"has.{output}": self.has[output]}
            self.observed[output] = spec.noise.observed(values)
            se = None if runs.loss_se is None or output != "loss" else runs.loss_se
            self.measured[output] = 0.0 if se is None else spec.noise.measured(se, values)

    def placed(self, z: np.ndarray) -> np.ndarray:
        """Return `z` with the places of a population's parameters in their own priors."""
        if not self.entries.size:
            return z
        places = z.copy()
        places[self.entries] = self.centre + self.root @ z[self.entries]
        return places

    def rows(self, z: np.ndarray, spreads: dict[str, float]) -> dict[str, np.ndarray]:
        """Return each parameter's link-scale value in each run."""
        z = self.placed(z)
        rows: dict[str, np.ndarray] = {}
        for block in self.blocks:
            piece = z[block.where]
            if block.offset:
                spread = spreads[spread_name(block.plan.name, str(block.group))]
                for code, weight in self.taken(block):
                    rows[block.plan.name] = rows[block.plan.name] + spread * weight * piece[code]
            else:
                ((code, _),) = self.taken(block)
                rows[block.plan.name] = self.priors[block.plan.name].latent(piece, NUMPY_LINKS)[code]
        return rows

    def taken(self, block: Block) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return which entries of a block each run takes, and with what weight."""
        if block.group is None:
            n = len(next(iter(self.observed.values())))
            return [(np.zeros(n, dtype=int), np.ones(n))]
        return self.spreading[block.plan.name, block.group]

    def value(self, name: str, u: np.ndarray) -> Any:
        """Return a parameter in each run from its link-scale values."""
        return self.priors_by_run[name].value(u, NUMPY_LINKS)

    def means(self, rows: dict[str, np.ndarray], step: float = 0.0) -> dict[str, np.ndarray]:
        """Return each output's mean on the scale on which it scatters.

        With a step also the means after a step of each moving parameter in turn, below each other: one
        evaluation of the law for all takes little longer than one for the first.
        """
        values: dict[str, Any] = dict(self.known)
        with np.errstate(all="ignore"):
            for name, u in rows.items():
                values[name] = self.value(name, u)
            if step:
                for place, name in enumerate(self.moving):
                    stacked = np.repeat(np.asarray(values[name])[None], len(self.moving) + 1, axis=0)
                    stacked[place + 1] = self.value(name, rows[name] + step)
                    values[name] = stacked
            found = self.law.mean(values, NUMPY_LINKS)
            return {output: part.noise.observed(found[output]) for output, part in self.law.outputs.items()}

    def sigmas(self, rows: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return each output's noise scale, measured errors included; zero for counts that have none."""
        found: dict[str, Any] = dict.fromkeys(self.law.outputs, 0.0)
        with np.errstate(all="ignore"):
            for output, name in self.noise_of.items():
                sigma = self.value(name, rows[name])
                found[output] = np.sqrt(sigma**2 + self.measured[output] ** 2)
        return found

    def deviations(self, means: dict[str, np.ndarray], sigmas: dict[str, Any]) -> dict[str, np.ndarray]:
        """Return about how far each output lies from its mean."""
        with np.errstate(all="ignore"):
            return {
                output: part.noise.deviation(means[output], sigmas[output], self.trials[output])
                for output, part in self.law.outputs.items()
            }

    def objective(self, z: np.ndarray, spreads: dict[str, float]) -> float:
        """Return minus the log posterior."""
        rows = self.rows(z, spreads)
        means, sigmas = self.means(rows), self.sigmas(rows)
        total = 0.5 * float(z @ z)
        with np.errstate(all="ignore"):
            for output, observed in self.observed.items():
                noise, trials = self.law.outputs[output].noise, self.trials[output]
                total -= float(np.sum(self.has[output] * noise.logpdf(observed, means[output], sigmas[output], trials)))
        return total if np.isfinite(total) else np.inf

    def curvature(self, z: np.ndarray, spreads: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient of `objective` and its Fisher information.

        The noise scales' part is that of their marginal posterior: each run counts for one less what
        the law's parameters take of it (its leverage). Otherwise few runs, which the law can fit
        exactly, would have a mode at no noise at all, where there is hardly any posterior mass.
        """
        rows = self.rows(z, spreads)
        n = len(next(iter(self.observed.values())))
        stacked = {
            output: np.broadcast_to(mean, (len(self.moving) + 1, n)) for output, mean in self.means(rows, _STEP).items()
        }
        means = {output: mean[0] for output, mean in stacked.items()}
        deviations = self.deviations(means, self.sigmas(rows))
        gradient, information = z.copy(), np.eye(self.size)
        mean_slopes = {output: np.zeros((n, self.size)) for output in self.observed}
        scale_slopes = {output: np.zeros((n, self.size)) for output in self.observed}
        for plan in self.plans:
            if plan.name in self.noise_of.values():
                shifted = self.deviations(means, self.sigmas({**rows, plan.name: rows[plan.name] + _STEP}))
                changes = {name: np.log(shifted[name] / deviations[name]) for name in self.observed}
                slopes = scale_slopes
            else:
                row = self.moving.index(plan.name) + 1
                changes = {name: (stacked[name][row] - means[name]) / deviations[name] for name in self.observed}
                slopes = mean_slopes
            for output, change in changes.items():
                # a run that lacks the output does not feel the slope
                slope = self.has[output] * np.nan_to_num(change / _STEP)
                self._spread_slope(slopes[output], plan, slope, self.placed(z), spreads)
        for by_output in (mean_slopes, scale_slopes):
            for slopes_of in by_output.values():
                slopes_of[:, self.entries] = slopes_of[:, self.entries] @ self.root
        for output in self.observed:
            information += self.law.outputs[output].noise.location_information * (
                mean_slopes[output].T @ mean_slopes[output]
            )
        covariance = np.linalg.inv(information)
        for output, observed in self.observed.items():
            noise = self.law.outputs[output].noise
            r = (observed - means[output]) / deviations[output]
            weight = noise.weight(r)
            for_mean, for_scale = mean_slopes[output], scale_slopes[output]
            leverage = noise.location_information * np.sum((for_mean @ covariance) * for_mean, axis=1)
            free = np.clip(1 - leverage, 0.0, 1.0)
            gradient -= for_mean.T @ (weight * r) + for_scale.T @ (weight * r**2 - free)
            information += noise.scale_information * for_scale.T @ (free[:, None] * for_scale)
        return gradient, information

    def _spread_slope(
        self, slopes: np.ndarray, plan: ParameterPlan, slope: np.ndarray, z: np.ndarray, spreads: dict[str, float]
    ) -> None:
        """Carry a slope by link-scale value over to the entries of `z` that make that value."""
        run = np.arange(len(slope))
        for block in self.blocks:
            if block.plan is not plan:
                continue
            for code, weight in self.taken(block):
                if block.offset:
                    factor: Any = spreads[spread_name(plan.name, str(block.group))] * weight
                else:
                    prior, piece = self.priors[plan.name], z[block.where]
                    factor = (prior.latent(piece + _STEP, NUMPY_LINKS) - prior.latent(piece, NUMPY_LINKS)) / _STEP
                    factor = np.asarray(factor)[code]
                slopes[run, block.where.start + code] += slope * factor

    def climb(
        self, z: np.ndarray, spreads: dict[str, float], iterations: int, held: Sequence[int] = ()
    ) -> tuple[np.ndarray, float]:
        """Return the optimum from `z`, the noise scales and other entries held, by damped Fisher scoring."""
        still = np.array([*self.noise_entries, *held], dtype=int)
        value, damping = self.objective(z, spreads), 1e-2
        if not np.isfinite(value):
            return z, np.inf
        for _ in range(iterations):
            gradient, information = self.curvature(z, spreads)
            gradient[still] = 0.0
            information[still] = information[:, still] = 0.0
            information[still, still] = 1.0
            improved = False
            while damping < 1e8:
                step = np.linalg.solve(information + damping * np.diag(np.diag(information)), gradient)
                trial = self.objective(z - step, spreads)
                if trial < value:
                    improved, gain = True, value - trial
                    z, value, damping = z - step, trial, max(damping / 5, 1e-9)
                    break
                damping *= 5
            if not improved or gain < 1e-6:
                break
        return z, value

    def settle(self, z: np.ndarray, spreads: dict[str, float]) -> np.ndarray:
        """Return `z` with the noise scales moved towards their marginal mode by a Fisher step."""
        gradient, information = self.curvature(z, spreads)
        part = np.ix_(self.noise_entries, self.noise_entries)
        moved = z.copy()
        moved[self.noise_entries] -= np.clip(np.linalg.solve(information[part], gradient[self.noise_entries]), -1, 1)
        return moved


def _picked(codes: np.ndarray) -> Callable[[Any], Any]:
    return lambda argument: argument[codes]


def pilot(law: Law, plans: tuple[ParameterPlan, ...], runs: Runs) -> Geometry:
    """Find coordinates for sampling from a quick penalised fit.

    Raises
    ------
    SpecError
        If the law has no finite value at any of several draws from its priors.
    """
    problem = _Pilot(law, plans, runs)
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
        ridges=_ridges(problem, z, spreads, unit, likelihood),
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


def _ridges(
    problem: _Pilot, z: np.ndarray, spreads: dict[str, float], unit: np.ndarray, information: np.ndarray
) -> tuple[Ridge, ...]:
    """Return how all else goes along with floors: the optimum of the rest with a floor held.

    None where the ridge is straight enough.
    """
    if problem.entries.size or correlated_of(problem.plans)[0]:
        return ()
    blocks = problem.blocks
    single = [block for block in blocks if not block.offset and block.group is None]
    sigmas = {block.plan.name: float(block.plan.prior.sigma) for block in single}
    found = []
    for block in single:
        floor = block.plan.name
        own = [other for other in blocks if other.plan.name == floor]
        if floor not in problem.moving or problem.law.parameters[floor].role != "floor":
            continue
        if len(own) == 1 and len(problem.runs) < _RUNS_ALONE * len(single):
            continue
        entries = [entry for other in own for entry in range(other.where.start, other.where.stop)]
        points, rises = _points(problem, z, spreads, entries)
        if len(points) < _FEWEST_POINTS:
            continue
        at = [[sigmas[floor]], z[block.where] * sigmas[floor], *((z * unit)[other.where] for other in own[1:])]
        ridge = Ridge.through(floor, (points - z) * unit, sigmas, np.concatenate(at), blocks)
        near = points[rises < _NEAR]
        off = displaced(near, np.tile(unit, (len(near), 1)), blocks, floor, ridge.tables, np)
        least = _STRAIGHT if len(own) > 1 else _STRAIGHT_ALONE
        if np.einsum("pi,ij,pj->p", off, information, off).max() > least:
            found.append(ridge)
    return tuple(found)


def _points(
    problem: _Pilot, z: np.ndarray, spreads: dict[str, float], entries: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return optima with a floor held at values about its own, in rising order, and how much less likely they are."""
    first, place = problem.objective(z, spreads), entries[0]
    free = np.setdiff1d(np.arange(problem.size), [*entries[1:], *problem.noise_entries])
    own = int(np.searchsorted(free, place))
    points, rises, stride = [z], [0.0], 0.0
    for side in (1, -1):
        at = z
        for _ in range(_MOST_POINTS):
            covariance = np.linalg.inv(problem.curvature(at, spreads)[1][np.ix_(free, free)])
            stride = stride or _STRIDE * float(np.sqrt(covariance[own, own]))
            # along the ridge as it runs here: off it, runs are many standard deviations away, and climbing is slow
            at = at.copy()
            at[free] += side * stride * covariance[:, own] / covariance[own, own]
            at, value = problem.climb(at, spreads, _CLIMB, held=entries)
            if not value - first < _LOWEST:
                break
            points.append(at)
            rises.append(value - first)
    order = np.argsort([point[place] for point in points])
    return np.array(points)[order], np.array(rises)[order]


def posterior_mode(law: Law, plans: tuple[ParameterPlan, ...], runs: Runs) -> dict[str, float]:
    """Return the parameters at the mode of the posterior of the standard normals; see `Fit.mode`."""
    from scipy.optimize import minimize

    problem = _Pilot(law, plans, runs)
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


def _start(problem: _Pilot, spreads: dict[str, float]) -> np.ndarray:
    """Return the best of a few climbs, from the middle of the priors and from draws of them.

    Laws of many parameters have several optima, which only show what they are worth once the noise
    scales have settled; the one around which most of the posterior lies, by Laplace's approximation, is
    best. Populations are searched with all levels alike.
    """
    if spreads:
        alike = _Pilot(problem.law, tuple(replace(plan, shared=()) for plan in problem.plans), problem.runs)
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
