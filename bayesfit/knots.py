"""Knots of a path that drifts along a scale axis: what each of them adds to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from bayesfit.expression import parse_expression

#: The dim of knots; ``family:knot`` are those of each family's own path.
KNOT = "knot"
#: Knots on either side of the reference point, inside the runs.
PER_SIDE = 4
#: A name for each knot inside the runs: those above the reference point, then those below.
LABELS = tuple(f"{sign}{place}" for sign in "+-" for place in range(1, PER_SIDE + 1))
#: Least decades between two knots beyond the runs.
_STEP = 0.15


@dataclass(frozen=True, kw_only=True)
class Knots:
    """Where a path may bend.

    The path is an integrated Wiener process along the decades of an axis, from the median run to both sides: at each
    knot its slope changes by a standard normal times the square root of the stretch to the next knot, times the
    path's scale. Its mean over the runs and its trend through them are taken off, since the law has these: a slope
    of the law and one of the path could not be told apart. Nothing depends on how far a forecast reaches, so the same
    draws serve all.

    Parameters
    ----------
    centre
        Decimal logarithm of the axis at the median run.
    low, high
        The same at the smallest and the largest run.
    trend
        Mean and trend through the runs of what one unit at each knot adds (two by knots).
    along
        The axis, as a formula over inputs.
    """

    along: str
    centre: float
    low: float
    high: float
    trend: np.ndarray

    @classmethod
    def of(cls, along: str, values: Callable[[str], np.ndarray]) -> Knots:
        """Return the knots for runs, from the values of each input."""
        logs = decades(along, values)
        none = np.zeros((2, len(LABELS)))
        plain = cls(
            along=along, centre=float(np.median(logs)), low=float(logs.min()), high=float(logs.max()), trend=none
        )
        line = np.column_stack([np.ones(len(logs)), logs - plain.centre])
        return replace(plain, trend=np.linalg.lstsq(line, plain.inside(values), rcond=None)[0])

    def inside(self, values: Callable[[str], np.ndarray]) -> np.ndarray:
        """Return what one unit at each knot inside the runs adds to each row of a table (rows by knots)."""
        away = decades(self.along, values) - self.centre
        ramps = [
            _ramps(side * away, step * np.arange(PER_SIDE), step)
            for side, step in ((1, (self.high - self.centre) / PER_SIDE), (-1, (self.centre - self.low) / PER_SIDE))
        ]
        line = np.column_stack([np.ones(len(away)), away])
        found: np.ndarray = np.column_stack(ramps) - line @ self.trend
        return found

    def beyond(self, values: Callable[[str], np.ndarray]) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the knots beyond the runs that a table reaches past, by name, and what one unit of each adds."""
        logs = decades(self.along, values)
        names: list[str] = []
        columns: list[np.ndarray] = []
        for sign, past, width in (
            ("+", logs - self.high, self.high - self.centre),
            ("-", self.low - logs, self.centre - self.low),
        ):
            step = max(width / PER_SIDE, _STEP)
            count = int(np.ceil(max(past.max(initial=0.0), 0.0) / step))
            names += [f"{sign}{PER_SIDE + place}" for place in range(1, count + 1)]
            columns += list(_ramps(past, step * np.arange(count), step).T)
        return tuple(names), np.reshape(columns, (len(names), len(logs))).T


def decades(along: str, values: Callable[[str], np.ndarray]) -> np.ndarray:
    """Return the decimal logarithm of an axis, a formula over inputs, from the values of each input."""
    axis = parse_expression(along)
    found: np.ndarray = np.log10(np.asarray(axis.evaluate({name: values(name) for name in axis.names}), dtype=float))
    return found


def owner_of(group: str) -> str:
    """Return the group whose levels each have a path of their own: ``family`` of ``family:knot``, none of ``knot``."""
    return group.rpartition(":")[0]


def _ramps(x: np.ndarray, knots: Iterable[float], step: float) -> np.ndarray:
    return np.column_stack([np.sqrt(step) * np.maximum(x - knot, 0.0) for knot in knots] or [np.zeros((len(x), 0))])
