"""Prior-data sensitivity of a fit, by ArviZ's power scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayesfit.correlation import CONCENTRATION, correlated_of, correlations
from bayesfit.pooling import layout, levels_of, population_of, spread_name
from bayesfit.priors import NUMPY_LINKS
from bayesfit.scores import log_density

if TYPE_CHECKING:
    from bayesfit.fitting import Fit


def sensitivity(fit: Fit) -> pd.DataFrame:
    """Return how far posteriors lean on priors and on runs; see `Fit.sensitivity`."""
    import arviz as az

    tree = xr.DataTree.from_dict(
        {
            "posterior": fit.posterior,
            "log_prior": xr.Dataset({"prior": log_prior(fit)}),
            "log_likelihood": xr.Dataset(
                {name: log_density(fit, fit.runs, name).rename(run=f"run_{name}") for name in fit.law.outputs}
            ),
        }
    )
    found = az.psense_summary(tree)
    return pd.DataFrame(found).rename_axis(index=None)


def log_prior(fit: Fit) -> xr.DataArray:
    """Return the log prior density of each draw (chain, draw): of centres and standard deviations over groups.

    What levels do within their population is part of the model and not of the prior.
    """
    latent = fit.idata["latent"].to_dataset()
    blocks = layout(fit.plans, levels_of(fit.plans, fit.runs))
    entries, centre, root = population_of(fit.law, blocks)
    together = {block.plan.name for block in blocks if not block.offset and block.where.start in set(entries.tolist())}
    total = xr.zeros_like(fit.posterior["chain"] * fit.posterior["draw"], dtype=float)
    places: list[xr.DataArray] = []
    for plan in fit.plans:
        for group in plan.shared:
            spread = fit.posterior[spread_name(plan.name, group)] / plan.spread
            # half-normal, or lognormal
            total = total - (0.5 * (np.log(spread) / plan.spread_sd) ** 2 if plan.spread_sd else 0.5 * spread**2)
        if plan.about_zero:
            continue
        place = plan.prior.standard(plan.prior.value(latent[f"{plan.name}_location"], NUMPY_LINKS))
        if plan.name in together:
            places.append(place)
        else:
            total = total - 0.5 * (place**2).sum([dim for dim in place.dims if dim not in ("chain", "draw")])
    group, correlated = correlated_of(fit.plans)
    if group:
        # the prior of Lewandowski, Kurowicka, Joe 2009
        determinants = np.linalg.slogdet(correlations(fit.posterior, group, correlated))[1]
        total = total + (CONCENTRATION - 1) * determinants
    if places:
        # in the order of the population's entries
        order = np.argsort(np.argsort(entries))
        stacked = xr.concat([places[i] for i in order], dim="entry").transpose("chain", "draw", "entry")
        z = np.linalg.solve(root, (stacked.values - centre)[..., None])[..., 0]
        total = total - 0.5 * (z**2).sum(axis=-1)
    return total
