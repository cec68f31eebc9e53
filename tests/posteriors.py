"""Fits whose posterior is made up, so that what follows from it is known exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import bayesfit as bf
from bayesfit.diagnostics import Diagnostics
from bayesfit.pooling import Pooling, plan_parameters

FAMILIES = ("oak", "elm", "ash")
CHAINS, DRAWS = 2, 150


def made_fit(runs: bf.Runs, law: bf.Law, values: Mapping[str, Any], by: Sequence[str] = ()) -> bf.Fit:
    """Return a fit with a made posterior.

    `values` holds a number for each parameter and noise scale, draws of shape (chain, draw), or draws with a
    last axis along the first group of `by`; a mapping of levels to either serves too.
    """
    group = by[0] if by else ""
    levels = runs.levels(group) if by else ()
    arrays: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            arrays[name] = np.stack([np.broadcast_to(value[level], (CHAINS, DRAWS)) for level in levels], axis=-1)
        else:
            arrays[name] = np.broadcast_to(value, np.broadcast_shapes(np.shape(value), (CHAINS, DRAWS)))
    separate: dict[str, Any] = {group: "none", **dict.fromkeys(by[1:], "complete")}
    how: dict[str, Any] = {name: separate if arrays[name].ndim == 3 else "complete" for name in law.free}
    pooling = Pooling(by=tuple(by), how={**how, "noise": "complete"} if by else {})
    coords: dict[str, Any] = {"chain": np.arange(CHAINS), "draw": np.arange(DRAWS)}
    draws = {
        name: xr.DataArray(
            array,
            dims=("chain", "draw", *([group] if array.ndim == 3 else [])),
            coords=coords | ({group: list(levels)} if array.ndim == 3 else {}),
        )
        for name, array in arrays.items()
    }
    latent = {
        f"{plan.name}_location": plan.prior.link(draws[plan.name]) for plan in plan_parameters(law, runs, pooling)
    }
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(draws), "latent": xr.Dataset(latent)})
    fit = bf.Fit(law=law, runs=runs, pooling=pooling, idata=tree, provenance={"seed": 1})
    # what is made up has no diagnostics to fail
    fit.__dict__["_diagnostics"] = Diagnostics(results=())
    return fit


def family_runs(law: bf.Law, **more: Any) -> bf.Runs:
    flops = np.geomspace(1e20, 1e23, 6)
    parts = [pd.DataFrame({"family": name, "flops": flops * (1 + i)}) for i, name in enumerate(FAMILIES)]
    table = pd.concat(parts, ignore_index=True).assign(**more)
    output = next(iter(law.outputs))
    table[output] = np.linspace(0.3, 0.9, len(table))
    return bf.Runs.from_frame(table, law=law, inputs=[*law.inputs], groups=["family"])


def normal(seed: int, mean: float, sd: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, (CHAINS, DRAWS))


def lines(slope: Any = 0.4) -> bf.Fit:
    """Return families on parallel lines in log compute, whose ratios are known in each draw."""
    law = bf.law("family_efficiency")
    nu = {name: normal(i, mean, 0.1) for i, (name, mean) in enumerate(zip(FAMILIES, (0.0, 0.5, -0.3), strict=True))}
    return made_fit(family_runs(law), law, {"nu": nu, "theta": slope, "sigma": 0.2}, ["family"])
