"""Laws of tasks: a panel a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from bayesfit.errors import SpecError
from bayesfit.path import Path, is_share
from bayesfit.plots import style
from bayesfit.plots.axes import extent, set_apart, set_x, set_y, y_range
from bayesfit.plots.curves import Curve, draw, guides, held_out_runs, level_curves, probabilities
from bayesfit.plots.panels import (
    BESIDE,
    COLOUR,
    add_entries,
    caption_of,
    check_levels,
    draw_chance,
    panel,
    shortened,
    write_legend,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from bayesfit.fitting import Fit
    from bayesfit.forecast import Forecast
    from bayesfit.runs import Runs


def plot_tasks(
    fit: Fit,
    *,
    group: str = "task",
    x: str | None = None,
    output: str | None = None,
    to: float | str | None = None,
    prob: Sequence[float] = (0.5, 0.9),
    forecast: Forecast | None = None,
    truth: Runs | pd.DataFrame | None = None,
    colour: str | None = COLOUR,
    columns: int = 4,
    tight: bool = False,
) -> Figure:
    """Draw the law's median and bands task by task, in small panels that share their axes.

    Parameters
    ----------
    fit
        The fit. If its checks fail, the figure says so in red.
    group
        The group that has a panel for each level.
    x
        An input, or ``"flops"``, as in `plot_band`.
    output
        The output; by default the law's last one if it is a share, such as an accuracy, or else its first.
    to
        Where the curves end; by default a decade beyond the runs, or at the farthest forecast or held-out run.
    prob
        Probabilities of the bands: of what a run would score, noise included.
    forecast
        Scenarios to draw as points with error bars, each in the panel of its task.
    truth
        Held-out runs, drawn as open markers.
    colour
        The group told apart by colour. If the fit is by this group too, each of its levels has a curve, with
        bands if there are three at most. ``"family"`` is left out where the runs have none; None for one
        colour.
    columns
        Panels side by side.
    tight
        Whether each panel's axis holds its own runs and bands only, instead of all from 0 to 1 (or, for
        what is no share, the range of all panels).

    Returns
    -------
    matplotlib.figure.Figure
        The figure. What lies beyond a task's own runs is shaded; chance is dashed where the law reads it.

    Raises
    ------
    SpecError
        For runs without the group, a task that the fit does not know, or what `plot_band` refuses.

    Examples
    --------
    >>> plot_tasks(fit, to="1e24", truth=larger_runs).savefig("tasks.png", dpi=150)  # doctest: +SKIP
    """
    probs = probabilities(prob)
    name = fit.law.pick_output(output)
    if columns < 1:
        raise SpecError(f"columns must be 1 or more, found {columns}")
    levels = fit.runs.levels(group)
    held_out = held_out_runs(truth)
    check_levels(held_out, group, levels, "the held-out runs")
    check_levels(None if forecast is None else forecast.scenarios, group, levels, "the scenarios", needed=False)
    views = {level: panel(fit, group, level, x, name, colour) for level in levels}
    extents = [extent(view, to, held_out, forecast) for view in views.values()]
    end = max(found[2] for found in extents)
    paths: dict[str, dict[str, Path]] = {}
    curves: dict[str, dict[str, Curve]] = {}
    for level, view in views.items():
        paths[level], curves[level] = level_curves(view, end, probs)

    across = min(columns, len(levels))
    down = -(-len(levels) // across)
    figure = style.new_figure(max(2.35 * across, 3.6) + BESIDE, 2.05 * down + 1.1)
    axes = figure.subplots(down, across, squeeze=False)
    entries: dict[str, Artist] = {}
    ranges: list[tuple[float, float]] = []
    share = is_share(fit.law, name)
    few = 5 if across > 1 else 8
    for ax, (level, view) in zip(axes.flat, views.items(), strict=False):
        style.tidy(ax)
        rows = None if forecast is None else view.rows(forecast.scenarios, "")
        shown = forecast if rows is not None and len(rows) else None
        add_entries(entries, draw(ax, view, curves[level], probs, held_out=held_out, forecast=shown, rows=rows))
        ranges.append(y_range(view, curves[level], probs, held_out=held_out, forecast=shown, rows=rows))
        set_x(ax, view, min(found[0] for found in extents), max(end, *(found[3] for found in extents)), most=few)
        last = float(view.shown.max())
        if end > last:
            set_apart(ax, last, word=False)
        ax.set_title(shortened(level), loc="left", fontsize=9.5, pad=3)
    whole = (min(low for low, _ in ranges), max(high for _, high in ranges))
    for place, (ax, own) in enumerate(zip(axes.flat, ranges, strict=False)):
        if tight:
            set_y(ax, views[levels[place]], own, most=5)
        elif share:
            # a run that gets everything right is not cut in half
            ax.set_ylim(-0.02, 1.02)
        else:
            set_y(ax, views[levels[place]], whole, most=5)
        add_entries(entries, draw_chance(ax, views[levels[place]]))
        ax.tick_params(labelleft=tight or place % across == 0, labelbottom=place + across >= len(levels), labelsize=8.5)
    for spare in axes.flat[len(levels) :]:
        spare.set_axis_off()
    beyond = any(end > found[1] for found in extents)
    several = any(len(found) > 1 for found in curves.values())
    banded = any(len(found) == 1 or {*found} & {*views[level].banded} for level, found in curves.items())
    add_entries(entries, guides(views[levels[0]], probs if banded else (), several=several))
    write_legend(figure, entries, beyond=beyond)
    style.write_title(figure, style.name_of(fit.law), beside=BESIDE)
    figure.supylabel(style.wrapped_label(fit.law, name, width=26 * down), fontsize=9.5)
    caption = style.caption(caption_of(fit.law, views, paths, group))
    figure.supxlabel("\n".join(filter(None, [style.axis_label(fit.law, views[levels[0]].x), caption])), fontsize=9.5)
    style.mark_unconverged(fit, figure, failed=forecast is not None and not forecast.converged)
    return figure
