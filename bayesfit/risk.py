"""What could go wrong with a large run, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from bayesfit.errors import SpecError

if TYPE_CHECKING:
    from bayesfit.forecast import Forecast


def assess_risk(
    forecast: Forecast,
    *,
    limit: float,
    worse: Literal["above", "below"] = "above",
    q: Sequence[float] = (0.05, 0.5, 0.95),
) -> pd.DataFrame:
    """Return the risk of missing a limit, per scenario.

    Parameters
    ----------
    forecast
        Predictive draws.
    limit
        The score that must not be passed, in the output's unit.
    worse
        ``"above"`` for losses and errors, ``"below"`` for accuracies.
    q
        Quantiles to list.

    Returns
    -------
    pandas.DataFrame
        One row a scenario: ``prob_miss``, the probability of ending on the wrong side of the limit;
        ``shortfall``, by how much on average when that happens (NaN if it never did in the draws);
        ``mean_beyond``, the mean score then; the quantiles; ``decades_beyond``; and ``converged``
        False for a forecast from a fit that fails its checks.

    Examples
    --------
    ``assess_risk(fit.forecast({"params": "70B", "tokens": "1.4T"}), limit=1.95)``
    """
    if worse not in ("above", "below"):
        raise SpecError(f"worse must be 'above' or 'below', found {worse!r}")
    if not np.isfinite(limit):
        raise SpecError(f"limit must be a finite number, found {limit!r}")
    draws = forecast.draws.values.reshape(-1, len(forecast.scenarios))
    excess = draws - limit if worse == "above" else limit - draws
    miss = excess > 0
    count = miss.sum(axis=0)
    total = np.where(miss, excess, 0.0).sum(axis=0)
    shortfall = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    table = pd.DataFrame(
        {
            "prob_miss": miss.mean(axis=0),
            "shortfall": shortfall,
            "mean_beyond": limit + (shortfall if worse == "above" else -shortfall),
        },
        index=forecast.scenarios.index,
    )
    quantiles = forecast.quantiles(list(q))
    table[[f"q{100 * value:.4g}" for value in q]] = quantiles
    table["decades_beyond"] = forecast.distance
    if not forecast.converged:
        table["converged"] = False
    return pd.concat([forecast.scenarios, table], axis=1)


def prob_better(forecast: Forecast, *, better: Literal["below", "above"] = "below") -> pd.DataFrame:
    """Return the probability that one scenario's run beats another's.

    Parameters
    ----------
    forecast
        Predictive draws; what the scenarios share of the law's uncertainty cancels.
    better
        ``"below"`` for losses, ``"above"`` for accuracies.

    Returns
    -------
    pandas.DataFrame
        Row scenario beats column scenario; NaN on the diagonal.
    """
    if better not in ("below", "above"):
        raise SpecError(f"better must be 'below' or 'above', found {better!r}")
    n = len(forecast.scenarios)
    draws = forecast.draws.values.reshape(-1, n) * (1 if better == "below" else -1)
    wins = np.array([[np.nan if i == j else np.mean(draws[:, i] < draws[:, j]) for j in range(n)] for i in range(n)])
    return pd.DataFrame(wins, index=forecast.scenarios.index, columns=forecast.scenarios.index)
