"""Read the scenarios of a forecast: runs that were not made yet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesfit.cells import read_numbers, rows_fault, support_faults
from bayesfit.errors import DataError, DataWarning, Fault, SpecError, nearest

if TYPE_CHECKING:
    from bayesfit.fitting import Fit


def read_scenarios(scenarios: pd.DataFrame | Mapping[str, Any], fit: Fit) -> pd.DataFrame:
    """Check scenarios for a fit.

    Parameters
    ----------
    scenarios
        A table, or columns by name; a single value serves every row. An input that need not vary, such as a task's
        chance level, may be left out where all runs of the scenario's level of a group, its task, have one value.
    fit
        The fit to forecast from.

    Returns
    -------
    pandas.DataFrame
        The columns given, inputs as numbers and groups as names; the index is kept.

    Raises
    ------
    DataError
        With every fault: a missing input or group, a cell that is no number or not one the input may take.

    Warns
    -----
    DataWarning
        If a scenario has another value of such an input than all runs of its level.
    """
    table = _framed(scenarios)
    faults: list[Fault] = []
    columns: dict[str, Any] = {}
    run = fit.pooling.checkpoints
    if run and run not in table.columns:
        # runs that were not made yet, each with a shift of its own
        table = table.assign(**{run: [f"new run {row}" for row in range(1, len(table) + 1)]})
    groups = (*fit.pooling.columns, *([run] if run else []))
    for name, part in fit.law.inputs.items():
        if not part.varies and name not in table.columns:
            usual = as_fitted(name, table, fit)
            table = table if np.isnan(usual).any() else table.assign(**{name: usual})
    known = [*fit.law.inputs, *groups]
    for name in known:
        if name not in table.columns:
            faults.append(_missing(name, table, fit))
    for name in table.columns:
        if name in groups:
            columns[name] = ["" if pd.isna(cell) else str(cell).strip() for cell in table[name]]
            empty = [row for row, level in enumerate(columns[name]) if not level]
            faults += rows_fault("missing_value", "the cell is empty", "name the level", name, empty, columns[name])
        elif name in fit.law.inputs or name in ("params", "tokens", "flops", "n_items"):
            numbers, wrong = read_numbers(table[name], name)
            faults += wrong
            support = fit.law.inputs[name].support if name in fit.law.inputs else "positive"
            faults += support_faults(support, name, name, numbers, list(table[name]), remedy="correct it")
            columns[name] = numbers
        else:
            columns[name] = table[name].to_numpy()
    if len(table) == 0:
        faults.append(Fault(kind="empty_table", message="no rows", remedy="give at least one scenario"))
    if faults:
        raise DataError(faults, "the table of scenarios")
    for name, part in fit.law.inputs.items():
        usual = np.full(len(table), np.nan) if part.varies else as_fitted(name, table, fit)
        for row in np.flatnonzero(np.isfinite(usual) & ~np.isclose(usual, columns[name]))[:1]:
            warnings.warn(
                f"the table of scenarios: row {row + 1} has {name} {columns[name][row]:g}, and all runs of its level "
                f"have {usual[row]:g}; leave it out to have theirs",
                DataWarning,
                skip_file_prefixes=(str(Path(__file__).parent),),
            )
    return pd.DataFrame(columns, index=table.index)


def as_fitted(name: str, table: pd.DataFrame, fit: Fit) -> np.ndarray:
    """Return an input as all runs of each scenario's level of a group have it.

    Parameters
    ----------
    name
        An input.
    table
        Scenarios; columns of groups are read.
    fit
        The fit.

    Returns
    -------
    numpy.ndarray
        One value a scenario: of the first group in whose every level runs have one value. NaN for a level that no run
        has, and where there is no such group. Without groups, what all runs have.
    """
    values = pd.Series(fit.runs.values(name))
    if not fit.pooling.columns:
        return np.full(len(table), values.iloc[0] if values.nunique() == 1 else np.nan)
    for group in fit.pooling.columns:
        of_level = values.groupby(np.array(fit.runs.table[group], dtype=str))
        if group in table and of_level.nunique().max() == 1:
            levels = [str(cell).strip() for cell in table[group]]
            return of_level.first().reindex(levels).to_numpy(float)
    return np.full(len(table), np.nan)


def _framed(scenarios: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
    if isinstance(scenarios, pd.DataFrame):
        repeated = scenarios.columns[scenarios.columns.duplicated()]
        if len(repeated):
            raise SpecError(f"the table of scenarios has more than one column '{repeated[0]}'; keep one")
        return scenarios
    if not isinstance(scenarios, Mapping):
        raise SpecError(
            f"scenarios must be a table or a mapping such as {{'params': '70B', 'tokens': '1.4T'}}, "
            f"found {type(scenarios).__name__}"
        )
    lists = {
        name: [value] if isinstance(value, str) or np.ndim(value) == 0 else list(value)
        for name, value in scenarios.items()
    }
    rows = max((len(values) for values in lists.values()), default=0)
    wrong = {name: len(values) for name, values in lists.items() if len(values) not in (1, rows)}
    if wrong:
        raise SpecError(f"the columns of the scenarios have different lengths: {wrong}, expected {rows} or one value")
    return pd.DataFrame({name: values * rows if len(values) == 1 else values for name, values in lists.items()})


def _missing(name: str, table: pd.DataFrame, fit: Fit) -> Fault:
    listed = ", ".join(str(column) for column in table.columns) or "none"
    close = nearest(name, [str(column) for column in table.columns])
    if name in fit.pooling.columns:
        levels = ", ".join(fit.runs.levels(name)[:12])
        remedy = f"give one of {levels}, or a new name for one never seen"
    else:
        remedy = f"add it{close}"
    return Fault(
        kind="missing_column",
        message=f"the fit needs '{name}'; the scenarios have {listed}",
        remedy=remedy,
        column=name,
    )
