"""Leave-one-out scores of a fit, by ArviZ: PSIS-LOO with exact refits where it cannot be trusted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesfit.errors import SpecError, nearest
from bayesfit.scores import log_density, log_score

if TYPE_CHECKING:
    from bayesfit.fitting import Fit
    from bayesfit.runs import Runs

#: Most refits for runs that importance sampling cannot leave out.
MOST_REFITS = 40


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """Leave-one-out scores of one fit.

    Parameters
    ----------
    elpd
        ArviZ's result: pointwise log predictive densities in the output's own unit, Pareto k.
    high_k
        Runs whose Pareto k was too high for importance sampling.
    refitted
        How many of these (or how many groups) were left out by an exact refit.
    """

    elpd: Any
    high_k: int
    refitted: int

    @property
    def trusted(self) -> bool:
        """Whether every run with a high Pareto k was refitted."""
        return self.refitted >= self.high_k


def leave_one_out(fit: Fit, output: str, *, by: str | None = None, refits: int = MOST_REFITS) -> LeaveOneOut:
    """Score a fit by leaving out one run, or one level of a group, at a time.

    Parameters
    ----------
    fit
        The fit.
    output
        The output to score.
    by
        A group of the runs: every level is left out as a whole by an exact refit, and counts as one
        observation. Runs one by one, by importance sampling, if None.
    refits
        Runs with a Pareto k above 0.7 are refitted exactly, up to this many.

    Raises
    ------
    SpecError
        If the runs do not have the group, or it has one level.

    Notes
    -----
    Of a law in steps, what a run showed of the earlier ones is drawn, so that routes to an accuracy by way of the loss
    and without it are scored on the same task: from the inputs alone.
    """
    if by is not None:
        return _by_group(fit, output, by)
    import arviz as az

    posterior = fit.posterior[[plan.name for plan in fit.plans]]
    tree = xr.DataTree.from_dict(
        {
            "posterior": posterior,
            "log_likelihood": log_density(fit, fit.runs, output, drawn=True).to_dataset(name=output),
        }
    )
    with warnings.catch_warnings():
        # it is told in the comparison's own words
        warnings.simplefilter("ignore", UserWarning)
        found = az.loo(tree, var_name=output, pointwise=True)
    bad = int((found.pareto_k > found.good_k).sum())
    if not 0 < bad <= refits:
        return LeaveOneOut(elpd=found, high_k=bad, refitted=0)
    exact = az.reloo(_wrapper(fit, output, tree), loo_orig=found, var_name=output, pointwise=True)
    return LeaveOneOut(elpd=exact, high_k=bad, refitted=bad)


def refit(fit: Fit, runs: Runs) -> Fit:
    """Fit the same law in the same way to other runs, with fewer draws."""
    from bayesfit import backtesting

    return backtesting.refit(
        runs, fit.law, by=fit.pooling.by, pooling=fit.pooling.how, checkpoints=fit.pooling.checkpoints, seed=fit.seed
    )


def _wrapper(fit: Fit, output: str, tree: xr.DataTree) -> Any:
    """Return what ArviZ refits with."""
    import arviz as az

    # ArviZ has no types, so its class counts as Any
    class Refits(az.SamplingWrapper):  # type: ignore[misc]
        def sel_observations(self, idx: Any) -> tuple[Runs, Runs]:
            left_out = np.zeros(len(fit.runs), dtype=bool)
            left_out[np.flatnonzero(~np.isnan(fit.runs.values(output)))[np.ravel(idx)]] = True
            return fit.runs.select(~left_out), fit.runs.select(left_out)

        def sample(self, modified_observed_data: Runs) -> Fit:
            return refit(fit, modified_observed_data)

        def get_inference_data(self, fitted_model: Fit) -> Fit:
            return fitted_model

        def log_likelihood__i(self, excluded_obs: Runs, idata__i: Fit) -> xr.DataArray:
            return log_density(idata__i, excluded_obs, output, drawn=True).isel(run=0, drop=True)

    return Refits(model=None, idata_orig=tree)


def _by_group(fit: Fit, output: str, by: str) -> LeaveOneOut:
    """Leave out each level of a group; its runs' log predictive densities add up to one observation."""
    from arviz_stats.utils import ELPDDataLOO

    if by not in fit.runs.groups:
        raise SpecError(
            f"leave_out is 'run' or a group of the runs, found '{by}'{nearest(by, ('run', *fit.runs.groups))}; the "
            f"runs have {', '.join(fit.runs.groups) or 'none'}"
        )
    levels, codes = fit.runs.levels(by), fit.runs.codes(by)
    if len(levels) < 2:
        raise SpecError(f"every run has {by} '{levels[0]}': there is no other to learn from")
    sums, inside = [], log_score(fit, fit.runs, output)
    for code in range(len(levels)):
        left_out = codes == code
        sums.append(log_score(refit(fit, fit.runs.select(~left_out)), fit.runs.select(left_out), output).sum())
    scores = xr.DataArray(np.array(sums), dims=by, coords={by: list(levels)})
    elpd = ELPDDataLOO(
        elpd=float(scores.sum()),
        se=float(np.sqrt(len(levels) * scores.var(ddof=1))),
        p=float(inside.sum() - scores.sum()),
        n_samples=fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"],
        n_data_points=len(levels),
        scale="log",
        warning=False,
        good_k=0.7,
        elpd_i=scores,
        pareto_k=xr.zeros_like(scores),
    )
    return LeaveOneOut(elpd=elpd, high_k=0, refitted=len(levels))
