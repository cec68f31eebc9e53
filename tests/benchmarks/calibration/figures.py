"""Two figures of the suite: coverage against what was promised and against distance, and where outcomes fell."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bayesfit.plots import style
from bayesfit.scores import DISTANCES, LEVELS, distance_class


def weighted(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a weight each: papers count alike, then corpora of a paper, then splits of a corpus."""
    mine = rows[rows["method"] == rows["method"].iloc[0]]
    runs = mine.groupby(["paper", "study", "part"]).size().rename("runs").reset_index()
    runs["splits"] = runs.groupby(["paper", "study"])["part"].transform("nunique")
    runs["corpora"] = runs.groupby("paper")["study"].transform("nunique")
    runs["weight"] = 1 / (runs["runs"] * runs["splits"] * runs["corpora"] * runs["paper"].nunique())
    return rows.merge(runs[["study", "part", "weight"]], on=["study", "part"])


def coverage(rows: pd.DataFrame) -> Figure:
    """Draw the share of outcomes inside bands: by promise, and for 90% bands by distance; papers count alike."""
    figure = style.new_figure(9.6, 4.0)
    left, right = figure.subplots(1, 2, sharey=True)
    rows = weighted(rows)
    for place, (method, mine) in enumerate(rows.groupby("method", sort=False)):
        colour, marker = style.COLOURS[place], style.MARKERS[place]
        share = [np.average(mine[f"inside_{100 * level:.0f}"], weights=mine["weight"]) for level in LEVELS]
        left.plot(LEVELS, share, marker=marker, ms=4, color=colour, label=str(method))
        classes = mine.groupby(distance_class(mine["decades"]))
        by_distance = {number: np.average(part["inside_90"], weights=part["weight"]) for number, part in classes}
        right.plot([*by_distance], [*by_distance.values()], marker=marker, ms=4, color=colour)
    left.plot([0.4, 1], [0.4, 1], color=style.GREY, lw=0.8, ls="--")
    right.axhline(0.9, color=style.GREY, lw=0.8, ls="--")
    for ax in (left, right):
        style.tidy(ax)
        ax.set_ylim(0, 1.02)
    names = [f"{a:g} to {b:g}" for a, b in pairwise(DISTANCES)] + [f"past {DISTANCES[-1]:g}"]
    found = sorted({*distance_class(rows["decades"])})
    right.set_xticks(found, [names[place] for place in found])
    left.set_title("Share of held-out runs inside", loc="left", fontsize=10)
    left.set_xlabel("promised")
    right.set_title("90% bands against distance", loc="left", fontsize=10)
    right.set_xlabel("decades beyond the fitted runs")
    left.legend(frameon=False, fontsize=8)
    return figure


def pit(rows: pd.DataFrame) -> Figure:
    """Draw, for each method, how often outcomes fell into each tenth of their forecasts; papers count alike."""
    rows = weighted(rows)
    methods = [*rows["method"].unique()]
    figure = style.new_figure(2.5 * len(methods), 2.9)
    for place, (ax, method) in enumerate(zip(figure.subplots(1, len(methods), sharey=True), methods, strict=True)):
        mine = rows[rows["method"] == method]
        counts, ends = np.histogram(mine["pit"], bins=10, range=(0, 1), weights=mine["weight"])
        style.tidy(ax)
        ax.bar(ends[:-1], counts / counts.sum() * 10, width=0.1, align="edge", color=style.COLOURS[place], ec="white")
        ax.axhline(1.0, color=style.GREY, lw=0.8, ls="--")
        ax.set_title(method, loc="left", fontsize=10)
        ax.set_xlabel("probability below outcome")
    figure.axes[0].set_ylabel("density; 1 if calibrated")
    return figure


def save(rows: pd.DataFrame, folder: Path) -> None:
    """Write both figures."""
    for name, figure in {"coverage": coverage(rows), "pit": pit(rows)}.items():
        figure.savefig(folder / f"{name}.png", dpi=120)
