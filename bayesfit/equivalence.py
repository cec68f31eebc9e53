"""Which family turns compute into capability best: the compute each needs for the same result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayesfit.errors import SpecError, nearest
from bayesfit.path import check_x, fit_path, x_values

if TYPE_CHECKING:
    from bayesfit.fitting import Fit

#: Decades beyond the runs, on either side, in which the level is looked for.
_REACH = 6.0
#: Points a decade of the grid on which the law is read.
_POINTS = 32
#: Share of a draw's range by which rounding may turn a curve over.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Equivalents:
    """Draws of the compute that each level of a group needs, over that of the reference.

    Parameters
    ----------
    group
        The group, such as ``"family"``.
    reference
        Its level that the others are compared with.
    x, at
        What is compared, such as ``"flops"``, and how much of it the reference is given.
    output
        What is to be reached.
    draws
        For each level the ratios, one a posterior draw: infinite where the level never reaches what the
        reference does, 0 where it is never below it.
    """

    group: str
    reference: str
    x: str
    at: float
    output: str
    draws: Mapping[str, np.ndarray]

    def quantiles(self, level: str, q: Sequence[float]) -> np.ndarray:
        """Return quantiles of a level's ratio; each is one of the draws, so that infinite ones are no trouble."""
        ordered = np.sort(self.draws[level])
        places = np.ceil(np.asarray(q) * len(ordered)).astype(int) - 1
        return np.asarray(ordered[np.clip(places, 0, len(ordered) - 1)])

    def table(self, prob: float = 0.9) -> pd.DataFrame:
        """Return the median and equal-tailed interval of each level, the least compute first."""
        if not 0 < prob < 1:
            raise SpecError(f"prob must lie between 0 and 1, found {prob}")
        ends = [0.5, (1 - prob) / 2, (1 + prob) / 2]
        rows = [(level, *self.quantiles(level, ends)) for level in self.draws]
        table = pd.DataFrame(rows, columns=pd.Index([self.group, "median", "lower", "upper"]))
        return table.sort_values("median", kind="stable", ignore_index=True)


def equivalent_compute(
    fit: Fit,
    *,
    reference: str,
    at: float | str | None = None,
    output: str | None = None,
    x: str = "flops",
    group: str | None = None,
    prob: float = 0.9,
    allow_unconverged: bool = False,
) -> pd.DataFrame:
    """Return how much more compute each family needs to reach what a reference family reaches.

    Parameters
    ----------
    fit
        A fit by family, of a law that only rises or only falls with `x`.
    reference
        The family that the others are compared with.
    at
        Compute of the reference, such as ``1e22``; by default the middle of its runs on the log scale.
    output
        What is to be reached; by default the law's last output if it is a share, or the first.
    x
        What is compared: compute, or any other column of the runs.
    group
        The group whose levels are compared; the fit's first by default.
    prob
        Probability of the equal-tailed intervals.
    allow_unconverged
        Take ratios from a fit whose diagnostics fail.

    Returns
    -------
    pandas.DataFrame
        One row a family, the least compute first: its name under the group's, and ``median``, ``lower`` and
        ``upper`` of the ratio of its compute to the reference's. 2 means twice the compute. The reference
        itself has 1.

    Raises
    ------
    SpecError
        For a reference that the fit does not know, a fit that does not tell groups apart, or a law that
        turns over in some draw.
    NotConvergedError
        If the fit's diagnostics fail and `allow_unconverged` is not given.

    Notes
    -----
    In each posterior draw the reference's value at `at` is looked for on the family's curve, the law's own
    value without noise, by interpolation in log x between the points of a grid that reaches six decades
    beyond the runs. A draw in which the family stays short of it counts as infinite, one in which it is
    always past it as 0. Other inputs go along with x as they do in the family's own runs (log-linear), so
    that each family is compared as it is trained; shares, chance levels and inputs that may be zero stay at
    the mean of its runs. Other groups of the fit are held at the level with the most runs.

    Examples
    --------
    >>> equivalent_compute(fit, reference="Llama-2", at=1e23)  # doctest: +SKIP
    """
    from bayesfit.forecast import ensure_converged

    ensure_converged(fit, allow_unconverged)
    return equivalents(fit, reference=reference, at=at, output=output, x=x, group=group).table(prob)


def equivalents(
    fit: Fit,
    *,
    reference: str | None = None,
    at: float | str | None = None,
    output: str | None = None,
    x: str = "flops",
    group: str | None = None,
) -> Equivalents:
    """Return the draws behind `equivalent_compute`, whatever the fit's diagnostics say.

    Parameters are those of `equivalent_compute`; the reference is by default the level with the most runs.
    """
    group = compared(fit, group)
    x = check_x(fit, x)
    name = fit.law.pick_output(output, unobserved=True)
    levels = fit.runs.levels(group)
    if reference is None:
        reference = str(fit.runs.table[group].value_counts().reindex(levels).idxmax())
    if reference not in levels:
        raise SpecError(
            f"{group} has no level '{reference}' to compare with{nearest(reference, levels)}; "
            f"it has {', '.join(levels)}"
        )
    held = {other: str(fit.runs.table[other].mode().iloc[0]) for other in fit.pooling.by if other != group}
    values = x_values(fit.runs.table, x, "the table of runs")
    rows = {level: rows_of(fit, {group: level}, held) for level in levels}
    own = values[rows[reference]]
    middle = float(np.sqrt(own.min() * own.max())) if at is None else _amount(at)
    paths = {level: fit_path(fit, x, rows[level]) for level in levels}

    def drawn(level: str, grid: np.ndarray) -> np.ndarray:
        return _draws(fit, paths[level].table(grid).assign(**held, **{group: level}), name)

    target = drawn(reference, np.array([middle]))[:, 0]
    if not np.isfinite(target).all():
        raise SpecError(f"the law {fit.law.id} has no finite {name} for {reference} at {x} = {middle:.4g}")
    low, high = min(values.min(), middle), max(values.max(), middle)
    decades = np.log10(high / low) + 2 * _REACH
    grid = np.geomspace(low / 10**_REACH, high * 10**_REACH, int(_POINTS * decades) + 1)
    step = grid[1] / grid[0]
    sign = 0.0
    draws: dict[str, np.ndarray] = {}
    # the reference first: its direction is that of all
    for level in (reference, *(level for level in levels if level != reference)):
        curves = drawn(level, grid)
        kept = _finite_stretch(curves, (grid > low / step) & (grid < high * step))
        if not kept.any():
            raise SpecError(f"the law {fit.law.id} has no finite {name} for {level} over the {x} of the runs")
        curves = curves[:, kept]
        sign = sign or float(np.sign(np.median(curves[:, -1] - curves[:, 0]))) or 1.0
        turned = float(np.mean(_turns(sign * curves)))
        if turned > 0:
            trend = "rises" if sign > 0 else "falls"
            raise SpecError(
                f"{name} of {fit.law.id} {trend} with {x}, but not everywhere in {100 * turned:.3g}% of the draws of "
                f"{level}; ratios of {x} need a law that only rises or only falls with it"
            )
        draws[level] = _crossing(sign * curves, sign * target, grid[kept]) / middle
    draws[reference] = np.ones(len(target))
    return Equivalents(
        group=group, reference=reference, x=x, at=middle, output=name, draws={level: draws[level] for level in levels}
    )


def compared(fit: Fit, group: str | None) -> str:
    """Return the group whose levels a fit compares; refuse one that it does not tell apart."""
    by = fit.pooling.by
    if not by:
        raise SpecError(
            "this fit has no group to compare; fit with by=['family'] (--by family), which gives each its own curve"
        )
    if group is not None and group not in by:
        raise SpecError(
            f"this fit does not tell levels of '{group}' apart{nearest(group, by)}; it is by {', '.join(by)}"
        )
    return by[0] if group is None else group


def rows_of(fit: Fit, wanted: Mapping[str, str], held: Mapping[str, str]) -> np.ndarray:
    """Return the rows of the runs at some levels, of those at the held levels too where there are any."""
    table = fit.runs.table
    chosen = np.logical_and.reduce([(table[name] == level).to_numpy(bool) for name, level in wanted.items()])
    narrow = np.logical_and.reduce([chosen, *((table[name] == level).to_numpy(bool) for name, level in held.items())])
    return np.flatnonzero(narrow if narrow.any() else chosen)


def _amount(at: float | str) -> float:
    from bayesfit.cells import read_numbers

    numbers, faults = read_numbers(pd.Series([at], dtype=object), "at")
    if faults or not (np.isfinite(numbers[0]) and numbers[0] > 0):
        raise SpecError(f"at must be a positive number such as 1e22, found {at!r}")
    return float(numbers[0])


def _draws(fit: Fit, table: pd.DataFrame, output: str) -> np.ndarray:
    """Return draws of the law's value (rows) at scenarios (columns), in bounded memory."""
    from bayesfit.evaluation import law_values
    from bayesfit.forecast import STREAMED

    chains = {dim: fit.posterior[dim] for dim in ("chain", "draw")}
    count = int(np.prod([len(index) for index in chains.values()]))
    parts = []
    for start in range(0, len(table), block := max(1, STREAMED // count)):
        rows = table.iloc[start : start + block]
        # far from the runs a law may leave its domain
        with np.errstate(all="ignore"):
            values = law_values(fit, rows)[0][output]
        # an output may not use every dim
        ones = xr.DataArray(
            np.ones((*map(len, chains.values()), len(rows))), dims=(*chains, "scenario"), coords={**chains}
        )
        parts.append((values * ones).transpose(*chains, "scenario").values.reshape(count, len(rows)))
    return np.concatenate(parts, axis=1)


def _finite_stretch(curves: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return which points lie in the stretch around `inside` in which every draw is finite; none if that is broken."""
    bad = np.flatnonzero(~np.isfinite(curves).all(axis=0))
    first, last = np.flatnonzero(inside)[[0, -1]]
    places = np.arange(curves.shape[1])
    if ((bad >= first) & (bad <= last)).any():
        return np.zeros(len(places), dtype=bool)
    left, right = bad[bad < first], bad[bad > last]
    return np.asarray((places > left.max(initial=-1)) & (places < right.min(initial=len(places))))


def _turns(curves: np.ndarray) -> np.ndarray:
    """Return which curves, meant to rise, fall somewhere."""
    slack = _ROUNDING * np.ptp(curves, axis=1) + 1e-12 * np.abs(curves).max(axis=1)
    return np.asarray((np.diff(curves, axis=1) < -slack[:, None]).any(axis=1))


def _crossing(curves: np.ndarray, target: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return where rising curves reach their targets: 0 if before the grid, infinite if not on it."""
    below = (curves < target[:, None]).sum(axis=1)
    right = np.clip(below, 1, len(grid) - 1)
    row = np.arange(len(curves))
    before, after = curves[row, right - 1], curves[row, right]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip((target - before) / (after - before), 0.0, 1.0)
    logs = np.log(grid)
    found = np.exp(logs[right - 1] + share * (logs[right] - logs[right - 1]))
    return np.asarray(np.where(below == 0, 0.0, np.where(below == len(grid), np.inf, found)))
