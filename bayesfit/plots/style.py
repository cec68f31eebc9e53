"""What all figures share: colours, labels, readable ticks, the mark of a fit that failed its checks."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from bayesfit.card import STANDARD_INPUTS, Input, Output
from bayesfit.errors import SpecError
from bayesfit.typeset import latex_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from bayesfit.card import Law
    from bayesfit.fitting import Fit
    from bayesfit.path import Path

#: Okabe and Ito's colours for colour-blind readers, without the two that are hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6D3B", "#5A5A5A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p")
#: For levels that the fit never saw, and guides.
GREY = "#777777"
RED = "#C00000"
UNCONVERGED = "unconverged fit"

#: Characters of a title in an inch.
_PER_INCH = 11
#: Inches that the mark of an unconverged fit takes.
MARK = 1.6

Corner = Literal["upper right", "lower right"]

_COUNTS = frozenset({"params", "tokens"})
_STEPS = ("K", 1e3), ("M", 1e6), ("B", 1e9), ("T", 1e12), ("Q", 1e15)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that pyplot does not keep alive."""
    if "ipykernel" in sys.modules:
        # loads the notebook's backend, without which a returned figure is shown as text
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(width, height), layout="constrained")
        plt.close(figure)
    else:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
    roomy(figure)
    return figure


def roomy(figure: Figure) -> None:
    """Lay a figure out with some air around and between its parts."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, wspace=0.02, hspace=0.02))


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that axes belong to."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise SpecError("these axes belong to no figure; pass axes that do")
    return figure


def colour(place: int) -> str:
    """Return the colour of the level at this place."""
    return COLOURS[place % len(COLOURS)]


def marker(place: int) -> str:
    """Return the marker of the level at this place; colour and marker repeat together after 88 levels."""
    return MARKERS[place % len(MARKERS)]


def symbol(law: Law, name: str) -> str:
    """Return the LaTeX symbol of an input, an output or a parameter."""
    known = {key: part.symbol for key, part in STANDARD_INPUTS.items()} | law.symbols
    return latex_name(name, known)


def axis_label(law: Law, name: str) -> str:
    """Return an axis label: what it is and its unit, both from the card."""
    part: Input | Output = law.outputs.get(name) or law.inputs.get(name) or STANDARD_INPUTS.get(name) or Input()
    about = (part.about or name.replace("_", " ")).partition(";")[0].strip()
    unit = "" if part.unit in ("", "1") or part.unit.lower() in about.lower().split() else f" ({part.unit})"
    label = about[:1].upper() + about[1:]
    return f"{label if len(label) <= 60 else name.replace('_', ' ')}{unit}"


def wrapped_label(law: Law, name: str, *, width: int) -> str:
    """Return an axis label in lines of at most `width` characters, for small panels."""
    return "\n".join(lines_of(axis_label(law, name), width))


def lines_of(text: str, width: int, *, most: int | None = None, placeholder: str = " …") -> list[str]:
    """Return a text in lines of at most `width` characters, broken at spaces and never inside a name.

    Parameters
    ----------
    text
        The text; a word longer than a line keeps a line to itself.
    width
        Characters in a line.
    most
        Lines to have at most; what is cut off leaves the placeholder.
    placeholder
        What says that something is missing.
    """
    import textwrap

    return textwrap.wrap(
        text, width, break_on_hyphens=False, break_long_words=False, max_lines=most, placeholder=placeholder
    )


def caption(text: str, width: int = 110) -> str:
    """Return a caption with a new line between its parts, told by semicolons, wherever a line would be too long."""
    lines = [""]
    for part in text.split("; "):
        longer = f"{lines[-1]}; {part}" if lines[-1] else part
        lines[-1:] = [longer] if len(longer) <= width or not lines[-1] else [f"{lines[-1]};", part]
    return "\n".join(lines)


def title(law: Law, *, of: str = "", width: int = 72) -> str:
    """Return the law's name after what it is shown `of`, such as a task, and, if it fits in one line, its formula."""
    name = ": ".join(filter(None, [of.replace("$", r"\$"), name_of(law)]))
    return "\n".join([*lines_of(name, width, most=3 if of else 2), *filter(None, [formula(law)])])


def name_of(law: Law) -> str:
    """Return the law's title, or its id where the title only repeats the formula, as matplotlib writes it."""
    name = law.title if law.title and law.title != law.text.strip() else law.id
    return name.replace("$", r"\$")


def write_title(figure: Figure, text: str, *, beside: float = 0.0) -> None:
    """Write a figure's title in lines that end before what stands beside it.

    Parameters
    ----------
    figure
        The figure.
    text
        The title.
    beside
        Inches at the right that are taken, by a legend or the mark of a fit that failed its checks.
    """
    width = max(24, int(_PER_INCH * (figure.get_figwidth() - beside)))
    figure.suptitle("\n".join(lines_of(text, width, most=4)), x=0.01, ha="left", fontsize=11)


def formula(law: Law) -> str:
    """Return the law's formula for matplotlib; empty where it takes several lines or cannot be drawn."""
    from matplotlib.mathtext import MathTextParser

    text = law.latex
    if "\n" in text or len(text) > 240:
        return ""
    try:
        MathTextParser("path").parse(f"${text}$")
    except ValueError:
        return ""
    return f"${text}$"


def mark_unconverged(fit: Fit, where: Axes | Figure, *, corner: Corner | None = None, failed: bool = False) -> None:
    """Write in red, in a corner, that the fit's checks fail, if they do (or if `failed` says so).

    The corner is by default the upper right one of axes, where a falling curve is not, and the lower
    right one of a figure, under its legend.
    """
    if fit.check().passed and not failed:
        return
    from matplotlib.figure import Figure

    whole = isinstance(where, Figure)
    upper = (corner or ("lower right" if whole else "upper right")) == "upper right"
    edge = 0.015 if whole else 0.02
    where.text(
        1 - edge,
        1 - edge if upper else edge,
        UNCONVERGED,
        transform=where.transFigure if isinstance(where, Figure) else where.transAxes,
        ha="right",
        va="top" if upper else "bottom",
        color=RED,
        weight="bold",
        fontsize=10,
        zorder=10,
        bbox={"facecolor": "white", "edgecolor": RED, "boxstyle": "round,pad=0.3"},
        gid="unconverged",
    )


def tidy(ax: Axes) -> None:
    """Take away what carries no data, and draw a light grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, which="major", color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", labelsize=9, color="#666666")


def readable_log(ax: Axes, which: Literal["x", "y"], low: float, high: float, name: str = "", *, most: int = 8) -> None:
    """Give an axis a log scale from `low` to `high` with few ticks at round numbers, written plainly.

    Parameters
    ----------
    ax
        The axes.
    which
        Its axis.
    low, high
        Its ends.
    name
        The quantity; counts of parameters and tokens are written 70M, 1.4T.
    most
        Ticks to have at most.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    axis: Axis = ax.xaxis if which == "x" else ax.yaxis
    if which == "x":
        ax.set_xscale("log")
        ax.set_xlim(low, high)
    else:
        ax.set_yscale("log")
        ax.set_ylim(low, high)
    ticks, minor = log_ticks(low, high, most=most)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(FixedLocator(minor))
    powers = not all(_plain(value) for value in ticks)
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, name, powers=powers)))
    axis.set_minor_formatter(NullFormatter())


def log_ticks(low: float, high: float, *, most: int = 8) -> tuple[list[float], list[float]]:
    """Return round numbers for the ticks of a log axis, and where small ticks go.

    Examples
    --------
    >>> log_ticks(1.9, 3.3)[0]
    [2.0, 2.5, 3.0]
    >>> log_ticks(1e18, 1e24)[0]
    [1e+18, 1e+19, 1e+20, 1e+21, 1e+22, 1e+23, 1e+24]
    """
    decades = np.log10(high / low)
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))

    def inside(mantissas: Sequence[float], step: int = 1) -> list[float]:
        powers = [power for power in range(first, last + 1) if power % step == 0]
        values = [float(f"{m:g}e{power}") for power in powers for m in mantissas]
        return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]

    if decades > 2.2:
        steps = (1, 2, 3, 4, 6, 8, 12)
        step = next((step for step in steps if decades / step <= most), 20)
        return inside([1], step), inside(range(2, 10)) if step == 1 and decades < 7 else inside([1])
    for mantissas in ([1.0, 3.0], [1.0, 2.0, 5.0], [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0], [*np.arange(2, 20) / 2]):
        found = inside(mantissas)
        if len(found) >= 4 or (len(found) >= 3 and decades < 0.4):
            return (found if len(found) <= most + 1 else found[:: len(found) // most + 1]), inside(range(1, 10))
    # a narrow range: evenly spaced on a linear scale
    from matplotlib.ticker import MaxNLocator

    found = []
    for bins in (5, 7, 10):
        values = MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        found = [float(value) for value in values if low <= value <= high]
        if len(found) >= 3:
            break
    return found, []


def number(value: float, name: str = "", *, powers: bool = False) -> str:
    r"""Write a number for a tick or a caption.

    Parameters
    ----------
    value
        The number.
    name
        The quantity; counts of parameters and tokens are written 70M, 1.4T.
    powers
        Whether to write a power of ten however short the number is, as its neighbours on an axis are.

    Examples
    --------
    >>> number(1.4e12, "tokens"), number(2.5, "loss"), number(3e20, "flops")
    ('1.4T', '2.5', '$3\\times10^{20}$')
    >>> number(1e4), number(1e4, powers=True)
    ('10000', '$10^{4}$')
    """
    if name in _COUNTS and value >= 1e3:
        suffix, unit = [step for step in _STEPS if value >= step[1] * (1 - 1e-9)][-1]
        return f"{value / unit:.4g}{suffix}"
    if name in _COUNTS or value == 0 or (_plain(value) and not powers):
        return f"{float(f'{value:.4g}'):.12g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    digits, power = mantissa.rstrip("0").rstrip("."), rf"10^{{{int(exponent)}}}"
    return f"${power}$" if digits == "1" else rf"${digits}\times{power}$"


def _plain(value: float) -> bool:
    """Return whether a number is written without a power of ten."""
    return value == 0 or 1e-3 <= abs(value) < 1e5


def path_text(law: Law, path: Path, *, but: Collection[str] = ()) -> str:
    """Return the course of the inputs that x does not name, such as ``D = 20 N``; empty if there are none.

    Parameters
    ----------
    law
        The law.
    path
        The path.
    but
        Inputs to leave out.
    """
    kept = [
        f"${symbol(law, name)}$ = {number(float(f'{value:.3g}'), name)}"
        for name, value in path.held.items()
        if name != path.x and name not in but
    ]
    return ",  ".join([*filter(None, [_course(law, path)]), *kept])


def _course(law: Law, path: Path) -> str:
    names = [name for name in path.inputs if name != path.x]
    if path.x in path.inputs or len(names) < 2 or abs(path.inputs[names[0]][1]) < 1e-6:
        base, at, slope = path.x, path.centre, 1.0
    else:
        base = names.pop(0)
        at, slope = path.inputs[base]
    return ",  ".join(_relation(law, path, name, base, at, slope) for name in names)


def _relation(law: Law, path: Path, name: str, base: str, at: float, slope: float) -> str:
    power = path.inputs[name][1] / slope
    if abs(power) < 0.005:
        return f"${symbol(law, name)}$ = {number(float(f'{np.exp(path.inputs[name][0]):.3g}'), name)}"
    factor = np.exp(path.inputs[name][0] - power * at)
    shown = number(float(f"{factor:.3g}")).strip("$")
    exponent = "" if abs(power - 1) < 0.005 else f"^{{{power:.2f}}}"
    return rf"${symbol(law, name)} = {shown}\,{{{symbol(law, base)}}}{exponent}$"


def columns(entries: Iterable[object], *, rows: int = 18) -> int:
    """Return how many columns a legend with these entries takes."""
    return 1 + (len([*entries]) - 1) // rows
