"""Hierarchical Bayesian scaling-law fits with honest bands.

The public names load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesfit.averaging import average
    from bayesfit.backtesting import Backtest, Folds, backtest
    from bayesfit.capability import Capabilities, capabilities
    from bayesfit.card import Law
    from bayesfit.catalog import law, laws
    from bayesfit.comparison import Comparison, compare, compare_laws
    from bayesfit.components import Components, principal_components
    from bayesfit.discrepancy import Structure
    from bayesfit.equivalence import equivalent_compute
    from bayesfit.errors import (
        BayesfitError,
        BayesfitWarning,
        ConvergenceWarning,
        DataError,
        DataWarning,
        ExtrapolationWarning,
        FormulaError,
        NotConvergedError,
        SpecError,
        StoredFitError,
    )
    from bayesfit.evals import read_harness, read_long, read_wide
    from bayesfit.fitting import Fit, fit
    from bayesfit.forecast import Forecast
    from bayesfit.noise import Noise
    from bayesfit.pooling import Pooling
    from bayesfit.population import Population, learn_population
    from bayesfit.priors import Prior
    from bayesfit.risk import assess_risk
    from bayesfit.runs import Runs
    from bayesfit.simulation import simulate
    from bayesfit.store import load
    from bayesfit.track_record import TrackRecord, learn_drift
    from bayesfit.trend import missed_turns, trend_shapes

__version__ = "0.1.0"

_HOME = {
    "Backtest": "backtesting",
    "BayesfitError": "errors",
    "BayesfitWarning": "errors",
    "Capabilities": "capability",
    "Comparison": "comparison",
    "Components": "components",
    "ConvergenceWarning": "errors",
    "DataError": "errors",
    "DataWarning": "errors",
    "ExtrapolationWarning": "errors",
    "Fit": "fitting",
    "Folds": "backtesting",
    "Forecast": "forecast",
    "FormulaError": "errors",
    "Law": "card",
    "Noise": "noise",
    "NotConvergedError": "errors",
    "Pooling": "pooling",
    "Population": "population",
    "Prior": "priors",
    "Runs": "runs",
    "SpecError": "errors",
    "StoredFitError": "errors",
    "Structure": "discrepancy",
    "TrackRecord": "track_record",
    "assess_risk": "risk",
    "average": "averaging",
    "backtest": "backtesting",
    "capabilities": "capability",
    "compare": "comparison",
    "compare_laws": "comparison",
    "equivalent_compute": "equivalence",
    "fit": "fitting",
    "law": "catalog",
    "laws": "catalog",
    "learn_drift": "track_record",
    "learn_population": "population",
    "load": "store",
    "missed_turns": "trend",
    "principal_components": "components",
    "read_harness": "evals",
    "read_long": "evals",
    "read_wide": "evals",
    "simulate": "simulation",
    "trend_shapes": "trend",
}

__all__ = [
    "Backtest",
    "BayesfitError",
    "BayesfitWarning",
    "Capabilities",
    "Comparison",
    "Components",
    "ConvergenceWarning",
    "DataError",
    "DataWarning",
    "ExtrapolationWarning",
    "Fit",
    "Folds",
    "Forecast",
    "FormulaError",
    "Law",
    "Noise",
    "NotConvergedError",
    "Pooling",
    "Population",
    "Prior",
    "Runs",
    "SpecError",
    "StoredFitError",
    "Structure",
    "TrackRecord",
    "assess_risk",
    "average",
    "backtest",
    "capabilities",
    "compare",
    "compare_laws",
    "equivalent_compute",
    "fit",
    "law",
    "laws",
    "learn_drift",
    "learn_population",
    "load",
    "missed_turns",
    "principal_components",
    "read_harness",
    "read_long",
    "read_wide",
    "simulate",
    "trend_shapes",
]


def __getattr__(name: str) -> Any:
    if name in ("datasets", "plots"):
        return import_module(f"bayesfit.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'bayesfit' has no attribute '{name}'")
    value = getattr(import_module(f"bayesfit.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
