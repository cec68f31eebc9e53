"""Figures of fits and comparisons; each function draws one and returns it.

Nothing here imports matplotlib before a figure is asked for, and no figure needs a screen.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesfit.plots.band import plot_band
    from bayesfit.plots.calibration import plot_calibration
    from bayesfit.plots.comparison import plot_compare
    from bayesfit.plots.efficiency import plot_efficiency
    from bayesfit.plots.pair import plot_pair
    from bayesfit.plots.parts import plot_parts
    from bayesfit.plots.prior_posterior import plot_prior_posterior
    from bayesfit.plots.residuals import plot_residuals
    from bayesfit.plots.steps import plot_steps
    from bayesfit.plots.tasks import plot_tasks

_HOME = {
    "plot_band": "band",
    "plot_calibration": "calibration",
    "plot_compare": "comparison",
    "plot_efficiency": "efficiency",
    "plot_pair": "pair",
    "plot_parts": "parts",
    "plot_prior_posterior": "prior_posterior",
    "plot_residuals": "residuals",
    "plot_steps": "steps",
    "plot_tasks": "tasks",
}

__all__ = [
    "plot_band",
    "plot_calibration",
    "plot_compare",
    "plot_efficiency",
    "plot_pair",
    "plot_parts",
    "plot_prior_posterior",
    "plot_residuals",
    "plot_steps",
    "plot_tasks",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bayesfit.plots' has no attribute '{name}'")
    return getattr(import_module(f"bayesfit.plots.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
