"""Which parameters trade against each other: pairs of posterior draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayesfit.errors import SpecError, nearest
from bayesfit.plots import style
from bayesfit.pooling import spread_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayesfit.fitting import Fit

#: Points in a panel; more only blacken it.
_POINTS = 1000


def plot_pair(fit: Fit, *, names: Sequence[str] | None = None) -> Figure:
    """Draw posterior draws of parameters against each other, through ArviZ.

    Parameters
    ----------
    fit
        The fit.
    names
        What to draw: parameters, population values such as ``alpha_population``, noise scales, and derived
        quantities such as ``A``; by default each parameter, at the population's centre where it varies.

    Returns
    -------
    matplotlib.figure.Figure
        Densities on the diagonal, pairs below it.

    Raises
    ------
    SpecError
        For a name that the fit does not have, or fewer than two numbers to draw.

    Examples
    --------
    >>> plot_pair(fit, names=["E", "A", "alpha"])  # doctest: +SKIP
    """
    import matplotlib.pyplot as plt
    import xarray as xr
    from arviz_base import rc_context
    from arviz_plots import plot_pair as draw

    data = xr.merge([fit.posterior, fit.derived()], compat="override")
    known = [str(name) for name in data.data_vars]
    # what scatters about zero has no centre, but a scale
    default: list[str] = []
    for plan in fit.plans:
        if plan.about_zero:
            default += [spread_name(plan.name, group) for group in plan.shared]
        elif plan.name in fit.law.free:
            default.append(f"{plan.name}_population" if f"{plan.name}_population" in data else plan.name)
    chosen = default if names is None else list(names)
    for name in chosen:
        if name not in known:
            raise SpecError(f"the fit has no '{name}'{nearest(name, known)}; it has {', '.join(known)}")
    numbers = sum(data[name].size // (data.sizes["chain"] * data.sizes["draw"]) for name in chosen)
    if numbers < 2:
        raise SpecError("a pair plot needs at least two numbers; name more parameters")
    size = 1.9 * numbers + 0.6
    every = max(1, data.sizes["chain"] * data.sizes["draw"] // _POINTS)
    looks = {"scatter": {"color": style.COLOURS[0], "alpha": 0.35, "s": 6}, "dist": {"color": style.COLOURS[0]}}
    # seven parameters are more panels than ArviZ draws unasked
    with rc_context({"plot.max_subplots": None}):
        matrix: Any = draw(
            xr.DataTree.from_dict({"posterior": data[chosen].isel(draw=slice(None, None, every))}),
            backend="matplotlib",
            marginal=True,
            marginal_kind="kde",
            labeller=_labeller(fit),
            visuals=looks,
            figure_kwargs={"figsize": (size, size)},
        )
    figure: Figure = matrix.viz["figure"].item()
    plt.close(figure)
    _clear_inner(matrix, numbers)
    style.roomy(figure)
    if numbers > 2:
        style.write_title(figure, style.name_of(fit.law), beside=style.MARK)
    style.mark_unconverged(fit, figure, corner="upper right")
    return figure


def _clear_inner(matrix: Any, numbers: int) -> None:
    """Take away the numbers between panels, which ArviZ repeats in each, and those of densities."""
    axes = matrix.viz["plot"].values.reshape(numbers, numbers)
    for row in range(numbers):
        for column in range(row + 1):
            if row == column:
                axes[row, column].set_yticks([])
            elif column > 0:
                axes[row, column].tick_params(labelleft=False)


def _labeller(fit: Fit) -> Any:
    from arviz_base.labels import BaseLabeller

    class Symbols(BaseLabeller):
        """Symbols in place of names."""

        def var_name_to_str(self, var_name: str | None) -> str:
            return f"${style.symbol(fit.law, var_name or '')}$"

    return Symbols()
