"""A pilot fit that gives NUTS coordinates in which the posterior is round.

The model is written in standard normals `z`: locations, and for each partially pooled parameter its
levels' shifts in units of the population's standard deviation. A quadratic approximation of the
likelihood about the pilot's optimum, with information `F` and pull `h` on (locations, shifts), turns
into one of the posterior for *any* standard deviations `T`: precision ``T F T + 1`` and pull ``T h``.
The sampler moves `w`, with ``z = C^-T (w + C^-1 T h)`` and ``C C' = T F T + 1``, which is about a
standard normal whatever `T`. So a well-determined level is sampled centred, a poorly determined one
non-centred, everything in between as it should be, and the ridges (floor against exponent, amplitude
against exponent, centre against shifts) are gone. Only coordinates change, not the posterior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesfit.card import Law
from bayesfit.correlation import correlated_of
from bayesfit.errors import SpecError
from bayesfit.expression import SEEN
from bayesfit.knots import owner_of
from bayesfit.pooling import Block, layout, levels_of, outcomes, population_of, spread_name, spreading
from bayesfit.priors import NUMPY_LINKS

if TYPE_CHECKING:
    from bayesfit.pooling import ParameterPlan
    from bayesfit.runs import Runs

#: Up to this many entries, one matrix is factored whole.
_ONE_MATRIX = 60
#: Draws whose matrices are factored at once.
_BLOCK = 500
_STEP = 1e-6
_ROUNDS = 8
_ITERATIONS = 60
_STARTS = 6
#: Iterations of a climb between two adjustments of the noise scales, and the gain below which a start is done.
_CLIMB = 25
_GAIN = 1e-2


@dataclass(frozen=True)
class Geometry:
    """Coordinates for sampling.

    Parameters
    ----------
    information, pull
        Quadratic approximation of the log likelihood over locations (as standard normals) and shifts
        (on the link scale): its matrix, and its slope at zero.
    spreads
        The pilot's standard deviation of each parameter over each group, as a start.
    entries, centre, root
        The locations that a population makes correlated: with it the place in a parameter's own prior is
        ``centre + root @ z``; see `bayesfit.pooling.population_of`.
    """

    information: np.ndarray
    pull: np.ndarray
    spreads: dict[str, float]
    entries: np.ndarray
    centre: np.ndarray
    root: np.ndarray

    def placed(self, z: np.ndarray) -> np.ndarray:
        """Return each entry's place in its parameter's own prior, or its shift, from standard normals (last axis)."""
        if not self.entries.size:
            return z
        places = z.copy()
        places[..., self.entries] = self.centre + z[..., self.entries] @ self.root.T
        return places


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

    def climb(self, z: np.ndarray, spreads: dict[str, float], iterations: int) -> tuple[np.ndarray, float]:
        """Return the optimum from `z`, the noise scales held, by damped Fisher scoring."""
        value, damping = self.objective(z, spreads), 1e-2
        if not np.isfinite(value):
            return z, np.inf
        for _ in range(iterations):
            gradient, information = self.curvature(z, spreads)
            gradient[self.noise_entries] = 0.0
            information[self.noise_entries] = information[:, self.noise_entries] = 0.0
            information[self.noise_entries, self.noise_entries] = 1.0
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
    for _ in range(_ROUNDS):
        z, _value = problem.climb(problem.settle(z, spreads), spreads, _ITERATIONS)
        information = problem.curvature(z, spreads)[1]
        variance = np.diag(np.linalg.inv(information))
        for block in shared:
            name = spread_name(block.plan.name, str(block.group))
            # expectation-maximisation step for the population's standard deviation
            scale = spreads[name] * np.sqrt(np.mean(z[block.where] ** 2 + variance[block.where]))
            spreads[name] = float(np.clip(scale, 0.05 * block.plan.spread, 3 * block.plan.spread))
    # from units of the population's standard deviation to the link scale, the priors taken out
    unit = np.ones(problem.size)
    for block in shared:
        unit[block.where] = spreads[spread_name(block.plan.name, str(block.group))]
    gradient, information = problem.curvature(z, spreads)
    likelihood = (information - np.eye(problem.size)) / np.outer(unit, unit)
    pull = likelihood @ (z * unit) - (gradient - z) / unit
    return Geometry(
        information=likelihood,
        pull=pull,
        spreads=spreads,
        entries=problem.entries,
        centre=problem.centre,
        root=problem.root,
    )


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


def standard_normals(
    geometry: Geometry, blocks: tuple[Block, ...], w: np.ndarray, scale: np.ndarray, mixing: np.ndarray | None = None
) -> np.ndarray:
    """Return the standard normals of draws of the vector that the sampler moves.

    Parameters
    ----------
    geometry
        The coordinates.
    blocks
        The layout of the vector.
    w, scale
        Draws, and the populations' standard deviations (one for locations), one row a draw.
    mixing
        Where parameters correlate over a group, the root of the correlations of the leaves' columns, one
        matrix a draw.

    Notes
    -----
    The same map as the model's own (`bayesfit.build`), which need not be recorded then.
    """
    leaves = leaves_of(blocks)
    z = np.empty_like(w)
    if not leaves.size and (scale == 1).all():
        lower = np.linalg.cholesky(geometry.information + np.eye(w.shape[1]))
        return np.asarray(np.linalg.solve(lower.T, w.T + np.linalg.solve(lower, geometry.pull)[:, None]).T)
    for start in range(0, len(w), _BLOCK):
        rows = slice(start, start + _BLOCK)
        z[rows] = _normals_of(geometry, leaves, w[rows], scale[rows], None if mixing is None else mixing[rows])
    return z


def _normals_of(
    geometry: Geometry, leaves: np.ndarray, w: np.ndarray, scale: np.ndarray, mixing: np.ndarray | None
) -> np.ndarray:
    root = np.setdiff1d(np.arange(w.shape[1]), leaves)
    t = scale[:, root]
    within = t[:, :, None] * geometry.information[np.ix_(root, root)] * t[:, None, :] + np.eye(root.size)
    pulled, z = t * geometry.pull[root], np.empty_like(w)
    if leaves.size:
        s = scale[:, leaves]
        inner = geometry.information[leaves[:, :, None], leaves[:, None, :]]
        cross = geometry.information[leaves[:, :, None], root]
        spread = s[..., :, None] * (np.eye(leaves.shape[1]) if mixing is None else mixing[:, None])
        lowers = np.linalg.cholesky(spread.mT @ inner @ spread + np.eye(leaves.shape[1]))
        across = np.linalg.solve(lowers, spread.mT @ cross * t[:, None, None, :])
        pulls = np.linalg.solve(lowers, spread.mT @ geometry.pull[leaves][..., None])
        within = within - (across.mT @ across).sum(axis=1)
        pulled = pulled - (across.mT @ pulls).sum(axis=1)[..., 0]
    lower = np.linalg.cholesky(within)
    first = np.linalg.solve(lower.mT, w[:, root, None] + np.linalg.solve(lower, pulled[..., None]))
    z[:, root] = first[..., 0]
    if leaves.size:
        rest = np.linalg.solve(lowers.mT, w[:, leaves][..., None] + pulls - across @ first[:, None])
        z[:, leaves] = rest[..., 0]
    return z


def correlated_columns(blocks: tuple[Block, ...]) -> list[int]:
    """Return the columns of the leaves that correlate, in the order of their parameters."""
    group, _ = correlated_of([block.plan for block in blocks])
    columns = [block for block in blocks if block.group == group]
    return [place for place, block in enumerate(columns) if block.offset and block.plan.correlated]


def leaves_of(blocks: tuple[Block, ...]) -> np.ndarray:
    """Return the places of the leaves, one row a level; none where a single matrix is as quick.

    The group over which parameters correlate, or the one with most entries. The knots of a level's own path
    stand with it, behind its other entries.
    """
    size = blocks[-1].where.stop
    groups = {block.group for block in blocks if block.group is not None and block.plan.knots is None}
    none: np.ndarray = np.zeros((0, 0), dtype=int)
    correlated, _ = correlated_of([block.plan for block in blocks])
    if not correlated and (size <= _ONE_MATRIX or not groups):
        return none
    count = {group: sum(len(block.labels) for block in blocks if block.group == group) for group in groups}
    most = correlated or max(count, key=lambda group: count[group])
    columns = [np.arange(block.where.start, block.where.stop) for block in blocks if block.group == most]
    paths = [
        block for block in blocks if block.plan.knots is not None and block.group and owner_of(block.group) == most
    ]
    columns += [np.arange(block.where.start, block.where.stop).reshape(len(columns[0]), -1) for block in paths]
    return np.column_stack(columns)
