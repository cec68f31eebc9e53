"""The log posterior given the populations' standard deviations, with its Fisher information: no PyMC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesfit.card import Law
from bayesfit.expression import SEEN
from bayesfit.pooling import Block, layout, levels_of, outcomes, population_of, spread_name, spreading
from bayesfit.priors import NUMPY_LINKS

if TYPE_CHECKING:
    from bayesfit.pooling import ParameterPlan
    from bayesfit.runs import Runs

_STEP = 1e-6


class Penalised:
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
        means, deviations, mean_slopes, scale_slopes = self.slopes(z, spreads)
        gradient, information = z.copy(), np.eye(self.size)
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

    def slopes(self, z: np.ndarray, spreads: dict[str, float]) -> tuple[dict[str, np.ndarray], ...]:
        """Return each output's means and deviations, and the slopes of both by `z`, runs by entries.

        Slopes are in deviations, and those of the deviations by their logarithm.
        """
        rows = self.rows(z, spreads)
        n = len(next(iter(self.observed.values())))
        stacked = {
            output: np.broadcast_to(mean, (len(self.moving) + 1, n)) for output, mean in self.means(rows, _STEP).items()
        }
        means = {output: mean[0] for output, mean in stacked.items()}
        deviations = self.deviations(means, self.sigmas(rows))
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
        return means, deviations, mean_slopes, scale_slopes

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
