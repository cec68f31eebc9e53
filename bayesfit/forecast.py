"""Posterior predictive forecasts of runs that were not made yet."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesfit.correlation import correlated_of, correlations
from bayesfit.errors import ConvergenceWarning, DataError, ExtrapolationWarning, NotConvergedError, SpecError
from bayesfit.expression import SEEN
from bayesfit.pooling import ParameterPlan, spread_name, trials_of
from bayesfit.priors import NUMPY_LINKS
from bayesfit.runs import level_names
from bayesfit.scenarios import read_scenarios

if TYPE_CHECKING:
    from bayesfit.fitting import Fit
    from bayesfit.noise import Noise

#: Decades of compute (or of an input) beyond the fitted runs that a forecast may reach silently.
FAR = 2.0
#: Largest number of draws times scenarios that is held at once (8 bytes each, a few copies).
HELD = 20_000_000
#: The same, for forecasts that stream.
STREAMED = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Predictive draws for scenarios.

    Parameters
    ----------
    scenarios
        One row a scenario: inputs, and the level of each group.
    output
        The output forecast, such as ``"loss"``.
    unit
        Its unit.
    expected
        Draws of the law's value, dims (chain, draw, scenario): uncertainty of the law alone.
    draws
        Draws of what a run would score, noise included, same dims.
    noise
        How a run scatters about the law; None for an equation that is not observed.
    distance
        Decades beyond the fitted runs, dim scenario; 0 inside.
    new_levels
        For each scenario, the groups whose level the fit never saw.
    converged
        False if the fit's diagnostics fail and the forecast was made all the same.
    """

    scenarios: pd.DataFrame
    output: str
    unit: str
    expected: xr.DataArray
    draws: xr.DataArray
    noise: Noise | None
    distance: np.ndarray
    new_levels: tuple[str, ...]
    converged: bool

    def interval(self, prob: float = 0.9) -> pd.DataFrame:
        """Return the equal-tailed predictive interval of each scenario (columns lower, upper)."""
        _probability(prob)
        ends = self.quantiles([(1 - prob) / 2, (1 + prob) / 2])
        ends.columns = pd.Index(["lower", "upper"])
        return ends

    def quantiles(self, q: Sequence[float]) -> pd.DataFrame:
        """Return predictive quantiles, one row a scenario, one column a probability."""
        for value in q:
            _probability(value)
        values = np.quantile(self._flat, list(q), axis=0).T
        return pd.DataFrame(values, index=self.scenarios.index, columns=pd.Index(list(q)))

    def prob_below(self, x: float) -> pd.Series:
        """Return the probability of scoring below `x`, per scenario."""
        return pd.Series((self._flat < x).mean(axis=0), index=self.scenarios.index, name=f"prob_below_{x:g}")

    def prob_above(self, x: float) -> pd.Series:
        """Return the probability of scoring above `x`, per scenario."""
        return pd.Series((self._flat > x).mean(axis=0), index=self.scenarios.index, name=f"prob_above_{x:g}")

    @cached_property
    def components(self) -> pd.DataFrame:
        """Standard deviation by cause, per scenario, on the scale on which noise acts.

        Columns ``law`` (what is not known of the law's parameters), ``noise`` (scatter of a run
        about the law) and ``total``; squares of the first two add up to the square of the last.
        """
        law = self.expected.values.reshape(-1, len(self.scenarios))
        total = self._flat
        if self.noise is not None:
            with np.errstate(all="ignore"):
                law, total = self.noise.observed(law), self.noise.observed(total)
        noise = (total - law).std(axis=0)
        spread = law.std(axis=0)
        columns = {"law": spread, "noise": noise, "total": np.hypot(spread, noise)}
        return pd.DataFrame(columns, index=self.scenarios.index)

    def table(self, prob: float = 0.9) -> pd.DataFrame:
        """Return scenarios with median, interval and distance, for reading.

        A forecast from a fit whose diagnostics fail carries a column ``converged`` that says False.
        """
        table = self.scenarios.copy()
        table["median"] = self.quantiles([0.5])[0.5]
        table[["lower", "upper"]] = self.interval(prob)
        table["decades_beyond"] = self.distance
        if any(self.new_levels):
            table["new_level"] = list(self.new_levels)
        if not self.converged:
            table["converged"] = False
        return table

    @property
    def _flat(self) -> np.ndarray:
        return self.draws.values.reshape(-1, len(self.scenarios))


def forecast(
    fit: Fit,
    scenarios: pd.DataFrame | Mapping[str, Any],
    *,
    output: str | None = None,
    allow_unconverged: bool = False,
    seed: int | None = None,
) -> Forecast:
    """Forecast runs from a fit; warn where the runs turn and the fitted law cannot (`bayesfit.trend`).

    Parameters
    ----------
    fit
        The fit.
    scenarios
        A table, or a mapping of columns (a number serves all rows), with every input of the law and
        a level for each group. ``"7B"`` and ``"1.4T"`` are read. A level that the fit never saw is
        drawn from its population.
    output
        The output to forecast, where the law has several; or an equation of the law that is not observed,
        whose draws have no noise.
    allow_unconverged
        Forecast from a fit whose diagnostics fail; the result says so everywhere.
    seed
        Seed of the noise; the fit's by default.

    Raises
    ------
    NotConvergedError
        If the fit's diagnostics fail and `allow_unconverged` is not given.
    DataError
        If the scenarios lack a column or hold unusable values.
    SpecError
        If there are too many scenarios to hold; `forecast_tables` streams them.
    """
    converged = ensure_converged(fit, allow_unconverged)
    table = read_scenarios(scenarios, fit)
    count = fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"]
    if len(table) * count > HELD:
        raise SpecError(
            f"{len(table):,} scenarios times {count:,} draws do not fit in memory at once; stream them with "
            f"bayesfit.forecast.forecast_tables(fit, scenarios), or `bayesfit forecast --scenarios FILE --out FILE`"
        )
    name = fit.law.pick_output(output, unobserved=True)
    from bayesfit.trend import warn_of_turns

    warn_of_turns(fit, name)
    found = forecast_rows(fit, table, name, seed=fit.seed if seed is None else seed, converged=converged)
    _warn_if_far(float(found.distance.max(initial=0.0)))
    return found


def forecast_tables(
    fit: Fit,
    scenarios: pd.DataFrame | Iterator[pd.DataFrame],
    *,
    prob: float = 0.9,
    limit: float | None = None,
    output: str | None = None,
    allow_unconverged: bool = False,
    seed: int | None = None,
    block: int | None = None,
) -> Iterator[pd.DataFrame]:
    """Forecast any number of scenarios in bounded memory; warn as `forecast` does.

    Parameters
    ----------
    fit, output, allow_unconverged, seed
        As in `forecast`.
    scenarios
        A table, or an iterator of tables (``pandas.read_csv(..., chunksize=...)``).
    prob
        Probability of the intervals.
    limit
        Adds the probability of scoring above it.
    block
        Scenarios worked on at once; by default as many as keep memory well under 1 GB.

    Yields
    ------
    pandas.DataFrame
        `Forecast.table` of each block, in order. A warning at the end says how far the farthest lies, if
        past two decades.
    """
    converged = ensure_converged(fit, allow_unconverged)
    count = fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"]
    block = max(1, STREAMED // count) if block is None else block
    name, stream, done, far = fit.law.pick_output(output, unobserved=True), fit.seed if seed is None else seed, 0, 0.0
    from bayesfit.trend import warn_of_turns

    warn_of_turns(fit, name)
    for part in (scenarios,) if isinstance(scenarios, pd.DataFrame) else scenarios:
        try:
            table = read_scenarios(part, fit)
        except DataError as error:
            # rows are counted from the start of the stream
            faults = [fault if fault.row is None else replace(fault, row=fault.row + done) for fault in error.faults]
            raise DataError(faults, error.source) from None
        for start in range(0, len(table), block):
            rows = table.iloc[start : start + block]
            found = forecast_rows(fit, rows, name, seed=stream, first=done, converged=converged)
            done += len(rows)
            far = max(far, float(found.distance.max(initial=0.0)))
            result = found.table(prob)
            if limit is not None:
                result[f"prob_above_{limit:g}"] = found.prob_above(limit)
            yield result
    _warn_if_far(far)


def ensure_converged(fit: Fit, allow_unconverged: bool) -> bool:
    """Return whether the fit's diagnostics hold; refuse if they do not and that was not allowed.

    Raises
    ------
    NotConvergedError
        Names each failed check and what to do.
    """
    report = fit.check()
    if report.passed:
        return True
    failed = "\n".join(str(failure) for failure in report.failures)
    if not allow_unconverged:
        raise NotConvergedError(
            f"this fit fails its checks, so no forecast is made from it:\n{failed}\n"
            f"Mend the fit, or pass allow_unconverged=True (--allow-unconverged) to see a forecast that is marked so"
        )
    warnings.warn(f"forecast from a fit that fails its checks:\n{failed}", ConvergenceWarning, stacklevel=3)
    return False


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
    known: dict[str, Any] = dict(fit.runs.summaries())
    for name in fit.law.inputs:
        known[name] = xr.DataArray(table[name].to_numpy(float), dims="scenario")
    latent = fit.idata["latent"].to_dataset()
    values = {plan.name: _at_scenarios(fit, plan, latent, table) for plan in fit.plans}
    noises = set(fit.law.sigmas.values())
    for name, shown in (seen or {}).items():
        has = np.isfinite(shown)
        known |= {f"{SEEN}.{name}": shown.where(has, 1.0), f"has.{name}": has.astype(float)}
    known |= {name: value for name, value in values.items() if name not in noises}
    return fit.law.mean(known), {name: value for name, value in values.items() if name in noises}


def seen_in(fit: Fit, table: pd.DataFrame) -> dict[str, xr.DataArray]:
    """Return what a table of runs shows of the outputs that other equations read."""
    return {name: xr.DataArray(table[name].to_numpy(float), dims="scenario") for name in fit.law.linked}


def drawn_values(
    fit: Fit, table: pd.DataFrame, output: str, *, seed: int, first: int = 0
) -> tuple[dict[str, xr.DataArray], dict[str, xr.DataArray]]:
    """Return `law_values`, with what runs would show of other outputs drawn where the law reads it.

    So a run whose task loss comes out low for its size is a run of high accuracy, in the same draw.
    """
    values, scales = law_values(fit, table)
    seen: dict[str, xr.DataArray] = {}
    for name in (equation.target for equation in fit.law.equations):
        if name == output:
            break
        if name in fit.law.linked:
            mean = _full(values[name], fit, table).transpose("chain", "draw", "scenario")
            seen[name] = _scattered(fit, table, name, mean, scales, seed, first)
            values, scales = law_values(fit, table, seen)
    return values, scales


def _at_scenarios(fit: Fit, plan: ParameterPlan, latent: xr.Dataset, table: pd.DataFrame) -> xr.DataArray:
    """Return a parameter's draws at each scenario; levels never seen are drawn from the population."""
    location = latent[f"{plan.name}_location"]
    offsets = {group: latent[f"{plan.name}_offset_{group}"] for group in plan.shared}
    codes: dict[str, xr.DataArray] = {}
    for group in plan.dims:
        seen, names = fit.runs.levels(group), level_names(table, group)
        new = [level for level in pd.unique(names) if level not in seen]
        order = {level: code for code, level in enumerate((*seen, *new))}
        codes[group] = xr.DataArray([order[level] for level in names], dims="scenario")
        for level in new:
            z = _population_draws(fit, plan.name, group, level, location)
            if group in plan.shared:
                if group == plan.correlated:
                    z = _correlated_draws(fit, plan.name, group, level, location)
                drawn = fit.posterior[spread_name(plan.name, group)] * z
                offsets[group] = xr.concat([offsets[group], drawn.assign_coords({group: level})], dim=group)
            else:
                plan, location = _with_new_level(plan, location, z, group, level)

    def at(piece: Any, group: str) -> Any:
        return piece.isel({group: codes[group]})

    value: xr.DataArray = plan.value(location, offsets, NUMPY_LINKS, at)
    return value


def _population_draws(fit: Fit, parameter: str, group: str, level: str, like: xr.DataArray) -> xr.DataArray:
    """Return a standard normal per draw for a level never seen: the same wherever that level occurs."""
    digest = hashlib.sha256(f"{parameter}\0{group}\0{level}".encode()).digest()
    rng = np.random.default_rng([fit.seed, *np.frombuffer(digest[:16], dtype=np.uint32)])
    chains = {"chain": like["chain"], "draw": like["draw"]}
    shape = tuple(like.sizes[dim] for dim in chains)
    return xr.DataArray(rng.standard_normal(shape), dims=tuple(chains), coords=chains)


def _correlated_draws(fit: Fit, parameter: str, group: str, level: str, like: xr.DataArray) -> xr.DataArray:
    """Return what `_population_draws` gives, correlated with the other parameters of that level."""
    _, names = correlated_of(fit.plans)
    place = names.index(parameter)
    normals = [_population_draws(fit, name, group, level, like) for name in names[: place + 1]]
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


def forecast_rows(
    fit: Fit, table: pd.DataFrame, output: str, *, seed: int, first: int = 0, converged: bool = True
) -> Forecast:
    """Forecast checked scenarios, whatever the fit's diagnostics say.

    Parameters
    ----------
    fit, output
        The fit, and the output to forecast.
    table
        Scenarios as `read_scenarios` gives them, or the table of checked runs.
    seed
        Seed of the noise.
    first
        Place of the first row in the whole table of scenarios, which its noise is drawn by.
    converged
        What the forecast says of the fit.
    """
    values, scales = law_values(fit, table)
    noise = fit.law.outputs[output].noise if output in fit.law.outputs else None
    order = ("chain", "draw", "scenario")
    expected = _full(values[output], fit, table).transpose(*order)
    if not np.isfinite(expected.values).all():
        bad = int(np.flatnonzero(~np.isfinite(expected.values).all(axis=(0, 1)))[0])
        raise SpecError(
            f"the law {fit.law.id} has no finite value in scenario {table.index[bad]}: "
            f"{ {name: float(table[name].iloc[bad]) for name in fit.law.inputs} } lies outside its domain"
        )
    draws = expected
    if noise is not None:
        centre = drawn_values(fit, table, output, seed=seed, first=first)[0][output] if fit.law.linked else expected
        centre = _full(centre, fit, table).transpose(*order)
        draws = _scattered(fit, table, output, centre, scales, seed, first)
    unseen = {column: ~level_names(table, column).isin(fit.runs.levels(column)) for column in fit.pooling.columns}
    new = [", ".join(column for column, rows in unseen.items() if rows.iloc[i]) for i in range(len(table))]
    return Forecast(
        scenarios=table,
        output=output,
        unit=fit.law.outputs[output].unit if output in fit.law.outputs else "",
        expected=expected,
        draws=draws,
        noise=noise,
        distance=distance(fit, table),
        new_levels=tuple(new),
        converged=converged,
    )


def _scattered(
    fit: Fit,
    table: pd.DataFrame,
    output: str,
    expected: xr.DataArray,
    scales: Mapping[str, xr.DataArray],
    seed: int,
    first: int,
) -> xr.DataArray:
    """Return draws of what a run would score about the law's value."""
    noise = fit.law.outputs[output].noise
    scale = scales[fit.law.sigmas[output]] if noise.has_scale else xr.DataArray(0.0)
    scale = _full(scale, fit, table).transpose(*expected.dims)
    trials = _trials(fit, table, output)
    # noise is drawn by output and scenario, so that it does not depend on how scenarios are cut into blocks
    place = [*fit.law.outputs].index(output)
    drawn = [
        noise.predict(
            np.random.default_rng([seed, 1, first + i, *([place] if place else [])]),
            expected.values[..., i],
            scale.values[..., i],
            None if trials is None else trials[i],
        )
        for i in range(len(table))
    ]
    return expected.copy(data=np.stack(drawn, axis=-1))


def _trials(fit: Fit, table: pd.DataFrame, output: str) -> np.ndarray | None:
    """Return the number of trials of each scenario: given, or as usual in the fitted runs."""
    fitted = trials_of(fit.law, output, fit.runs)
    if fitted is None:
        return None
    column = fit.law.outputs[output].noise.trials
    if column in table:
        return table[column].to_numpy(float)
    return np.full(len(table), np.round(np.median(fitted)))


def _full(values: xr.DataArray, fit: Fit, table: pd.DataFrame) -> xr.DataArray:
    """Give an output every dim, also where the law does not use one of them."""
    chains = fit.posterior["chain"], fit.posterior["draw"]
    ones = xr.DataArray(
        np.ones((len(chains[0]), len(chains[1]), len(table))),
        dims=("chain", "draw", "scenario"),
        coords={"chain": chains[0], "draw": chains[1]},
    )
    return values * ones


def distance(fit: Fit, table: pd.DataFrame) -> np.ndarray:
    """Return how many decades each scenario lies beyond the fitted runs.

    Counted in whatever lies farthest out: each positive input of the law, and compute where runs and
    scenario have it (given, or 6 times params times tokens).
    """
    # more items sharpen an accuracy and say nothing of scale
    counted = {part.noise.trials for part in fit.law.outputs.values() if part.noise.counted}
    pairs = [
        (table[name].to_numpy(float), fit.runs.values(name))
        for name, part in fit.law.inputs.items()
        if part.support == "positive" and name not in counted
    ]
    compute = fit.runs.compute
    if compute is not None and "flops" in table:
        pairs.append((table["flops"].to_numpy(float), compute))
    elif compute is not None and {"params", "tokens"} <= {*table.columns}:
        pairs.append((6 * table["params"].to_numpy(float) * table["tokens"].to_numpy(float), compute))
    farthest = np.zeros(len(table))
    for values, fitted in pairs:
        logs = np.log10(values)
        farthest = np.maximum(farthest, logs - np.log10(fitted.max()))
        farthest = np.maximum(farthest, np.log10(fitted.min()) - logs)
    return farthest


def _warn_if_far(decades: float) -> None:
    if decades > FAR:
        warnings.warn(
            f"the farthest scenario lies {decades:.1f} decades beyond the fitted runs; the band assumes that the law "
            f"holds there",
            ExtrapolationWarning,
            stacklevel=3,
        )


def _probability(prob: float) -> None:
    if not 0 < prob < 1:
        raise SpecError(f"a probability must lie between 0 and 1, found {prob}")
