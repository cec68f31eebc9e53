"""What figures of curves share: what a pair of axes shows, its curves and bands, and how they are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesfit.errors import SpecError
from bayesfit.path import Path, fit_path, x_values
from bayesfit.plots import style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from bayesfit.fitting import Fit
    from bayesfit.forecast import Forecast
    from bayesfit.runs import Runs

#: Points of a curve.
_GRID = 81
#: Width, in points of the curve, over which the simulated edges of a band are smoothed.
_SMOOTH = 21


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A level's median and bands along x.

    Parameters
    ----------
    x, median
        The law's median at each x.
    edges
        Lower and upper edge of the band of each probability.
    inside
        The smallest and the largest x of the level's own runs.
    """

    x: np.ndarray
    median: np.ndarray
    edges: Mapping[float, tuple[np.ndarray, np.ndarray]]
    inside: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class View:
    """What a pair of axes shows: the quantity on each, the groups, and which runs belong to which curve.

    Parameters
    ----------
    fit
        The fit.
    x, output
        What is drawn against what.
    group
        The group told apart by colour.
    held
        Groups that are not told apart in these axes, with the level shown.
    banded
        Levels of `group` whose curves have bands.
    table
        The runs, the fit's or a copy of its table with more columns.
    log_x
        Whether x is on a log scale.
    noisy
        Whether bands are of what a run would score, or of the law alone.
    """

    fit: Fit
    x: str
    output: str
    group: str | None
    held: Mapping[str, str]
    banded: tuple[str, ...]
    table: pd.DataFrame
    log_x: bool = True
    noisy: bool = True

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Levels of the group; one without a name where nothing is told apart."""
        return ("",) if self.group is None else self.fit.runs.levels(self.group)

    @property
    def curves(self) -> tuple[str, ...]:
        """Levels with runs and a curve of their own; one curve for all where the fit does not tell them apart."""
        if self.group not in self.fit.pooling.by:
            return ("",)
        return tuple(level for level in self.levels if len(self.rows(self.table, level)))

    @property
    def shown(self) -> np.ndarray:
        """X of the runs shown."""
        return self.xs(self.rows(self.table, ""))

    @property
    def tone(self) -> str:
        """Colour of the law where it has one curve; colours that tell runs apart are left to these."""
        return style.COLOURS[0] if len(self.levels) == 1 else "#444444"

    def rows(self, table: pd.DataFrame, level: str) -> np.ndarray:
        """Return the rows of a table that belong to a level (all for ``""``)."""
        chosen = np.ones(len(table), dtype=bool)
        for name, value in {**self.held, **({self.group: level} if self.group and level else {})}.items():
            if name in table.columns:
                chosen &= (table[name].astype(str) == value).to_numpy()
        return np.flatnonzero(chosen)

    def xs(self, rows: np.ndarray) -> np.ndarray:
        """Return x of the runs at some rows."""
        return x_values(self.table.iloc[rows], self.x, "the table of runs")

    def unseen(self, table: pd.DataFrame) -> np.ndarray:
        """Return the rows whose level the fit does not know."""
        rows = self.rows(table, "")
        if self.group is None or self.group not in table.columns:
            return rows[:0] if self.group is None else rows
        known = table[self.group].astype(str).isin(self.levels).to_numpy(bool)
        return np.asarray(rows[~known[rows]])

    def colour(self, level: str) -> str:
        """Return the colour of a level, grey for one that the fit does not know."""
        return style.colour(self.levels.index(level)) if level in self.levels else style.GREY

    def marker(self, level: str) -> str:
        """Return the marker of a level."""
        return style.marker(self.levels.index(level)) if level in self.levels else "o"


def probabilities(prob: Sequence[float]) -> tuple[float, ...]:
    """Return the probabilities of bands, the widest first."""
    if isinstance(prob, int | float):
        raise SpecError(f"prob must be a list, found {prob}; write prob=[{prob}]")
    wrong = [value for value in prob if not 0 < value < 1]
    if wrong or not prob:
        raise SpecError(f"prob must hold probabilities between 0 and 1, found {wrong[0] if wrong else 'none'}")
    return tuple(sorted({float(value) for value in prob}, reverse=True))


def held_out_runs(truth: Runs | pd.DataFrame | None) -> pd.DataFrame | None:
    """Return held-out runs as a table."""
    return truth if truth is None or isinstance(truth, pd.DataFrame) else truth.to_frame()


def level_curves(view: View, end: float, probs: tuple[float, ...]) -> tuple[dict[str, Path], dict[str, Curve]]:
    """Return the path and the curve of each level, from the first of its runs to `end`."""
    paths = {level: fit_path(view.fit, view.x, view.rows(view.table, level)) for level in view.curves}
    return paths, {level: _curve(view, level, path, end, probs) for level, path in paths.items()}


def curve_along(
    view: View, level: str, path: Path, ends: tuple[float, float], probs: tuple[float, ...], inside: tuple[float, float]
) -> Curve:
    """Return a level's curve along a path.

    Parameters
    ----------
    view
        What is drawn.
    level
        The level of the view's group, or ``""`` where it has one curve.
    path
        How the other inputs go along with x.
    ends
        Where the curve starts and ends.
    probs
        Probabilities of the bands.
    inside
        Between which x the level has runs.
    """
    from bayesfit.forecast import forecast_rows
    from bayesfit.scenarios import read_scenarios

    grid = np.geomspace(*ends, _GRID) if view.log_x else np.linspace(*ends, _GRID)
    table = path.table(grid)
    for name in view.fit.pooling.by:
        table[name] = level if name == view.group else view.held[name]
    # of a fit that fails its checks too, and however far: the figure itself says so
    found = forecast_rows(view.fit, read_scenarios(table, view.fit), view.output, seed=view.fit.seed)
    expected = found.expected.values.reshape(-1, len(grid))
    median = np.median(expected, axis=0)
    on_log = view.fit.law.outputs[view.output].noise.on == "log"
    edges = {}
    for prob in probs:
        if view.noisy:
            found_ends = found.interval(prob)
            low, high = (_smooth(found_ends[end].to_numpy(float), median, on_log) for end in ("lower", "upper"))
        else:
            low, high = np.quantile(expected, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
        edges[prob] = (low, high)
    return Curve(x=grid, median=median, edges=edges, inside=inside)


def _curve(view: View, level: str, path: Path, end: float, probs: tuple[float, ...]) -> Curve:
    """Return a level's curve from the first of its runs on."""
    own = view.xs(view.rows(view.table, level))
    inside = (float(own.min()), float(own.max()))
    return curve_along(view, level, path, (inside[0], max(end, inside[1] * 1.001)), probs, inside)


def _smooth(edge: np.ndarray, median: np.ndarray, on_log: bool) -> np.ndarray:
    """Take the simulation's jitter off an edge.

    Each point's noise is drawn anew; the distance from the median changes slowly along the curve, so
    a local parabola through it loses nothing.
    """
    from scipy.signal import savgol_filter

    away = np.log(edge / median) if on_log else edge - median
    smooth: np.ndarray = savgol_filter(away, _SMOOTH, 2)
    return median * np.exp(smooth) if on_log else median + smooth


def draw(
    ax: Axes,
    view: View,
    curves: Mapping[str, Curve],
    probs: tuple[float, ...],
    *,
    held_out: pd.DataFrame | None = None,
    forecast: Forecast | None = None,
    rows: Sequence[int] | np.ndarray | None = None,
) -> list[Artist]:
    """Draw curves, runs, held-out runs, and forecasts (those of the scenarios at `rows`, or all).

    Returns
    -------
    list
        Entries for the legend, of runs and forecasts.
    """
    _draw_curves(ax, view, curves)
    entries = _draw_runs(ax, view, view.table, held_out=False)
    if held_out is not None:
        entries += _draw_runs(ax, view, held_out, held_out=True)
    if forecast is not None:
        entries += _draw_forecast(ax, view, forecast, probs, range(len(forecast.scenarios)) if rows is None else rows)
    return entries


def _draw_curves(ax: Axes, view: View, curves: Mapping[str, Curve]) -> None:
    several = len(curves) > 1
    for level, curve in curves.items():
        colour = view.colour(level) if level else view.tone
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
        width = 1.6 if not several or level in view.banded else 0.9
        first, last = curve.inside
        inside = (curve.x >= first - 1e-9 * abs(first)) & (curve.x <= last + 1e-9 * abs(last))
        ax.plot(curve.x[inside], curve.median[inside], color=colour, linewidth=width, zorder=4, gid=f"median {level}")
        # the dashed parts start where the full line ends
        for rest in (curve.x <= max(first, curve.x[inside].min()), curve.x >= curve.x[inside].max()):
            if rest.sum() > 1 or rest[-1]:
                ax.plot(
                    curve.x[rest],
                    curve.median[rest],
                    color=colour,
                    linewidth=width,
                    linestyle=(0, (4, 2)),
                    zorder=4,
                    gid=f"beyond {level}",
                )


def _draw_runs(ax: Axes, view: View, table: pd.DataFrame, *, held_out: bool) -> list[Artist]:
    """Draw runs, one collection a level, and return their entries for the legend."""
    from matplotlib.lines import Line2D

    xs = x_values(table, view.x, "the table of runs")
    ys = table[view.output].to_numpy(float)
    plain = view.group is None
    entries: list[Artist] = []
    for level in (*view.levels, None) if held_out else view.levels:
        has_group = plain or view.group in table.columns
        rows = view.unseen(table) if level is None else view.rows(table, level) if has_group else np.array([], int)
        # a run may lack one of several outputs
        rows = rows[np.isfinite(ys[rows])]
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


def _draw_forecast(
    ax: Axes, view: View, forecast: Forecast, probs: tuple[float, ...], rows: Iterable[int]
) -> list[Artist]:
    """Draw scenarios: median, outermost interval thin and innermost thick."""
    table = forecast.scenarios
    xs, middle = x_values(table, view.x, "the forecast"), forecast.quantiles([0.5])[0.5].to_numpy(float)
    widest = forecast.interval(probs[0])
    inner = forecast.interval(probs[-1])
    names = table[view.group].astype(str).tolist() if view.group in table.columns else [""] * len(table)
    several = len(view.curves) > 1
    for i in rows:
        level = names[i]
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


def guides(view: View, probs: tuple[float, ...], *, several: bool | None = None) -> list[Artist]:
    """Return the legend's entries for lines and bands; grey where there are several curves."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colour = "#555555" if (len(view.curves) > 1 if several is None else several) else view.tone
    found: list[Artist] = [Line2D([], [], color=colour, linewidth=1.6, label="law, median")]
    for i, prob in reversed([*enumerate(probs)]):
        alpha = 1 - (1 - 0.18) * np.prod([1 - (0.18 + 0.12 * j) for j in range(1, i + 1)])
        label = f"{100 * prob:g}% of new runs" if view.noisy else f"law, {100 * prob:g}% interval"
        found.append(Patch(facecolor=colour, alpha=float(alpha), label=label))
    return found
