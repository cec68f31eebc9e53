"""A checked table of training runs."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from bayesfit.cells import read_numbers, rows_fault
from bayesfit.errors import DataError, DataWarning, Fault, FormulaError, SpecError, nearest
from bayesfit.expression import SUMMARIES, parse_expression

if TYPE_CHECKING:
    import xarray as xr

Allow = Literal["units", "one_group", "few_runs", "collinear"]

STANDARD = ("params", "tokens", "flops")
#: Below these a standard input is hardly a plain count.
_SMALLEST: Mapping[str, float] = {"params": 1e3, "tokens": 1e3, "flops": 1e6}
#: Above this a loss in nats is hardly one (a vocabulary of 200,000 has chance loss 12.2).
_LARGEST_LOSS = 50.0
#: Ratio of singular values of the logarithms of inputs under which they cannot be told apart.
_COLLINEAR = 1e-3
_MEASURED = ("loss_se", "n_items")


@dataclass(frozen=True, kw_only=True)
class Runs:
    """A checked table of training runs; make one with `from_csv`, `from_parquet` or `from_frame`.

    Parameters
    ----------
    table
        Columns under their roles: inputs, outputs, groups, ``loss_se``, ``n_items``. Counts are plain
        (7e9, not 7), losses in nats, accuracies from 0 to 1.
    inputs, outputs, groups
        Which columns are what.
    name
        Where it came from, for messages.
    """

    table: pd.DataFrame
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    name: str = "the table"

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        *,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] = ("loss",),
        groups: Sequence[str] = (),
        columns: Mapping[str, str] | None = None,
        loss: str | None = None,
        loss_se: str | None = None,
        n_items: str | None = None,
        derive: Mapping[str, str] | None = None,
        allow: Collection[Allow] = (),
        name: str = "the table",
    ) -> Runs:
        """Check a table.

        Parameters
        ----------
        df
            One row a run. Cells may be written ``7B`` or ``1.4T``.
        inputs
            Roles of the inputs; by default those of params, tokens and flops that are there, and
            every other role in `columns` and `derive`.
        outputs
            Observed outputs.
        groups
            Columns that name a run's family, data set, task.
        columns
            Role to column, where they differ: ``{"params": "n_params"}``.
        loss
            Column of the loss, short for ``columns={"loss": ...}``.
        loss_se, n_items
            Columns of the loss's standard error and of the number of evaluation items.
        derive
            Inputs computed from others: ``{"flops": "6*params*tokens"}``.
        allow
            ``"units"`` takes values that look like the wrong unit as they are.
        name
            Where the table came from, for messages.

        Raises
        ------
        DataError
            With every fault of the table: row, column, value and remedy.
        SpecError
            For arguments that cannot be used.
        """
        if not isinstance(df, pd.DataFrame):
            raise SpecError(f"expected a pandas DataFrame, found {type(df).__name__}")
        check_allow(allow)
        for label, names in (("outputs", outputs), ("groups", groups), ("inputs", inputs or ())):
            if isinstance(names, str):
                raise SpecError(f"{label} must be a list, found the text {names!r}; write {label}=[{names!r}]")
        where = dict(columns or {}) | {
            role: column
            for role, column in (("loss", loss), ("loss_se", loss_se), ("n_items", n_items))
            if column is not None
        }
        formulas = {role: parse_expression(text) for role, text in (derive or {}).items()}
        roles = _input_roles(df, inputs, outputs, groups, where, formulas)
        reader = _Reader(df, where, "units" in allow)
        values: dict[str, Any] = {role: reader.number(role) for role in roles if role not in formulas}
        for role, formula in formulas.items():
            values[role] = reader.derived(role, formula, values)
        for role in outputs:
            values[role] = reader.number(role)
        for role in _MEASURED:
            if role in where:
                values[role] = reader.number(role)
        for role in groups:
            values[role] = reader.group(role)
        if not roles:
            reader.faults.append(
                Fault(
                    kind="missing_column",
                    message=f"no input: none of {', '.join(STANDARD)} is among the columns {_listed(df)}",
                    remedy="say which column is what, columns={'params': 'YOUR COLUMN'} (--column params=YOUR_COLUMN)",
                )
            )
        if len(df) == 0:
            reader.faults.append(Fault(kind="empty_table", message="no rows", remedy="give at least one run a row"))
        if reader.faults:
            raise DataError(reader.faults, name)
        order = [*groups, *roles, *outputs, *(role for role in _MEASURED if role in values)]
        table = pd.DataFrame({role: values[role] for role in order})
        runs = cls(table=table, inputs=tuple(roles), outputs=tuple(outputs), groups=tuple(groups), name=name)
        runs._warn_duplicates()
        return runs

    @classmethod
    def from_csv(cls, path: str | Path, **arguments: Any) -> Runs:
        """Read and check a CSV file; the arguments are those of `from_frame`.

        Raises
        ------
        DataError
            If the file is missing, empty, not readable as CSV, or holds faults.
        """
        return cls.from_frame(read_csv(path), **{"name": str(path), **arguments})

    @classmethod
    def from_parquet(cls, path: str | Path, **arguments: Any) -> Runs:
        """Read and check a Parquet file; the arguments are those of `from_frame`.

        Raises
        ------
        DataError
            If the file is missing, not readable as Parquet, or holds faults.
        """
        import pyarrow

        _existing(path)
        try:
            df = pd.read_parquet(path)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OSError) as error:
            raise _unreadable(path, f"not a readable Parquet file ({error})", "save it as Parquet again") from None
        return cls.from_frame(df, **{"name": str(path), **arguments})

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Runs:
        """Rebuild runs from what `to_dataset` gave.

        Raises
        ------
        SpecError
            If the dataset does not describe runs.
        """
        try:
            roles = json.loads(dataset.attrs["roles"])
            name = str(dataset.attrs["name"])
            order = [*roles["groups"], *roles["inputs"], *roles["outputs"], *roles["measured"]]
            table = pd.DataFrame(
                {
                    role: [str(value) for value in dataset[role].values]
                    if role in roles["groups"]
                    else np.asarray(dataset[role].values, dtype=float)
                    for role in order
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(f"this dataset does not hold runs: {error}") from None
        return cls(
            table=table,
            inputs=tuple(roles["inputs"]),
            outputs=tuple(roles["outputs"]),
            groups=tuple(roles["groups"]),
            name=name,
        )

    def to_dataset(self) -> xr.Dataset:
        """Return the runs as a Dataset with dim ``run``."""
        import xarray as xr

        roles = {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "groups": self.groups,
            "measured": [role for role in _MEASURED if role in self.table],
        }
        return xr.Dataset(
            {str(role): ("run", np.asarray(self.table[role])) for role in self.table.columns},
            coords={"run": np.arange(len(self))},
            attrs={"roles": json.dumps(roles), "name": self.name},
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the table."""
        return self.table.copy()

    def __len__(self) -> int:
        return len(self.table)

    def values(self, name: str) -> np.ndarray:
        """Return a numeric column."""
        if name not in self.table or name in self.groups:
            known = [*self.inputs, *self.outputs, *(role for role in _MEASURED if role in self.table)]
            raise SpecError(f"these runs have no numbers '{name}'{nearest(name, known)}; they have {', '.join(known)}")
        return self.table[name].to_numpy(float)

    def levels(self, group: str) -> tuple[str, ...]:
        """Return the levels of a group, in order of first appearance."""
        if group not in self.groups:
            raise SpecError(
                f"these runs have no group '{group}'{nearest(group, self.groups)}; "
                f"they have {', '.join(self.groups) or 'none'}"
            )
        return tuple(pd.unique(self.table[group]))

    def codes(self, group: str) -> np.ndarray:
        """Return each run's level as its place in `levels`."""
        place = {level: code for code, level in enumerate(self.levels(group))}
        return np.array([place[level] for level in self.table[group]], dtype=np.int64)

    def select(self, mask: np.ndarray | pd.Series) -> Runs:
        """Return the runs where `mask` is true."""
        chosen = self.table[np.asarray(mask, dtype=bool)].reset_index(drop=True)
        if chosen.empty:
            raise SpecError("no run is left by this selection")
        return Runs(table=chosen, inputs=self.inputs, outputs=self.outputs, groups=self.groups, name=self.name)

    @property
    def loss_se(self) -> np.ndarray | None:
        """Standard error of each loss, if measured."""
        return self.values("loss_se") if "loss_se" in self.table else None

    @property
    def n_items(self) -> np.ndarray | None:
        """Number of evaluation items of each run, if given."""
        return self.values("n_items") if "n_items" in self.table else None

    @property
    def compute(self) -> np.ndarray | None:
        """Training FLOP of each run: given, or 6 times params times tokens, or None."""
        if "flops" in self.inputs:
            return self.values("flops")
        if {"params", "tokens"} <= {*self.inputs}:
            flops: np.ndarray = 6 * self.values("params") * self.values("tokens")
            return flops
        return None

    @cached_property
    def sha256(self) -> str:
        """Hash of the content: any value, role or order of rows changes it."""
        digest = hashlib.sha256(json.dumps([self.inputs, self.outputs, self.groups]).encode())
        for role in sorted(str(column) for column in self.table):
            values = self.table[role]
            content = json.dumps([*values]) if role in self.groups else values.to_numpy("<f8").tobytes().hex()
            digest.update(f"\0{role}\0{content}".encode())
        return digest.hexdigest()

    def summaries(self) -> dict[str, float]:
        """Return ``ref.x`` (geometric mean), ``min.x``, ``max.x``, ``median.x`` of inputs and outputs."""
        found: dict[str, float] = {}
        for name in (*self.inputs, *self.outputs):
            values = self.values(name)
            if (values > 0).all():
                found[f"ref.{name}"] = float(np.exp(np.log(values).mean()))
            for summary in SUMMARIES[1:]:
                found[f"{summary}.{name}"] = float(getattr(np, summary)(values))
        return found

    def faults_for(
        self,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        groups: Sequence[str],
        n_parameters: int,
        allow: Collection[Allow] = (),
    ) -> list[Fault]:
        """Return what keeps these runs from determining a law.

        Parameters
        ----------
        inputs, outputs
            What the law reads and predicts.
        groups
            What its parameters shall vary over.
        n_parameters
            Its number of fitted parameters.
        allow
            Faults that are meant.
        """
        check_allow(allow)
        faults = [self._missing(role, "input") for role in inputs if role not in self.inputs]
        faults += [self._missing(role, "output") for role in outputs if role not in self.outputs]
        for group in groups:
            if group not in self.groups:
                faults.append(
                    Fault(
                        kind="group_missing",
                        message=f"'{group}' is not a group of these runs{nearest(group, self.groups)}; "
                        f"they have {', '.join(self.groups) or 'none'}",
                        remedy=f"name it when reading the table, groups=['{group}'] (--by {group})",
                    )
                )
            elif len(self.levels(group)) == 1 and "one_group" not in allow:
                faults.append(
                    Fault(
                        kind="one_group",
                        message=f"every run has {group} '{self.levels(group)[0]}': one level says nothing about how "
                        f"levels differ",
                        remedy=f"leave '{group}' out of by, or allow=['one_group'] to lean on the priors",
                        column=group,
                    )
                )
        if len(self) < n_parameters and "few_runs" not in allow:
            faults.append(
                Fault(
                    kind="few_runs",
                    message=f"{len(self)} runs cannot determine {n_parameters} parameters",
                    remedy="add runs, hold parameters (fixed={'E': 0}), or allow=['few_runs'] to lean on the priors",
                )
            )
        present = [role for role in inputs if role in self.inputs]
        if "collinear" not in allow and len(self) > 1:
            faults += self._collinear(present)
        return faults

    def require(
        self,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        groups: Sequence[str],
        n_parameters: int,
        allow: Collection[Allow] = (),
    ) -> None:
        """Raise a `DataError` with all of `faults_for`, if any."""
        faults = self.faults_for(inputs=inputs, outputs=outputs, groups=groups, n_parameters=n_parameters, allow=allow)
        if faults:
            raise DataError(faults, self.name)

    def _missing(self, role: str, what: str) -> Fault:
        remedy = f"say which column it is, columns={{'{role}': 'YOUR COLUMN'}} (--column {role}=YOUR_COLUMN)"
        if role == "flops" and {"params", "tokens"} <= {*self.inputs}:
            remedy = "compute it, derive={'flops': '6*params*tokens'} (--derive 'flops = 6*params*tokens')"
        have = self.inputs if what == "input" else self.outputs
        return Fault(
            kind="missing_column",
            message=f"the law needs the {what} '{role}'; the runs have {', '.join(have)}",
            remedy=remedy,
            column=role,
        )

    def _collinear(self, inputs: Sequence[str]) -> list[Fault]:
        faults = []
        varying = []
        for role in inputs:
            if np.ptp(np.log(self.values(role))) > 0:
                varying.append(role)
            else:
                faults.append(
                    Fault(
                        kind="collinear",
                        message=f"every run has {role} {self.values(role)[0]:.6g}: its effect cannot be told",
                        remedy=f"use a law without {role}, add runs that vary it, or allow=['collinear'] to lean on "
                        f"the priors",
                        column=role,
                    )
                )
        if len(varying) < 2:
            return faults
        logs = np.log(np.column_stack([self.values(role) for role in varying]))
        centred = logs - logs.mean(axis=0)
        singular = np.linalg.svd(centred / centred.std(axis=0), compute_uv=False)
        rank_short = len(singular) < len(varying) or singular[-1] < _COLLINEAR * singular[0]
        if rank_short:
            last, *others = varying[::-1]
            others = others[::-1]
            slopes = np.linalg.lstsq(centred[:, :-1], centred[:, -1], rcond=None)[0]
            terms = " + ".join(f"{slope:.3g} log {role}" for slope, role in zip(slopes, others, strict=True))
            faults.append(
                Fault(
                    kind="collinear",
                    message=f"{', '.join(varying)} cannot be told apart: log {last} = {terms} + constant in every run",
                    remedy=f"use a law in {len(varying) - 1} of them, add runs off this line, or allow=['collinear'] "
                    f"to lean on the priors",
                )
            )
        return faults

    def _warn_duplicates(self) -> None:
        repeated = self.table.duplicated(keep=False)
        if repeated.any():
            rows = [int(row) + 1 for row in np.flatnonzero(repeated)]
            shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
            warnings.warn(
                f"{self.name}: rows {shown} are copies of one another; they are kept and count as separate runs",
                DataWarning,
                stacklevel=3,
            )


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a CSV file without interpreting its cells.

    Raises
    ------
    DataError
        If it is missing, empty, or not a CSV file.
    """
    _existing(path)
    try:
        df = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise _unreadable(path, "the file is empty", "give a header and one row a run", "empty_table") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise _unreadable(path, f"not a readable CSV file ({reason})", "save it as UTF-8 text with commas") from None
    if len(df.columns) == 1 and any(mark in str(df.columns[0]) for mark in ";\t|"):
        raise _unreadable(path, "the columns are not separated by commas", "save it with commas between columns")
    return df


def check_allow(allow: Collection[str]) -> None:
    """Refuse words that are not faults one can allow."""
    if isinstance(allow, str):
        raise SpecError(f"allow must be a list, found the text {allow!r}; write allow=[{allow!r}]")
    for word in allow:
        if word not in get_args(Allow):
            raise SpecError(
                f"cannot allow '{word}'{nearest(word, get_args(Allow))}; known: {', '.join(get_args(Allow))}"
            )


def _existing(path: str | Path) -> None:
    if not Path(path).is_file():
        raise _unreadable(path, "there is no such file", "check the path", "missing_file")


def _unreadable(path: str | Path, message: str, remedy: str, kind: str = "unreadable") -> DataError:
    return DataError([Fault(kind=kind, message=message, remedy=remedy)], str(path))


def _listed(df: pd.DataFrame) -> str:
    names = [str(column) for column in df.columns]
    return ", ".join(names[:30]) + (", ..." if len(names) > 30 else "") if names else "(none)"


def _input_roles(
    df: pd.DataFrame,
    inputs: Sequence[str] | None,
    outputs: Sequence[str],
    groups: Sequence[str],
    where: Mapping[str, str],
    formulas: Mapping[str, Any],
) -> list[str]:
    if inputs is not None:
        return list(dict.fromkeys((*inputs, *formulas)))
    others = {*outputs, *groups, *_MEASURED}
    present = [role for role in STANDARD if role in df.columns or role in where or role in formulas]
    named = [role for role in (*where, *formulas) if role not in others]
    return [role for role in dict.fromkeys((*present, *named)) if role not in others]


class _Reader:
    """Reads columns by role and collects what is wrong."""

    def __init__(self, df: pd.DataFrame, where: Mapping[str, str], any_unit: bool) -> None:
        self.df, self.where, self.any_unit = df, where, any_unit
        self.faults: list[Fault] = []

    def column(self, role: str) -> pd.Series | None:
        """Return the column of a role, or None with a fault."""
        name = self.where.get(role, role)
        if name not in self.df.columns:
            mapped = "" if name == role else f" (for {role})"
            self.faults.append(
                Fault(
                    kind="missing_column",
                    message=f"there is no column '{name}'{mapped}{nearest(name, map(str, self.df.columns))}; "
                    f"the table has {_listed(self.df)}",
                    remedy=f"say which column it is, columns={{'{role}': 'YOUR COLUMN'}} (--column {role}=YOUR_COLUMN)",
                    column=name,
                )
            )
            return None
        found = self.df[name]
        if isinstance(found, pd.DataFrame):
            self.faults.append(
                Fault(
                    kind="duplicate_column",
                    message=f"{found.shape[1]} columns are called '{name}'",
                    remedy="rename all but one",
                    column=name,
                )
            )
            return None
        return found

    def number(self, role: str) -> np.ndarray:
        """Read a numeric column and check its range."""
        cells = self.column(role)
        if cells is None:
            return np.full(len(self.df), np.nan)
        name = self.where.get(role, role)
        numbers, faults = read_numbers(cells, name)
        self.faults += faults
        self._range(role, name, numbers, list(cells))
        return numbers

    def derived(self, role: str, formula: Any, values: Mapping[str, Any]) -> np.ndarray:
        """Compute an input from others."""
        known = dict(values)
        for name in sorted(formula.names - known.keys()):
            if "." in name:
                raise FormulaError(f"derive may use columns only, found '{name}'", formula.source)
            known[name] = self.number(name)
        numbers = np.broadcast_to(np.asarray(formula.evaluate(known), dtype=float), (len(self.df),)).copy()
        self._range(role, role, numbers, [f"{formula.text}" for _ in numbers])
        return numbers

    def group(self, role: str) -> list[str]:
        """Read a column of names."""
        cells = self.column(role)
        if cells is None:
            return [""] * len(self.df)
        names = ["" if pd.isna(cell) else str(cell).strip() for cell in cells]
        column = self.where.get(role, role)
        self.faults += rows_fault(
            "missing_value",
            "the cell is empty",
            "name the group of every run, or leave the row out",
            column,
            [row for row, name in enumerate(names) if not name],
            names,
        )
        spellings: dict[str, set[str]] = {}
        for name in names:
            spellings.setdefault(" ".join(name.lower().split()), set()).add(name)
        for alike in spellings.values():
            if len(alike) > 1:
                warnings.warn(
                    f"column '{column}': {', '.join(repr(name) for name in sorted(alike))} differ only in case or "
                    f"spaces and count as different groups",
                    DataWarning,
                    stacklevel=4,
                )
        return names

    def _range(self, role: str, name: str, numbers: np.ndarray, cells: list[object]) -> None:
        found = np.isfinite(numbers)

        def add(kind: str, bad: np.ndarray, message: str, remedy: str) -> None:
            self.faults += rows_fault(kind, message, remedy, name, np.flatnonzero(found & bad), cells)

        if role == "loss_se":
            add("bad_se", numbers < 0, "found {value}, a standard error is not negative", "correct it, or write 0")
        elif role == "n_items":
            whole = numbers == np.round(numbers)
            add("bad_n_items", (numbers < 1) | ~whole, "found {value}, expected a whole number of items", "correct it")
        elif role == "accuracy" or role.endswith("_accuracy"):
            percent = (numbers > 1) & (numbers <= 100)
            add("percent_accuracy", percent, "found {value}, accuracies go from 0 to 1", "divide percent by 100")
            add(
                "out_of_range",
                (numbers < 0) | (numbers > 100),
                "found {value}, accuracies go from 0 to 1",
                "correct it",
            )
        else:
            add(
                "not_positive",
                numbers <= 0,
                f"found {{value}}, {role} must be positive",
                "correct it, or leave the row out",
            )
            positive = numbers > 0
            if self.any_unit:
                return
            if role in _SMALLEST:
                small = positive & (numbers < _SMALLEST[role])
                add(
                    "wrong_unit",
                    small,
                    f"found {{value}}, {role} are plain counts",
                    "write 7e9 or 7B for seven billion, or allow=['units'] if it is meant",
                )
            if role == "loss":
                add(
                    "wrong_unit",
                    positive & (numbers > _LARGEST_LOSS),
                    "found {value}, a loss in nats is not that large",
                    "take the logarithm if this is a perplexity, or allow=['units'] if it is meant",
                )
