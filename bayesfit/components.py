"""Principal components of a table of benchmark scores with missing cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bayesfit.errors import DataError, Fault, SpecError

if TYPE_CHECKING:
    import pandas as pd

#: Rounds of imputation, and the change of a standardised cell at which they stop.
_ROUNDS = 1000
_CLOSE = 1e-7


@dataclass(frozen=True, kw_only=True, eq=False)
class Components:
    """Principal components of a table of scores.

    Parameters
    ----------
    scores
        One row a model, one column a component (``pc1``, ...), in the unit of the benchmarks.
    weights
        One row a benchmark, one column a component; columns have length one.
    imputed
        The table without holes.
    """

    scores: pd.DataFrame
    weights: pd.DataFrame
    imputed: pd.DataFrame


def principal_components(
    table: pd.DataFrame, benchmarks: Sequence[str], k: int = 3, *, rows: Sequence[bool] | np.ndarray | None = None
) -> Components:
    """Return the first principal components of a table of benchmark scores.

    Missing cells are filled in with one component of the standardised scores, over and over until they
    stay. The components are those of the scores as they are, not standardised: a benchmark on which
    models differ more counts for more.

    Parameters
    ----------
    table
        One row a model.
    benchmarks
        Columns with scores; cells may be missing.
    k
        Number of components.
    rows
        Which rows to learn means, scales and weights from; all by default. The others are only
        described by them.

    Returns
    -------
    Components
        Each component's weight of largest size is positive, and the first component's sum of weights.

    Raises
    ------
    SpecError
        If there are fewer benchmarks than components, or `rows` does not fit.
    DataError
        If a benchmark has no score in the rows that are learnt from, or these are too few.

    References
    ----------
    Ruan, Maddison, Hashimoto 2024, Observational Scaling Laws and the Predictability of Language Model
    Performance, arXiv:2405.10938.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"a": [0.1, 0.5, 0.9, 0.3], "b": [0.2, 0.6, 1.0, None]})
    >>> found = principal_components(table, ["a", "b"], 1)
    >>> found.imputed["b"].round(3).tolist()
    [0.2, 0.6, 1.0, 0.4]
    """
    import pandas as pd

    names = list(benchmarks)
    if not 1 <= k <= len(names):
        raise SpecError(f"k must lie between 1 and the number of benchmarks, {len(names)}; found {k}")
    learn = np.ones(len(table), dtype=bool) if rows is None else np.asarray(rows, dtype=bool)
    if learn.shape != (len(table),):
        raise SpecError(f"rows needs one truth value a row, {len(table)} of them; found shape {learn.shape}")
    values = table[names].to_numpy(dtype=float)
    message, remedy = "no model that the components are learnt from has a score", "leave the benchmark out"
    empty = np.isnan(values[learn]).all(axis=0)
    faults = [
        Fault(kind="empty_benchmark", message=message, remedy=remedy, column=name)
        for name, none in zip(names, empty, strict=True)
        if none
    ]
    if learn.sum() <= k:
        message, remedy = f"{learn.sum()} models for {k} components", "give more models, or ask for fewer components"
        faults.append(Fault(kind="few_models", message=message, remedy=remedy))
    if faults:
        raise DataError(faults)
    filled = _imputed(values, learn)
    mean = filled[learn].mean(axis=0)
    weights = np.linalg.svd(filled[learn] - mean, full_matrices=False)[2][:k]
    weights = weights * signs(weights)[:, None]
    labels = pd.Index([f"pc{number + 1}" for number in range(k)])
    return Components(
        scores=pd.DataFrame((filled - mean) @ weights.T, index=table.index, columns=labels),
        weights=pd.DataFrame(weights.T, index=pd.Index(names), columns=labels),
        imputed=pd.DataFrame(filled, index=table.index, columns=pd.Index(names)),
    )


def _imputed(values: np.ndarray, learn: np.ndarray) -> np.ndarray:
    """Return scores with missing cells filled in by one component of the standardised scores, of some rows."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    centre, scale = np.nanmean(values[learn], axis=0), np.nanstd(values[learn], axis=0)
    z = (values - centre) / np.where(scale > 0, scale, 1.0)
    z[missing] = 0.0
    for _ in range(_ROUNDS):
        middle = z[learn].mean(axis=0)
        first = np.linalg.svd(z[learn] - middle, full_matrices=False)[2][0]
        guess = middle + np.outer((z - middle) @ first, first)
        change = np.abs(guess - z)[missing].max()
        z[missing] = guess[missing]
        if change < _CLOSE:
            break
    filled: np.ndarray = np.where(missing, np.clip(z * scale + centre, 0.0, 1.0), values)
    return filled


def signs(weights: np.ndarray) -> np.ndarray:
    """Return the sign of each component (row) that makes its largest weight positive, and the first's sum."""
    largest = np.abs(weights).argmax(axis=1)
    found = np.where(weights[np.arange(len(weights)), largest] < 0, -1.0, 1.0)
    found[0] = -1.0 if weights[0].sum() < 0 else 1.0
    return found
