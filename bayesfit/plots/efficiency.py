"""Which family turns compute into capability best: their curves, and the compute each needs for the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bayesfit.equivalence import Equivalents, compared, equivalents
from bayesfit.path import default_x, fit_path
from bayesfit.plots import style
from bayesfit.plots.axes import set_x, set_y, y_range
from bayesfit.plots.curves import Curve, View, curve_along, draw, guides, probabilities

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesfit.fitting import Fit

#: More families than this have lines without bands.
_BANDS = 8
#: A family of one run has a curve this far around it, as a factor.
_ROUND = 1.5
#: Decades from the reference at which a family is out of the picture.
_HOPELESS = 4.0
#: Decades beyond the medians that the axis of ratios follows an interval.
_FAR = 2.0
#: Characters of a family's name beside the panel.
_NAME = 24


def plot_efficiency(
    fit: Fit,
    *,
    reference: str | None = None,
    at: float | str | None = None,
    output: str | None = None,
    x: str | None = None,
    group: str | None = None,
    prob: Sequence[float] = (0.5, 0.9),
) -> Figure:
    """Draw each family's curve over its own runs, and the compute it needs for what a reference reaches.

    Parameters
    ----------
    fit
        A fit by family, of a law that only rises or only falls with `x`. If its checks fail, the figure says
        so in red.
    reference
        The family that the others are compared with; by default the one with the most runs.
    at
        Compute of the reference; by default the middle of its runs on the log scale.
    output
        The output; by default the law's last one if it is a share, such as an accuracy, or else its first.
    x
        An input, or ``"flops"``, as in `plot_band`.
    group
        The group whose levels are compared; the fit's first by default.
    prob
        Probabilities of bands and intervals. Both are of the law, without the scatter of runs.

    Returns
    -------
    matplotlib.figure.Figure
        Left, the curves. Right, the ratios of `equivalent_compute` with their intervals, the least compute
        on top; an arrow stands where an interval goes on, to infinity if a family may never get there.

    Raises
    ------
    SpecError
        As `equivalent_compute`.

    Examples
    --------
    >>> plot_efficiency(fit, reference="Llama-2", at=1e23).savefig("efficiency.png", dpi=150)  # doctest: +SKIP
    """
    probs = probabilities(prob)
    group = compared(fit, group)
    found = equivalents(
        fit, reference=reference, at=at, output=output, x=default_x(fit) if x is None else x, group=group
    )
    levels = fit.runs.levels(group)
    view = View(
        fit=fit,
        x=found.x,
        output=found.output,
        group=group,
        held={name: str(fit.runs.table[name].mode().iloc[0]) for name in fit.pooling.by if name != group},
        banded=levels if len(levels) <= _BANDS else (),
        table=fit.runs.table,
        noisy=False,
    )
    curves = {level: _own_curve(view, level, probs) for level in view.curves}
    figure = style.new_figure(11.2, max(4.2, 0.3 * len(levels) + 1.8))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.35, 1.0]})
    style.tidy(left)
    draw(left, view, curves, probs)
    ends = np.concatenate([view.shown, [found.at], *(curve.x for curve in curves.values())])
    set_x(left, view, float(ends.min()), float(ends.max()))
    set_y(left, view, y_range(view, curves, probs))
    _draw_level(left, view, found)
    left.set_xlabel(style.axis_label(fit.law, view.x))
    left.set_ylabel(style.wrapped_label(fit.law, view.output, width=42))
    left.legend(
        handles=guides(view, probs if view.banded else (), several=True), fontsize=8.5, loc="best", framealpha=0.8
    )
    _draw_ratios(right, view, found, probs)
    style.write_title(figure, style.name_of(fit.law), beside=style.MARK)
    held = ", ".join(f"{name} {level}" for name, level in view.held.items())
    if held:
        figure.supxlabel(f"shown: {held}", fontsize=9, color="#555555")
    style.mark_unconverged(fit, figure, corner="upper right")
    return figure


def _own_curve(view: View, level: str, probs: tuple[float, ...]) -> Curve:
    """Return a family's curve over its own runs."""
    rows = view.rows(view.table, level)
    own = view.xs(rows)
    ends = (float(own.min()), float(own.max()))
    if ends[1] < 1.01 * ends[0]:
        ends = (ends[0] / _ROUND, ends[1] * _ROUND)
    return curve_along(view, level, fit_path(view.fit, view.x, rows), ends, probs, ends)


def _draw_level(ax: Axes, view: View, found: Equivalents) -> None:
    """Mark where the reference is compared: its compute, and what it reaches there."""
    ax.axvline(found.at, color=style.GREY, linewidth=0.9, linestyle=":", zorder=1, gid="at")
    ax.annotate(
        f"{found.reference} at {style.number(float(f'{found.at:.2g}'), found.x)}",
        (found.at, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        color="#555555",
    )


def _draw_ratios(ax: Axes, view: View, found: Equivalents, probs: tuple[float, ...]) -> None:
    """Draw a dot and its intervals for each family, the least compute on top."""
    style.tidy(ax)
    levels = found.table()[found.group].tolist()
    places = np.arange(len(levels))[::-1]
    medians = {level: float(found.quantiles(level, [0.5])[0]) for level in levels}
    intervals = {
        level: [found.quantiles(level, [(1 - prob) / 2, (1 + prob) / 2]) for prob in probs] for level in levels
    }
    low, high = _limits([*medians.values()], [end for found_there in intervals.values() for end in found_there[0]])
    ax.axvline(1.0, color="#333333", linewidth=0.9, zorder=1, gid="reference")
    style.readable_log(ax, "x", low, high, most=5)
    for level, place in zip(levels, places, strict=True):
        colour = view.colour(level)
        is_reference = level == found.reference
        for i, (start, stop) in enumerate(intervals[level] if not is_reference else ()):
            ax.plot(
                [np.clip(start, low, high), np.clip(stop, low, high)],
                [place, place],
                color=colour,
                linewidth=1.4 + 2.4 * (i / max(len(probs) - 1, 1)),
                solid_capstyle="butt",
                zorder=3,
                gid=f"interval {probs[i]:g} {level}",
            )
        if not is_reference:
            _draw_arrows(ax, intervals[level][0], (low, high), float(place), colour, level)
        if low <= medians[level] <= high:
            ax.plot(
                medians[level],
                place,
                linestyle="none",
                marker=view.marker(level),
                markersize=6.5,
                markerfacecolor="white" if is_reference else colour,
                markeredgecolor=colour if is_reference else "white",
                markeredgewidth=1.4 if is_reference else 0.6,
                zorder=4,
                gid=f"ratio {level}",
            )
    ax.set_yticks(places, [_shortened(level) for level in levels])
    for label, level in zip(ax.get_yticklabels(), levels, strict=True):
        label.set_color(view.colour(level))
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.6, len(levels) - 0.4)
    what = "compute" if found.x == "flops" else found.x.replace("_", " ")
    shown = " and ".join(f"{100 * prob:g}%" for prob in reversed(probs))
    ax.set_title(f"{what} for the same {found.output.replace('_', ' ')}, {shown} intervals", loc="left", fontsize=9.5)
    ax.set_xlabel(f"times that of {_shortened(found.reference)}")


def _limits(medians: list[float], ends: list[float]) -> tuple[float, float]:
    """Return the limits of the axis of ratios: medians, and intervals as far as they help the eye."""
    finite = [value for value in medians if 10**-_HOPELESS < value < 10**_HOPELESS]
    low, high = min([*finite, 1.0]), max([*finite, 1.0])
    inside = [value for value in ends if low / 10**_FAR < value < high * 10**_FAR]
    cut = len(inside) < len(ends)
    low, high = min([low, *inside]), max([high, *inside])
    margin = max((high / low) ** 0.06, 1.15) * (1.5 if cut else 1.0)
    return low / margin, high * margin


def _draw_arrows(
    ax: Axes, ends: np.ndarray, limits: tuple[float, float], place: float, colour: str, level: str
) -> None:
    """Draw an arrow where an interval goes on beyond the axis."""
    for end, edge, mark, beyond in (
        (ends[0], 0.015, "<", ends[0] < limits[0]),
        (ends[1], 0.985, ">", ends[1] > limits[1]),
    ):
        if beyond:
            open_ended = end in (0.0, np.inf)
            ax.plot(
                edge,
                place,
                transform=ax.get_yaxis_transform(),
                linestyle="none",
                marker=mark,
                markersize=7,
                markerfacecolor="white" if open_ended else colour,
                markeredgecolor=colour,
                zorder=4,
                gid=f"beyond {level}",
            )


def _shortened(name: str) -> str:
    return (name if len(name) <= _NAME else f"{name[: _NAME - 1]}…").replace("$", r"\$")
