"""The law's curve with its predictive bands, over the runs it was fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from bayesfit.errors import SpecError, nearest
from bayesfit.path import Path, check_x, default_x
from bayesfit.plots import style
from bayesfit.plots.axes import extent, set_apart, set_x, set_y, y_range
from bayesfit.plots.curves import View, draw, guides, held_out_runs, level_curves, probabilities

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesfit.fitting import Fit
    from bayesfit.forecast import Forecast
    from bayesfit.runs import Runs

#: More levels than this get lines; only the first few, or those named, get bands.
_MANY, _BANDS = 6, 3
#: Decades of scatter of an input about the path from which the caption speaks of it.
_OFF = 0.1


def plot_band(
    fit: Fit,
    *,
    x: str | None = None,
    output: str | None = None,
    to: float | str | None = None,
    prob: Sequence[float] = (0.5, 0.9),
    forecast: Forecast | None = None,
    truth: Runs | pd.DataFrame | None = None,
    by: str | Mapping[str, Sequence[str]] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the law's median and predictive bands over the runs, and beyond them.

    Parameters
    ----------
    fit
        The fit. If its checks fail, the figure says so in red.
    x
        An input, or ``"flops"``; by default compute where the runs have it (given, or 6 times params
        times tokens), and otherwise the law's first input. Other inputs follow the runs' own path: a
        log-linear regression on x, made in each family and named under the axis.
    output
        The output, where the law has several.
    to
        Where the curve ends, such as ``1e25`` or ``"70B"``; by default a decade beyond the runs, or at the
        farthest forecast or held-out run.
    prob
        Probabilities of the bands: of what a run would score, noise included.
    forecast
        Scenarios to draw as points with error bars (the outermost and innermost of `prob`).
    truth
        Held-out runs, drawn as open markers.
    by
        The group told apart by colour; the fit's first by default. ``{"family": ["Pythia"]}`` gives bands
        to these levels only; with more than six levels, the first three have bands unless told otherwise.
    ax
        Axes to draw in; a new figure by default, with the legend beside the axes.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, to show or to save. Of a group that is not told apart, such as the tasks of a fit by family and
        task, the level with the most runs is shown; the title names it, and `plot_tasks` shows all.

    Raises
    ------
    SpecError
        For a quantity, output, group or probability that cannot be drawn.

    Examples
    --------
    >>> figure = plot_band(fit, to="1e24", truth=larger_runs)  # doctest: +SKIP
    >>> figure.savefig("band.png", dpi=150)  # doctest: +SKIP
    """
    probs = probabilities(prob)
    view = view_of(fit, x, fit.law.pick_output(output), by)
    held_out = held_out_runs(truth)
    first, last, end, largest = extent(view, to, held_out, forecast)
    paths, curves = level_curves(view, end, probs)

    own = ax is None
    if ax is None:
        ax = style.new_figure(8.6 if view.group or forecast is not None or truth is not None else 7.4, 4.8).subplots()
    style.tidy(ax)
    entries = draw(ax, view, curves, probs, held_out=held_out, forecast=forecast)
    set_x(ax, view, first, max(end, largest))
    set_y(ax, view, y_range(view, curves, probs, held_out=held_out, forecast=forecast))
    if end > last:
        set_apart(ax, last)
    caption = _caption(view, paths)
    ax.set_xlabel("\n".join(filter(None, [style.axis_label(fit.law, view.x), "" if own else caption])))
    ax.set_ylabel(style.axis_label(fit.law, view.output))
    if own:
        # the strip between axes and title is for the word over the shading
        ax.set_title(style.title(fit.law, of=_held(view)), loc="left", fontsize=11, pad=22)
        if caption:
            style.figure_of(ax).supxlabel(style.caption(caption), fontsize=9, color="#555555")
    entries += guides(view, probs)
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if own else {"loc": "best"}
    ax.legend(handles=entries, fontsize=8.5, frameon=not own, ncols=style.columns(entries), borderaxespad=0.2, **place)
    style.mark_unconverged(fit, ax, failed=forecast is not None and not forecast.converged)
    return style.figure_of(ax)


def view_of(fit: Fit, x: str | None, output: str, by: str | Mapping[str, Sequence[str]] | None) -> View:
    """Return what a band's axes show; the arguments are those of `plot_band`."""
    group: str | None = next(iter(fit.pooling.by), None)
    named: Sequence[str] | None = None
    if isinstance(by, str):
        group = by
    elif by is not None:
        if len(by) != 1:
            raise SpecError(f"by must name one group, found {list(by)}")
        ((group, named),) = by.items()
    levels = fit.runs.levels(group) if group is not None else ("",)
    for level in named or ():
        if level not in levels:
            raise SpecError(f"{group} has no level '{level}'{nearest(level, levels)}; it has {', '.join(levels)}")
    table = fit.runs.table
    return View(
        fit=fit,
        x=default_x(fit) if x is None else check_x(fit, x),
        output=output,
        group=group,
        held={name: str(table[name].mode().iloc[0]) for name in fit.pooling.columns if name != group},
        banded=tuple(named) if named is not None else levels if len(levels) <= _MANY else levels[:_BANDS],
        table=table,
    )


def _held(view: View) -> str:
    """Return the levels shown of groups that are not told apart, such as the one task of several."""
    return ", ".join(f"{name} {level}" for name, level in view.held.items())


def _caption(view: View, paths: Mapping[str, Path]) -> str:
    """Say along which path the curves run, and which levels are shown."""
    texts = {level: style.path_text(view.fit.law, path) for level, path in paths.items()}
    held = _held(view)
    distinct = dict.fromkeys(filter(None, texts.values()))
    if not distinct:
        return f"shown: {held}" if held else ""
    if len(distinct) == 1:
        along = f"curve along {next(iter(distinct))}, the runs' own path"
        if max(path.scatter for path in paths.values()) > _OFF:
            along += " (runs off it lie off the curve)"
    elif len(distinct) <= 3:
        along = "curves along " + "; ".join(f"{text} ({level})" for level, text in texts.items())
    else:
        along = "each curve along the log-linear path of its own runs"
    return f"{along}; shown: {held}" if held else along
