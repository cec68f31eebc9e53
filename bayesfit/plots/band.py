"""The law's curve with its predictive bands, over the runs it was fitted to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesfit.errors import ConvergenceWarning, ExtrapolationWarning, SpecError, nearest
from bayesfit.plots import style
from bayesfit.plots.path import Path, check_x, default_x, fit_path, x_values

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesfit.fitting import Fit
    from bayesfit.forecast import Forecast
    from bayesfit.runs import Runs

#: Points of a curve.
_GRID = 81
#: More levels than this get lines; only the first few, or those named, get bands.
_MANY, _BANDS = 6, 3
#: Width, in points of the curve, over which the simulated edges of a band are smoothed.
_SMOOTH = 21
#: Decades of scatter of an input about the path from which the caption speaks of it.
_OFF = 0.1


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A level's median and bands along x.

    Parameters
    ----------
    x, median
        The law's median at each x.
    edges
        Lower and upper edge of the predictive band of each probability.
    inside
        The largest x of the level's own runs.
    """

    x: np.ndarray
    median: np.ndarray
    edges: Mapping[float, tuple[np.ndarray, np.ndarray]]
    inside: float


@dataclass(frozen=True, kw_only=True)
class _View:
    """What is drawn: the quantity on the axis, the groups, and which runs belong to which curve."""

    fit: Fit
    x: str
    output: str
    group: str | None
    #: Groups that the fit pools over and that are not told apart in this figure, with the level shown.
    held: Mapping[str, str]
    banded: tuple[str, ...]

    @cached_property
    def levels(self) -> tuple[str, ...]:
        return ("",) if self.group is None else self.fit.runs.levels(self.group)

    @property
    def curves(self) -> tuple[str, ...]:
        """Levels with a curve of their own; one curve for all where the fit does not tell them apart."""
        return self.levels if self.group in self.fit.pooling.by else ("",)

    def rows(self, table: pd.DataFrame, level: str) -> np.ndarray:
        """Return the rows of a table that belong to a level (all for ``""``)."""
        chosen = np.ones(len(table), dtype=bool)
        for name, value in {**self.held, **({self.group: level} if self.group and level else {})}.items():
            if name in table.columns:
                chosen &= (table[name].astype(str) == value).to_numpy()
        return np.flatnonzero(chosen)

    def unseen(self, table: pd.DataFrame) -> np.ndarray:
        """Return the rows whose level the fit does not know."""
        rows = self.rows(table, "")
        if self.group is None or self.group not in table.columns:
            return rows[:0] if self.group is None else rows
        known = table[self.group].astype(str).isin(self.levels).to_numpy(bool)
        return np.asarray(rows[~known[rows]])

    def colour(self, level: str) -> str:
        return style.colour(self.levels.index(level)) if level in self.levels else style.GREY

    def marker(self, level: str) -> str:
        return style.marker(self.levels.index(level)) if level in self.levels else "o"


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
        The figure, to show or to save.

    Raises
    ------
    SpecError
        For a quantity, output, group or probability that cannot be drawn.

    Examples
    --------
    >>> figure = plot_band(fit, to="1e24", truth=larger_runs)  # doctest: +SKIP
    >>> figure.savefig("band.png", dpi=150)  # doctest: +SKIP
    """
    probs = _probabilities(prob)
    view = _view(fit, x, fit.law.pick_output(output), by)
    if forecast is not None and forecast.output != view.output:
        raise SpecError(f"this forecast is of '{forecast.output}', the figure is of '{view.output}'; pass output=")
    held_out = None if truth is None else truth if isinstance(truth, pd.DataFrame) else truth.to_frame()
    beyond = [] if forecast is None else [x_values(forecast.scenarios, view.x, "the forecast")]
    if held_out is not None:
        if view.output not in held_out.columns:
            raise SpecError(f"the held-out runs have no '{view.output}'")
        beyond.append(x_values(held_out, view.x, "the table of held-out runs"))
    shown = x_values(fit.runs.table, view.x, "the table of runs")[view.rows(fit.runs.table, "")]
    last, largest = float(shown.max()), max(float(values.max()) for values in (shown, *beyond))
    end = _number(to) if to is not None else largest if largest > 1.05 * last else 10 * last
    if not end > shown.min():
        raise SpecError(f"to={to} lies before the first run, at {view.x} = {shown.min():.4g}")
    paths = {level: fit_path(fit, view.x, view.rows(fit.runs.table, level)) for level in view.curves}
    curves = {level: _curve(view, level, paths[level], end, probs) for level in view.curves}

    own = ax is None
    if ax is None:
        ax = style.new_figure(8.6 if view.group or forecast is not None or truth is not None else 7.4, 4.8).subplots()
    style.tidy(ax)
    entries: list[Artist] = []
    _draw_curves(ax, view, curves, last)
    entries += _draw_runs(ax, view, fit.runs.table, held_out=False)
    if held_out is not None:
        entries += _draw_runs(ax, view, held_out, held_out=True)
    if forecast is not None:
        entries += _draw_forecast(ax, view, forecast, probs)
    _frame(ax, view, curves, (shown.min(), max(end, largest)), held_out, forecast, probs)
    if end > last:
        _set_apart(ax, last)
    caption = _caption(view, paths)
    ax.set_xlabel("\n".join(filter(None, [style.axis_label(fit.law, view.x), "" if own else caption])))
    ax.set_ylabel(style.axis_label(fit.law, view.output))
    if own:
        # the strip between axes and title is for the word over the shading
        ax.set_title(style.title(fit.law), loc="left", fontsize=11, pad=22)
        if caption:
            style.figure_of(ax).supxlabel(caption, fontsize=9, color="#555555")
    entries += _guides(view, probs)
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if own else {"loc": "best"}
    ax.legend(handles=entries, fontsize=8.5, frameon=not own, ncols=style.columns(entries), borderaxespad=0.2, **place)
    style.mark_unconverged(fit, ax, failed=forecast is not None and not forecast.converged)
    return style.figure_of(ax)


def _probabilities(prob: Sequence[float]) -> tuple[float, ...]:
    if isinstance(prob, int | float):
        raise SpecError(f"prob must be a list, found {prob}; write prob=[{prob}]")
    wrong = [value for value in prob if not 0 < value < 1]
    if wrong or not prob:
        raise SpecError(f"prob must hold probabilities between 0 and 1, found {wrong[0] if wrong else 'none'}")
    return tuple(sorted({float(value) for value in prob}, reverse=True))


def _number(to: float | str) -> float:
    from bayesfit.cells import read_numbers

    numbers, faults = read_numbers(pd.Series([to], dtype=object), "to")
    if faults or not numbers[0] > 0:
        raise SpecError(f"to must be a positive number such as 1e24 or '70B', found {to!r}")
    return float(numbers[0])


def _view(fit: Fit, x: str | None, output: str, by: str | Mapping[str, Sequence[str]] | None) -> _View:
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
    return _View(
        fit=fit,
        x=default_x(fit) if x is None else check_x(fit, x),
        output=output,
        group=group,
        held={name: str(table[name].mode().iloc[0]) for name in fit.pooling.by if name != group},
        banded=tuple(named) if named is not None else levels if len(levels) <= _MANY else levels[:_BANDS],
    )


def _curve(view: _View, level: str, path: Path, end: float, probs: tuple[float, ...]) -> Curve:
    from bayesfit.forecast import forecast

    own = x_values(view.fit.runs.table, view.x, "the table of runs")[view.rows(view.fit.runs.table, level)]
    grid = np.geomspace(own.min(), max(end, own.max() * 1.001), _GRID)
    table = path.table(grid)
    if view.x not in table and view.x == "flops":
        table["flops"] = grid
    for name in view.fit.pooling.by:
        table[name] = level if name == view.group else view.held[name]
    with warnings.catch_warnings():
        # the figure itself shows both: the shading, and the mark
        warnings.simplefilter("ignore", ExtrapolationWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = forecast(view.fit, table, output=view.output, allow_unconverged=True)
    median = np.median(found.expected.values.reshape(-1, len(grid)), axis=0)
    on_log = view.fit.law.outputs[view.output].noise.on == "log"
    edges = {}
    for prob in probs:
        ends = found.interval(prob)
        edges[prob] = (
            _smooth(ends["lower"].to_numpy(float), median, on_log),
            _smooth(ends["upper"].to_numpy(float), median, on_log),
        )
    return Curve(x=grid, median=median, edges=edges, inside=float(own.max()))


def _smooth(edge: np.ndarray, median: np.ndarray, on_log: bool) -> np.ndarray:
    """Take the simulation's jitter off an edge.

    Each point's noise is drawn anew; the distance from the median changes slowly along the curve, so
    a local parabola through it loses nothing.
    """
    from scipy.signal import savgol_filter

    away = np.log(edge / median) if on_log else edge - median
    smooth: np.ndarray = savgol_filter(away, _SMOOTH, 2)
    return median * np.exp(smooth) if on_log else median + smooth


def _draw_curves(ax: Axes, view: _View, curves: Mapping[str, Curve], last: float) -> None:
    several = len(curves) > 1
    for level, curve in curves.items():
        colour = view.colour(level) if several else style.COLOURS[0]
        if not several or level in view.banded:
            for i, (prob, (low, high)) in enumerate(curve.edges.items()):
                ax.fill_between(
                    curve.x,
                    low,
                    high,
                    color=colour,
                    alpha=(0.10 if several else 0.18) + 0.12 * i,
                    linewidth=0,
                    zorder=2,
                    gid=f"band {prob:g} {level}".strip(),
                )
        inside = curve.x <= (curve.inside if several else last) * (1 + 1e-9)
        width = 1.6 if not several or level in view.banded else 0.9
        ax.plot(curve.x[inside], curve.median[inside], color=colour, linewidth=width, zorder=4, gid=f"median {level}")
        # the dashed part starts where the full line ends
        rest = ~inside
        rest[max(int(inside.sum()) - 1, 0)] = True
        ax.plot(
            curve.x[rest],
            curve.median[rest],
            color=colour,
            linewidth=width,
            linestyle=(0, (4, 2)),
            zorder=4,
            gid=f"beyond {level}",
        )


def _draw_runs(ax: Axes, view: _View, table: pd.DataFrame, *, held_out: bool) -> list[Artist]:
    """Draw runs, one collection a level, and return their entries for the legend."""
    from matplotlib.lines import Line2D

    xs = x_values(table, view.x, "the table of runs")
    ys = table[view.output].to_numpy(float)
    plain = view.group is None
    entries: list[Artist] = []
    for level in (*view.levels, None) if held_out else view.levels:
        has_group = plain or view.group in table.columns
        rows = view.unseen(table) if level is None else view.rows(table, level) if has_group else np.array([], int)
        if not len(rows):
            continue
        known = level is not None
        colour = ("#222222" if plain else view.colour(level)) if level is not None else style.GREY
        mark = view.marker(level) if level is not None else "o"
        crowded = len(rows) > 80
        ax.scatter(
            xs[rows],
            ys[rows],
            s=(34 if held_out else 26) if not crowded else 13,
            marker=mark,
            facecolors="white" if held_out else colour,
            edgecolors=colour if held_out else "white",
            linewidths=1.4 if held_out else 0.4,
            alpha=0.75 if crowded and not held_out else 1.0,
            zorder=6 if held_out else 5,
            gid=f"{'truth' if held_out else 'runs'} {level if known else 'new'}",
        )
        if not held_out:
            if "loss_se" in table.columns and view.output == "loss":
                se = table["loss_se"].to_numpy(float)[rows]
                ax.errorbar(xs[rows], ys[rows], se, fmt="none", ecolor=colour, elinewidth=0.8, zorder=4.5)
            label = "fitted runs" if plain else str(level)
            entries.append(_handle(mark, colour, label))
        elif not known:
            names = sorted({str(table[view.group].iloc[row]) for row in rows}) if view.group in table.columns else []
            label = f"{', '.join(names)} (not fitted)" if 0 < len(names) <= 2 else "held-out, not fitted"
            entries.append(_handle(mark, colour, label, face="white"))
    if held_out:
        entries.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="o",
                markerfacecolor="white",
                markeredgecolor="#222222",
                markeredgewidth=1.4,
                label="held-out runs",
            )
        )
    return entries


def _handle(mark: str, colour: str, label: str, *, face: str | None = None) -> Artist:
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        linestyle="none",
        marker=mark,
        markersize=6,
        markerfacecolor=face or colour,
        markeredgecolor=colour,
        label="\n".join(line if len(line) <= 28 else f"{line[:27]}…" for line in label.split("\n")),
    )


def _draw_forecast(ax: Axes, view: _View, forecast: Forecast, probs: tuple[float, ...]) -> list[Artist]:
    """Draw scenarios: median, outermost interval thin and innermost thick."""
    table = forecast.scenarios
    xs, middle = x_values(table, view.x, "the forecast"), forecast.quantiles([0.5])[0.5].to_numpy(float)
    widest = forecast.interval(probs[0])
    inner = forecast.interval(probs[-1])
    names = table[view.group].astype(str).tolist() if view.group in table.columns else [""] * len(table)
    several = len(view.curves) > 1
    for i, level in enumerate(names):
        colour = view.colour(level) if several else style.RED
        for ends, width, cap in ((widest, 1.2, 4), (inner, 3.0, 0))[: len(probs)]:
            low, high = float(ends["lower"].iloc[i]), float(ends["upper"].iloc[i])
            ax.errorbar(
                xs[i],
                middle[i],
                [[max(middle[i] - low, 0.0)], [max(high - middle[i], 0.0)]],
                fmt="none",
                ecolor=colour,
                elinewidth=width,
                capsize=cap,
                zorder=7,
            )
        ax.scatter(
            xs[i],
            middle[i],
            s=34,
            marker="d",
            facecolors="white",
            edgecolors=colour,
            linewidths=1.4,
            zorder=8,
            gid=f"forecast {level}".strip(),
        )
    if len(table) == 1:
        low, high = (float(widest[end].iloc[0]) for end in ("lower", "upper"))
        label = f"forecast {middle[0]:.4g}\n({100 * probs[0]:g}%: {low:.4g} to {high:.4g})"
    else:
        shown = " and ".join(f"{100 * prob:g}%" for prob in dict.fromkeys((probs[-1], probs[0])))
        label = f"forecasts, {shown}"
    return [_handle("d", "black" if several else style.RED, label, face="white")]


def _frame(
    ax: Axes,
    view: _View,
    curves: Mapping[str, Curve],
    span: tuple[float, float],
    held_out: pd.DataFrame | None,
    forecast: Forecast | None,
    probs: tuple[float, ...],
) -> None:
    """Set scales and limits so that all points and most of every band are seen."""
    margin = (span[1] / span[0]) ** 0.03
    style.readable_log(ax, "x", span[0] / margin, span[1] * margin, view.x)
    values = [view.fit.runs.values(view.output)[view.rows(view.fit.runs.table, "")]]
    if held_out is not None:
        values.append(held_out[view.output].to_numpy(float))
    if forecast is not None:
        values.append(forecast.interval(probs[0]).to_numpy(float).ravel())
    for level, curve in curves.items():
        values.append(curve.median)
        if len(curves) == 1 or level in view.banded:
            # where a family has one run its band may be wide enough to flatten all else
            low, high = curve.edges[probs[0]]
            values += [np.quantile(low, [0.03]), np.quantile(high, [0.9])]
    together = np.concatenate(values)
    bottom, top = float(together.min()), float(together.max())
    if view.fit.law.outputs[view.output].noise.on == "log" and bottom > 0:
        pad = (top / bottom) ** 0.05
        style.readable_log(ax, "y", bottom / pad, top * pad, view.output)
    else:
        ax.set_ylim(bottom - 0.05 * (top - bottom), top + 0.05 * (top - bottom))


def _set_apart(ax: Axes, last: float) -> None:
    """Shade what lies beyond the fitted runs."""
    end = ax.get_xlim()[1]
    ax.axvspan(last, end, facecolor="#F3F3F0", edgecolor="none", zorder=0, gid="extrapolation")
    ax.axvline(last, color=style.GREY, linewidth=0.9, linestyle=":", zorder=1, gid="largest fitted")
    narrow = np.log(end / last) < 0.2 * np.log(end / ax.get_xlim()[0])
    # above the axes, where it hides no run
    ax.annotate(
        "extrapolation",
        (end if narrow else last, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right" if narrow else "left",
        va="bottom",
        fontsize=9,
        color="#666666",
        style="italic",
    )


def _caption(view: _View, paths: Mapping[str, Path]) -> str:
    """Say along which path the curves run, and which levels are shown."""
    texts = {level: path.text(view.fit.law) for level, path in paths.items()}
    held = ", ".join(f"{name} {level}" for name, level in view.held.items())
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


def _guides(view: _View, probs: tuple[float, ...]) -> list[Artist]:
    """Return the legend's entries for lines and bands."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colour = "#555555" if len(view.curves) > 1 else style.COLOURS[0]
    guides: list[Artist] = [Line2D([], [], color=colour, linewidth=1.6, label="law, median")]
    for i, prob in reversed([*enumerate(probs)]):
        alpha = 1 - (1 - 0.18) * np.prod([1 - (0.18 + 0.12 * j) for j in range(1, i + 1)])
        guides.append(Patch(facecolor=colour, alpha=float(alpha), label=f"{100 * prob:g}% of new runs"))
    return guides
