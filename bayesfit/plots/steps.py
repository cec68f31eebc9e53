"""Laws in two steps: the task's loss from compute, and accuracy from the task's loss."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesfit.card import Input, Limits
from bayesfit.errors import SpecError, nearest
from bayesfit.expression import SEEN, parse_equations
from bayesfit.path import Path
from bayesfit.plots import style
from bayesfit.plots.axes import extent, set_apart, set_x, set_y, y_range
from bayesfit.plots.curves import Curve, View, curve_along, draw, guides, held_out_runs, level_curves, probabilities
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
from bayesfit.pooling import NOISE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from bayesfit.card import Law
    from bayesfit.fitting import Fit
    from bayesfit.runs import Runs

#: Tasks that the two steps are drawn for at once.
_ROWS = 4


def plot_steps(
    fit: Fit,
    *,
    level: str | Sequence[str] | None = None,
    group: str = "task",
    x: str | None = None,
    to: float | str | None = None,
    prob: Sequence[float] = (0.5, 0.9),
    truth: Runs | pd.DataFrame | None = None,
    colour: str | None = COLOUR,
) -> Figure:
    """Draw the two steps of a law side by side: task loss from compute, and accuracy from task loss.

    Parameters
    ----------
    fit
        A fit of a law in which an output rests on another, such as ``task_two_step``.
    level
        The task, or several; by default all, or the first four.
    group
        The group that `level` is one of; runs without tasks are drawn in one row.
    x
        What the first step is drawn against, as in `plot_band`.
    to
        Where the first step ends; the second ends at the loss that the law has there.
    prob
        Probabilities of the bands: of what a run would score, noise included.
    truth
        Held-out runs, drawn as open markers.
    colour
        The group told apart by colour, as in `plot_tasks`.

    Returns
    -------
    matplotlib.figure.Figure
        A row a task. The right panel's bands are those at a known task loss, so that they hold the doubt of
        the second step alone; inputs of the second step besides it stay at their mean over the runs.

    Raises
    ------
    SpecError
        For a law without a second step, an unknown task, or more than four.

    Examples
    --------
    >>> plot_steps(fit, level="hellaswag", to="1e23")  # doctest: +SKIP
    """
    probs = probabilities(prob)
    first, second = steps_of(fit.law)
    names = _named(fit, group, level)
    held_out = held_out_runs(truth)
    if names:
        check_levels(held_out, group, fit.runs.levels(group), "the held-out runs")
    later, given = second_step(fit, first), _given_name(first)
    figure = style.new_figure(8.0 + BESIDE, 3.1 * max(len(names), 1) + 0.9)
    axes = figure.subplots(max(len(names), 1), 2, squeeze=False)
    entries: dict[str, Artist] = {}
    several = beyond = False
    views: dict[str, View] = {}
    paths: dict[str, dict[str, Path]] = {}
    for row, name in enumerate(names or ("",)):
        left = panel(fit, group if name else None, name, x, first, colour)
        start, last, end, largest = extent(left, to, held_out, None)
        views[name] = left
        paths[name], curves = level_curves(left, end, probs)
        add_entries(entries, draw(axes[row, 0], left, curves, probs, held_out=held_out))
        set_x(axes[row, 0], left, start, max(end, largest), most=6)
        set_y(axes[row, 0], left, y_range(left, curves, probs, held_out=held_out), most=6)
        if end > last:
            set_apart(axes[row, 0], last, word=False)
        table = _with_given(left.table, first, second)
        right = replace(left, fit=later, x=given, output=second, table=table, log_x=False)
        tested = None if held_out is None else _with_given(held_out, first, second)
        passed = _second_curves(right, {key: float(curve.median[-1]) for key, curve in curves.items()}, tested, probs)
        add_entries(entries, draw(axes[row, 1], right, passed, probs, held_out=tested))
        ends = np.concatenate([curve.x for curve in passed.values()])
        set_x(axes[row, 1], right, float(ends.min()), float(ends.max()), most=6)
        set_y(axes[row, 1], right, y_range(right, passed, probs, held_out=tested), most=6)
        add_entries(entries, draw_chance(axes[row, 1], right))
        for edge, below in ((right.shown.min(), True), (right.shown.max(), False)):
            if (ends.min() < edge) if below else (ends.max() > edge):
                set_apart(axes[row, 1], float(edge), below=below, word=False)
                beyond = True
        beyond, several = beyond or end > last, several or len(curves) > 1
        for ax, view in zip(axes[row], (left, right), strict=True):
            style.tidy(ax)
            ax.set_ylabel(style.wrapped_label(view.fit.law, view.output, width=36), fontsize=9.5)
            ax.set_xlabel(style.axis_label(view.fit.law, view.x), fontsize=9.5)
            step = f"{view.output.replace('_', ' ')} from {_plain(left.x if view is left else first)}"
            ax.set_title(": ".join(filter(None, [shortened(name), step])), loc="left", fontsize=9.5, pad=4)
    add_entries(entries, guides(next(iter(views.values())), probs, several=several))
    write_legend(figure, entries, beyond=beyond)
    style.write_title(figure, style.name_of(fit.law), beside=BESIDE)
    left_out = len(fit.runs.levels(group)) - len(names) if names and level is None else 0
    more = f"{len(names)} of {len(names) + left_out}; name others with level=" if left_out else ""
    told = "; ".join(filter(None, [caption_of(fit.law, views, paths, group), more]))
    figure.supxlabel(style.caption(told), fontsize=9, color="#555555")
    style.mark_unconverged(fit, figure)
    return figure


def steps_of(law: Law) -> tuple[str, str]:
    """Return the outputs of a law's two steps: the last one that rests on another, and before it that other.

    Raises
    ------
    SpecError
        If no output rests on another.
    """
    reads = {equation.target: _read(equation.expression.names) for equation in law.equations}
    for second in reversed([*law.outputs]):
        before = _upstream(reads, [second]) - {second}
        for first in reversed([name for name in law.outputs if name in before]):
            return first, second
    raise SpecError(
        f"no output of {law.id} rests on another, so that it has no second step; plot_band draws it whole, and "
        f"task_two_step is a law that has two"
    )


def second_step(fit: Fit, first: str) -> Fit:
    """Return the fit with the first output given, so that forecasts from it are of the second step alone."""
    law, given = fit.law, _given_name(first)
    texts = {equation.target: equation.expression.text for equation in law.equations}
    # what a run showed of it, and what the law says of it, are the same here
    texts = {target: re.sub(rf"\b{SEEN}\.{first}\b", first, text) for target, text in texts.items()}
    texts[first] = given
    lines = {target: f"{target} = {text}" for target, text in texts.items()}
    reads = {equation.target: equation.expression.names for equation in parse_equations("\n".join(lines.values()))}
    kept = _upstream(reads, law.outputs)
    equations = parse_equations("\n".join(line for target, line in lines.items() if target in kept))
    used = frozenset[str]().union(*(equation.expression.names for equation in equations))
    used |= {name.partition(".")[2] for name in used}
    counted = {part.noise.trials for part in law.outputs.values() if part.noise.counted}
    about = law.outputs[first]
    later = replace(
        law,
        equations=equations,
        inputs={
            **{name: part for name, part in law.inputs.items() if name in used | counted},
            # its range is no measure of distance from the runs, which have it as an output
            given: Input(about=about.about, unit=about.unit, symbol=about.symbol, support="real"),
        },
        parameters={
            name: replace(part, above=part.above if part.above in used else "")
            for name, part in law.parameters.items()
            if name in used
        },
        fixed={name: value for name, value in law.fixed.items() if name in used},
        derived={},
        from_paper={},
        published={},
        checks=(),
        limits=Limits(),
        recovery=None,
    )
    how = {name: word for name, word in fit.pooling.how.items() if name in later.parameters or name == NOISE}
    return replace(fit, law=later, pooling=replace(fit.pooling, how=how))


def _given_name(first: str) -> str:
    """Return what the first output is called where it is given instead of computed."""
    return f"{first}_given"


def _read(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.removeprefix(f"{SEEN}.") for name in names)


def _upstream(reads: Mapping[str, Iterable[str]], start: Iterable[str]) -> set[str]:
    """Return the equations that some equations rest on, themselves included."""
    found: set[str] = set()
    todo = [*start]
    while todo:
        target = todo.pop()
        if target in reads and target not in found:
            found.add(target)
            todo += reads[target]
    return found


def _named(fit: Fit, group: str, level: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the tasks to draw; none if the runs have no tasks."""
    if level is None:
        return fit.runs.levels(group)[:_ROWS] if group in fit.runs.groups or group != "task" else ()
    levels = fit.runs.levels(group)
    names = (level,) if isinstance(level, str) else tuple(level)
    for name in names:
        if name not in levels:
            raise SpecError(f"{group} has no level '{name}'{nearest(name, levels)}; it has {', '.join(levels)}")
    if not 1 <= len(names) <= _ROWS:
        raise SpecError(f"level must name one to {_ROWS} of {group}, found {len(names)}")
    return names


def _second_curves(
    view: View, reached: Mapping[str, float], held_out: pd.DataFrame | None, probs: tuple[float, ...]
) -> dict[str, Curve]:
    """Return the curves of the second step, over the losses seen and to the one reached by the first."""
    curves = {}
    tested = [] if held_out is None else held_out[view.x].to_numpy(float)[view.rows(held_out, "")].tolist()
    for level in view.curves:
        rows = view.rows(view.table, level)
        own = view.xs(rows)
        if not len(own):
            continue
        inside = (float(own.min()), float(own.max()))
        outer = [*inside, reached.get(level, inside[0]), *tested]
        held = {
            name: _typical(view.table[name].to_numpy(float)[rows]) for name in view.fit.law.inputs if name != view.x
        }
        path = Path(x=view.x, centre=0.0, inputs={}, held=held)
        curves[level] = curve_along(view, level, path, (min(outer), max(outer)), probs, inside)
    return curves


def _typical(values: np.ndarray) -> float:
    """Return the geometric mean, or the mean of what may be zero or is a constant."""
    if (values > 0).all() and np.ptp(values) > 0:
        return float(np.exp(np.log(values).mean()))
    return float(values.mean())


def _with_given(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Return the runs that have both outputs, with the first one in the place of an input too."""
    missing = [name for name in (first, second) if name not in table.columns]
    if missing:
        raise SpecError(f"the held-out runs have no '{missing[0]}'")
    whole = table[table[[first, second]].notna().all(axis=1)]
    return whole.assign(**{_given_name(first): whole[first].astype(float)})


def _plain(name: str) -> str:
    return "compute" if name == "flops" else name.replace("_", " ")
