"""The path of a curve: how the other inputs of a law go along with the one on the axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesfit.errors import SpecError, nearest

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
    held
        Inputs that stay as they are along x.
    scatter
        Largest standard deviation, in decades, of the runs' inputs about their course.
    """

    x: str
    centre: float
    inputs: Mapping[str, tuple[float, float]]
    held: Mapping[str, float] = field(default_factory=dict)
    scatter: float = 0.0

    def table(self, grid: np.ndarray) -> pd.DataFrame:
        """Return the inputs at values of x; x itself is always among them."""
        # an x that is not positive has inputs that are held, and no others
        away = np.log(grid) - self.centre if self.inputs.keys() - {self.x} else np.zeros(len(grid))
        along = {name: np.exp(at + slope * away) for name, (at, slope) in self.inputs.items()}
        return pd.DataFrame({**along, **self.held, self.x: grid})


def default_x(fit: Fit) -> str:
    """Return what a curve is drawn against: compute where the runs have it, or the law's first input."""
    return "flops" if fit.runs.compute is not None else next(iter(fit.law.inputs))


def check_x(fit: Fit, x: str) -> str:
    """Refuse a quantity that the runs do not have."""
    known = dict.fromkeys((*fit.runs.inputs, *(("flops",) if fit.runs.compute is not None else ())))
    if x not in known:
        raise SpecError(f"cannot draw against '{x}'{nearest(x, known)}; the runs have {', '.join(known)}")
    return x


def is_share(law: Law, output: str) -> bool:
    """Return whether an output lies from 0 to 1, such as an accuracy."""
    return law.outputs[output].unit == "share" or law.support.get(output) == "share"


def x_values(table: pd.DataFrame, x: str, what: str) -> np.ndarray:
    """Return x of each row, compute from params and tokens where it is not a column."""
    if x in table.columns:
        return np.asarray(table[x].to_numpy(float))
    if x == "flops" and {"params", "tokens"} <= {*table.columns}:
        return np.asarray(6 * table["params"].to_numpy(float) * table["tokens"].to_numpy(float))
    raise SpecError(f"{what} has no '{x}' to be drawn against; add that column, or choose another x=")


def fit_path(fit: Fit, x: str, rows: np.ndarray) -> Path:
    """Regress the log of each input on log x over the runs at `rows`.

    Few runs, or runs at one x, take the slope over all runs. Shares, inputs that need not vary (a task's
    chance level), and those that are zero or below in some run are held at their mean.
    """
    logs = np.log(x_values(fit.runs.table, x, "the table of runs"))
    own = logs[rows]
    enough = len(own) >= _RUNS and np.ptp(own) > _DECADES * np.log(10)
    inputs, held, scatter = {}, {}, 0.0
    for name, part in fit.law.inputs.items():
        given = fit.runs.values(name)
        if name != x and (part.support in ("share", "simplex") or not part.varies or (given <= 0).any()):
            held[name] = float(given[rows].mean())
            continue
        values = np.log(given)
        slope = _slope(own, values[rows]) if enough else _slope(logs, values)
        inputs[name] = (float(values[rows].mean()), 1.0 if name == x else slope)
        off = values[rows] - inputs[name][0] - inputs[name][1] * (own - own.mean())
        scatter = max(scatter, float(off.std()) / np.log(10))
    return Path(x=x, centre=float(own.mean()), inputs=inputs, held=held, scatter=scatter)


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    away = x - x.mean()
    spread = float(away @ away)
    return float(away @ y / spread) if spread > 1e-12 else 0.0
