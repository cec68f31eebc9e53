"""Read the columns of a table by role, and say what is wrong with every cell that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesfit.errors import Fault, SpecError
from bayesfit.expression import Expression

if TYPE_CHECKING:
    from bayesfit.card import Support

STANDARD = ("params", "tokens", "flops")

#: Of more than `MANY` faults of one kind in one column, the first `SHOWN` are listed.
MANY, SHOWN = 20, 5

_POWER = {"": 0, "k": 3, "m": 6, "b": 9, "g": 9, "t": 12}
_DIGITS = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_NUMBER = re.compile(rf"({_DIGITS})(?:e([-+]?[0-9]{{1,4}}))?\s*([kmbgt]?)", re.IGNORECASE)
#: Texts that are nearly numbers, and what to write instead.
_NEARLY = [
    (re.compile(pattern, re.IGNORECASE), remedy)
    for pattern, remedy in (
        (r"[-+]?[0-9]{1,3}([,_' ][0-9]{3})+(\.[0-9]*)?", "write it without thousands separators: 1000000, 1e6 or 1M"),
        (r"[-+]?[0-9]+,[0-9]+", "write the decimals after a point, not a comma"),
        (rf"{_DIGITS}\s*(thousand|million|billion|trillion)s?", "write the number as 7B or 7e9, without words"),
        (rf"{_DIGITS}\s*[kmgt]i?b(ytes?)?", "bytes are no count: write 1.5B or 1.5e9 for one and a half billion"),
        (rf"{_DIGITS}\s*%", "write a fraction: 0.45 for 45%"),
        (rf"{_DIGITS}\s*[x\u00d7*]\s*10\s*(\^|\*\*)?\s*[0-9]+", "write powers of ten as 6e21"),
    )
]
_NO_VALUE = ("nan", "na", "n/a", "<na>", "null", "none", "-")
_EMPTY = ("missing_value", "the cell is empty", "fill it in, or leave the row out")
_DIVERGED = "a run that diverged has no place in a fit: leave the row out"

#: Below these a standard input is hardly a plain count; and what to write instead.
_SMALLEST: Mapping[str, tuple[float, str]] = {
    "params": (1e3, "write 7B or 7e9 for seven billion"),
    "tokens": (1e3, "write 300B or 3e11 for 300 billion"),
    "flops": (1e6, "write 6e21, not a multiple of exaFLOP or PF-days"),
}
#: Above this a loss in nats is hardly one (a vocabulary of 200,000 has chance loss 12.2).
_LARGEST_LOSS = 50.0
#: Columns that people mean when they speak of a role; suggested, never assumed.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "params": ("n", "n_params", "num_params", "parameters", "model_size"),
    "tokens": ("d", "n_tokens", "num_tokens", "train_tokens", "training_tokens"),
    "flops": ("c", "flop", "compute", "train_flops", "training_flops"),
    "loss": ("val_loss", "validation_loss", "eval_loss", "test_loss", "train_loss", "cross_entropy"),
}


class Reader:
    """Reads the columns of a table by role, each once, and collects what is wrong with them.

    Parameters
    ----------
    df
        The table.
    where
        Role to column, where they differ.
    formulas
        Role to the formula that computes it.
    declared
        Roles of the table; a formula that names one takes its checked numbers.
    any_unit
        Whether values that look like the wrong unit are meant.
    support
        What values a role may take, where it need not be positive.
    partly
        Roles that a row may lack.

    Attributes
    ----------
    faults, warnings
        What was found so far.
    """

    def __init__(
        self,
        df: pd.DataFrame,
        where: Mapping[str, str],
        formulas: Mapping[str, Expression],
        declared: frozenset[str],
        *,
        any_unit: bool,
        support: Mapping[str, Support],
        partly: Collection[str] = (),
    ) -> None:
        self.df, self.where, self.formulas = df, where, formulas
        self.declared, self.any_unit = declared | {*STANDARD, *where, *formulas}, any_unit
        self.support, self.partly = support, partly
        self.faults: list[Fault] = []
        self.warnings: list[str] = []
        self._read: dict[str, np.ndarray | None] = {}
        self._cells: dict[str, np.ndarray] = {}

    def numbers(self, role: str) -> np.ndarray:
        """Read or compute a role's numbers and check their range."""
        if role not in self._read:
            # taken up by a formula that leads back to this role
            self._read[role] = None
            self._read[role] = self._derived(role) if role in self.formulas else self._plain(role)
        found = self._read[role]
        if found is None:
            raise SpecError(f"derive goes in a circle: '{role}' is computed from itself")
        return found

    def names(self, role: str) -> list[str]:
        """Read the names of a group."""
        cells = self._column(role, "group_missing")
        if cells is None:
            return []
        names, faults, warned = read_names(cells, self.where.get(role, role))
        self.faults += faults
        self.warnings += warned
        return names

    def outcomes(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Say which outputs no run has, and which runs have no output."""
        if any(fault.column in {self.where.get(role, role) for role in outputs} for fault in self.faults):
            # their cells are told already
            return
        empty = [role for role, values in outputs.items() if np.isnan(values).all()]
        for role in empty:
            remedy = "give it for some runs, or fit a law without it"
            self._add("missing_value", f"no run has a value of '{role}'", remedy, self.where.get(role, role))
        rows = np.flatnonzero(np.all([np.isnan(values) for values in outputs.values()], axis=0))
        if not empty:
            message, remedy = f"none of {listed(outputs)} has a value", "fill one in, or leave the row out"
            cells: list[object] = [""] * len(self.df)
            self.faults += rows_fault("missing_value", message, remedy, next(iter(outputs)), rows, cells)

    def no_input(self) -> None:
        """Say that there is no input, and which column may be one."""
        guesses = {role: likely(role, self.df.columns) for role in STANDARD}
        example = {role: column for role, column in guesses.items() if column} or {"params": "YOUR_COLUMN"}
        typed = " ".join(f"--column {quote(f'{role}={column}')}" for role, column in example.items())
        message = f"no input: none of {listed(STANDARD)} is among the columns {listed(self.df.columns)}"
        self._add("missing_column", message, f"say which column is what, columns={example} ({typed})")

    def _add(self, kind: str, message: str, remedy: str, column: str | None = None) -> None:
        self.faults.append(Fault(kind=kind, message=message, remedy=remedy, column=column))

    def _column(self, role: str, kind: str = "missing_column") -> pd.Series | None:
        """Return the column of a role, or None with a fault."""
        name = self.where.get(role, role)
        found = self.df[name] if name in self.df.columns else None
        if found is None:
            guess = likely(role if name == role else name, self.df.columns)
            mapped = "" if name == role else f" (for {role})"
            hint = f" (did you mean '{guess}'?)" if guess else ""
            message = f"there is no column '{name}'{mapped}{hint}; the table has {listed(self.df.columns)}"
            guess = guess or "YOUR_COLUMN"
            remedy = f"say which column it is, columns={{'{role}': '{guess}'}} (--column {quote(f'{role}={guess}')})"
            if name in self.df.index.names:
                remedy = "it is in the index: give df.reset_index()"
            self._add(kind, message, remedy, name)
        elif isinstance(found, pd.DataFrame):
            self._add("duplicate_column", f"{found.shape[1]} columns are called '{name}'", "rename all but one", name)
            return None
        return found

    def _raw(self, role: str) -> np.ndarray:
        """Read a column's numbers, whatever their range."""
        if role not in self._cells:
            cells = self._column(role)
            self._cells[role] = np.full(len(self.df), np.nan)
            if cells is not None:
                # an empty cell of such a role is no fault
                kept = ~cells.map(_absent).to_numpy(bool) if role in self.partly else np.ones(len(cells), dtype=bool)
                found, faults = read_numbers(cells[kept], self.where.get(role, role))
                self._cells[role][kept] = found
                place = np.flatnonzero(kept)
                self.faults += [
                    fault if fault.row is None else replace(fault, row=int(place[fault.row - 1]) + 1)
                    for fault in faults
                ]
        return self._cells[role]

    def _plain(self, role: str) -> np.ndarray:
        numbers, name = self._raw(role), self.where.get(role, role)
        if np.isfinite(numbers).any():
            support = self.support.get(role, "positive")
            cells = list(self.df[name])
            self.faults += range_faults(role, name, numbers, cells, any_unit=self.any_unit, support=support)
        return numbers

    def _derived(self, role: str) -> np.ndarray:
        """Compute a role; a formula may use the column of the same name, as in ``loss = log(loss)``."""
        formula = self.formulas[role]
        # data summaries are known only once the table is read
        formula.check({*map(str, self.df.columns), *(name for name in formula.names if "." not in name)})
        checked = self.declared - {role}
        known = {name: self.numbers(name) if name in checked else self._raw(name) for name in sorted(formula.names)}
        numbers = np.broadcast_to(np.asarray(formula.evaluate(known), dtype=float), (len(self.df),))
        bad = ~np.isfinite(numbers)
        for values in known.values():
            # what cannot be computed from an empty cell is as empty
            bad &= np.isfinite(values)
        found, shown = f"{formula.text} gives", numbers.tolist()
        message, remedy = f"{found} {{value}}, expected a finite number", "correct the formula or the columns it uses"
        self.faults += rows_fault("not_finite", message, remedy, role, np.flatnonzero(bad), shown)
        support = self.support.get(role, "positive")
        self.faults += range_faults(role, role, numbers, shown, found=found, any_unit=self.any_unit, support=support)
        return numbers


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

    Examples
    --------
    >>> import pandas as pd
    >>> read_numbers(pd.Series(["7B", "1.4t", " 6e21 "]), "params")[0].tolist()
    [7000000000.0, 1400000000000.0, 6e+21]
    """
    numbers = np.full(len(values), np.nan)
    faults = []
    for row, cell in enumerate(values):
        numbers[row], wrong = _read(cell)
        if wrong:
            kind, message, remedy = wrong
            faults.append(
                Fault(kind=kind, message=message, remedy=remedy, column=column, row=row + 1, value=_shown(cell))
            )
    return numbers, shortened(faults)


def read_names(values: pd.Series, column: str) -> tuple[list[str], list[Fault], list[str]]:
    """Read a column of group names.

    Parameters
    ----------
    values
        Cells: texts or whole numbers; space around a text is dropped.
    column
        Its name, for faults.

    Returns
    -------
    tuple
        The names, every fault, and a warning for each set of names that differ in case or space only.
    """
    names = [_name(cell) for cell in values]
    empty = [row for row, name in enumerate(names) if not name]
    remedy = "name the group of every run, or leave the row out"
    # a text such as nan is what many programs write for no value
    message = "the cell is empty" if all(_blank(values.iloc[row]) for row in empty) else "the cell is empty or says nan"
    faults = rows_fault("missing_value", message, remedy, column, empty, list(values))
    spellings: dict[str, dict[str, None]] = {}
    for name in names:
        spellings.setdefault("".join(name.casefold().split()), {})[name] = None
    warned = [
        f"column '{column}': {', '.join(map(repr, alike))} differ only in case or spaces and count as different "
        f"groups; write them alike if they are one"
        for alike in spellings.values()
        if len(alike) > 1
    ]
    return names, faults, warned


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
                value=_shown(values[row]),
            )
            for row in rows
        ]
    )


def shortened(faults: list[Fault]) -> list[Fault]:
    """Keep the first few of many faults of one kind in one column, with the count of the rest."""
    kept: list[Fault] = []
    for kind in dict.fromkeys(fault.kind for fault in faults):
        same = [fault for fault in faults if fault.kind == kind]
        if len(same) > MANY:
            rest = f"and {len(same) - SHOWN} more rows like these"
            same = [*same[:SHOWN], Fault(kind=kind, message=rest, remedy=same[0].remedy, column=same[0].column)]
        kept += same
    return kept


def range_faults(
    role: str,
    column: str,
    numbers: np.ndarray,
    cells: Sequence[object],
    *,
    found: str = "found",
    any_unit: bool,
    support: Support = "positive",
) -> list[Fault]:
    """Return the faults of numbers that their role does not allow.

    Parameters
    ----------
    role
        What the column is: ``params``, ``loss``, ``accuracy``, ``loss_se``, ...
    column
        Its name in the table.
    numbers, cells
        As numbers (those that are not finite are passed over) and as written.
    found
        How messages begin: ``found``, or the formula that gave the number.
    any_unit
        Whether values that look like the wrong unit are meant.
    support
        What values a role may take that is none of the standard ones.
    """
    faults: list[Fault] = []

    def refuse(kind: str, bad: np.ndarray, expected: str, remedy: str) -> None:
        rows = np.flatnonzero(np.isfinite(numbers) & bad)
        faults.extend(rows_fault(kind, f"{found} {{value}}, {expected}", remedy, column, rows, cells))

    if role == "loss_se":
        refuse("bad_se", numbers < 0, "a standard error is not negative", "correct it, or write 0 if it is unknown")
    elif role == "n_items":
        bad = (numbers < 1) | (numbers != np.round(numbers))
        refuse("bad_n_items", bad, "expected a whole number of evaluation items, 1 or more", "correct it")
    elif role == "chance" and support == "share":
        remedy = "give the share that guessing gets, 0.25 for four choices (25% is 0.25)"
        refuse("out_of_range", (numbers < 0) | (numbers >= 1), "chance goes from 0 to below 1", remedy)
    elif (role == "accuracy" or role.endswith("_accuracy")) and support != "real":
        percent = (numbers > 1) & (numbers <= 100)
        # among shares such a cell is a slip, and dividing the column by 100 would spoil the others
        whole = 2 * np.count_nonzero(percent) > np.count_nonzero(np.isfinite(numbers))
        column_too = f"divide by 100, derive={{'{role}': '{column}/100'}} (--derive '{role} = {column}/100')"
        remedy = column_too if whole else "other cells are shares: correct it, or divide it by 100 if it is percent"
        refuse("percent_accuracy", percent, f"{role} goes from 0 to 1 and this looks like percent", remedy)
        refuse("out_of_range", (numbers < 0) | (numbers > 100), f"{role} goes from 0 to 1", "correct it")
    else:
        is_loss = role == "loss" or role.endswith("_loss")
        own = "positive" if is_loss or role in _SMALLEST else support
        faults += support_faults(own, role, column, numbers, cells, found=found)
        meant, positive = "or allow=['units'] if it is meant", numbers > 0
        if role in _SMALLEST and not any_unit:
            smallest, remedy = _SMALLEST[role]
            bad = positive & (numbers < smallest)
            refuse(
                "wrong_unit", bad, f"{role} must be a plain count, not in millions or billions", f"{remedy}, {meant}"
            )
        if is_loss and not any_unit:
            bad = positive & (numbers > _LARGEST_LOSS)
            remedy = f"take the log, derive={{'{role}': 'log({column})'}} (--derive '{role} = log({column})'), {meant}"
            refuse("wrong_unit", bad, f"{role} in nats is not that large: it looks like perplexity", remedy)
    return faults


#: Kind of fault, and what is expected, of numbers outside a support.
_OUTSIDE: Mapping[Support, tuple[str, str]] = {
    "positive": ("not_positive", "must be positive"),
    "nonnegative": ("negative", "must be zero or positive"),
    "share": ("out_of_range", "goes from 0 to 1"),
    "simplex": ("out_of_range", "goes from 0 to 1"),
}


def support_faults(
    support: Support,
    role: str,
    column: str,
    numbers: np.ndarray,
    cells: Sequence[object],
    *,
    found: str = "found",
    remedy: str = "correct it, or leave the row out",
) -> list[Fault]:
    """Return the faults of numbers outside the values that a role may take; see `range_faults`."""
    outside = {
        "positive": numbers <= 0,
        "nonnegative": numbers < 0,
        "share": (numbers < 0) | (numbers > 1),
        "simplex": (numbers < 0) | (numbers > 1),
        "real": np.zeros(len(numbers), dtype=bool),
    }[support]
    rows = np.flatnonzero(np.isfinite(numbers) & outside)
    kind, expected = _OUTSIDE.get(support, ("", ""))
    return rows_fault(kind, f"{found} {{value}}, {role} {expected}", remedy, column, rows, cells)


def likely(role: str, columns: Iterable[object]) -> str | None:
    """Return the column that someone who asks for `role` most likely means, if any."""
    names = [str(column) for column in columns]
    wanted = (role, *_ALIASES.get(role, ()))
    known = [name for name in names if name.strip().casefold() in wanted]
    parts = [name for name in names if name.startswith(f"{role}_") or name.endswith(f"_{role}")]
    return next(iter((*known, *get_close_matches(role, names, n=1, cutoff=0.7), *parts)), None)


def listed(names: Iterable[object], most: int = 30) -> str:
    """Return the names, the first of many, for a message."""
    shown = [str(name) for name in names if str(name).strip()]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "") or "none"


def _read(cell: object) -> tuple[float, tuple[str, str, str] | None]:
    """Return the number, and kind, message and remedy of what is wrong with it."""
    if _blank(cell):
        return np.nan, _EMPTY
    if isinstance(cell, bool | np.bool_):
        return np.nan, ("not_a_number", f"found {cell}, expected a number", "write a number, or map another column")
    text = str(cell).strip()
    shown = f"found '{_shown(text)}'"
    if isinstance(cell, int | float | np.integer | np.floating):
        number = _float(cell)
        shown = f"found {_shown(cell)}"
    elif text.casefold() in _NO_VALUE:
        return np.nan, ("missing_value", f"{shown}, which is no value", _EMPTY[2])
    elif text.casefold().lstrip("+-") in ("inf", "infinity"):
        number = np.inf
    elif match := _NUMBER.fullmatch(text):
        # one decimal conversion, so that 4.35M is the float nearest to 4350000
        number = float(f"{match[1]}e{int(match[2] or 0) + _POWER[match[3].lower()]}")
    else:
        remedy = next((remedy for pattern, remedy in _NEARLY if pattern.fullmatch(text)), "")
        remedy = remedy or "write a number such as 7e9, 7B or 1.4T"
        return np.nan, ("not_a_number", f"{shown}, expected a number", remedy)
    if not np.isfinite(number):
        return np.nan, ("not_finite", f"{shown}, expected a finite number", _DIVERGED)
    return number, None


def _float(cell: Any) -> float:
    try:
        return float(cell)
    except OverflowError:
        return np.inf


def _blank(cell: object) -> bool:
    missing: Callable[[Any], Any] = pd.isna
    return (isinstance(cell, str) and not cell.strip()) or missing(cell) is True


def _absent(cell: object) -> bool:
    return _blank(cell) or str(cell).strip().casefold() in _NO_VALUE


def _name(cell: object) -> str:
    if _blank(cell) or str(cell).strip().casefold() in ("nan", "<na>"):
        return ""
    # a column of whole numbers with a gap arrives as floats
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _shown(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
