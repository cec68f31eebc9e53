"""Correlations of a level's parameters: a task whose exponent is high may have a high amplitude too.

Shifts of a group's levels are then ``spread * (L @ z)``, with `L` the root of a correlation matrix made of partial
correlations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from bayesfit.pooling import ParameterPlan

#: Concentration of the prior of correlations: 1 would be flat, 2 prefers weak ones.
CONCENTRATION = 2.0


def correlated_of(plans: Sequence[ParameterPlan]) -> tuple[str, tuple[str, ...]]:
    """Return the group over which parameters correlate and these parameters; empty if there is none."""
    names = tuple(plan.name for plan in plans if plan.correlated)
    return next((plan.correlated for plan in plans if plan.correlated), ""), names


def correlation_name(group: str) -> str:
    """Return the name of the correlations of parameters over a group."""
    return f"correlation_{group}"


def partial_name(group: str) -> str:
    """Return the name of the variable that makes correlations over a group, from 0 to 1."""
    return f"{correlation_name(group)}_partial"


def correlation_pairs(names: Sequence[str]) -> list[str]:
    """Return a label of each pair, in the order of the correlations: the rows of a lower triangle."""
    return [f"{names[column]}~{names[row]}" for row in range(len(names)) for column in range(row)]


def correlations(posterior: xr.Dataset, group: str, names: Sequence[str]) -> np.ndarray:
    """Return the correlation matrix of parameters over a group, in each draw: axes chain, draw, and parameters."""
    values = posterior[correlation_name(group)].transpose("chain", "draw", "pair").values
    matrix = np.zeros((*values.shape[:-1], len(names), len(names)))
    matrix[...] = np.eye(len(names))
    pairs = [(row, column) for row in range(len(names)) for column in range(row)]
    for place, (row, column) in enumerate(pairs):
        matrix[..., row, column] = matrix[..., column, row] = values[..., place]
    return matrix


def partial_concentrations(count: int) -> np.ndarray:
    """Return the beta distributions' parameter of the partial correlations, in the order of `correlation_pairs`.

    With these the correlations have the prior of Lewandowski, Kurowicka, Joe 2009 (LKJ).
    """
    return np.array([CONCENTRATION + (count - 2 - column) / 2 for row in range(count) for column in range(row)])


def correlation_root(partials: Any, count: int, sqrt: Callable[[Any], Any]) -> list[list[Any]]:
    """Return the rows of the Cholesky factor of a correlation matrix, up to the diagonal.

    Parameters
    ----------
    partials
        Partial correlations, indexed first by pair in the order of `correlation_pairs`.
    count
        Number of parameters.
    sqrt
        The square root for whatever `partials` are made of.
    """
    rows: list[list[Any]] = []
    place = 0
    for row in range(count):
        rest: Any = partials[0] * 0.0 + 1.0
        entries = []
        for _ in range(row):
            entry = partials[place] * sqrt(rest)
            rest = rest - entry**2
            entries.append(entry)
            place += 1
        rows.append([*entries, sqrt(rest)])
    return rows
