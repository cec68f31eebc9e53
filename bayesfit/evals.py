"""Read evaluation results, accuracies of many models on many tasks, into a table with one row a model and task."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesfit.cells import likely, listed, range_faults, read_names, read_numbers, shortened
from bayesfit.datasets import tasks as known_tasks
from bayesfit.errors import DataError, DataWarning, Fault, SpecError, nearest
from bayesfit.harness import PERCENT, Paths, Result, read_results
from bayesfit.runs import read_csv

Table = pd.DataFrame | str | Path
Numbers = float | Mapping[str, float]

#: How many binomial standard errors below chance an accuracy is no accident.
_BELOW = 4.0
#: Metrics that are shares of right answers, by their names.
_SHARES = re.compile(r"acc|exact_match|^(em|mc1|pass(@|_at_)1)(,|$)", re.IGNORECASE)


def read_harness(
    paths: Paths,
    *,
    models: Table | None = None,
    metric: str | Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    chance: Numbers | None = None,
    n_items: Numbers | None = None,
) -> pd.DataFrame:
    """Read result files of EleutherAI's lm-evaluation-harness, those of today and of version 0.3.

    Parameters
    ----------
    paths
        A file, several, or a folder, searched with all below it for ``results*.json`` or else ``*.json``;
        or a model's name and its file or folder, for each model, where the files call it otherwise.
    models
        What is known of the models, one a row: a column ``model``, and columns such as params, tokens,
        flops, family, which are joined to the results. Its params take the place of those in the files.
    metric
        Metrics in order of preference, such as ``"acc_norm"`` or ``"exact_match,strict-match"``. A task that
        has none of them is read by its ``acc``, or else by the only metric it has.
    tasks
        The tasks wanted; all unless told. Groups (``mmlu`` beside its subjects) are averages over tasks that
        are rows already, and no counts: they are left out unless named here.
    chance
        Accuracy of guessing, for all tasks or by task. By default one over the number of choices, where the
        file lists them, or that of known tasks, `bayesfit.datasets.tasks`.
    n_items
        Number of items, for all tasks or by task, instead of what the files say.

    Returns
    -------
    pandas.DataFrame
        One row a model and task, for `Runs.from_frame`: model, task, accuracy, accuracy_se, n_items, chance,
        shots; params where a file says it; and the columns of `models`. Where the files hold several
        revisions of a model, these are called ``model@revision``.

    Raises
    ------
    DataError
        With every fault of the files: file, model and task, value and remedy.
    SpecError
        For arguments that cannot be used.

    Warns
    -----
    DataWarning
        For accuracies far below chance, unknown numbers of items, and metrics that may be no accuracy.

    Notes
    -----
    Files that do not say the number of items often tell it all the same: the harness gives the standard error
    of 0s and 1s with n - 1 in the denominator, so that n = acc*(1 - acc)/se**2 + 1. That is taken where it and
    the number of right answers, acc*n, both come out whole, as they do from unrounded digits; otherwise
    n_items is missing, as it is for an accuracy of 0 or 1, which has no standard error.

    Examples
    --------
    >>> import json, tempfile
    >>> scores = {"acc": 0.6409140369967355, "acc_stderr": 0.011192949073844103}
    >>> result = {"results": {"piqa": scores}, "config": {"model_args": "pretrained=bloom-560m", "num_fewshot": 0}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "results.json").write_text(json.dumps(result))
    ...     table = read_harness(folder)
    >>> table[["model", "task", "n_items", "chance", "shots"]].to_dict("records")
    [{'model': 'bloom-560m', 'task': 'piqa', 'n_items': 1838, 'chance': 0.5, 'shots': 0}]
    """
    asked = [metric] if isinstance(metric, str) else list(metric or ())
    source = str(paths) if isinstance(paths, str | Path) else "the results"
    results, faults = read_results(paths, asked, None if tasks is None else _names(tasks))
    names = list(dict.fromkeys(result.entry.task for result in results))
    # a task of a file that cannot be read is no misspelt one
    known = None if faults else names
    counts = _given(n_items, names, known, "n_items")
    levels, wrong = _levels(names, _given(chance, names, known, "chance"), results)
    faults += wrong
    table = pd.DataFrame(
        {
            "model": [result.entry.model for result in results],
            "task": [result.entry.task for result in results],
            "accuracy": [result.accuracy for result in results],
            "accuracy_se": [result.error for result in results],
            "n_items": _whole(counts.get(result.entry.task, result.n_items) for result in results),
            "chance": [levels.get(result.entry.task, np.nan) for result in results],
            "shots": _whole(result.entry.shots for result in results),
            "params": np.array([result.entry.params for result in results], dtype=float),
        }
    )
    if table["params"].isna().all():
        table = table.drop(columns="params")
    if models is not None:
        table, wrong = join_models(table, models, instead=["params"])
        faults += wrong
    if faults:
        raise DataError(shortened(faults), source)
    for task, one in {
        result.entry.task: result.metric for result in results if not _SHARES.search(result.metric)
    }.items():
        if one not in asked and one.split(",")[0] not in asked:
            _warn(f"{source}: '{task}' has no acc; {one} is taken for its accuracy, the only metric it has")
    unknown = [result for result in results if not result.entry.group and result.n_items is None]
    unknown = [result for result in unknown if result.entry.task not in counts]
    if unknown:
        _warn(
            f"{source}: the number of items is not known for {listed(unknown, 3)}; fits to counts need it: "
            f"give n_items={{'{unknown[0].entry.task}': 1000}}"
        )
    _warn_below(table, "accuracy", source)
    return table


def read_wide(
    table: Table,
    tasks: Sequence[str] | Mapping[str, str],
    *,
    chance: Numbers | None = None,
    n_items: Numbers | None = None,
    value: str = "accuracy",
) -> pd.DataFrame:
    """Turn a table with one row a model and one column a task into one with one row a model and task.

    Parameters
    ----------
    table
        A table, or the path of a CSV or Parquet file. An empty cell leaves that model and task out.
    tasks
        Columns that are tasks; or task to column, where they differ: ``{"piqa": "piqa_0shot"}``. All other
        columns are repeated in each row of the model.
    chance
        Accuracy of guessing, for all tasks or by task; by default that of known tasks,
        `bayesfit.datasets.tasks`.
    n_items
        Number of items, for all tasks or by task; by default that of known tasks, and missing for others.
    value
        What the cells are. Others than accuracies, such as ``task_loss``, get chance and n_items only if
        these are given.

    Returns
    -------
    pandas.DataFrame
        One row a model and task, for `Runs.from_frame`: the other columns, task, `value`, n_items, chance.

    Raises
    ------
    DataError
        With every fault of the table: row, column, model, value and remedy.
    SpecError
        For arguments that cannot be used.

    Warns
    -----
    DataWarning
        For accuracies far below chance.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"model": ["a", "b"], "piqa": [0.71, 0.74], "sciq": [None, 0.9]})
    >>> read_wide(df, ["piqa", "sciq"])[["model", "task", "accuracy", "chance"]].to_numpy().tolist()
    [['a', 'piqa', 0.71, 0.5], ['b', 'piqa', 0.74, 0.5], ['b', 'sciq', 0.9, 0.25]]
    """
    columns = dict(tasks) if isinstance(tasks, Mapping) else {name: name for name in _names(tasks)}
    names = _names(columns)
    source = "the table" if isinstance(table, pd.DataFrame) else str(table)
    df = read_table(table)
    is_share = value == "accuracy" or value.endswith("_accuracy")
    rest = df.loc[:, ~df.columns.isin(list(columns.values()))]
    added = ["task", value, *(["n_items"] if is_share or n_items is not None else [])]
    added += ["chance"] if is_share or chance is not None else []
    faults = [
        Fault(
            kind="duplicate_column",
            message=f"the table has a column '{name}', which is to hold what its columns of tasks say",
            remedy="rename it, or leave it out",
            column=name,
        )
        for name in added
        if name in rest
    ]
    given = _given(chance, names, names, "chance")
    # a column that is not there is told as such
    there = [name for name, column in zip(names, columns.values(), strict=True) if column in df]
    levels, wrong = _levels(there, given) if is_share else (given, [])
    faults += wrong
    sizes = {name: known.n_items for name in names if is_share and (known := _known(name))}
    counts = sizes | _given(n_items, names, names, "n_items")
    parts = []
    for name, column in zip(names, columns.values(), strict=True):
        numbers, wrong = _cells(df, column, is_share)
        faults += wrong
        cells: dict[str, Any] = {"task": name, value: numbers, "chance": levels.get(name, np.nan)}
        cells["n_items"] = _whole([counts.get(name)] * len(df))
        parts.append(rest.assign(**{name: cells[name] for name in added}))
    if faults:
        raise DataError(shortened(faults), source)
    # the tasks of a model together, models in the order of the table
    order = np.tile(np.arange(len(df)), len(parts)).argsort(kind="stable")
    long = pd.concat(parts, ignore_index=True).iloc[order]
    long = long[long[value].notna()].reset_index(drop=True)
    if not len(long):
        message = f"no model has a value in {listed(columns.values())}"
        raise DataError([Fault(kind="empty_table", message=message, remedy="name columns that have some")], source)
    if is_share:
        _warn_below(long, value, source)
    return long


def read_long(table: Table, *, chance: Numbers | None = None, value: str = "accuracy") -> pd.DataFrame:
    """Give a table with one row a model and task the chance level of each task.

    Parameters
    ----------
    table
        A table with a column ``task``, or the path of a CSV or Parquet file.
    chance
        Accuracy of guessing, for all tasks or by task; by default what the table's column ``chance`` says, or where
        it has none that of known tasks, `bayesfit.datasets.tasks`.
    value
        Column of the accuracies, which are held against chance; without one nothing is.

    Returns
    -------
    pandas.DataFrame
        The table, with a column ``chance``.

    Raises
    ------
    DataError
        If a row names no task, or the chance level of a task is not known.
    SpecError
        For arguments that cannot be used, and if chance is told although the table has it.

    Warns
    -----
    DataWarning
        For accuracies far below chance.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"task": ["piqa", "exam"], "accuracy": [0.7, 0.4]})
    >>> read_long(df, chance={"exam": 0.2})["chance"].tolist()
    [0.5, 0.2]
    """
    source = "the table" if isinstance(table, pd.DataFrame) else str(table)
    df = read_table(table)
    if "task" not in df:
        have = f"the table has {listed(df.columns)}"
        message = f"there is no column 'task'{nearest('task', map(str, df.columns))}; {have}"
        remedy = "call the column that names the tasks 'task'; a table with a column a task is read by read_wide"
        raise DataError([Fault(kind="missing_column", message=message, remedy=remedy, column="task")], source)
    if "chance" in df and chance is not None:
        raise SpecError("the table has a column 'chance', and chance is given; keep one")
    tasks, faults, _ = read_names(df["task"], "task")
    if "chance" not in df:
        names = list(dict.fromkeys(filter(None, tasks)))
        levels, wrong = _levels(names, _given(chance, names, names, "chance"))
        faults += wrong
        df = df.assign(chance=[levels.get(name, np.nan) for name in tasks])
    if faults:
        raise DataError(shortened(faults), source)
    levels_of = pd.Series(read_numbers(df["chance"], "chance")[0]).groupby(np.array(tasks)).unique()
    for task, found in levels_of[levels_of.str.len() > 1].items():
        told = listed(f"{one:g}" for one in found)
        _warn(f"{source}: '{task}' has several chance levels, {told}; one task has one, unless its questions differ")
    if value in df:
        columns = {name: read_numbers(df[name], name)[0] for name in (value, "chance")}
        counts = read_numbers(df["n_items"], "n_items")[0] if "n_items" in df else _sizes(tasks)
        _warn_below(df.assign(task=tasks, **columns, n_items=counts), value, source)
    return df


def without_chance(table: pd.DataFrame) -> list[str]:
    """Return the tasks of a table with one row a model and task whose chance level neither it nor anyone knows."""
    if "chance" in table:
        return []
    tasks, _, _ = read_names(table["task"], "task")
    return [name for name in dict.fromkeys(tasks) if known_chance(name) is None]


def join_models(table: pd.DataFrame, models: Table, instead: Sequence[str] = ()) -> tuple[pd.DataFrame, list[Fault]]:
    """Return a table with what is known of its models, and the faults that keep them from being joined.

    Parameters
    ----------
    table
        A table with a column ``model``.
    models
        One row a model, with a column ``model``.
    instead
        Columns that both may have; those of `models` are kept.
    """
    source = "the table of models" if isinstance(models, pd.DataFrame) else str(models)
    try:
        known = read_table(models)
    except DataError as error:
        return table, [replace(fault, message=f"{source}: {fault.message}") for fault in error.faults]
    for df, what in ((table, "the table"), (known, source)):
        if list(df.columns).count("model") != 1:
            guess = likely("model", df.columns)
            hint = f" (is it '{guess}'?)" if guess and guess != "model" else ""
            message = f"{what} has no single column 'model'{hint}; it has {listed(df.columns)}"
            remedy = "call the column that names the models 'model'"
            return table, [Fault(kind="missing_column", message=message, remedy=remedy, column="model")]
    table, known = (df.assign(model=[_text(cell) for cell in df["model"]]) for df in (table, known))
    faults = [
        Fault(
            kind="duplicate_column",
            message=f"{source} has a column '{name}', and so have the results",
            remedy="rename it, or leave it out",
            column=str(name),
        )
        for name in known.columns
        if name in table and name not in ("model", *instead)
    ]
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(known["model"], start=1):
        rows.setdefault(name, []).append(row)
    for name, places in rows.items():
        if not name or len(places) > 1:
            what = f"model '{name}' is there more than once" if name else "the name of the model is empty"
            message = f"{source}: {what}, in rows {listed(places, 5)}"
            remedy = "keep one row a model" if name else "name the model, or leave the row out"
            faults.append(Fault(kind="repeated_model" if name else "missing_value", message=message, remedy=remedy))
    for name in dict.fromkeys(table["model"]):
        if name not in rows:
            message = f"model '{name}' has results and is not in {source}{nearest(name, rows)}"
            remedy = "add a row for it, or write its name as the results do"
            faults.append(Fault(kind="unknown_model", message=message, remedy=remedy, value=name))
    if faults:
        return table, faults
    kept = table.drop(columns=[name for name in instead if name in known and name in table])
    return kept.merge(known, on="model", how="left"), []


def read_table(table: Table) -> pd.DataFrame:
    """Return a table, or read one from a CSV or Parquet file."""
    if isinstance(table, pd.DataFrame):
        if table.columns.nlevels > 1:
            raise SpecError("expected a table with one row of column names")
        return table.reset_index(drop=True)
    if not isinstance(table, str | Path):
        raise SpecError(f"expected a table or the path of one, found {type(table).__name__}")
    if Path(table).suffix.lower() not in (".parquet", ".pq"):
        return read_csv(table)
    import pyarrow

    try:
        return pd.read_parquet(table)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        message = f"not a readable Parquet file ({str(error).splitlines()[0]})"
        raise DataError([Fault(kind="unreadable", message=message, remedy="check the path")], str(table)) from None


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A known task."""

    chance: float | None
    n_items: int | None
    note: str


@cache
def _catalogue() -> Mapping[str, _Known]:
    """Return the known tasks by their names and aliases."""
    found: dict[str, _Known] = {}
    for _, row in known_tasks().iterrows():
        known = _Known(
            chance=None if pd.isna(row["chance"]) else float(row["chance"]),
            n_items=None if pd.isna(row["n_items"]) else int(row["n_items"]),
            note=row["note"],
        )
        found |= dict.fromkeys((row["task"], *row["aliases"].split()), known)
    return found


def _known(task: str) -> _Known | None:
    # ARC-Challenge, arc:challenge and arc_challenge are one
    return _catalogue().get(re.sub(r"[\s:-]+", "_", task.casefold()))


def _sizes(tasks: Iterable[str]) -> np.ndarray:
    """Return the number of items of known tasks, NaN for others."""
    sizes = (known.n_items if (known := _known(task)) else None for task in tasks)
    return np.array([np.nan if size is None else size for size in sizes], dtype=float)


def known_chance(task: str) -> float | None:
    """Return the chance level of a known task, by any way of writing its name; None where it is not known."""
    known = _known(task)
    return None if known is None else known.chance


def _names(names: Iterable[str]) -> list[str]:
    """Return names of tasks without the space around them."""
    if isinstance(names, str):
        raise SpecError(f"tasks must be a list, found the text {names!r}; write tasks=[{names!r}]")
    found = [name.strip() if isinstance(name, str) else "" for name in names]
    if not all(found) or not found or len(set(found)) < len(found):
        raise SpecError(f"tasks must be different names, such as tasks=['hellaswag', 'piqa']; found {list(names)}")
    return found


def _cells(df: pd.DataFrame, column: str, is_share: bool) -> tuple[np.ndarray, list[Fault]]:
    """Read a column of a wide table; NaN where a cell is empty."""
    count = list(df.columns).count(column)
    if count != 1:
        have = f"{nearest(str(column), map(str, df.columns))}; the table has {listed(df.columns)}"
        message = f"{count} columns are called '{column}'" if count else f"there is no column '{column}'{have}"
        remedy = "rename all but one" if count else "correct its name, or leave it out of tasks"
        kind = "duplicate_column" if count else "missing_column"
        return np.full(len(df), np.nan), [Fault(kind=kind, message=message, remedy=remedy, column=column)]
    numbers, faults = read_numbers(df[column], column)
    faults = [fault for fault in faults if fault.kind != "missing_value"]
    if is_share:
        wrong = range_faults("accuracy", column, numbers, list(df[column]), any_unit=False)
        faults += [replace(f, remedy=PERCENT if f.kind == "percent_accuracy" else f.remedy) for f in wrong]
    if "model" in df and isinstance(df["model"], pd.Series):
        models = [_text(cell) for cell in df["model"]]
        faults = [
            fault if fault.row is None else replace(fault, message=f"model '{models[fault.row - 1]}': {fault.message}")
            for fault in faults
        ]
    return numbers, faults


def _given(numbers: Numbers | None, names: Sequence[str], known: Sequence[str] | None, what: str) -> dict[str, float]:
    """Return what is said of tasks, checked; names are told apart from misspelt ones if `known` is there."""
    if numbers is None:
        return {}
    if isinstance(numbers, Mapping):
        each = {str(name).strip(): one for name, one in numbers.items()}
    else:
        each, known = dict.fromkeys(names, numbers), None
    for name, one in each.items():
        if known is not None and name not in known:
            raise SpecError(f"{what} is given for '{name}', no task{nearest(name, known)}; there are {listed(known)}")
        is_number = isinstance(one, int | float | np.integer | np.floating) and not isinstance(one, bool)
        if what == "chance" and not (is_number and 0 <= one < 1):
            raise SpecError(f"chance of '{name}' must lie from 0 to below 1, 0.25 for four choices; found {one!r}")
        if what == "n_items" and not (is_number and 1 <= one < np.inf and one == round(one)):
            raise SpecError(f"n_items of '{name}' must be a whole number, 1 or more; found {one!r}")
    return each


def _levels(
    names: Sequence[str], given: Mapping[str, float], results: Sequence[Result] = ()
) -> tuple[dict[str, float], list[Fault]]:
    """Return the chance level of each task: as given, as the files say, or as it is known."""
    choices: dict[str, set[int]] = {}
    for entry in (result.entry for result in results):
        if entry.choices is not None:
            choices.setdefault(entry.task, set()).add(entry.choices)
    found, faults = {}, []
    for name in names:
        numbers, known = choices.get(name, set()), _known(name)
        if name in given:
            found[name] = float(given[name])
        elif len(numbers) == 1:
            found[name] = 1 / min(numbers)
        elif not numbers and known is not None and known.chance is not None:
            found[name] = known.chance
        else:
            why = f" ({known.note})" if known is not None and known.chance is None else ""
            why = f" (files list {listed(sorted(numbers))} choices)" if numbers else why
            faults.append(
                Fault(
                    kind="unknown_chance",
                    message=f"chance level of task '{name}' is unknown{why}",
                    remedy=f"give chance={{'{name}': 0.25}} (one over the number of choices; 0 where answers are "
                    f"written freely), --chance '{name}=0.25'",
                    value=name,
                )
            )
    return found, faults


def _warn_below(table: pd.DataFrame, value: str, source: str) -> None:
    """Warn of accuracies that guessing would hardly give, a warning a task."""
    chance, counts = table["chance"].to_numpy(float), table["n_items"].to_numpy(float, na_value=np.nan)
    accuracy = table[value].to_numpy(float)
    below = accuracy < chance - _BELOW * np.sqrt(chance * (1 - chance) / counts)
    for task, rows in table[below].groupby("task", sort=False):
        models = rows["model"] if "model" in rows else pd.Series("a model", index=rows.index)
        told = listed((f"{model} {one:.3g}" for model, one in zip(models, rows[value], strict=True)), 5)
        _warn(
            f"{source}: {value} on '{task}' lies far below its chance level {rows['chance'].iloc[0]:.3g} for {told}; "
            "chance is probably set wrong, or answers are inverted, unless items were chosen to mislead (ARC challenge)"
        )


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, skip_file_prefixes=(str(Path(__file__).parent),))


def _whole(numbers: Iterable[float | None]) -> pd.api.extensions.ExtensionArray:
    return pd.array([None if one is None else int(one) for one in numbers], dtype="Int64")


def _text(cell: object) -> str:
    return "" if cell is None or cell is pd.NA or cell != cell else str(cell).strip()
