"""What the runs taught: prior and posterior density of each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesfit.errors import SpecError, nearest
from bayesfit.plots import style
from bayesfit.priors import NUMPY_LINKS, ResolvedPrior

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesfit.fitting import Fit
    from bayesfit.pooling import ParameterPlan

#: A level each has a line while they are no more than this.
_MANY = 8
_GRID = 400
#: Inches that the legend takes.
_BESIDE = 2.2
#: The population's colour, which no level has.
_POPULATION = "#222222"


def plot_prior_posterior(fit: Fit, *, names: Sequence[str] | None = None) -> Figure:
    """Draw prior and posterior density of each fitted parameter.

    A posterior that looks like its prior was not learnt from the runs.

    Parameters
    ----------
    fit
        The fit.
    names
        Parameters and noise scales to draw; all by default, but for shifts of training runs and paths of the law's
        own error, which scatter about zero and have no centre.

    Returns
    -------
    matplotlib.figure.Figure
        A panel a parameter: the prior (grey) and the posterior (blue), where the parameter varies over groups that
        of the population's centre (black), with its levels as thin lines; published values as dashed vertical lines.

    Raises
    ------
    SpecError
        For a name that is not fitted.

    Examples
    --------
    >>> plot_prior_posterior(fit, names=["E", "alpha"])  # doctest: +SKIP
    """
    plans = {plan.name: plan for plan in fit.plans if not plan.about_zero}
    chosen = [*plans] if names is None else list(names)
    for name in chosen:
        if name not in plans:
            raise SpecError(
                f"'{name}' is no fitted parameter with a centre{nearest(name, plans)}; there are {', '.join(plans)}"
            )
    if not chosen:
        raise SpecError(f"names is empty; there are {', '.join(plans)}")
    published = _published(fit)
    across = 2 if len(chosen) == 4 else min(3, len(chosen))
    down = -(-len(chosen) // across)
    figure = style.new_figure(3.1 * across + _BESIDE, 2.3 * down + 0.7)
    axes = figure.subplots(down, across, squeeze=False)
    for ax, name in zip(axes.flat, chosen, strict=False):
        _draw(ax, fit, plans[name], {source: values[name] for source, values in published.items() if name in values})
    for spare in axes.flat[len(chosen) :]:
        spare.set_axis_off()
    style.write_title(figure, f"Prior and posterior: {style.name_of(fit.law)}", beside=_BESIDE)
    handles: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        [*handles.values()],
        [*handles],
        loc="outside right upper",
        fontsize=8.5,
        frameon=False,
        ncols=style.columns(handles),
    )
    style.mark_unconverged(fit, figure)
    return figure


def density(prior: ResolvedPrior, draws: np.ndarray | None, grid: np.ndarray) -> np.ndarray:
    """Return the density of draws, or without any of the prior itself, at values of the parameter.

    Both are taken where the prior is a standard normal and carried over, so that bounds are kept
    exactly and a prior needs no simulation.
    """
    from scipy.stats import gaussian_kde, norm

    with np.errstate(all="ignore"):
        z = np.asarray(prior.standard(grid), dtype=float)
        slope = np.gradient(z, grid)
        at = norm.pdf(z) if draws is None else gaussian_kde(prior.standard(draws))(z)
        found = at * slope
    return np.where(np.isfinite(found), found, 0.0)


def _draw(ax: Axes, fit: Fit, plan: ParameterPlan, published: dict[str, float]) -> None:
    posterior = fit.posterior
    prior, levels = _one(plan.prior), _levels(fit, plan)
    centre = posterior[f"{plan.name}_population"] if plan.shared else posterior[plan.name]
    pooled = plan.separate is None
    shown = [np.asarray(centre).ravel()] if pooled else [*levels.values()]
    grid = _grid(prior, shown if not pooled or len(levels) > _MANY else [*shown, *levels.values()], published)
    ax.fill_between(
        grid, density(prior, None, grid), color="#BBBBBB", alpha=0.6, linewidth=0, label="prior", gid="prior"
    )
    top = float(density(prior, None, grid).max())
    if pooled:
        curve = density(prior, shown[0], grid)
        label, colour = ("posterior, population", _POPULATION) if plan.shared else ("posterior", style.COLOURS[0])
        ax.fill_between(grid, curve, color=colour, alpha=0.3, linewidth=0)
        ax.plot(grid, curve, color=colour, linewidth=1.5, label=label, gid="posterior")
        top = max(top, float(curve.max()))
    if len(levels) <= _MANY:
        for place, (level, draws) in enumerate(levels.items()):
            curve = density(prior, draws, grid)
            ax.plot(grid, curve, color=style.colour(place), linewidth=0.9, label=level, gid=f"level {level}")
            top = max(top, float(curve.max()) if not pooled else min(float(curve.max()), 2.5 * top))
    for place, (source, value) in enumerate(published.items()):
        if grid[0] <= value <= grid[-1]:
            # never a full line, which in the legend would be the population's
            dashes = ((0, (4, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)))[place % 3]
            ax.axvline(
                value,
                ymax=0.93,
                color="black",
                linewidth=1.1,
                linestyle=dashes,
                label=source[:1].upper() + source[1:].replace("_", " "),
                gid="published",
            )
    style.tidy(ax)
    ax.grid(visible=False)
    ax.set_xlim(grid[0], grid[-1])
    ax.set_ylim(0, 1.12 * top)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(_locator())
    ax.set_title(_name(fit, plan.name), fontsize=9.5, loc="left")


def _locator() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, min_n_ticks=2)


def _name(fit: Fit, name: str) -> str:
    """Return a parameter's symbol, and what it is where that is short."""
    parameter = fit.law.parameters.get(name)
    about = "noise scale" if parameter is None else parameter.about
    shown = f"${style.symbol(fit.law, name)}$"
    lines = style.lines_of(about.replace("$", r"\$"), 34, most=2, placeholder="…")
    return f"{shown}  " + "\n".join(lines)


def _levels(fit: Fit, plan: ParameterPlan) -> dict[str, np.ndarray]:
    """Return the draws of each level, where the parameter varies over one group."""
    if len(plan.dims) != 1:
        return {}
    array = fit.posterior[plan.name]
    return {str(level): array.sel({plan.dims[0]: level}).values.ravel() for level in array[plan.dims[0]].values}


def _one(prior: ResolvedPrior) -> ResolvedPrior:
    """Return a prior with plain numbers; of levels that each have their own, the average with the widest bounds."""
    return ResolvedPrior(
        family=prior.family,
        mu=float(np.mean(prior.mu)),
        sigma=float(np.mean(prior.sigma)),
        lower=float(np.min(prior.lower)),
        upper=float(np.max(prior.upper)),
    )


def _grid(prior: ResolvedPrior, draws: Sequence[np.ndarray], published: dict[str, float]) -> np.ndarray:
    """Return a range in which both densities can be read: the posterior's, widened into the prior's."""
    low = min(float(np.quantile(values, 0.01)) for values in draws)
    high = max(float(np.quantile(values, 0.99)) for values in draws)
    ends = [float(prior.value(prior.latent(z, NUMPY_LINKS), NUMPY_LINKS)) for z in (-2.3, 2.3)]
    width = high - low
    wide = (max(low - 1.2 * width, min(ends[0], low)), min(high + 1.2 * width, max(ends[1], high)))
    near = [value for value in published.values() if wide[0] - width < value < wide[1] + width]
    first, last = min([wide[0], *(value - 0.1 * width for value in near)]), max([wide[1], *near])
    inside = 1e-6 * (last - first)
    bounds = {"Normal": (-np.inf, np.inf), "LogitNormal": (prior.lower, prior.upper)}.get(prior.family, (0.0, np.inf))
    return np.linspace(max(first, bounds[0] + inside), min(last, bounds[1] - inside), _GRID)


def _published(fit: Fit) -> dict[str, dict[str, float]]:
    """Return published parameters by source, centred as the fit's are where the card says how."""
    found = {}
    for key, published in fit.law.published.items():
        try:
            found[key] = fit.law.paper_parameters(published.values, fit.runs.summaries())
        except SpecError:
            found[key] = {name: value for name, value in published.values.items() if name in fit.law.free}
    return found
