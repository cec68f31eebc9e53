"""What figures with a panel a task share: the view of a task, its chance level, title, legend and caption."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from bayesfit.errors import SpecError, nearest
from bayesfit.path import Path, check_x, default_x, is_share
from bayesfit.plots import style
from bayesfit.plots.curves import View

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesfit.card import Law
    from bayesfit.fitting import Fit

#: The group that colours tell apart where the runs have it.
COLOUR = "family"
#: Inches that the legend takes.
BESIDE = 2.2
#: Of more curves than this in a small panel none has bands.
_BANDS = 3
#: Characters of a task's name that fit over a panel.
_NAME = 24


def check_levels(
    table: pd.DataFrame | None, group: str, levels: tuple[str, ...], what: str, *, needed: bool = True
) -> None:
    """Refuse rows that belong into no panel."""
    if table is None:
        return
    if group not in table.columns:
        if needed:
            raise SpecError(f"{what} have no '{group}', which says the panel they belong into; add that column")
        return
    unknown = [name for name in pd.unique(table[group].astype(str)) if name not in levels]
    if unknown:
        raise SpecError(
            f"{what} have the {group} '{unknown[0]}'{nearest(unknown[0], levels)}, which has no panel: the fitted runs "
            f"have {', '.join(levels)}; leave it out"
        )


def panel(fit: Fit, group: str | None, level: str, x: str | None, output: str, colour: str | None) -> View:
    """Return the view of one task, or of all runs."""
    table = fit.runs.table
    told = colour if colour != group and (colour in fit.runs.groups or colour != COLOUR) else None
    levels = fit.runs.levels(told) if told is not None else ("",)
    held = {} if group is None else {group: level}
    own = table if group is None else table[(table[group] == level).to_numpy(bool)]
    for other in fit.pooling.by:
        if other not in (group, told):
            held[other] = str(own[other].mode().iloc[0])
    return View(
        fit=fit,
        x=default_x(fit) if x is None else check_x(fit, x),
        output=output,
        group=told,
        held=held,
        banded=levels if len(levels) <= _BANDS else (),
        table=table,
    )


def draw_chance(ax: Axes, view: View) -> list[Artist]:
    """Draw the accuracy of guessing, where the law reads it, the output is a share and the axes show it."""
    if "chance" not in view.fit.law.inputs or not is_share(view.fit.law, view.output):
        return []
    chance = float(view.table["chance"].to_numpy(float)[view.rows(view.table, "")].mean())
    low, high = ax.get_ylim()
    if not low <= chance <= high:
        return []
    return [
        ax.axhline(
            chance, color="#333333", linewidth=1.0, linestyle=(0, (5, 3)), zorder=1.5, label="chance", gid="chance"
        )
    ]


def caption_of(law: Law, views: Mapping[str, View], paths: Mapping[str, Mapping[str, Path]], group: str) -> str:
    """Say along which path the curves run; chance is drawn instead."""
    constant = [name for name, part in law.inputs.items() if not part.varies]
    texts = dict.fromkeys(
        style.path_text(law, path, but=constant) for found in paths.values() for path in found.values()
    )
    texts.pop("", None)
    along = f"curves along {next(iter(texts))}, the runs' own path" if texts else ""
    if len(texts) > 1:
        along = "each curve along the log-linear path of its own runs"
    held = dict.fromkeys(
        f"{name} {level}" for view in views.values() for name, level in view.held.items() if name != group
    )
    return "; ".join(filter(None, [along, f"shown: {', '.join(held)}" if held else ""]))


def write_legend(figure: Figure, entries: dict[str, Artist], *, beyond: bool) -> None:
    """Write the legend beside the panels."""
    from matplotlib.patches import Patch

    if beyond:
        add_entries(
            entries, [Patch(facecolor="#F3F3F0", edgecolor="#BBBBBB", linewidth=0.6, label="beyond the fitted runs")]
        )
    # what is always the same comes last
    last = [name for name in ("chance", "beyond the fitted runs") if name in entries]
    handles = [part for name, part in entries.items() if name not in last] + [entries[name] for name in last]
    figure.legend(handles=handles, loc="outside right upper", fontsize=8.5, frameon=False, ncols=style.columns(handles))


def add_entries(entries: dict[str, Artist], found: Iterable[Artist]) -> None:
    """Add entries of a legend that are not there yet."""
    for artist in found:
        entries.setdefault(str(artist.get_label()), artist)


def shortened(name: str) -> str:
    """Return a task's name as it fits over a panel."""
    # names of tasks often differ in their last part
    half = _NAME // 2
    return (name if len(name) <= _NAME else f"{name[: half - 1]}…{name[-half:]}").replace("$", r"\$")
