"""The path of a curve: how the other inputs of a law go along with the one on the axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesfit.errors import SpecError, nearest
from bayesfit.plots.style import number, symbol

if TYPE_CHECKING:
    from bayesfit.card import Law
    from bayesfit.fitting import Fit

#: Fewer runs, or less of x in decades, than this do not tell how inputs go together.
_RUNS, _DECADES = 3, 0.3


@dataclass(frozen=True, kw_only=True)
class Path:
    """Log-linear course of a law's inputs along x.

    Parameters
    ----------
    x
        The quantity on the axis.
    centre
        Mean of log x.
    inputs
        For each input of the law, its log at the centre and its slope in log x.
    scatter
        Largest standard deviation, in decades, of the runs' inputs about their course.
    """

    x: str
    centre: float
    inputs: Mapping[str, tuple[float, float]]
    scatter: float = 0.0

    def table(self, grid: np.ndarray) -> pd.DataFrame:
        """Return the inputs at values of x."""
        away = np.log(grid) - self.centre
        return pd.DataFrame({name: np.exp(at + slope * away) for name, (at, slope) in self.inputs.items()})

    def text(self, law: Law) -> str:
        """Return the course of the inputs that x does not name, such as ``D = 20 N``; empty if there are none."""
        names = [name for name in self.inputs if name != self.x]
        if self.x in self.inputs or len(names) < 2 or abs(self.inputs[names[0]][1]) < 1e-6:
            base, at, slope = self.x, self.centre, 1.0
        else:
            base = names.pop(0)
            at, slope = self.inputs[base]
        return ",  ".join(self._relation(law, name, base, at, slope) for name in names)

    def _relation(self, law: Law, name: str, base: str, at: float, slope: float) -> str:
        power = self.inputs[name][1] / slope
        if abs(power) < 0.005:
            return f"${symbol(law, name)}$ = {number(float(f'{np.exp(self.inputs[name][0]):.3g}'), name)}"
        factor = np.exp(self.inputs[name][0] - power * at)
        shown = number(float(f"{factor:.3g}")).strip("$")
        exponent = "" if abs(power - 1) < 0.005 else f"^{{{power:.2f}}}"
        return rf"${symbol(law, name)} = {shown}\,{{{symbol(law, base)}}}{exponent}$"


def default_x(fit: Fit) -> str:
    """Return what a curve is drawn against: compute where the runs have it, or the law's first input."""
    return "flops" if fit.runs.compute is not None else next(iter(fit.law.inputs))


def check_x(fit: Fit, x: str) -> str:
    """Refuse a quantity that the runs do not have."""
    known = dict.fromkeys((*fit.runs.inputs, *(("flops",) if fit.runs.compute is not None else ())))
    if x not in known:
        raise SpecError(f"cannot draw against '{x}'{nearest(x, known)}; the runs have {', '.join(known)}")
    return x


def x_values(table: pd.DataFrame, x: str, what: str) -> np.ndarray:
    """Return x of each row, compute from params and tokens where it is not a column."""
    if x in table.columns:
        return np.asarray(table[x].to_numpy(float))
    if x == "flops" and {"params", "tokens"} <= {*table.columns}:
        return np.asarray(6 * table["params"].to_numpy(float) * table["tokens"].to_numpy(float))
    raise SpecError(f"{what} has no '{x}' to be drawn against; add that column, or choose another x=")


def fit_path(fit: Fit, x: str, rows: np.ndarray) -> Path:
    """Regress the log of each input on log x over the runs at `rows`.

    Few runs, or runs at one x, take the slope over all runs.
    """
    logs = np.log(x_values(fit.runs.table, x, "the table of runs"))
    own = logs[rows]
    enough = len(own) >= _RUNS and np.ptp(own) > _DECADES * np.log(10)
    inputs, scatter = {}, 0.0
    for name in fit.law.inputs:
        values = np.log(fit.runs.values(name))
        slope = _slope(own, values[rows]) if enough else _slope(logs, values)
        inputs[name] = (float(values[rows].mean()), 1.0 if name == x else slope)
        off = values[rows] - inputs[name][0] - inputs[name][1] * (own - own.mean())
        scatter = max(scatter, float(off.std()) / np.log(10))
    return Path(x=x, centre=float(own.mean()), inputs=inputs, scatter=scatter)


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    away = x - x.mean()
    spread = float(away @ away)
    return float(away @ y / spread) if spread > 1e-12 else 0.0
