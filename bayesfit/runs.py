"""A checked table of training runs."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, get_args

import numpy as np
import pandas as pd

from bayesfit.catalog import law as find
from bayesfit.cells import STANDARD, Reader, listed
from bayesfit.errors import DataError, DataWarning, Fault, SpecError, nearest
from bayesfit.expression import SUMMARIES, parse_expression

if TYPE_CHECKING:
    import xarray as xr

    from bayesfit.card import Law, Support

Allow = Literal["units", "one_group", "few_runs", "collinear"]

_MEASURED = ("loss_se", "n_items")
#: Dims of fits and forecasts, and the roles that have an argument of their own.
_RESERVED = ("run", "chain", "draw", "scenario", *_MEASURED)


class Reading(TypedDict, total=False):
    """The arguments of `Runs.from_frame`, which readers of files take too."""

    law: Law | str | None
    inputs: Sequence[str] | None
    outputs: Sequence[str] | None
    groups: Sequence[str]
    columns: Mapping[str, str] | None
    loss: str | None
    loss_se: str | None
    n_items: str | None
    derive: Mapping[str, str] | None
    support: Mapping[str, Support] | None
    allow: Collection[Allow]
    name: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Runs:
    """A checked table of training runs; make one with `from_csv`, `from_parquet` or `from_frame`.

    Runs are equal when their content is, whatever their name.

    Parameters
    ----------
    table
        Columns under their roles: groups, inputs, outputs, ``loss_se``, ``n_items``. Counts are plain
        (7e9, not 7), losses in nats, accuracies from 0 to 1. With several outputs a run may lack some
        (NaN). Not to be changed.
    inputs, outputs, groups
        Which columns are what.
    support
        What values a column may take, where it need not be positive.
    name
        Where it came from, for messages.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"N": ["70M", "1.4B"], "D": ["2B", "30B"], "val_loss": [3.5, 2.7]})
    >>> runs = Runs.from_frame(df, columns={"params": "N", "tokens": "D"}, loss="val_loss")
    >>> runs
    Runs(2 runs from the table: inputs params, tokens; outputs loss; groups none)
    >>> runs.values("params").tolist()
    [70000000.0, 1400000000.0]
    """

    table: pd.DataFrame
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    support: Mapping[str, Support] = field(default_factory=dict)
    name: str = "the table"

    def __post_init__(self) -> None:
        numbers = [*self.inputs, *self.outputs, *(role for role in _MEASURED if role in self.table)]
        columns = {role: self.table[role] for role in numbers if role in self.table}
        named = [*self.table.columns] == [*self.groups, *numbers] and len(self.table) > 0
        partly = self.outputs if len(self.outputs) > 1 else ()
        whole = all(
            values.dtype == float and (np.isfinite(values) | (values.isna() if role in partly else False)).all()
            for role, values in columns.items()
        )
        if not named or not whole:
            raise SpecError("this table was not checked; make runs with Runs.from_frame(df, ...)")

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        *,
        law: Law | str | None = None,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        groups: Sequence[str] = (),
        columns: Mapping[str, str] | None = None,
        loss: str | None = None,
        loss_se: str | None = None,
        n_items: str | None = None,
        derive: Mapping[str, str] | None = None,
        support: Mapping[str, Support] | None = None,
        allow: Collection[Allow] = (),
        name: str = "the table",
    ) -> Runs:
        """Check a table.

        Parameters
        ----------
        df
            One row a run. Cells may be written ``7B`` or ``1.4T``.
        law
            A law, or the name of one: its inputs and outputs are read, with the values that they may
            take.
        inputs
            Roles of the inputs; by default those of params, tokens and flops that are there (with a `law` that
            does not need them: that have no empty cells), those of `law`, and every other role in `columns` and
            `derive`.
        outputs
            Observed outputs; ``loss`` by default, or those of `law`. With several, a run's cell of some may be
            empty.
        groups
            Columns that name a run's family, data set, task.
        columns
            Role to column, where they differ: ``{"params": "n_params"}``.
        loss
            Column of the loss, short for ``columns={"loss": ...}``.
        loss_se, n_items
            Columns of the loss's standard error and of the number of evaluation items.
        derive
            Roles computed from columns or other roles: ``{"flops": "6*params*tokens"}``.
        support
            What values a role may take where it need not be positive: ``{"year": "real"}``; one of
            ``nonnegative``, ``real``, ``share``. A `law` says it itself.
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
        if not isinstance(df, pd.DataFrame) or df.columns.nlevels > 1:
            raise SpecError(f"expected a pandas DataFrame with one row of column names, found {type(df).__name__}")
        check_allow(allow)
        read_for = None if law is None else find(law).closed([*df.columns, *(columns or {}), *(derive or {})])
        if outputs is None:
            outputs = ("loss",) if read_for is None else tuple(read_for.outputs)
        for label, names in (("outputs", outputs), ("groups", groups), ("inputs", inputs or ())):
            if isinstance(names, str):
                raise SpecError(f"{label} must be a list, found the text {names!r}; write {label}=[{names!r}]")
        where = dict(columns or {})
        if n_items is None and "n_items" not in where and "n_items" in df and read_for is not None:
            # a law that counts items reads the column that is called so
            n_items = "n_items" if counts_items(read_for) else None
        for role, column in (("loss", loss), ("loss_se", loss_se), ("n_items", n_items)):
            if column is not None and where.setdefault(role, column) != column:
                raise SpecError(f"{role}={column!r} and columns={{'{role}': {where[role]!r}}} differ; keep one")
        formulas = {role: parse_expression(text) for role, text in (derive or {}).items()}
        others = (*outputs, *groups, *_MEASURED)
        named = [role for role in (*where, *formulas) if role not in others]
        support = {**(read_for.support if read_for else {}), **(support or {})}
        notes: list[str] = []
        if inputs is None:
            roles = [role for role in STANDARD if role not in others and (role in df.columns or role in named)]
            roles += ([] if read_for is None else list(read_for.inputs)) + named
            if read_for is not None:
                needed = {*read_for.inputs, *named}
                holes = [role for role in roles if role not in needed and df[role].isna().any()]
                roles = [role for role in roles if role not in holes]
                notes = [
                    f"column '{role}' is left out: some of its cells are empty, and {read_for.id} does not need it"
                    for role in holes
                ]
        else:
            roles = [*inputs, *(role for role in formulas if role not in others)]
        roles = list(dict.fromkeys(roles))
        measured = [role for role in _MEASURED if role in where or role in formulas]
        _check_roles(roles, outputs, groups, measured)

        reader = Reader(
            df,
            where,
            formulas,
            frozenset((*roles, *others)),
            any_unit="units" in allow,
            support=support,
            partly=outputs if len(outputs) > 1 else (),
        )
        if not roles:
            reader.no_input()
        values = {role: reader.names(role) for role in groups} | {
            role: reader.numbers(role) for role in (*roles, *outputs, *measured)
        }
        if len(outputs) > 1 and len(df):
            reader.outcomes({role: np.asarray(values[role]) for role in outputs})
        if len(df) == 0:
            reader.faults.append(Fault(kind="empty_table", message="no rows", remedy="give at least one run a row"))
        if reader.faults:
            raise DataError(reader.faults, name)
        runs = cls(
            table=pd.DataFrame(values),
            inputs=tuple(roles),
            outputs=tuple(outputs),
            groups=tuple(groups),
            support={role: support[role] for role in (*roles, *outputs) if role in support},
            name=name,
        )
        counted = read_for is not None and any(part.noise.counted for part in read_for.outputs.values())
        # equal counts are no sign of a copied row
        for warning in (*notes, *reader.warnings, *([] if counted else runs._repeated())):
            warnings.warn(f"{name}: {warning}", DataWarning, skip_file_prefixes=(str(Path(__file__).parent),))
        return runs

    @classmethod
    def from_csv(cls, path: str | Path, **arguments: Unpack[Reading]) -> Runs:
        """Read and check a CSV file; the arguments are those of `from_frame`.

        Raises
        ------
        DataError
            If the file is missing, empty, not readable as CSV, or holds faults.
        """
        arguments.setdefault("name", str(path))
        return cls.from_frame(read_csv(path), **arguments)

    @classmethod
    def from_parquet(cls, path: str | Path, **arguments: Unpack[Reading]) -> Runs:
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
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            remedy = "save it as Parquet again; a CSV file is read by Runs.from_csv"
            raise _unreadable(path, f"not a readable Parquet file ({str(error).splitlines()[0]})", remedy) from None
        arguments.setdefault("name", str(path))
        return cls.from_frame(df, **arguments)

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Runs:
        """Rebuild runs from what `to_dataset` gave, checking them again.

        Raises
        ------
        SpecError
            If the dataset does not describe runs.
        DataError
            If its values are not those of runs.
        """
        try:
            roles = json.loads(dataset.attrs["roles"])
            name = str(dataset.attrs["name"])
            inputs, outputs, groups, measured = (roles[key] for key in ("inputs", "outputs", "groups", "measured"))
            support = dict(roles.get("support", {}))
            df = pd.DataFrame({role: dataset[role].values for role in (*groups, *inputs, *outputs, *measured)})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SpecError(f"this dataset does not hold runs: {error}") from None
        where = {role: role for role in measured}
        units: tuple[Allow, ...] = ("units",)
        with warnings.catch_warnings():
            # warnings were given, and units that look wrong allowed, when the table was first read
            warnings.simplefilter("ignore", DataWarning)
            return cls.from_frame(
                df,
                inputs=inputs,
                outputs=outputs,
                groups=groups,
                columns=where,
                support=support,
                allow=units,
                name=name,
            )

    def to_dataset(self) -> xr.Dataset:
        """Return the runs as a Dataset with dim ``run``: groups as coordinates, roles as attribute."""
        import xarray as xr

        numbers = [str(role) for role in self.table.columns if role not in self.groups]
        roles = {"inputs": self.inputs, "outputs": self.outputs, "groups": self.groups, "support": dict(self.support)}
        return xr.Dataset(
            {role: ("run", self.values(role)) for role in numbers},
            coords={"run": np.arange(len(self))}
            | {group: ("run", np.array(self.table[group], dtype=str)) for group in self.groups},
            attrs={
                "roles": json.dumps({**roles, "measured": [role for role in _MEASURED if role in self.table]}),
                "name": self.name,
            },
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the table."""
        return self.table.copy()

    def __len__(self) -> int:
        return len(self.table)

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, Runs) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        groups = listed(f"{group} ({len(self.levels(group))})" for group in self.groups)
        kinds = f"inputs {listed(self.inputs)}; outputs {listed(self.outputs)}; groups {groups}"
        return f"Runs({len(self)} runs from {self.name}: {kinds})"

    def values(self, name: str) -> np.ndarray:
        """Return a numeric column, as float64 over ``run``; NaN where a run lacks one of several outputs."""
        if name not in self.table or name in self.groups:
            known = [str(role) for role in self.table.columns if role not in self.groups]
            raise SpecError(f"these runs have no numbers '{name}'{nearest(name, known)}; they have {listed(known)}")
        return self.table[name].to_numpy(float, copy=True)

    def levels(self, group: str) -> tuple[str, ...]:
        """Return the levels of a group, in order of first appearance."""
        return tuple(pd.unique(self.names(group)))

    def names(self, group: str) -> pd.Series:
        """Return each run's level of a group, or of an interaction of groups such as ``family:task``."""
        if group not in self.groups and not self.has_group(group):
            raise SpecError(
                f"these runs have no group '{group}'{nearest(group, self.groups)}; they have {listed(self.groups)}"
            )
        return level_names(self.table, group)

    def has_group(self, group: str) -> bool:
        """Return whether the runs have a group, or all groups of an interaction."""
        return group in self.groups or (":" in group and {*group.split(":")} <= {*self.groups})

    def codes(self, group: str) -> np.ndarray:
        """Return each run's level as its place in `levels`."""
        place = {level: code for code, level in enumerate(self.levels(group))}
        return np.array([place[level] for level in self.names(group)], dtype=np.int64)

    def select(self, mask: np.ndarray | pd.Series) -> Runs:
        """Return the runs where `mask`, one truth value a run, is true."""
        wanted = np.asarray(mask)
        if wanted.dtype != bool or wanted.shape != (len(self),):
            raise SpecError(
                f"select takes {len(self)} truth values, one a run, such as runs.values('params') < 1e9; "
                f"found {wanted.dtype} of shape {wanted.shape}"
            )
        if not wanted.any():
            raise SpecError("no run is left by this selection")
        return self.take(np.flatnonzero(wanted))

    def take(self, places: np.ndarray) -> Runs:
        """Return the runs at these places, in this order, as often as each is named: for resampling."""
        return replace(self, table=self.table.iloc[places].reset_index(drop=True))

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

    def summaries(self, names: Collection[str] | None = None) -> dict[str, float]:
        """Return ``ref.x`` (geometric mean) and the other data summaries of inputs and outputs, or of `names`.

        A column with a value of zero has no geometric mean.
        """
        wanted = (*self.inputs, *self.outputs) if names is None else names
        return {key: value for name in wanted for key, value in summaries_of(name, self.values(name)).items()}

    def _repeated(self) -> list[str]:
        """Return a warning, if runs agree in every input, output and group."""
        keys = [*self.groups, *self.inputs, *self.outputs]
        copies: dict[tuple[object, ...], list[int]] = {}
        for row, key in enumerate(self.table[keys].itertuples(index=False, name=None), start=1):
            copies.setdefault(key, []).append(row)
        sets = [" and ".join(map(str, rows[:5])) + " ..." * (len(rows) > 5) for rows in copies.values() if rows[1:]]
        if not sets:
            return []
        more = f" and {len(sets) - 5} more sets" if len(sets) > 5 else ""
        return [f"rows {'; '.join(sets[:5])}{more} are copies of one another; they are kept and count as separate runs"]


def counts_items(law: Law) -> bool:
    """Return whether the law's noise counts evaluation items."""
    noises = [part.noise for part in law.outputs.values()]
    return any(noise.counted and noise.trials == "n_items" for noise in noises)


def level_names(table: pd.DataFrame, group: str) -> pd.Series:
    """Return each row's level of a group; that of an interaction names the levels of its groups."""
    if group in table:
        return table[group].astype(str)
    parts = [table[part].astype(str) for part in group.split(":")]
    return pd.Series([" & ".join(row) for row in zip(*parts, strict=True)], index=table.index)


def summaries_of(name: str, values: np.ndarray) -> dict[str, float]:
    """Return the data summaries of a column's values; with one that is not positive there is no geometric mean."""
    values = values[~np.isnan(values)]
    if not len(values):
        return {}
    found = {f"ref.{name}": float(np.exp(np.log(values).mean()))} if (values > 0).all() else {}
    return found | {f"{summary}.{name}": float(getattr(np, summary)(values)) for summary in SUMMARIES[1:]}


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a CSV file without interpreting its cells.

    Raises
    ------
    DataError
        If it is missing, empty, or not a CSV file.
    """
    _existing(path)
    as_text = "save it as UTF-8 text with commas between columns"
    try:
        # the header is read as a row: pandas would rename repeated columns and shift rows that are too long
        df = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
    except pd.errors.EmptyDataError:
        raise _unreadable(path, "the file is empty", "give a header and one row a run", "empty_table") from None
    except UnicodeDecodeError:
        remedy = f"{as_text} (a spreadsheet: export as CSV UTF-8; a Parquet file: Runs.from_parquet)"
        raise _unreadable(path, "not a text file in UTF-8", remedy) from None
    except (pd.errors.ParserError, OSError, EOFError) as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("Error tokenizing data. C error: ")
        remedy = "give every row as many cells as the header, and quote cells that hold a comma"
        if reason.startswith("Expected 1 fields"):
            remedy = as_text
        raise _unreadable(path, f"not a readable CSV file ({reason})", remedy) from None
    header = ["" if pd.isna(cell) else str(cell).strip() for cell in df.iloc[0]]
    if any("\0" in cell for cell in header):
        raise _unreadable(path, "not a text file in UTF-8", as_text)
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise _unreadable(path, "the columns are not separated by commas", "save it with commas between columns")
    return df.iloc[1:].set_axis(pd.Index(header), axis="columns").reset_index(drop=True)


def check_allow(allow: Collection[str]) -> None:
    """Refuse words that are not faults one can allow."""
    if isinstance(allow, str):
        raise SpecError(f"allow must be a list, found the text {allow!r}; write allow=[{allow!r}]")
    for word in allow:
        if word not in get_args(Allow):
            raise SpecError(
                f"cannot allow '{word}'{nearest(word, get_args(Allow))}; known: {', '.join(get_args(Allow))}"
            )


def check_runs(runs: object) -> None:
    """Refuse what is not `Runs`: a table has no roles yet, and a path was not read."""
    if isinstance(runs, Runs):
        return
    kind = f"{type(runs).__module__.partition('.')[0]}.{type(runs).__name__}".removeprefix("builtins.")
    remedy = "make runs of it with bf.Runs.from_frame(table, law='chinchilla', groups=['family'])"
    if isinstance(runs, str | Path):
        remedy = f"read the file with bf.Runs.from_csv({str(runs)!r}, law='chinchilla', groups=['family'])"
    raise SpecError(f"expected runs, bayesfit.Runs, found {kind}; {remedy}, its law and groups as yours are")


def _existing(path: str | Path) -> None:
    if not isinstance(path, str | Path):
        raise SpecError(f"expected the path of a file, found {type(path).__name__}; a table goes to Runs.from_frame")
    if not Path(path).exists():
        raise _unreadable(path, "there is no such file", "check the path", "missing_file")


def _unreadable(path: str | Path, message: str, remedy: str, kind: str = "unreadable") -> DataError:
    return DataError([Fault(kind=kind, message=message, remedy=remedy)], str(path))


def _check_roles(inputs: Sequence[str], outputs: Sequence[str], groups: Sequence[str], measured: Sequence[str]) -> None:
    """Refuse roles that no formula could name, or that are said twice."""
    if not outputs:
        raise SpecError("outputs is empty; name at least one, outputs=['loss']")
    if "loss_se" in measured and "loss" not in outputs:
        raise SpecError(f"loss_se is the standard error of the output 'loss', and the outputs are {listed(outputs)}")
    seen: dict[str, str] = {}
    for what, roles in (("input", inputs), ("output", outputs), ("group", groups)):
        for role in roles:
            if not (isinstance(role, str) and role.isidentifier()):
                name = re.sub(r"\W+", "_", str(role)).strip("_").lower()
                raise SpecError(
                    f"'{role}' is not a name that a formula can use; give it one, columns={{'{name}': '{role}'}} "
                    f"(--column '{name}={role}'), and name '{name}' as the {what}"
                )
            if role in _RESERVED:
                other = f"{what}_{role}"
                raise SpecError(
                    f"the {what} cannot be called '{role}', which names rows here; call it otherwise, "
                    f"columns={{'{other}': '{role}'}} (--column {other}={role}), and name '{other}' as the {what}"
                )
            if role in seen:
                raise SpecError(f"'{role}' is named twice, as {seen[role]} and as {what}; keep one")
            seen[role] = what
