"""Whether bands hold what they promise: probabilities below what was seen, and coverage against distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesfit.plots import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesfit.backtesting import Backtest

_BINS = 10
#: The interval whose coverage is drawn against distance, and the class of distances, in decades.
_LEVEL = 90
_EDGES = (0.0, 0.25, 0.5, 1.0, 2.0)


def plot_calibration(backtest: Backtest) -> Figure:
    """Draw how a backtest's forecasts were calibrated.

    Parameters
    ----------
    backtest
        Scores of hidden runs.

    Returns
    -------
    matplotlib.figure.Figure
        Left, the histogram of the probability below what was observed: level where bands hold what they promise,
        high at both ends where they are too narrow. Right, the share of forecasts whose 90% interval held the hidden
        run, by distance from the fitted runs, with its 90% binomial interval. A run that several cuts hide is forecast
        several times.

    Examples
    --------
    >>> plot_calibration(bf.backtest(runs, "chinchilla")).savefig("calibration.png")  # doctest: +SKIP
    """
    figure = style.new_figure(9.2, 3.8)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.0, 1.25]})
    draw_pit(left, backtest.table["pit"].to_numpy())
    draw_coverage(right, backtest.by_distance(_EDGES))
    figure.suptitle(
        f"{backtest.law}: {_forecasts(len(backtest.table))} of {_count(backtest.table['run'].nunique(), 'hidden run')} "
        f"over {_count(len(backtest.origins), 'cut')} in {backtest.scale}",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    return figure


def draw_pit(ax: Axes, pit: np.ndarray) -> None:
    """Draw the histogram of probabilities below what was observed."""
    style.tidy(ax)
    counts, ends = np.histogram(pit, bins=_BINS, range=(0.0, 1.0))
    ax.bar(
        ends[:-1], counts / len(pit) * _BINS, width=1 / _BINS, align="edge", color=style.COLOURS[5], edgecolor="white"
    )
    ax.axhline(1.0, color=style.COLOURS[0], lw=0.8, ls="--")
    ax.set_xlim(0, 1)
    ax.set_title("Where outcomes fell in their forecasts", loc="left", fontsize=10)
    ax.set_xlabel("probability below what was observed")
    ax.set_ylabel("density; 1 if calibrated")


def draw_coverage(ax: Axes, distances: pd.DataFrame) -> None:
    """Draw the share of forecasts whose 90% interval held the run, by class of distance."""
    from scipy.stats import beta

    style.tidy(ax)
    places = np.arange(len(distances))
    # a row of scores is a forecast
    share, count = distances[f"inside_{_LEVEL}"].to_numpy(), distances["runs"].to_numpy()
    inside = np.round(share * count)
    low, high = beta.ppf(0.05, inside + 0.5, count - inside + 0.5), beta.ppf(0.95, inside + 0.5, count - inside + 0.5)
    ax.vlines(places, np.minimum(low, share), np.maximum(high, share), color=style.COLOURS[5], lw=5)
    ax.plot(places, share, "o", color=style.COLOURS[0], ms=5)
    ax.axhline(_LEVEL / 100, color=style.COLOURS[0], lw=0.8, ls="--")
    ends = zip(distances["from"], distances["to"], count, strict=True)
    ax.set_xticks(
        places,
        [f"{a:g} to {b:g}\n{_forecasts(n)}" if np.isfinite(b) else f"past {a:g}\n{_forecasts(n)}" for a, b, n in ends],
    )
    ax.set_xlim(-0.6, len(places) - 0.4)
    ax.set_ylim(-0.03, 1.03)
    ax.set_title(f"Share inside {_LEVEL}% bands, with its own uncertainty", loc="left", fontsize=10)
    ax.set_xlabel("decades beyond the fitted runs")


def _forecasts(count: int) -> str:
    return _count(count, "forecast")


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
