"""Which law, by both scores: inside the data and beyond them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesfit.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesfit.comparison import Comparison

#: Characters of a law's name that fit beside the panels.
_NAME = 34
#: Inches that a letter takes in the legend.
_LETTER = 0.07


def plot_compare(comparison: Comparison) -> Figure:
    """Draw how far each law lies behind the best, in both scores, and its errors by distance.

    Parameters
    ----------
    comparison
        The comparison.

    Returns
    -------
    matplotlib.figure.Figure
        Left, leave-one-out: difference in expected log predictive density to the best, with two
        standard errors. Middle, rolling origin: the same for the mean log score of hidden runs. Right,
        errors of the medians of hidden runs against their distance from the fitted ones. Without
        rolling-origin scores the left panel alone.

    Examples
    --------
    >>> plot_compare(bf.compare(fits)).savefig("compare.png", dpi=150)  # doctest: +SKIP
    """
    laws = [str(name) for name in comparison.table.index]
    panels = 3 if comparison.backtests else 1
    widths = [1.0, 1.0, 1.25][:panels]
    beside = 0.0 if panels == 1 else 0.4 + _LETTER * max(len(_name(law)) for law in laws)
    height = 0.42 * len(laws) + 2.4
    figure = style.new_figure(4.0 * panels + 1.6 + beside, height if panels == 1 else max(3.6, height))
    axes = figure.subplots(1, panels, squeeze=False, gridspec_kw={"width_ratios": widths})[0]
    _draw_inside(axes[0], comparison, laws)
    if comparison.backtests:
        _draw_beyond(axes[1], comparison, laws)
        axes[1].sharey(axes[0])
        axes[1].tick_params(labelleft=False)
        _draw_errors(axes[2], comparison, laws)
        # inside the axes its markers would look like runs
        figure.legend(*axes[2].get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle("Comparison of law forms: to the right is better", x=0.01, ha="left", fontsize=11)
    return figure


def _draw_inside(ax: Axes, comparison: Comparison, laws: list[str]) -> None:
    table = comparison.table.loc[laws]
    unit = comparison.left_out
    _draw_differences(ax, laws, table["elpd_diff"].to_numpy(float), 2 * table["dse"].to_numpy(float))
    ax.set_title(f"Inside the data: one {unit} left out", loc="left", fontsize=10)
    ax.set_xlabel("log predictive density\nbelow the best, ± 2 se")


def _draw_beyond(ax: Axes, comparison: Comparison, laws: list[str]) -> None:
    hidden = comparison.hidden
    by_run = hidden.groupby("run")[laws].mean()
    best = by_run.mean().idxmax()
    difference = by_run.sub(by_run[best], axis=0)
    error = 2 * difference.std(ddof=1).fillna(0.0) / np.sqrt(len(by_run))
    _draw_differences(ax, laws, difference.mean().to_numpy(float), error.to_numpy(float))
    ax.set_title(f"Beyond them: {len(by_run)} larger runs hidden", loc="left", fontsize=10)
    ax.set_xlabel("mean log score below the best,\n± 2 se over runs")


def _draw_differences(ax: Axes, laws: list[str], difference: np.ndarray, error: np.ndarray) -> None:
    """Draw one point a law, the first on top; a symmetric logarithm keeps a hopeless law on the page."""
    style.tidy(ax)
    places = np.arange(len(laws))[::-1]
    ax.axvline(0.0, color="#333333", linewidth=0.9, zorder=1)
    for number, place in enumerate(places):
        colour = style.colour(number)
        # the best has no difference to itself
        ax.errorbar(
            difference[number],
            place,
            xerr=error[number] or None,
            fmt=style.marker(number),
            color=colour,
            markersize=6,
            capsize=3,
            linewidth=1.3,
            zorder=3,
            gid=f"difference {laws[number]}",
        )
    reach = np.abs(difference).max(initial=0.0)
    others = np.abs(difference[difference != 0])
    if others.size and reach > 20 * others.min():
        ax.set_xscale("symlog", linthresh=max(float(others.min()), 1e-3))
    else:
        ax.locator_params(axis="x", nbins=5)
    ax.set_yticks(places, [_name(law) for law in laws])
    ax.set_ylim(-0.6, len(laws) - 0.4)


def _draw_errors(ax: Axes, comparison: Comparison, laws: list[str]) -> None:
    style.tidy(ax)
    ax.axhline(0.0, color="#333333", linewidth=0.9, zorder=1)
    on_log = next(iter(comparison.backtests.values())).on_log
    for number, name in enumerate(laws):
        table = comparison.backtests[name].table
        errors = table["error"].to_numpy(float)
        ax.scatter(
            table["decades"],
            100 * np.expm1(errors) if on_log else errors,
            s=20,
            marker=style.marker(number),
            color=style.colour(number),
            edgecolors="white",
            linewidths=0.4,
            alpha=0.85,
            zorder=3,
            label=_name(name),
            gid=f"errors {name}",
        )
    ax.set_title("Errors of the hidden runs", loc="left", fontsize=10)
    ax.set_xlabel("decades beyond the fitted runs")
    output = comparison.output.replace("_", " ")
    ax.set_ylabel(f"{output}: median over observed (%)" if on_log else f"{output}: median minus observed")


def _name(law: str) -> str:
    """Return a law's name as it fits beside the panels."""
    return law if len(law) <= _NAME else f"{law[: _NAME - 3]}..."
