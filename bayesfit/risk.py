"""What could go wrong with a large run, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from bayesfit.errors import SpecError

if TYPE_CHECKING:
    from bayesfit.forecast import Forecast

Side = Literal["above", "below"]

#: Last words of the names of outputs of which more is better, whatever their unit.
_MORE = frozenset({"accuracy", "score"})
#: Those of shares of which less is better.
_LESS = frozenset({"error", "err", "wer", "cer"})


def worse_side(forecast: Forecast) -> Side:
    """Return the side of a limit that is a miss: below for accuracies and other shares of success, or else above."""
    last = forecast.output.rpartition("_")[2].lower()
    success = last in _MORE or (_is_share(forecast) and last not in _LESS)
    return "below" if success else "above"


def assess_risk(
    forecast: Forecast,
    *,
    limit: float,
    worse: Side | None = None,
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
        The side of the limit that is a miss; by default ``"below"`` for accuracies and other shares of success,
        ``"above"`` for losses, errors and all else.
    q
        Quantiles to list.

    Returns
    -------
    pandas.DataFrame
        One row a scenario: ``prob_miss``, the probability of ending on the wrong side of the limit;
        ``shortfall``, by how much on average when that happens (NaN if it never did in the draws);
        ``mean_beyond``, the mean score then; the quantiles; ``decades_beyond``; and ``converged``
        False for a forecast from a fit that fails its checks.

    Raises
    ------
    SpecError
        For a limit that no outcome can reach, such as an accuracy of 60 or a loss of -1.

    Examples
    --------
    ``assess_risk(fit.forecast({"params": "70B", "tokens": "1.4T"}), limit=1.95)``
    """
    worse = worse_side(forecast) if worse is None else worse
    if worse not in ("above", "below"):
        raise SpecError(f"worse must be 'above' or 'below', found {worse!r}")
    _reachable(forecast, limit)
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


def prob_better(forecast: Forecast, *, better: Side | None = None) -> pd.DataFrame:
    """Return the probability that one scenario's run beats another's.

    Parameters
    ----------
    forecast
        Predictive draws; what the scenarios share of the law's uncertainty cancels.
    better
        ``"below"`` for losses, ``"above"`` for accuracies; by default the side that `assess_risk` calls no miss.

    Returns
    -------
    pandas.DataFrame
        Row scenario beats column scenario; NaN on the diagonal.
    """
    if better is None:
        better = "above" if worse_side(forecast) == "below" else "below"
    if better not in ("below", "above"):
        raise SpecError(f"better must be 'below' or 'above', found {better!r}")
    n = len(forecast.scenarios)
    draws = forecast.draws.values.reshape(-1, n) * (1 if better == "below" else -1)
    wins = np.array([[np.nan if i == j else np.mean(draws[:, i] < draws[:, j]) for j in range(n)] for i in range(n)])
    return pd.DataFrame(wins, index=forecast.scenarios.index, columns=forecast.scenarios.index)


def _reachable(forecast: Forecast, limit: float) -> None:
    """Refuse a limit that no outcome can reach: misses would be sure or impossible, whatever the law says."""
    if not np.isfinite(limit):
        raise SpecError(f"limit must be a finite number, found {limit!r}")
    output = forecast.output
    if _bounded(forecast) and not 0 <= limit <= 1:
        percent = f"; for {limit:g}% write {limit / 100:g}" if 1 < limit <= 100 else ""
        raise SpecError(f"no {output} reaches a limit of {limit:g}: it lies from 0 to 1{percent}")
    if _positive(forecast) and limit <= 0:
        raise SpecError(f"no {output} reaches a limit of {limit:g}: it is always positive; give a limit above 0")


def _is_share(forecast: Forecast) -> bool:
    """Return whether the output lies from 0 to 1; `bayesfit.path.is_share` asks a law the same."""
    noise = forecast.noise
    of_counts = noise is not None and noise.counted and noise.kind != "negative_binomial"
    return forecast.unit == "share" or of_counts or (noise is not None and noise.on == "logit")


def _positive(forecast: Forecast) -> bool:
    noise = forecast.noise
    return noise is not None and (noise.on == "log" or noise.kind == "negative_binomial")


def _bounded(forecast: Forecast) -> bool:
    # a word error rate passes 1 where more words are wrong than there are
    return _is_share(forecast) and not _positive(forecast)
