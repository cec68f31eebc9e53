"""Read numbers out of table cells, and say what is wrong with those that are none."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayesfit.errors import Fault

_SUFFIX = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_NUMBER = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*([kKmMbBgGtT]?)")
#: Faults of one kind in one column that are listed one by one.
SHOWN = 5


def read_numbers(values: pd.Series, column: str) -> tuple[np.ndarray, list[Fault]]:
    """Read a column of numbers.

    Parameters
    ----------
    values
        Cells: numbers, or texts such as ``"7B"``, ``"1.4T"``, ``"350M"``, ``"6e21"``.
    column
        Its name, for faults.

    Returns
    -------
    tuple
        The numbers (NaN where a cell is none) and every fault.
    """
    numbers = np.full(len(values), np.nan)
    faults = []
    for row, cell in enumerate(values):
        number, kind, message, remedy = _read(cell)
        numbers[row] = number
        if kind:
            faults.append(Fault(kind=kind, message=message, remedy=remedy, column=column, row=row + 1, value=str(cell)))
    return numbers, shortened(faults)


def rows_fault(
    kind: str, message: str, remedy: str, column: str, rows: Sequence[int] | np.ndarray, values: Sequence[object]
) -> list[Fault]:
    """Return one fault a row; `message` may use ``{value}``.

    Parameters
    ----------
    kind, message, remedy, column
        Of each fault.
    rows
        Positions, from 0.
    values
        All cells of the column.
    """
    return shortened(
        [
            Fault(
                kind=kind,
                message=message.format(value=_shown(values[row])),
                remedy=remedy,
                column=column,
                row=int(row) + 1,
                value=str(values[row]),
            )
            for row in rows
        ]
    )


def shortened(faults: list[Fault]) -> list[Fault]:
    """Keep the first few of many faults of one kind in one column, with the count of the rest."""
    kept: list[Fault] = []
    for kind in dict.fromkeys(fault.kind for fault in faults):
        same = [fault for fault in faults if fault.kind == kind]
        kept += same[:SHOWN]
        if len(same) > SHOWN:
            kept.append(
                Fault(
                    kind=kind,
                    message=f"and {len(same) - SHOWN} more rows like these",
                    remedy=same[0].remedy,
                    column=same[0].column,
                )
            )
    return kept


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read(cell: object) -> tuple[float, str, str, str]:
    """Return the number, and kind, message and remedy of what is wrong with it."""
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell)):
        return np.nan, "missing_value", "the cell is empty", "fill it in, or leave the row out"
    if isinstance(cell, bool | np.bool_):
        return np.nan, "not_a_number", f"found {cell}, expected a number", "write a number"
    if isinstance(cell, int | float | np.integer | np.floating):
        number = float(cell)
        if not np.isfinite(number):
            return np.nan, "not_finite", f"found {number}", "a run that diverged has no place in a fit: leave it out"
        return number, "", "", ""
    text = str(cell).strip()
    if not text:
        return np.nan, "missing_value", "the cell is empty", "fill it in, or leave the row out"
    if text.lower().lstrip("+-") in ("nan", "na", "n/a", "null", "none", "-"):
        return np.nan, "missing_value", f"found '{text}'", "fill it in, or leave the row out"
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return np.nan, "not_finite", f"found '{text}'", "a run that diverged has no place in a fit: leave it out"
    match = _NUMBER.fullmatch(text)
    if match is None:
        remedy = "write a number such as 7e9, 7B or 1.4T"
        if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", text):
            remedy = "write it without thousands separators"
        elif re.fullmatch(r"[-+]?\d+,\d+", text):
            remedy = "write the decimals after a point, not a comma"
        return np.nan, "not_a_number", f"found '{text[:40]}', expected a number", remedy
    number = float(match[1]) * _SUFFIX.get(match[2].lower(), 1.0)
    if not np.isfinite(number):
        return np.nan, "not_finite", f"found '{text[:40]}'", "write a finite number"
    return number, "", "", ""
