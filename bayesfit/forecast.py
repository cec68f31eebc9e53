"""Posterior predictive forecasts of runs that were not made yet."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesfit.discrepancy import assumed, bands_of
from bayesfit.errors import ConvergenceWarning, DataError, ExtrapolationWarning, NotConvergedError, SpecError
from bayesfit.evaluation import before_moves, law_values
from bayesfit.pooling import trials_of
from bayesfit.runs import level_names
from bayesfit.scenarios import read_scenarios

if TYPE_CHECKING:
    from bayesfit.backtesting import Backtest
    from bayesfit.card import Law
    from bayesfit.certificate import Certificate
    from bayesfit.discrepancy import Bands
    from bayesfit.fitting import Fit
    from bayesfit.noise import Noise
    from bayesfit.runs import Runs

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
    law, bands, data
        Name of the law, what the bands allow for (`bayesfit.discrepancy.Bands`), and hash of the fitted runs.
    before
        By what moves the output, in order, its draws before: ``structure``, where the fit has an error of
        the law (`bayesfit.Structure`), and ``run``, where checkpoints of a training run share a shift.
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
    law: str
    bands: Bands
    data: str
    before: Mapping[str, xr.DataArray] = field(default_factory=dict)

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

        Columns ``law`` (what is not known of the law's parameters), ``structure`` (the law's own error, where the
        fit has one), ``run`` (what is a training run's own, where the fit has checkpoints), ``noise`` (scatter of a
        row about that) and ``total``; squares of the others add up to the square of the last. Law, structure and
        run share their common variance by how each goes along with their sum, since inside the runs one makes up for
        the other.
        """
        total = self._flat
        stages = [values.values.reshape(total.shape) for values in (*self.before.values(), self.expected)]
        if self.noise is not None:
            with np.errstate(all="ignore"):
                total, *stages = (self.noise.observed(values) for values in (total, *stages))
        expected = stages[-1]
        noise, spread = (total - expected).std(axis=0), expected.std(axis=0)
        moves = np.stack([stages[0], *(after - early for early, after in pairwise(stages))])
        # what each move has in common with their sum; one that makes up for others has nothing
        off = expected - expected.mean(axis=0)
        shares = np.maximum(((moves - moves.mean(axis=1, keepdims=True)) * off).mean(axis=1), 0.0)
        shares /= np.maximum(shares.sum(axis=0), np.finfo(float).tiny)
        columns = dict(zip(("law", *self.before), spread * np.sqrt(shares), strict=True))
        return pd.DataFrame({**columns, "noise": noise, "total": np.hypot(spread, noise)}, index=self.scenarios.index)

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

    def certificate(self, backtest: Backtest | None = None, *, without: str | Sequence[str] = ()) -> Certificate:
        """Say how bands of this kind did at this distance before, and where there is no evidence.

        Parameters
        ----------
        backtest
            How they did on the fit's own larger runs, ``fit.backtest()``, which takes some refits.
        without
            Studies or papers that the public record is to leave out: those that you forecast.

        Returns
        -------
        Certificate
            Evidence by scenario, from the runs themselves and from public studies; print it to read it.

        Raises
        ------
        SpecError
            If the backtest is of another law, output, kind of bands or table of runs.
        """
        from bayesfit.certificate import certify, ensure_same

        if backtest is not None:
            ensure_same(self, backtest)
        return certify(
            self.table(),
            output=self.output,
            bands=self.bands,
            converged=self.converged,
            backtest=backtest,
            without=without,
        )

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
        The output to forecast, where the law has several: by default the first, or the accuracy where that follows
        from a loss; or an equation of the law that is not observed, whose draws have no noise.
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
    _warn_if_far(fit, float(found.distance.max(initial=0.0)))
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
    _warn_if_far(fit, far)


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
        if not np.isfinite(draws.values).all():
            bad = int(np.flatnonzero(~np.isfinite(draws.values).all(axis=(0, 1)))[0])
            on = {"log": "log", "logit": "log-odds"}.get(noise.on, noise.on)
            raise SpecError(
                f"the law {fit.law.id} falls to {float(expected.values[..., bad].min()):.4g} in scenario "
                f"{table.index[bad]}, where its noise, which acts on the {on}, has no value; give its parameters "
                f"tighter priors, or name a scenario nearer to the runs"
            )
    unseen = {column: ~level_names(table, column).isin(fit.runs.levels(column)) for column in fit.pooling.columns}
    new = [", ".join(column for column, rows in unseen.items() if rows.iloc[i]) for i in range(len(table))]
    return Forecast(
        scenarios=table,
        output=output,
        unit=fit.law.outputs[output].unit if output in fit.law.outputs else "",
        expected=expected,
        draws=draws,
        noise=noise,
        distance=distance(fit.law, fit.runs, table),
        new_levels=tuple(new),
        converged=converged,
        law=fit.law.id,
        bands=bands_of(fit.law, output),
        data=fit.runs.sha256,
        before={
            cause: _full(still, fit, table).transpose(*order)
            for cause, still in before_moves(fit, table, output).items()
        },
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


def distance(law: Law, fitted: Runs, table: pd.DataFrame) -> np.ndarray:
    """Return how many decades each scenario lies beyond the fitted runs.

    Counted in whatever lies farthest out: each positive input of the law, and compute where runs and
    scenario have it (given, or 6 times params times tokens).
    """
    # more items sharpen an accuracy and say nothing of scale
    counted = {part.noise.trials for part in law.outputs.values() if part.noise.counted}
    pairs = [
        (table[name].to_numpy(float), fitted.values(name))
        for name, part in law.inputs.items()
        if part.support == "positive" and name not in counted
    ]
    compute = fitted.compute
    if compute is not None and "flops" in table:
        pairs.append((table["flops"].to_numpy(float), compute))
    elif compute is not None and {"params", "tokens"} <= {*table.columns}:
        pairs.append((6 * table["params"].to_numpy(float) * table["tokens"].to_numpy(float), compute))
    farthest = np.zeros(len(table))
    for values, seen in pairs:
        logs = np.log10(values)
        farthest = np.maximum(farthest, logs - np.log10(seen.max()))
        farthest = np.maximum(farthest, np.log10(seen.min()) - logs)
    return farthest


def _warn_if_far(fit: Fit, decades: float) -> None:
    if decades > FAR:
        warnings.warn(
            f"the farthest scenario lies {decades:.1f} decades beyond the fitted runs; {assumed(fit.law)}",
            ExtrapolationWarning,
            stacklevel=3,
        )


def _probability(prob: float) -> None:
    if not 0 < prob < 1:
        raise SpecError(f"a probability must lie between 0 and 1, found {prob}")
