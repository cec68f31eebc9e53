"""What a band is made of: how much of its width the law, its own error, a run's own and noise make up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesfit.errors import SpecError, nearest
from bayesfit.path import fit_path
from bayesfit.plots import style
from bayesfit.plots.axes import extent, set_apart, set_x
from bayesfit.plots.band import view_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesfit.fitting import Fit

_GRID = 41
#: Points of the curve over which noise is smoothed.
_SMOOTH = 9
_NAMES = {
    "law": "parameters of the law",
    "structure": "error of the law itself",
    "run": "what is a training run's own",
    "noise": "scatter of a run",
}


def plot_parts(
    fit: Fit,
    *,
    x: str | None = None,
    output: str | None = None,
    to: float | str | None = None,
    prob: float = 0.9,
    level: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the half-width of the band against x, divided by cause.

    Parameters
    ----------
    fit, x, output, to
        As in `bayesfit.plots.plot_band`, whose curve this goes along.
    prob
        Probability of the band.
    level
        The level of the fit's first group that is shown; the one with most runs by default.
    ax
        Axes to draw in; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Parts are in proportion to their variance (`bayesfit.Forecast.components`) and so add up to the whole. In per
        cent where noise acts on the log, in log-odds for accuracies, and otherwise in the unit of the output.

    Raises
    ------
    SpecError
        For a quantity, output, level or probability that cannot be drawn.
    """
    from scipy.stats import norm

    from bayesfit.forecast import forecast_rows
    from bayesfit.scenarios import read_scenarios

    if not 0 < prob < 1:
        raise SpecError(f"prob must lie between 0 and 1, found {prob}")
    view = view_of(fit, x, fit.law.pick_output(output), None)
    if level is not None and level not in view.curves:
        known = ", ".join(filter(None, view.curves)) or "none, since the fit has no groups"
        raise SpecError(f"there is no level '{level}'{nearest(level, view.curves)}; there are {known}")
    chosen = max(view.curves, key=lambda name: len(view.rows(view.table, name))) if level is None else level
    first, last, end, _ = extent(view, to, None, None)
    grid = np.geomspace(first, max(end, last * 1.001), _GRID)
    table = fit_path(fit, view.x, view.rows(view.table, chosen)).table(grid)
    for name in fit.pooling.by:
        table[name] = chosen if name == view.group else view.held[name]
    found = forecast_rows(fit, read_scenarios(table, fit), view.output, seed=fit.seed)
    parts, noise = found.components.drop(columns="total"), fit.law.outputs[view.output].noise
    # each point's noise is drawn anew, and a few far draws of heavy tails make it jump
    parts["noise"] = parts["noise"].rolling(_SMOOTH, center=True, min_periods=1).median()
    variance = parts.pow(2).sum(axis=1)
    # a band that is skewed is drawn by its spread
    half = norm.ppf((1 + prob) / 2) * np.sqrt(variance) * (100 if noise.on == "log" else 1)
    shares = parts.pow(2).div(variance, axis=0).mul(half, axis=0)

    if ax is None:
        ax = style.new_figure(7.4, 4.2).subplots()
    style.tidy(ax)
    colours = dict(zip(_NAMES, (style.COLOURS[0], style.COLOURS[1], style.COLOURS[2], style.GREY), strict=True))
    ax.stackplot(
        grid,
        *(shares[name].to_numpy() for name in shares),
        labels=[_NAMES[str(name)] for name in shares],
        colors=[colours[str(name)] for name in shares],
        alpha=0.75,
        linewidth=0,
    )
    set_x(ax, view, first, end)
    ax.set_ylim(0, 1.08 * float(half.max()))
    if end > last:
        set_apart(ax, last)
    ax.set_xlabel(style.axis_label(fit.law, view.x))
    unit = "%" if noise.on == "log" else "log-odds" if noise.on == "logit" or noise.counted else "unit of the output"
    ax.set_ylabel(f"half-width of the {100 * prob:g}% band ({unit})")
    of = f", {view.group} {chosen}" if chosen else ""
    ax.set_title(f"What the band of {view.output} is made of{of}", loc="left", fontsize=11, pad=22)
    ax.legend(loc="upper left", fontsize=8.5, frameon=False, reverse=True)
    style.mark_unconverged(fit, ax)
    return style.figure_of(ax)
