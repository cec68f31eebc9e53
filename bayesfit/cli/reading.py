"""Read what was typed: names with values, laws, tables, scenarios."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bayesfit.errors import DataError, Fault, SpecError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from bayesfit.card import Law
    from bayesfit.fitting import Fit
    from bayesfit.pooling import How
    from bayesfit.runs import Runs

_STANDARD = ("params", "tokens", "flops")
_MEASURED = ("loss", "loss_se", "n_items")


def named(texts: Iterable[str], option: str, example: str) -> dict[str, str]:
    """Read ``NAME=VALUE`` texts.

    Raises
    ------
    SpecError
        For a text without a name or a value, or a name given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if not name or not value:
            raise SpecError(f"{option} takes NAME=VALUE, such as {option} {example}; found '{text}'")
        if name in found:
            raise SpecError(f"{option} {name} is given twice, '{found[name]}' and '{value}'; keep one")
        found[name] = value
    return found


def names(texts: Iterable[str]) -> tuple[str, ...]:
    """Read names, repeated or separated by commas, each once."""
    parts = (part.strip() for text in texts for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def number(text: str, where: str) -> float:
    """Read a number such as ``0.3``, ``7B`` or ``1.4T``.

    Raises
    ------
    SpecError
        If it is none; the message starts with `where`.
    """
    import pandas as pd

    from bayesfit.cells import read_numbers

    values, faults = read_numbers(pd.Series([text.strip()], dtype=object), where)
    if faults:
        raise SpecError(f"{where}: {faults[0].message}; {faults[0].remedy}")
    return float(values[0])


def numbers(texts: Iterable[str], option: str, example: str) -> dict[str, float]:
    """Read ``NAME=NUMBER`` texts."""
    return {name: number(text, f"{option} {name}") for name, text in named(texts, option, example).items()}


def ranges(texts: Iterable[str]) -> dict[str, tuple[float, ...]]:
    """Read ``NAME=LOW:HIGH`` or ``NAME=VALUE,VALUE,VALUE`` texts."""
    found: dict[str, tuple[float, ...]] = {}
    for name, text in named(texts, "--range", "params=1e8:1e10").items():
        where = f"--range {name}"
        parts = text.split(":") if ":" in text else text.split(",")
        values = tuple(number(part, where) for part in parts)
        ordered = all(math.isfinite(value) and value > 0 for value in values) and values[0] < values[-1]
        if len(values) < 2 or (":" in text and len(values) != 2) or (":" not in text and len(values) == 2):
            raise SpecError(f"{where}: expected LOW:HIGH, or more than two values with commas; found '{text}'")
        if not ordered:
            raise SpecError(f"{where}: expected positive values, the smallest first; found '{text}'")
        found[name] = values
    return found


def pooling(texts: Iterable[str]) -> dict[str, How | Mapping[str, How]]:
    """Read ``PARAMETER=HOW`` and ``PARAMETER.GROUP=HOW`` texts."""
    found: dict[str, Any] = {}
    for name, how in named(texts, "--pool", "alpha=complete").items():
        parameter, dot, group = name.partition(".")
        if not dot and parameter not in found:
            found[parameter] = how
        elif dot and isinstance(found.setdefault(parameter, {}), dict):
            found[parameter][group] = how
        else:
            raise SpecError(f"--pool {parameter} is told both for every group and for one; keep one of the two")
    return cast("dict[str, How | Mapping[str, How]]", found)


def read_law(text: str, priors: Mapping[str, str], columns: Iterable[str]) -> Law:
    """Find a law by name or card, or make one from its formula.

    Parameters
    ----------
    text
        An id or alias, a path that ends in ``.toml``, or a formula with ``=``; several equations are
        separated by semicolons.
    priors
        Priors typed; a formula needs one for each parameter, other laws have their own.
    columns
        Names that a formula may read as inputs.
    """
    from bayesfit.card import Law
    from bayesfit.catalog import law

    if text.endswith(".toml") or "=" not in text:
        found = law(text)
        return found.with_priors(priors) if priors else found
    inputs = [name for name in dict.fromkeys((*_STANDARD, *columns)) if name not in priors]
    try:
        return Law.from_text(text.replace(";", "\n"), priors=priors, inputs=inputs)
    except SpecError as error:
        missing = re.match(r"no prior for (\w+)", str(error))
        if missing is None:
            raise
        raise SpecError(
            f"{str(error).split(':')[0]}: give one, such as --prior '{missing[1]}=LogNormal(log(0.3), 0.6)'; or, if "
            f"it is a column of the table, check its spelling (the table has {', '.join(columns)})"
        ) from None


def read_laws(
    texts: Iterable[str], priors: Mapping[str, str], path: Path, table: pd.DataFrame | None = None
) -> dict[str, Law]:
    """Read laws separated by commas: names, cards, formulas; each under what was typed.

    Parameters
    ----------
    texts
        What was typed; commas inside parentheses belong to a formula.
    priors
        Priors typed: for the parameters of formulas, and of whichever law has one of that name.
    path, table
        The table, whose columns a formula may read; see `read_evals`.
    """
    from bayesfit.catalog import law
    from bayesfit.priors import split_arguments

    typed = [part.strip() for text in texts for part in split_arguments(text) if part.strip()]
    if len(set(typed)) < len(typed):
        raise SpecError(f"a law is named twice in --laws: {', '.join(typed)}")
    found: dict[str, Law] = {}
    unused = dict(priors)
    for text in typed:
        if "=" in text and not text.endswith(".toml"):
            names = set(re.findall(r"[A-Za-z_]\w*", text))
            own = {name: prior for name, prior in priors.items() if name in names}
            found[text] = read_law(text, own, columns_of(path, table))
        else:
            entry = law(text)
            own = {name: prior for name, prior in priors.items() if name in entry.parameters}
            found[text] = entry.with_priors(own) if own else entry
        unused = {name: prior for name, prior in unused.items() if name not in own}
    if unused:
        raise SpecError(f"--prior {next(iter(unused))}: none of these laws has such a parameter")
    return found


def read_evals(
    path: Path,
    *,
    models: Path | None = None,
    tasks: Iterable[str] = (),
    metric: Iterable[str] = (),
    chance: Iterable[str] = (),
) -> pd.DataFrame | None:
    """Read evaluation results as a table with one row a model and task; None for a table that has it already.

    Parameters
    ----------
    path
        Result files of lm-evaluation-harness (.json, or a folder of them), or a table.
    models
        A table whose columns are joined by the column ``model``.
    tasks
        Columns that are tasks, ``NAME`` or ``TASK=COLUMN``; of result files, the tasks wanted.
    metric
        Metrics of result files, in order of preference.
    chance
        ``TASK=NUMBER``: accuracy of guessing.
    """
    typed, levels = list(tasks), numbers(chance, "--chance", "my_task=0.25")
    if _is_results(path):
        from bayesfit.evals import read_harness

        return read_harness(path, models=models, metric=list(metric), tasks=names(typed) or None, chance=levels or None)
    if list(metric):
        raise SpecError(f"--metric is for result files of lm-evaluation-harness (.json, or a folder), not {path.name}")
    # reading a table that is not there says so, after what else was typed wrong
    columns = columns_of(path) if path.is_file() else ()
    if levels and not typed and path.is_file() and "task" not in columns:
        raise SpecError(
            "--chance needs tasks: a column 'task' of a table with one row a model and task, or --tasks, which says "
            "which columns are tasks"
        )
    if not typed and models is None and "task" not in columns:
        return None
    from bayesfit.evals import join_models, read_long, read_table, read_wide, without_chance

    table = read_wide(path, _tasks(typed, columns), chance=levels or None) if typed else read_table(path)
    if models is not None:
        table, faults = join_models(table, models)
        if faults:
            raise DataError(faults, str(path))
    # a law that reads no chance level may be fitted to tasks that nobody knows
    if not typed and "task" in table and (levels or not without_chance(table)):
        table = read_long(path if models is None else table, chance=levels or None)
    return table


def _tasks(texts: Iterable[str], columns: Sequence[str]) -> dict[str, str]:
    """Read columns that are tasks: ``NAME`` or ``TASK=COLUMN``, separated by commas unless a column has one."""
    found: dict[str, str] = {}
    for text in texts:
        for part in (text.strip(),) if text.strip() in columns else names([text]):
            task, equals, column = (side.strip() for side in part.partition("="))
            if not equals or part in columns:
                task, column = part, part
            if task in found:
                raise SpecError(f"--tasks names '{task}' twice; keep one")
            found[task] = column
    return found


def columns_of(path: Path, table: pd.DataFrame | None = None) -> tuple[str, ...]:
    """Return the names of a table's columns; none if it cannot be read, which reading it will say."""
    if table is None and _is_results(path):
        table = read_evals(path)
    if table is not None:
        return tuple(str(name) for name in table.columns)
    if _is_parquet(path):
        import pyarrow
        from pyarrow import parquet

        try:
            return tuple(parquet.read_schema(path).names)
        except (pyarrow.ArrowException, OSError):
            return ()
    from bayesfit.runs import read_csv

    return tuple(str(name) for name in read_csv(path).columns)


def read_runs(
    path: Path,
    *,
    laws: Sequence[Law],
    by: Sequence[str],
    column: Iterable[str],
    derive: Iterable[str],
    loss: str | None,
    loss_se: str | None,
    n_items: str | None,
    allow: Sequence[Any],
    outputs: Sequence[str] = ("loss",),
    table: pd.DataFrame | None = None,
) -> Runs:
    """Read and check a table of runs, CSV or Parquet by its name, or one that `read_evals` has read.

    With laws, their inputs are read, as far as the table has them; what it lacks is told afterwards,
    by `bayesfit.needs.require`, which knows more of the remedy.
    """
    from bayesfit.runs import Runs, counts_items

    if table is None and _is_results(path):
        table = read_evals(path)
    # an interaction such as family:task is of columns
    by = tuple(dict.fromkeys(part for group in by for part in group.split(":")))
    where = named(column, "--column", "params=n_params")
    if table is not None and n_items is None and "n_items" not in where and _counted(table):
        n_items = "n_items"
    formulas = named(derive, "--derive", "'flops = 6*params*tokens'")
    inputs: list[str] | None = None
    wanted: dict[str, None] = {}
    support: dict[str, Any] = {}
    if laws:
        present = columns_of(path, table)
        closed = [law.closed([*present, *where, *formulas]) for law in laws]
        wanted = dict.fromkeys(name for law in closed for name in law.inputs)
        support = {name: values for law in closed for name, values in law.support.items()}
        outputs = tuple(dict.fromkeys(name for law in closed for name in law.outputs))
        if n_items is None and "n_items" not in where and "n_items" in present:
            n_items = "n_items" if any(counts_items(law) for law in closed) else None
        known = [*wanted, *_STANDARD, *outputs, *by, *_MEASURED]
        for role in (*where, *formulas):
            if role not in known:
                raise SpecError(
                    f"{' and '.join(law.id for law in laws)} read{'s' * (len(laws) == 1)} no '{role}'"
                    f"{nearest(role, known)}; --column and --derive take {', '.join(dict.fromkeys(known))}"
                )
        # with none of them, the standard inputs are read instead, so that what is there can be told
        inputs = [name for name in wanted if name in present or name in where or name in formulas] or None
    arguments: dict[str, Any] = {
        "inputs": inputs,
        "outputs": outputs,
        "groups": by,
        "columns": where,
        "loss": loss,
        "loss_se": loss_se,
        "n_items": n_items,
        "derive": formulas,
        "support": support,
        "allow": allow,
    }
    try:
        if table is not None:
            return Runs.from_frame(table, name=str(path), **arguments)
        return (Runs.from_parquet if _is_parquet(path) else Runs.from_csv)(path, **arguments)
    except DataError as error:
        # a table with other faults never gets as far as `Runs.require`: tell all at once
        lacking = [name for name in (wanted if inputs else ()) if name not in (inputs or ())]
        raise DataError(
            [*error.faults, *(_lacking(name, columns_of(path, table)) for name in lacking)], error.source
        ) from None


def _lacking(role: str, columns: Sequence[str]) -> Fault:
    other = "say that of each task, --chance TASK=NUMBER" if role == "chance" else "compute it with --derive"
    return Fault(
        kind="missing_column",
        message=f"the law needs the input '{role}'{nearest(role, columns)}; the table has {', '.join(columns)}",
        remedy=f"say which column it is, --column {role}=YOUR_COLUMN, or {other}",
        column=role,
    )


def scenario(texts: Iterable[str], fit: Fit) -> dict[str, list[str]]:
    """Read the scenarios of ``NAME=VALUE`` texts; several values are separated by commas.

    Raises
    ------
    SpecError
        For a name that the fit does not know, one that it needs and is missing, or a value that is
        no positive number.
    """
    typed = named(texts, "--set", "params=70B")
    inputs, groups = tuple(fit.law.inputs), fit.pooling.columns
    # a forecast is of a new training run unless one is named
    named_groups = (*groups, *filter(None, [fit.pooling.checkpoints]))
    known = dict.fromkeys((*inputs, *named_groups, *_STANDARD))
    found: dict[str, list[str]] = {}
    for name, text in typed.items():
        if name not in known:
            raise SpecError(f"--set {name}: the fit knows no '{name}'{nearest(name, known)}; it reads {_asked(fit)}")
        if name not in named_groups and re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
            raise SpecError(f"--set {name}: write {text} without thousands separators, or as 70B")
        # a name may have a comma of its own
        whole = name in named_groups and text in fit.runs.levels(name)
        found[name] = [text] if whole else [part.strip() for part in text.split(",")]
        support = fit.law.inputs[name].support if name in inputs else "positive"
        for part in found[name]:
            if name not in named_groups and number(part, f"--set {name}") <= 0 and support == "positive":
                raise SpecError(f"--set {name}: found {part}, {name} must be positive")
    # what need not vary, such as a chance level, the runs of a task may tell
    needed = [name for name in inputs if fit.law.inputs[name].varies]
    missing = [name for name in (*needed, *groups) if name not in typed]
    if missing:
        raise SpecError(f"the fit needs {_asked(fit)}; add {' '.join(f'--set {name}=...' for name in missing)}")
    return found


def suggestion(fit: Fit, far: float = 10.0) -> str:
    """Return ``--set`` options for a run `far` times larger than the largest, to show how it is done."""
    # a share, or a number of the task's own such as its chance level, stays what it is
    size = {name: far if part.varies and part.support == "positive" else 1.0 for name, part in fit.law.inputs.items()}
    first = {group: fit.runs.levels(group)[0] for group in fit.pooling.columns}
    told = [name for name, part in fit.law.inputs.items() if part.varies or _open(name, first, fit)]
    parts = [f"--set {name}={size[name] * float(fit.runs.values(name).max()):.2g}" for name in told]
    parts += [f"--set {group}={_quoted(level)}" for group, level in first.items()]
    return " ".join(parts).replace("e+", "e")


def _open(name: str, levels: Mapping[str, str], fit: Fit) -> bool:
    """Return whether runs leave it open what a scenario of these levels has of an input."""
    import pandas as pd

    from bayesfit.scenarios import as_fitted

    return bool(pd.isna(as_fitted(name, pd.DataFrame(levels, index=[0]), fit)).any())


def _asked(fit: Fit) -> str:
    """Return what a scenario of the fit needs, with the levels of groups."""
    parts = [*fit.law.inputs]
    for group in fit.pooling.columns:
        levels = fit.runs.levels(group)
        parts.append(f"{group} ({', '.join(levels[:8])}{', ...' if len(levels) > 8 else ''}, or a new one)")
    return ", ".join(parts)


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _is_results(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".json"


def _counted(table: pd.DataFrame) -> bool:
    """Return whether results say the number of items of each row."""
    return "n_items" in table and str(table["n_items"].dtype) == "Int64" and bool(table["n_items"].notna().all())
