"""A fitted law's values at scenarios, and its parameters there: of levels seen and unseen, on paths drawn on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesfit.correlation import correlated_of, correlations
from bayesfit.errors import SpecError
from bayesfit.expression import SEEN
from bayesfit.knots import LABELS, owner_of
from bayesfit.pooling import ParameterPlan, spread_name
from bayesfit.priors import NUMPY_LINKS
from bayesfit.runs import level_names

if TYPE_CHECKING:
    from bayesfit.fitting import Fit

#: Roles of parameters that move an output off the law, in order.
_MOVES = ("structure", "run")
#: By group and level never seen, how often each draw of it is drawn anew.
Again = dict[tuple[str, str], np.ndarray]
#: Most often that a draw is.
_MOST_AGAIN = 1000


def law_values(
    fit: Fit, table: pd.DataFrame, seen: Mapping[str, xr.DataArray] | None = None
) -> tuple[dict[str, xr.DataArray], dict[str, xr.DataArray]]:
    """Evaluate the law at scenarios.

    Parameters
    ----------
    fit
        The fit.
    table
        Scenarios as `read_scenarios` gives them.
    seen
        What the scenarios showed of outputs, for equations that read ``seen.x``, with dim scenario (and those
        of draws); NaN where nothing. What the law says of them by default.

    Returns
    -------
    tuple
        Draws of every equation, and of every noise scale; dims (chain, draw, scenario).
    """
    known, scales = _known(fit, table, seen)
    return fit.law.mean(known), scales


def before_moves(fit: Fit, table: pd.DataFrame, output: str) -> dict[str, xr.DataArray]:
    """Return draws of an output before each of what moves it off the law.

    Parameters
    ----------
    fit, table
        As in `law_values`.
    output
        An output that runs show; other equations have no error of their own.

    Returns
    -------
    dict
        In order, as far as the fit has them: ``structure``, before paths of the law's error move this output and those
        that it follows from, and ``run``, before shifts of a training run do.
    """
    roles = {name: part.role for name, part in fit.law.parameters.items() if part.role in _MOVES}
    moves = [role for role in _MOVES if role in roles.values() and output in fit.law.outputs]
    known = _known(fit, table, None)[0] if moves else {}
    found = {}
    for place, move in enumerate(moves):
        still = {name: xr.zeros_like(known[name]) for name, role in roles.items() if role in moves[place:]}
        found[move] = fit.law.mean(known | still)[output]
    return found


def _known(
    fit: Fit, table: pd.DataFrame, seen: Mapping[str, xr.DataArray] | None
) -> tuple[dict[str, Any], dict[str, xr.DataArray]]:
    """Return what a law's equations read at scenarios, and draws of every noise scale."""
    known: dict[str, Any] = dict(fit.runs.summaries())
    for name in fit.law.inputs:
        known[name] = xr.DataArray(table[name].to_numpy(float), dims="scenario")
    latent = fit.idata["latent"].to_dataset()
    again = _draws_again(fit, latent, table)
    values = {plan.name: _at_scenarios(fit, plan, latent, table, again) for plan in fit.plans}
    noises = set(fit.law.sigmas.values())
    for name, shown in (seen or {}).items():
        has = np.isfinite(shown)
        known |= {f"{SEEN}.{name}": shown.where(has, 1.0), f"has.{name}": has.astype(float)}
    known |= {name: value for name, value in values.items() if name not in noises}
    return known, {name: value for name, value in values.items() if name in noises}


def seen_in(fit: Fit, table: pd.DataFrame) -> dict[str, xr.DataArray]:
    """Return what a table of runs shows of the outputs that other equations read."""
    return {name: xr.DataArray(table[name].to_numpy(float), dims="scenario") for name in fit.law.linked}


def _draws_again(fit: Fit, latent: xr.Dataset, table: pd.DataFrame) -> Again:
    """Return how often each level never seen is drawn anew, until its parameters are in the order that the law needs.

    A floor above its ceiling turns a law over, or has it fall without end. Runs and priors see to the order in levels
    that were seen; one never seen has floor and ceiling from two populations, and follows them where the law is one.

    Raises
    ------
    SpecError
        If hardly any draw of the population is a law.
    """
    pairs = [(part.above, name) for name, part in fit.law.parameters.items() if part.above]
    plans = {plan.name: plan for plan in fit.plans}
    groups = {group for pair in pairs for name in pair if name in plans for group in plans[name].dims}
    shape = latent.sizes["chain"], latent.sizes["draw"]
    again = {
        (group, level): np.zeros(shape, dtype=int)
        for group in groups
        for level in {*level_names(table, group)} - {*fit.runs.levels(group)}
    }
    if not again:
        return again
    # levels alone decide: one row each that has a new one
    table = table.drop_duplicates([*fit.pooling.columns])
    table = table[np.any([level_names(table, group) == level for group, level in again], axis=0)]
    rows = {(group, level): (level_names(table, group) == level).to_numpy() for group, level in again}
    grid = xr.DataArray(np.zeros((*shape, len(table)), dtype=bool), dims=("chain", "draw", "scenario"))

    def value(name: str) -> Any:
        return _at_scenarios(fit, plans[name], latent, table, again) if name in plans else fit.law.fixed[name]

    for _ in range(_MOST_AGAIN):
        wrong = [(grid | ~(value(upper) > value(lower))).transpose(*grid.dims).values for lower, upper in pairs]
        bad = np.any(wrong, axis=0)
        if not bad.any():
            return again
        for key, count in again.items():
            count += bad[..., rows[key]].any(axis=-1)
    order = ", ".join(f"{upper} above {lower}" for lower, upper in pairs)
    raise SpecError(
        f"law {fit.law.id} is hardly ever a law at a level that the fit never saw: it needs {order}, and "
        f"{_MOST_AGAIN} draws of the populations were not so; pool one of them completely, or name a level that was "
        "fitted"
    )


def _at_scenarios(fit: Fit, plan: ParameterPlan, latent: xr.Dataset, table: pd.DataFrame, again: Again) -> xr.DataArray:
    """Return a parameter's draws at each scenario; levels never seen are drawn from the population."""
    if plan.knots is not None:
        return _drifted(fit, plan, latent, table)
    location = latent[f"{plan.name}_location"]
    offsets = {group: latent[f"{plan.name}_offset_{group}"] for group in plan.shared}
    codes: dict[str, xr.DataArray] = {}
    for group in plan.dims:
        seen, names = fit.runs.levels(group), level_names(table, group)
        new = [level for level in pd.unique(names) if level not in seen]
        order = {level: code for code, level in enumerate((*seen, *new))}
        codes[group] = xr.DataArray([order[level] for level in names], dims="scenario")
        for level in new:
            count = again.get((group, level))
            z = _population_draws(fit, plan.name, group, level, location, count)
            if group in plan.shared:
                if group == plan.correlated:
                    z = _correlated_draws(fit, plan.name, group, level, location, count)
                drawn = fit.posterior[spread_name(plan.name, group)] * z
                offsets[group] = xr.concat([offsets[group], drawn.assign_coords({group: level})], dim=group)
            else:
                plan, location = _with_new_level(plan, location, z, group, level)

    def at(piece: Any, group: str) -> Any:
        return piece.isel({group: codes[group]})

    value: xr.DataArray = plan.value(location, offsets, NUMPY_LINKS, at)
    return value


def _population_draws(
    fit: Fit, parameter: str, group: str, level: str, like: xr.DataArray, again: np.ndarray | None = None
) -> xr.DataArray:
    """Return a standard normal per draw for a level never seen: the same wherever that level occurs.

    Where `again` is not zero it is the one drawn so many times after the first.
    """
    chains = {"chain": like["chain"], "draw": like["draw"]}
    shape = tuple(like.sizes[dim] for dim in chains)
    drawn = np.empty(shape)
    counts = np.zeros(shape, dtype=int) if again is None else again
    for count in np.unique(counts):
        words = [parameter, group, level, *([str(count)] if count else [])]
        digest = hashlib.sha256("\0".join(words).encode()).digest()
        rng = np.random.default_rng([fit.seed, *np.frombuffer(digest[:16], dtype=np.uint32)])
        drawn[counts == count] = rng.standard_normal(shape)[counts == count]
    return xr.DataArray(drawn, dims=tuple(chains), coords=chains)


def _correlated_draws(
    fit: Fit, parameter: str, group: str, level: str, like: xr.DataArray, again: np.ndarray | None
) -> xr.DataArray:
    """Return what `_population_draws` gives, correlated with the other parameters of that level."""
    _, names = correlated_of(fit.plans)
    place = names.index(parameter)
    normals = [_population_draws(fit, name, group, level, like, again) for name in names[: place + 1]]
    row = np.linalg.cholesky(correlations(fit.posterior, group, names))[..., place, : place + 1]
    stacked = np.stack([one.transpose("chain", "draw").values for one in normals], axis=-1)
    return normals[place].copy(data=(row * stacked).sum(axis=-1))


def _with_new_level(
    plan: ParameterPlan, location: xr.DataArray, z: xr.DataArray, group: str, level: str
) -> tuple[ParameterPlan, xr.DataArray]:
    """Add a level to a parameter whose levels stand on their own: it follows the prior, averaged over levels."""
    average = plan.prior.map(lambda argument: argument.mean(group))
    added = average.latent(z, NUMPY_LINKS).assign_coords({group: level})
    prior = replace(
        plan.prior,
        **{
            name: xr.concat(
                [getattr(plan.prior, name), getattr(average, name).assign_coords({group: level})], dim=group
            )
            for name in plan.prior.arguments
        },
    )
    return replace(plan, prior=prior), xr.concat([location, added], dim=group)


def _drifted(fit: Fit, plan: ParameterPlan, latent: xr.Dataset, table: pd.DataFrame) -> xr.DataArray:
    """Return the draws of a path at each scenario: as sampled inside the runs, and beyond them drawn on."""
    assert plan.knots is not None

    def values(name: str) -> np.ndarray:
        return table[name].to_numpy(float)

    inside = plan.knots.inside(values)
    names, beyond = plan.knots.beyond(values)
    like = latent[f"{plan.name}_location"].transpose("chain", "draw")
    total = np.zeros((*like.shape, len(table)))
    for group in plan.shared:
        owner = owner_of(group)
        spread = fit.posterior[spread_name(plan.name, group)].transpose("chain", "draw").values[..., None]
        sampled = latent[f"{plan.name}_offset_{group}"].transpose("chain", "draw", group)
        levels = level_names(table, owner) if owner else pd.Series("", index=table.index)
        for level in pd.unique(levels):
            rows = np.flatnonzero(levels == level)
            mine = f"{level}:" if owner else ""

            def drawn(knots: Sequence[str], group: str = group, mine: str = mine) -> np.ndarray:
                normals = [_population_draws(fit, plan.name, group, f"{mine}{knot}", like).values for knot in knots]
                return np.stack(normals, axis=-1) if normals else np.zeros((*like.shape, 0))

            if not owner or level in fit.runs.levels(owner):
                path = sampled.sel({group: [f"{mine}{knot}" for knot in LABELS]}).values
            else:
                path = spread * drawn(LABELS)
            total[..., rows] += path @ inside[rows].T + (spread * drawn(names)) @ beyond[rows].T
    return xr.DataArray(
        total, dims=("chain", "draw", "scenario"), coords={"chain": like["chain"], "draw": like["draw"]}
    )
