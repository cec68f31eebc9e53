"""Which way an output goes with scale: rising, falling, U or inverted U; and turns that a fit's law misses."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayesfit.errors import DataWarning, SpecError
from bayesfit.path import Path, check_x, default_x, fit_path, is_share, x_values
from bayesfit.pooling import trials_of
from bayesfit.priors import NUMPY_LINKS

if TYPE_CHECKING:
    from bayesfit.fitting import Fit

#: The shapes told apart; ``other`` is flat, or turns more than once.
SHAPES = ("rising", "falling", "u", "inverted_u", "other")
#: Points of the grid on which a law is read between a level's smallest and largest run.
_GRID = 65
#: Share of a curve's range, and of its size, by which rounding may turn it over.
_ROUNDING, _RELATIVE = 1e-9, 1e-12
#: Probability of a turn from which on a forecast says so: a higher one misses half of the turns over eight runs, a
#: lower one begins to take runs that are flat and then rise for runs that fall first.
ALARM = 0.7
#: Runs and different scales of a level under which nothing is said of a turn.
_RUNS, _SCALES = 4, 3
#: Places of a turn that are tried, at most.
_PLACES = 15
#: How many runs the noise scale that is assumed beforehand counts for.
_TRUST = 2.0
#: Draws behind the law's mean curve, and of a broken line; and the weight under which a line is not drawn.
_THINNED, _LINES, _NEGLIGIBLE = 400, 1000, 1e-3


@dataclass(frozen=True, kw_only=True)
class _Level:
    """A level of the fit's groups: its names, the rows of its runs, and how the other inputs go along."""

    names: dict[str, str]
    rows: np.ndarray
    xs: np.ndarray
    path: Path

    def table(self, grid: np.ndarray, run: str) -> pd.DataFrame:
        """Return scenarios along the path; they are all of one training run where the fit tells runs apart."""
        table = self.path.table(grid).assign(**self.names)
        return table.assign(**{run: "new run"}) if run else table


def trend_shapes(
    fit: Fit,
    *,
    output: str | None = None,
    x: str | None = None,
    least: float = 0.0,
    allow_unconverged: bool = False,
) -> pd.DataFrame:
    """Return how probable it is that an output rises, falls, or turns over the runs' own range of scale.

    Parameters
    ----------
    fit
        A fit of any law.
    output
        The output, or an equation of the law that is not observed; by default the law's last output if it is
        a share, or the first.
    x
        The scale: compute where the runs have it or the law's first input, unless told.
    least
        The smallest rise or fall that counts, in the output's unit: with 0.01 a dip of an accuracy by less
        than a point is none.
    allow_unconverged
        Take shapes from a fit whose diagnostics fail.

    Returns
    -------
    pandas.DataFrame
        One row a level (each combination of the fit's groups that has runs at two scales or more): the groups,
        ``runs``, the smallest and largest x as ``from`` and ``to``, the probabilities ``rising``, ``falling``,
        ``u`` (falls, then rises), ``inverted_u`` and ``other`` (flat, or more than one turn), which add up to 1,
        and ``shape``, the most probable. They speak of the output as it is: where it is a loss, a falling one
        is the ordinary case and a rising one is inverse scaling.

    Raises
    ------
    SpecError
        For an output or x that there is not, or if no level has runs at two scales.
    NotConvergedError
        If the fit's diagnostics fail and `allow_unconverged` is not given.

    Notes
    -----
    In each posterior draw the law's own value, without noise, is followed along a grid in log x from the
    smallest to the largest run of the level; the share of draws of a shape is its probability. Other inputs
    go along with x as in the level's own runs. A law that only rises gives a probability of 1 whatever the
    runs say; `missed_turns` asks them. Nothing is said of what comes beyond the largest run: an inverse trend
    may turn there (Wei et al. 2022, Inverse scaling can become U-shaped, arXiv:2211.02011).

    Examples
    --------
    >>> trend_shapes(fit, least=0.01)  # doctest: +SKIP
    """
    from bayesfit.forecast import ensure_converged

    if not least >= 0:
        raise SpecError(f"least must be zero or a positive number in the output's unit, found {least}")
    name = fit.law.pick_output(output, unobserved=True)
    ensure_converged(fit, allow_unconverged)
    rows = []
    for level in _levels(fit, name, x):
        grid = np.geomspace(level.xs.min(), level.xs.max(), _GRID)
        shapes = _shapes(_draws(fit, level.table(grid, fit.pooling.checkpoints), name), least)
        shares = {shape: float(np.mean(shapes == place)) for place, shape in enumerate(SHAPES)}
        ends = {"runs": len(level.rows), "from": float(level.xs.min()), "to": float(level.xs.max())}
        rows.append({**level.names, **ends, **shares, "shape": max(shares, key=lambda shape: shares[shape])})
    return pd.DataFrame(rows)


def missed_turns(fit: Fit, *, output: str | None = None, x: str | None = None) -> pd.DataFrame:
    """Return how probable it is that the runs turn where the law fitted to them only rises or only falls.

    Parameters
    ----------
    fit
        The fit.
    output
        The observed output; by default the law's last output if it is a share, or the first.
    x
        The scale: compute where the runs have it or the law's first input, unless told.

    Returns
    -------
    pandas.DataFrame
        One row a level that can be judged (four runs or more at three scales or more), the likeliest turn first:
        the groups, ``runs``, ``law`` (what the law's mean does, ``rising`` or ``falling``), ``shape`` (what the
        runs do if they do otherwise: go the other way, ``u`` or ``inverted_u``) and ``prob``, the probability
        that they do. Levels on which the law itself turns, or leaves the scale on which the output scatters
        (an accuracy of exactly 1), are left out; so are all where runs have shifts of their own (checkpoints) or
        only the best follow the law (frontier noise).

    Raises
    ------
    SpecError
        For an output or x that there is not, or if no level has runs at two scales.

    Notes
    -----
    Two questions with a closed answer, on the scale on which the output scatters. First, do the residuals
    about the law's posterior mean go with log x: a normal regression on a line, or on a line that breaks at one
    of up to 15 places and may be flat on either side, against no trend at all, with a conjugate prior (Zellner's,
    worth one run) and an unknown scale. That scale is thought beforehand to be the fit's noise scale, or the
    middle of its prior where that is smaller, since a turn that the law cannot follow swells the noise; it
    counts for two runs. Second, how probable is it that such a line through the runs themselves goes against the
    law's direction somewhere, by more than the scatter of a single run: a law that is wrong but right about its
    direction is no missed turn. ``prob`` is the product, and Student-t tails are taken for normal ones, so it is
    a screen and no substitute for fitting a law that may turn. Beforehand it is as probable as not that any
    level turns, so that many levels do not make false alarms.

    A broken line is used and no parabola: on runs that are flat and then rise, such as a task that emerges, a
    parabola dips where there is no dip (Simonsohn 2018, Two lines: a valid alternative to the invalid
    testing of U-shaped relationships with quadratic regressions).

    Examples
    --------
    >>> missed_turns(fit).query("prob > 0.7")  # doctest: +SKIP
    """
    name = fit.law.pick_output(output)
    noise = fit.law.outputs[name].noise
    groups = [*fit.pooling.columns]
    empty = pd.DataFrame(columns=pd.Index([*groups, "runs", "law", "shape", "prob"]))
    if noise.kind == "frontier" or fit.pooling.checkpoints:
        return empty
    thin = _thinned(fit)
    levels = [
        level for level in _levels(fit, name, x) if len(level.rows) >= _RUNS and len(np.unique(level.xs)) >= _SCALES
    ]
    if not levels:
        return empty
    grids = [level.table(np.geomspace(level.xs.min(), level.xs.max(), _GRID), "") for level in levels]
    curves = _mean(thin, pd.concat(grids, ignore_index=True), name).reshape(len(levels), _GRID)
    known = np.isfinite(curves).all(axis=1)
    shapes = [SHAPES[place] for place in _shapes(np.where(known[:, None], curves, 0.0), 0.0)]
    at_runs = _mean(thin, pd.concat([level.table(level.xs, "") for level in levels], ignore_index=True), name)
    on_path = np.split(at_runs, np.cumsum([len(level.rows) for level in levels])[:-1])
    residuals, scale = _residuals(thin, name)
    # a level whose law is not finite was made flat
    judged = [place for place, law in enumerate(shapes) if law in ("rising", "falling")]
    judged = [place for place in judged if np.isfinite(residuals[levels[place].rows] + on_path[place]).all()]
    rng = np.random.default_rng([fit.seed, len(judged)])
    rows = []
    for place in judged:
        level, law = levels[place], shapes[place]
        own, spread = residuals[level.rows], scale[level.rows]
        logs = np.log(level.xs)
        t = 2 * (logs - logs.min()) / np.ptp(logs) - 1
        others = _other_shapes(t, own + on_path[place], spread, law, rng)
        prob = _bent(t, own, spread, len(judged)) * sum(others.values())
        shape = max(others, key=lambda name: others[name])
        rows.append({**level.names, "runs": len(level.rows), "law": law, "shape": shape, "prob": prob})
    table = pd.DataFrame(rows, columns=empty.columns)
    return table.sort_values("prob", ascending=False, kind="stable", ignore_index=True) if rows else empty


def warn_of_turns(fit: Fit, output: str) -> None:
    """Warn if the runs probably turn where the law only rises or only falls, naming levels and what to do.

    Silent for an output that is not observed, and where runs lie at one scale.
    """
    if output not in fit.law.outputs:
        return
    if output not in fit._turns:
        try:
            fit._turns[output] = missed_turns(fit, output=output)
        except SpecError:
            # no x that could be told apart: there is no trend to speak of
            fit._turns[output] = pd.DataFrame(columns=pd.Index(["prob"]))
    found = fit._turns[output]
    found = found[found["prob"] >= ALARM]
    if not len(found):
        return
    names, x = [*fit.pooling.columns], default_x(fit)
    listed = []
    for row in found.to_dict("records"):
        where = " of ".join(f"{name} '{row[name]}'" for name in reversed(names)) or "all runs"
        listed.append(f"{where}: {_SAID[row['shape']]} where the law is {row['law']} (probability {row['prob']:.2f})")
    share = is_share(fit.law, output) and fit.law.id != "u_shape"
    flexible = "law='u_shape'" if share else f"law='bnsl' with columns={{'x': '{x}'}}"
    warnings.warn(
        f"the runs contradict the trend of {output} in {x} that {fit.law.id} says they follow\n  "
        + "\n  ".join(listed)
        + f"\nthe band does not hold this: fit a law that may turn ({flexible}), look at bf.trend_shapes(fit) then, or "
        f"leave these runs out",
        DataWarning,
        skip_file_prefixes=(str(FilePath(__file__).parent),),
    )


_SAID = {
    "rising": "the runs rise",
    "falling": "the runs fall",
    "u": "the runs fall and then rise",
    "inverted_u": "the runs rise and then fall",
}


def _levels(fit: Fit, output: str, x: str | None) -> list[_Level]:
    """Return every combination of the fit's groups that has runs of the output at two scales or more."""
    x = default_x(fit) if x is None else check_x(fit, x)
    table, groups = fit.runs.table, [*fit.pooling.columns]
    xs = x_values(table, x, "the table of runs")
    if not (xs > 0).all():
        raise SpecError(f"a trend is looked at along the logarithm of {x}, which is zero or below in some run; give x=")
    shown = np.isfinite(fit.runs.values(output)) if output in fit.law.outputs else np.ones(len(table), dtype=bool)
    keys = list(zip(*(fit.runs.names(group) for group in groups), strict=True)) if groups else [()] * len(table)
    rows: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(keys):
        if shown[row]:
            rows.setdefault(key, []).append(row)
    levels = [
        _Level(
            names=dict(zip(groups, key, strict=True)),
            rows=np.array(own),
            xs=xs[own],
            path=fit_path(fit, x, np.array(own)),
        )
        for key, own in rows.items()
        if xs[own].max() > xs[own].min()
    ]
    if not levels:
        raise SpecError(f"no level has runs at two values of {x}, so that there is no trend in it; give another x=")
    return levels


def _draws(fit: Fit, table: pd.DataFrame, output: str) -> np.ndarray:
    """Return draws of the law's value (rows) at scenarios (columns); refuse those that are not finite."""
    from bayesfit.evaluation import law_values

    chains = {dim: fit.posterior[dim] for dim in ("chain", "draw")}
    shape = [*map(len, chains.values()), len(table)]
    with np.errstate(all="ignore"):
        values = law_values(fit, table)[0][output]
    # an output may not use every dim
    ones = xr.DataArray(np.ones(shape), dims=(*chains, "scenario"), coords=chains)
    curves: np.ndarray = (values * ones).transpose(*chains, "scenario").values.reshape(-1, len(table))
    if not np.isfinite(curves).all():
        raise SpecError(f"the law {fit.law.id} has no finite {output} everywhere between its runs")
    return curves


def _shapes(curves: np.ndarray, least: float | np.ndarray) -> np.ndarray:
    """Return the place in `SHAPES` of each curve (row); changes of no more than `least` do not count.

    A curve turns where it has come back by more than `least` from its last extreme.
    """
    slack = least + _ROUNDING * np.ptp(curves, axis=1) + _RELATIVE * np.abs(curves).max(axis=1)
    low, high = curves[:, 0].copy(), curves[:, 0].copy()
    way, first, turns = (np.zeros(len(curves), dtype=int) for _ in range(3))
    for value in curves.T[1:]:
        low, high = np.minimum(low, value), np.maximum(high, value)
        up, down = (way <= 0) & (value - low > slack), (way >= 0) & (high - value > slack)
        turns += (way != 0) & (up | down)
        way = np.where(up, 1, np.where(down, -1, way))
        first = np.where(first == 0, way, first)
        # the extreme that the next turn is counted from
        low, high = np.where(up | down, value, low), np.where(up | down, value, high)
    # flat, rising, falling (no turn); and with one turn
    known = np.array([[4, 0, 1], [4, 3, 2]])
    return np.asarray(np.where(turns > 1, 4, known[np.minimum(turns, 1), first]))


def _thinned(fit: Fit) -> Fit:
    """Return the fit with fewer draws, which is plenty for means."""
    step = max(1, fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"] // _THINNED)
    groups = {name: fit.idata[name].to_dataset().isel(draw=slice(None, None, step)) for name in ("posterior", "latent")}
    return replace(fit, idata=xr.DataTree.from_dict(groups))


def _on_scale(fit: Fit, output: str, values: np.ndarray) -> np.ndarray:
    """Return values of an output on the scale on which it scatters; tries over decades on the log."""
    noise = fit.law.outputs[output].noise
    return np.asarray(np.log(values) if noise.kind == "negative_binomial" else noise.observed(values))


def _mean(fit: Fit, table: pd.DataFrame, output: str) -> np.ndarray:
    """Return the law's posterior mean at scenarios, on the scale on which the output scatters."""
    with np.errstate(all="ignore"):
        return np.asarray(_on_scale(fit, output, _draws(fit, table, output)).mean(axis=0))


def _residuals(fit: Fit, output: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the residuals of all runs, and about how far each should lie off by noise alone."""
    from bayesfit.evaluation import law_values, seen_in

    noise, table = fit.law.outputs[output].noise, fit.runs.table
    values, scales = law_values(fit, table, seen_in(fit, table))
    # a value of exactly 0 or 1 has no log-odds
    with np.errstate(all="ignore"):
        observed = xr.apply_ufunc(lambda draws: _on_scale(fit, output, draws), values[output])
        mean, centre = (
            np.broadcast_to(part.mean(("chain", "draw")).values, len(table)) for part in (values[output], observed)
        )
    sigma = np.zeros(len(table))
    if noise.has_scale:
        own = fit.law.sigmas[output]
        prior = next(plan.prior for plan in fit.plans if plan.name == own)
        usual = np.max(prior.value(prior.latent(0.0, NUMPY_LINKS), NUMPY_LINKS))
        sigma = sigma + np.minimum(scales[own].mean(("chain", "draw")).values, float(usual))
    trials = trials_of(fit.law, output, fit.runs)
    scale = np.asarray(noise.deviation(mean, sigma, trials), dtype=float)
    if noise.kind == "negative_binomial":
        scale = np.hypot(scale, 0.5) / mean
    elif trials is not None:
        # the law may be surer than a whole number of items can show
        scale = np.hypot(scale, 0.5 / trials)
    se = fit.runs.loss_se
    if output == "loss" and se is not None:
        scale = np.hypot(scale, noise.measured(se, fit.runs.values(output)))
    return _on_scale(fit, output, fit.runs.values(output)) - centre, scale


@dataclass(frozen=True)
class _Line:
    """A line over t that may break: its weight beforehand, where it breaks, and which of its two limbs slope."""

    weight: float
    place: float = 1.0
    limbs: tuple[bool, bool] = (True, False)

    def columns(self, t: np.ndarray) -> np.ndarray:
        """Return what the limbs' slopes are multiplied with, one column a sloping limb."""
        parts = np.minimum(t, self.place), np.maximum(t - self.place, 0.0)
        return np.column_stack([part for part, slopes in zip(parts, self.limbs, strict=True) if slopes])


def _lines(t: np.ndarray) -> list[_Line]:
    """Return a straight line, and lines that break where two runs or more lie on either side.

    A limb may be flat: runs that stay where they are and then rise are then no worse told than by a limb
    that falls a little.
    """
    seen = np.unique(t)
    places = [place for place in (seen[:-1] + seen[1:]) / 2 if min((t < place).sum(), (t > place).sum()) >= 2]
    if len(places) > _PLACES:
        places = [places[round(number)] for number in np.linspace(0, len(places) - 1, _PLACES)]
    kinds = [(True, True), (True, False), (False, True)]
    broken = [_Line(0.5 / (3 * len(places)), float(place), limbs) for place in places for limbs in kinds]
    return [_Line(0.5 if places else 1.0), *broken]


def _centred(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return values over their scale, an intercept taken out."""
    one = 1 / scale / np.linalg.norm(1 / scale)
    over = (values.T / scale).T
    return np.asarray(over - np.multiply.outer(one, one @ over))


def _bent(t: np.ndarray, residuals: np.ndarray, scale: np.ndarray, levels: int) -> float:
    """Return the probability that residuals go with `t`, one of `levels` that may."""
    z, runs = _centred(residuals, scale), len(t)
    freedom, total = _TRUST + runs - 1, float(z @ z)
    none = -freedom / 2 * np.log(_TRUST + total)
    evidence = []
    for line in _lines(t):
        columns = _centred(line.columns(t), scale)
        explained = float(z @ columns @ np.linalg.lstsq(columns, z, rcond=None)[0])
        left = _TRUST + total - runs / (1 + runs) * explained
        evidence.append(np.log(line.weight) - columns.shape[1] / 2 * np.log1p(runs) - freedom / 2 * np.log(left))
    # as probable as not that any level turns
    before = 1 - 0.5 ** (1 / levels)
    odds = np.logaddexp.reduce(evidence) - none + np.log(before) - np.log1p(-before)
    return float(1 / (1 + np.exp(-odds)))


def _other_shapes(
    t: np.ndarray, values: np.ndarray, scale: np.ndarray, law: str, rng: np.random.Generator
) -> dict[str, float]:
    """Return the probability of each shape that is not the law's, of a broken line through values.

    Parameters
    ----------
    t
        Place of each run, from -1 to 1.
    values, scale
        What the runs show at the path's other inputs, and about how far they scatter.
    law
        What the law does, which is left out: ``"rising"`` or ``"falling"``.
    rng
        For draws of the lines.
    """
    y, runs = _centred(values, scale), len(t)
    typical, freedom = float(np.median(scale)), _TRUST + runs - 1
    lines, fitted, logs = _lines(t), [], []
    for line in lines:
        start, sizes, directions = np.linalg.svd(_centred(line.columns(t), scale), full_matrices=False)
        # runs of very different weight may leave hardly more than one limb
        root = directions.T / np.maximum(sizes, 1e-10 * sizes[0])
        left = _TRUST + float(y @ y - np.sum((start.T @ y) ** 2))
        fitted.append((root @ (start.T @ y), root, left))
        logs.append(np.log(line.weight) - len(sizes) / 2 * np.log1p(runs) - freedom / 2 * np.log(left))
    weights = np.exp(np.array(logs) - np.logaddexp.reduce(logs))
    shares = np.zeros((len(lines), len(SHAPES)))
    for number in np.flatnonzero(weights > _NEGLIGIBLE):
        line, (best, root, left) = lines[number], fitted[number]
        spread = np.sqrt(left / rng.chisquare(freedom - len(best), _LINES))
        slopes = best + spread[:, None] * (rng.standard_normal((_LINES, len(best))) @ root.T)
        knots = np.unique([-1.0, line.place, 1.0])
        shapes = _shapes(slopes @ line.columns(knots).T, spread * typical)
        shares[number] = np.bincount(shapes, minlength=len(SHAPES)) / _LINES
    found = dict(zip(SHAPES, (weights @ shares).tolist(), strict=True))
    return {shape: found[shape] for shape in SHAPES if shape not in (law, "other")}
