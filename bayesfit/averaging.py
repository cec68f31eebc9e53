"""Forecasts averaged over law forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesfit.errors import SpecError, nearest

if TYPE_CHECKING:
    from bayesfit.comparison import Comparison
    from bayesfit.fitting import Fit
    from bayesfit.forecast import Forecast


#: Weights below this count as zero.
_LEAST = 1e-3


def average(
    fits: Mapping[str, Fit],
    scenarios: pd.DataFrame | Mapping[str, Any],
    *,
    weights: Comparison | Mapping[str, float],
    by: Literal["rolling", "loo"] = "rolling",
    output: str | None = None,
    allow_unconverged: bool = False,
    seed: int = 0,
) -> Forecast:
    """Forecast with several laws at once, each in proportion to its weight.

    Parameters
    ----------
    fits
        Fits by name.
    scenarios
        As in `Fit.forecast`; every input of every law.
    weights
        A comparison of these fits, or a weight for each; shares under a thousandth count as zero.
    by
        Which of the comparison's stacking weights to use: of rolling-origin forecasts, which is what a
        forecast beyond the data needs, or of leave-one-out.
    output
        The output to forecast, where the laws have several.
    allow_unconverged
        Forecast from fits whose diagnostics fail; the result says so.
    seed
        Seed of the choice of draws.

    Returns
    -------
    Forecast
        Draws of all laws, shuffled, with the coordinate ``law`` along ``draw`` telling which each came
        from; ``forecast.draws.sel(...)`` and ``groupby("law")`` take them apart.

    Raises
    ------
    SpecError
        If a weight is missing or negative, all are zero, or the laws forecast different outputs.
    """
    shares = _shares(fits, weights, by)
    used = {name: fit for name, fit in fits.items() if shares[name] > 0}
    forecasts = {
        name: fit.forecast(scenarios, output=output, allow_unconverged=allow_unconverged) for name, fit in used.items()
    }
    outputs = {found.output for found in forecasts.values()}
    if len(outputs) > 1:
        raise SpecError(f"these laws forecast different outputs: {', '.join(sorted(outputs))}")
    total = min(found.draws.sizes["chain"] * found.draws.sizes["draw"] for found in forecasts.values())
    rng = np.random.default_rng(seed)
    counts = dict(zip(used, _counts(np.array([shares[name] for name in used]), total), strict=True))
    # the same draws of the law's value and of the run's score, so that components can be told apart
    chosen = {
        name: rng.choice(found.draws.sizes["chain"] * found.draws.sizes["draw"], counts[name], replace=False)
        for name, found in forecasts.items()
    }
    order = rng.permutation(total)
    labels = np.concatenate([np.repeat(name, counts[name]) for name in used])[order]

    def mixed(part: str) -> xr.DataArray:
        pieces = []
        for name, found in forecasts.items():
            values = getattr(found, part).transpose("chain", "draw", "scenario").values
            pieces.append(values.reshape(-1, values.shape[-1])[chosen[name]])
        values = np.concatenate(pieces)[order][None]
        coords = {"chain": [0], "draw": np.arange(total), "law": ("draw", labels)}
        return xr.DataArray(values, dims=("chain", "draw", "scenario"), coords=coords)

    first = next(iter(forecasts.values()))
    return replace(
        first,
        expected=mixed("expected"),
        draws=mixed("draws"),
        distance=np.max([found.distance for found in forecasts.values()], axis=0),
        converged=all(found.converged for found in forecasts.values()),
    )


def _shares(
    fits: Mapping[str, Fit], weights: Comparison | Mapping[str, float], by: Literal["rolling", "loo"]
) -> dict[str, float]:
    """Return the weight of each fit, adding up to one."""
    if isinstance(weights, Mapping):
        found = {str(name): float(weight) for name, weight in weights.items()}
    else:
        column = f"{by}_weight"
        if column not in weights.table:
            raise SpecError(f"the comparison has no weights by '{by}'; compare with rolling=True, or average by 'loo'")
        found = {str(name): float(weight) for name, weight in weights.table[column].items()}
    for name in fits:
        if name not in found:
            raise SpecError(f"there is no weight for '{name}'{nearest(name, found)}; there are {', '.join(found)}")
    for name, weight in found.items():
        if name not in fits:
            raise SpecError(f"there is a weight for '{name}' and no such fit{nearest(name, fits)}")
        if not weight >= 0:
            raise SpecError(f"weights must be zero or more, found {weight} for '{name}'")
    total = sum(found.values())
    if total == 0:
        raise SpecError("all weights are zero")
    # a law that would hardly get a draw is left out, and with it the question whether its fit converged
    kept = {name: weight / total if weight / total >= _LEAST else 0.0 for name, weight in found.items()}
    return {name: weight / sum(kept.values()) for name, weight in kept.items()}


def _counts(shares: np.ndarray, total: int) -> list[int]:
    """Return whole numbers that add up to `total`, in these shares up to one."""
    exact = shares * total
    counts = np.floor(exact).astype(int)
    for place in np.argsort(counts - exact)[: total - counts.sum()]:
        counts[place] += 1
    return [int(count) for count in counts]
