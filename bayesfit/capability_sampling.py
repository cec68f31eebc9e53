"""Run NUTS on the model of a benchmark table, and check its draws."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesfit.benchmark_table import BenchmarkTable
from bayesfit.components import principal_components
from bayesfit.diagnostics import Diagnostics, sampling_checks
from bayesfit.factors import build_model, find_frame, given

if TYPE_CHECKING:
    from bayesfit.sampling import Sampling

#: Draws made for each draw kept, and target acceptance, of the first attempt and of one where its checks fail.
_ATTEMPTS = ((1, 0.9), (3, 0.98))


def sample_capabilities(table: BenchmarkTable, method: str, factors: int, settings: Sampling) -> xr.DataTree:
    """Sample families' lines and target with the factors: together, or principal components that are taken as known.

    Parameters
    ----------
    table, method, factors
        As in `bayesfit.capability.capabilities`; factors are called ``f1``, ``f2``, ..., components ``pc1``, ...
    settings
        Must have a seed.

    Returns
    -------
    xarray.DataTree
        ``posterior`` and ``sample_stats``; for components also ``constant_data``: their `scores`, with a
        standard deviation of 1 over the models, and their `loadings`.
    """
    names = list(table.benchmarks)
    coords = {"model": list(table.models), "family": list(table.families), "benchmark": names}
    if method == "factor":
        coords["factor"] = [f"f{number + 1}" for number in range(factors)]
        return _sample(given(table, find_frame(table, factors), None), coords, settings)
    found = principal_components(pd.DataFrame(table.scores, columns=pd.Index(names)), names, factors)
    deviation = np.maximum(found.scores.to_numpy().std(axis=0), 1e-9)
    known = found.scores.to_numpy() / deviation
    coords["factor"] = list(found.scores.columns)
    tree = _sample(given(table, None, known), coords, settings)
    constant = xr.Dataset(
        {
            "scores": (("model", "factor"), known),
            "loadings": (("benchmark", "factor"), found.weights.to_numpy() * deviation),
        }
    )
    tree["constant_data"] = xr.DataTree(constant.assign_coords({str(dim): coords[str(dim)] for dim in constant.dims}))
    return tree


@lru_cache(maxsize=4)
def _compiled(shapes: tuple[tuple[str, tuple[int, ...]], ...], families: int, factors: int) -> Any:
    """Return the compiled model of all tables of one shape: compiling takes longer than sampling."""
    import nutpie

    model = build_model(dict(shapes), families, factors)
    return nutpie.compile_pymc_model(model, var_names=[value.name for value in model.deterministics])


def _sample(arrays: dict[str, np.ndarray], coords: dict[str, list[str]], settings: Sampling) -> xr.DataTree:
    """Return the draws; if their checks fail, those of a second attempt with more care."""
    from bayesfit.sampling import kept, run_nuts, statistics

    shapes = tuple((name, np.shape(array)) for name, array in arrays.items())
    vector = np.concatenate([np.ravel(array).astype(float) for array in arrays.values()])
    compiled = _compiled(shapes, len(coords["family"]), len(coords["factor"])).with_data(data=vector)
    tree = xr.DataTree()
    for number, (thin, accept) in enumerate(_ATTEMPTS, start=1):
        run = replace(settings, draws=settings.draws * thin, tune=settings.tune * thin)
        drawn = run_nuts(compiled, run, target_accept=accept)
        # the sampler's own vector says nothing that the named parameters do not
        posterior = drawn["posterior"].to_dataset().drop_vars("z", errors="ignore")
        posterior = posterior.assign_coords({dim: names for dim, names in coords.items() if dim in posterior.dims})
        stats = statistics(drawn, thin, accept, number)
        tree = xr.DataTree.from_dict({"posterior": kept(posterior, thin), "sample_stats": stats})
        if diagnose_draws(tree).passed:
            break
    return tree


def diagnose_draws(idata: xr.DataTree) -> Diagnostics:
    """Check convergence and sampling trouble of draws (``posterior``, ``sample_stats``) that come from no law."""
    more = "draw more (draws=4000, tune=2000), or take fewer factors"
    return Diagnostics(results=sampling_checks(idata, more))
