"""Residuals of the fitted runs: what the law missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bayesfit.path import x_values
from bayesfit.plots import style
from bayesfit.pooling import trials_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesfit.fitting import Fit
    from bayesfit.noise import Noise

#: Draws times runs that are held at once.
_HELD = 4_000_000
#: Inches that a column of the legend takes.
_BESIDE = 1.8


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """What the law leaves of an output.

    Parameters
    ----------
    values
        Residual of each run about the law's posterior mean, on the scale on which noise acts.
    scale
        Posterior mean of the noise scale at each run, measured errors included.
    """

    values: np.ndarray
    scale: np.ndarray

    @property
    def standardised(self) -> np.ndarray:
        """Residuals over their scale."""
        return np.asarray(self.values / self.scale)


def residuals(fit: Fit, output: str) -> Residuals:
    """Return the residuals of the fitted runs.

    Parameters
    ----------
    fit
        The fit.
    output
        The output.
    """
    from bayesfit.evaluation import law_values, seen_in

    noise, table = fit.law.outputs[output].noise, fit.runs.table
    trials = trials_of(fit.law, output, fit.runs)
    draws = fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"]
    block = max(1, _HELD // draws)
    means: list[np.ndarray] = []
    scales: list[np.ndarray] = []
    for start in range(0, len(table), block):
        rows = table.iloc[start : start + block]
        values, spreads = law_values(fit, rows, seen_in(fit, rows))
        sigma = spreads[fit.law.sigmas[output]].mean(("chain", "draw")).values if noise.has_scale else 0.0
        mean = np.broadcast_to(noise.observed(values[output]).mean(("chain", "draw")).values, len(rows))
        means.append(mean)
        counts = None if trials is None else trials[start : start + block]
        scales.append(np.broadcast_to(noise.deviation(mean, sigma, counts), len(rows)))
    scale = np.concatenate(scales)
    se = fit.runs.loss_se
    if output == "loss" and se is not None:
        scale = np.hypot(scale, noise.measured(se, fit.runs.values(output)))
    return Residuals(values=noise.observed(fit.runs.values(output)) - np.concatenate(means), scale=scale)


def plot_residuals(fit: Fit, *, output: str | None = None) -> Figure:
    """Draw residuals against compute and each input, and their quantiles against the noise's.

    A trend in a panel is something the law misses, and it will grow beyond the runs.

    Parameters
    ----------
    fit
        The fit.
    output
        The output, where the law has several.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for compute (where the runs have it), one for each input of the law, and the quantile
        plot with the range in which 90% of points of a right noise would lie. Residuals are data over
        the law's posterior mean, in percent, where noise acts on the logarithm, and otherwise in the
        output's unit; guides lie at one noise scale.

    Examples
    --------
    >>> plot_residuals(fit).savefig("residuals.png", dpi=150)  # doctest: +SKIP
    """
    name = fit.law.pick_output(output)
    found, noise = residuals(fit, name), fit.law.outputs[name].noise
    compute = ("flops",) if fit.runs.compute is not None else ()
    against = [*dict.fromkeys((*compute, *fit.law.inputs))]
    count = len(against) + 1
    across = count if count <= 3 else 2 if count == 4 else 3
    down = -(-count // across)
    group = next(iter(fit.pooling.by), None)
    figure = style.new_figure(3.9 * across + (_BESIDE if group else 0.0), 3.3 * down + 0.6)
    axes = figure.subplots(down, across, squeeze=False)
    factor = 100.0 if noise.on == "log" else 1.0
    unit = "%" if noise.on == "log" else fit.law.outputs[name].unit
    values = factor * (np.expm1(found.values) if noise.on == "log" else found.values)
    for place, x in enumerate(against):
        ax = axes.flat[place]
        style.tidy(ax)
        _draw_against(ax, fit, x, values, factor * found.scale, group)
        ax.set_xlabel(style.axis_label(fit.law, x))
        if place % across == 0:
            ax.set_ylabel(f"{name.replace('_', ' ')}: data over law ({unit})".replace("over law", _about(noise)))
    ax = axes.flat[count - 1]
    style.tidy(ax)
    _draw_quantiles(ax, fit, found.standardised, noise, group)
    for spare in axes.flat[count:]:
        spare.set_axis_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    taken = _BESIDE * style.columns(labels) if group else 0.0
    style.write_title(figure, f"Residuals: {style.name_of(fit.law)}", beside=taken)
    if group is None:
        axes.flat[0].legend(handles, labels, loc="best", fontsize=8.5, frameon=False)
    else:
        columns = style.columns(labels)
        figure.legend(handles, labels, loc="outside right upper", fontsize=8.5, frameon=False, ncols=columns)
    style.mark_unconverged(fit, axes.flat[count - 1], corner="lower right")
    return figure


def _about(noise: Noise) -> str:
    return "over law" if noise.on == "log" else "minus law"


def _draw_against(ax: Axes, fit: Fit, x: str, values: np.ndarray, scale: np.ndarray, group: str | None) -> None:
    xs = x_values(fit.runs.table, x, "the table of runs")
    middle = float(np.median(scale))
    ax.axhspan(-middle, middle, color="#E9EEF4", zorder=0, label="± noise scale", gid="noise scale")
    ax.axhline(0.0, color="#333333", linewidth=0.9, zorder=1)
    for rows, place, level in _levels(fit, group):
        _points(ax, xs[rows], values[rows], place, level, len(xs))
    if xs.min() <= 0:
        # a chance level of zero has no logarithm
        ax.margins(x=0.04)
        return
    margin = (xs.max() / xs.min()) ** 0.04 if np.ptp(xs) > 0 else 1.5
    style.readable_log(ax, "x", xs.min() / margin, xs.max() * margin, x, most=5)


def _draw_quantiles(ax: Axes, fit: Fit, standardised: np.ndarray, noise: Noise, group: str | None) -> None:
    """Draw sorted residuals against the noise's quantiles, with 90% ranges of order statistics."""
    from scipy.stats import beta

    # a run may lack the output
    count = int(np.isfinite(standardised).sum())
    order = np.argsort(standardised)
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.minimum(np.arange(len(order)), count - 1)
    theory = noise_quantiles(noise, (np.arange(count) + 0.5) / count)
    places = np.arange(1, count + 1)
    low, high = (noise_quantiles(noise, np.asarray(beta.ppf(q, places, count + 1 - places))) for q in (0.05, 0.95))
    ax.fill_between(theory, low, high, color="#E9EEF4", zorder=0, linewidth=0, gid="quantile range")
    ax.axline((0.0, 0.0), slope=1.0, color="#333333", linewidth=0.9, zorder=1)
    for rows, place, level in _levels(fit, group):
        _points(ax, theory[rank[rows]], standardised[rows], place, level, count)
    ax.set_xlabel(f"quantile of the noise ({noise.kind.replace('student_t', 'Student t')})")
    ax.set_ylabel("standardised residual")


def noise_quantiles(noise: Noise, prob: np.ndarray) -> np.ndarray:
    """Return quantiles of standard noise (scale one)."""
    from scipy import stats

    if noise.kind == "laplace":
        return np.asarray(stats.laplace.ppf(prob))
    if noise.kind == "student_t":
        return np.asarray(stats.t.ppf(prob, noise.nu))
    if noise.kind == "frontier":
        q = noise.quantile
        low, high = np.minimum(prob, q), np.maximum(prob, q)
        return np.asarray(np.log(low / q) / (1 - q) - np.log((1 - high) / (1 - q)) / q)
    # counts over their standard deviation are about normal
    return np.asarray(stats.norm.ppf(prob))


def _levels(fit: Fit, group: str | None) -> list[tuple[np.ndarray, int, str]]:
    """Return the rows, place and name of each level."""
    if group is None:
        return [(np.arange(len(fit.runs)), 0, "runs")]
    codes = fit.runs.codes(group)
    return [(np.flatnonzero(codes == place), place, level) for place, level in enumerate(fit.runs.levels(group))]


def _points(ax: Axes, xs: np.ndarray, ys: np.ndarray, place: int, level: str, total: int) -> None:
    ax.scatter(
        xs,
        ys,
        s=13 if total > 80 else 26,
        marker=style.marker(place),
        color=style.colour(place),
        edgecolors="white",
        linewidths=0.4,
        alpha=0.8 if total > 80 else 1.0,
        zorder=3,
        label=level,
        gid=f"residuals {level}",
    )
