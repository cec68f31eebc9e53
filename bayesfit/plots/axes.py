"""Axes of curves: how far they reach, their scales, and the shading of what lies beyond the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesfit.errors import SpecError
from bayesfit.path import x_values
from bayesfit.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesfit.forecast import Forecast
    from bayesfit.plots.curves import Curve, View


def extent(
    view: View, to: float | str | None, held_out: pd.DataFrame | None, forecast: Forecast | None
) -> tuple[float, float, float, float]:
    """Return x of the first and last run, where the curve ends, and the largest x of all that is drawn.

    Raises
    ------
    SpecError
        If what lies beyond the runs cannot be drawn in this view, or the curve would end before them.
    """
    if forecast is not None and forecast.output != view.output:
        raise SpecError(f"this forecast is of '{forecast.output}', the figure is of '{view.output}'; pass output=")
    beyond = [] if forecast is None else [x_values(forecast.scenarios, view.x, "the forecast")]
    if held_out is not None:
        if view.output not in held_out.columns:
            raise SpecError(f"the held-out runs have no '{view.output}'")
        beyond.append(x_values(held_out, view.x, "the table of held-out runs"))
    shown = view.shown
    last, largest = float(shown.max()), max(float(values.max()) for values in (shown, *beyond))
    end = _number(to) if to is not None else largest if largest > 1.05 * last else 10 * last
    if not end > shown.min():
        raise SpecError(f"to={to} lies before the first run, at {view.x} = {shown.min():.4g}")
    return float(shown.min()), last, end, largest


def y_range(
    view: View,
    curves: Mapping[str, Curve],
    probs: tuple[float, ...],
    *,
    held_out: pd.DataFrame | None = None,
    forecast: Forecast | None = None,
    rows: Sequence[int] | np.ndarray | None = None,
) -> tuple[float, float]:
    """Return the range that holds all points and most of every band; the arguments are those of `draw`."""
    values = [view.table[view.output].to_numpy(float)[view.rows(view.table, "")]]
    if held_out is not None:
        values.append(held_out[view.output].to_numpy(float)[view.rows(held_out, "")])
    if forecast is not None:
        values.append(forecast.interval(probs[0]).to_numpy(float)[slice(None) if rows is None else rows].ravel())
    for level, curve in curves.items():
        values.append(curve.median)
        if len(curves) == 1 or level in view.banded:
            # where a family has one run its band may be wide enough to flatten all else
            low, high = curve.edges[probs[0]]
            values += [np.quantile(low, [0.03]), np.quantile(high, [0.9])]
    together = np.concatenate(values)
    return float(np.nanmin(together)), float(np.nanmax(together))


def _number(to: float | str) -> float:
    from bayesfit.cells import read_numbers

    numbers, faults = read_numbers(pd.Series([to], dtype=object), "to")
    if faults or not numbers[0] > 0:
        raise SpecError(f"to must be a positive number such as 1e24 or '70B', found {to!r}")
    return float(numbers[0])


def set_x(ax: Axes, view: View, low: float, high: float, *, most: int = 8) -> None:
    """Set the scale of x and its limits, with some air."""
    if view.log_x:
        margin = (high / low) ** 0.03
        style.readable_log(ax, "x", low / margin, high * margin, view.x, most=most)
    else:
        ax.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
        ax.locator_params(axis="x", nbins=most)


def set_y(ax: Axes, view: View, ends: tuple[float, float], *, most: int = 8) -> None:
    """Set the scale of y, that on which runs scatter, and its limits, with some air."""
    low, high = ends
    if view.fit.law.outputs[view.output].noise.on == "log" and low > 0:
        pad = (high / low) ** 0.05
        style.readable_log(ax, "y", low / pad, high * pad, view.output, most=most)
    else:
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def set_apart(ax: Axes, edge: float, *, below: bool = False, word: bool = True) -> None:
    """Shade what lies beyond the fitted runs: above `edge`, or below it.

    Parameters
    ----------
    ax
        The axes, with their limits set.
    edge
        The outermost run.
    below
        Whether smaller x lie beyond.
    word
        Whether to say so above the axes.
    """
    first, end = ax.get_xlim()[::-1] if below else ax.get_xlim()
    ax.axvspan(*sorted((edge, end)), facecolor="#F3F3F0", edgecolor="none", zorder=0, gid="extrapolation")
    ax.axvline(edge, color=style.GREY, linewidth=0.9, linestyle=":", zorder=1, gid="largest fitted")
    if not word:
        return
    places = np.log([first, edge, end]) if ax.get_xscale() == "log" else np.array([first, edge, end])
    narrow = abs(places[2] - places[1]) < 0.2 * abs(places[2] - places[0])
    # the word starts at the edge and runs outwards, or ends where the axes do
    rightwards = narrow == below
    # above the axes, where it hides no run
    ax.annotate(
        "extrapolation",
        (end if narrow else edge, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="left" if rightwards else "right",
        va="bottom",
        fontsize=9,
        color="#666666",
        style="italic",
    )
