"""A checked table of models and their benchmark scores, with missing cells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bayesfit.cells import listed, read_names, read_numbers, rows_fault, support_faults
from bayesfit.errors import DataError, Fault, SpecError, nearest
from bayesfit.evals import known_chance

#: Models with a known outcome that are needed beside one for each factor.
_SPARE = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchmarkTable:
    """Models, their families, compute and scores; make one with `read_benchmarks`.

    Parameters
    ----------
    models
        Name of each row.
    families, family_of_model
        Families in alphabetical order, and the place of each model's.
    benchmarks, scores
        Columns, and one row a model: shares, NaN where missing.
    target, outcome
        The column to predict, and its scores: NaN where nobody measured it.
    fitted
        Models whose outcome the fit sees, one truth value a model.
    flops
        Training compute, NaN where unknown.
    chance
        Score of guessing, for every benchmark and the target.
    n_items
        Number of evaluation items, of those where it is known.
    """

    models: tuple[str, ...]
    families: tuple[str, ...]
    family_of_model: np.ndarray
    benchmarks: tuple[str, ...]
    scores: np.ndarray
    target: str
    outcome: np.ndarray
    fitted: np.ndarray
    flops: np.ndarray
    chance: Mapping[str, float]
    n_items: Mapping[str, float]

    @cached_property
    def ref_flops(self) -> float:
        """Geometric mean of the known compute; NaN if none is known."""
        known = self.flops[np.isfinite(self.flops)]
        return float(10 ** np.log10(known).mean()) if known.size else float("nan")

    @cached_property
    def decades(self) -> np.ndarray:
        """Decades of compute above the geometric mean; NaN where unknown."""
        found: np.ndarray = np.log10(self.flops / self.ref_flops)
        return found

    def per_item(self, names: Iterable[str]) -> np.ndarray:
        """Return one over the number of items of each task; 0 where it is unknown."""
        return np.array([1 / self.n_items.get(name, np.inf) for name in names])

    def sha256(self) -> str:
        """Return a hash of everything in the table."""
        digest = hashlib.sha256(repr((self.models, self.families, self.benchmarks, self.target)).encode())
        digest.update(repr((sorted(self.chance.items()), sorted(self.n_items.items()))).encode())
        for numbers in (self.family_of_model, self.scores, self.outcome, self.flops, self.fitted):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()

    def places(self, models: Iterable[str] | None) -> np.ndarray:
        """Return the rows of models; by default those whose outcome the fit did not see.

        Raises
        ------
        SpecError
            For a name that is not in the table, with the nearest one.
        """
        if models is None:
            return np.flatnonzero(~self.fitted)
        row = {name: place for place, name in enumerate(self.models)}
        names = [models] if isinstance(models, str) else list(models)
        for name in names:
            if name not in row:
                raise SpecError(
                    f"no model '{name}' in the table{nearest(name, self.models)}; to predict a new model, add its "
                    f"row with '{self.target}' left empty and fit again: its benchmarks are part of the fit"
                )
        return np.array([row[name] for name in names], dtype=int)


def read_benchmarks(
    table: pd.DataFrame,
    *,
    benchmarks: Sequence[str],
    target: str,
    chance: Mapping[str, float] | None,
    n_items: Mapping[str, float] | None,
    family: str,
    model: str,
    flops: str | None,
    factors: int,
    hold_out: Sequence[bool] | np.ndarray | pd.Series | None,
) -> BenchmarkTable:
    """Check a table; see `bayesfit.capability.capabilities` for its parts.

    Raises
    ------
    SpecError
        For names that are not columns, and numbers that cannot be used.
    DataError
        Every fault of the cells.
    """
    names = _columns(table, benchmarks, target, family, model, flops)
    tasks = (*names, target)
    guess = _by_task("chance", chance or {}, tasks)
    for name in tasks:
        known = guess.get(name, known_chance(name))
        if known is None:
            raise SpecError(
                f"no chance given for '{name}': add chance={{'{name}': ...}}, --chance '{name}=...', the score of "
                f"guessing (0.25 for four options, 0 where answers are written freely)"
            )
        guess[name] = known
    items = _by_task("n_items", n_items or {}, tasks)
    held = np.zeros(len(table), dtype=bool) if hold_out is None else np.asarray(hold_out)
    if held.shape != (len(table),) or held.dtype != bool:
        raise SpecError(
            f"hold_out needs True or False for each of the {len(table)} rows, such as table['flops'] > 1e23; found "
            f"{held.dtype} of shape {held.shape}"
        )
    if not isinstance(factors, int) or not 1 <= factors < len(names):
        raise SpecError(
            f"factors must be a whole number from 1 to one less than the {len(names)} benchmarks, found {factors!r}"
        )
    faults: list[Fault] = []
    columns = {name: _shares(table[name], name, faults) for name in tasks}
    labels, wrong, _ = read_names(table[model], model)
    faults += wrong
    groups, wrong, _ = read_names(table[family], family)
    faults += wrong
    compute = np.full(len(table), np.nan)
    if flops is not None:
        compute, wrong = read_numbers(table[flops], flops)
        faults += [fault for fault in wrong if fault.kind != "missing_value"]
        faults += support_faults("positive", flops, flops, compute, list(table[flops]))
    scores = np.column_stack([columns[name] for name in names])
    fitted = np.isfinite(columns[target]) & ~held
    faults += _holes(scores, names, labels, model)
    if not faults and fitted.sum() < factors + _SPARE:
        faults.append(
            Fault(
                kind="few_outcomes",
                message=f"{fitted.sum()} models have a score that the fit may see, for {factors} factors",
                remedy=f"give at least {factors + _SPARE}, hold out less, or take fewer factors",
                column=target,
            )
        )
    if faults:
        raise DataError(faults)
    families, places = np.unique(np.array(groups), return_inverse=True)
    return BenchmarkTable(
        models=tuple(labels),
        families=tuple(map(str, families)),
        family_of_model=places,
        benchmarks=names,
        scores=scores,
        target=target,
        outcome=columns[target],
        fitted=fitted,
        flops=compute,
        chance=guess,
        n_items=items,
    )


def _columns(
    table: pd.DataFrame, benchmarks: Sequence[str], target: str, family: str, model: str, flops: str | None
) -> tuple[str, ...]:
    """Return the benchmarks after checking that every name is a column and none has two roles."""
    if isinstance(benchmarks, str):
        raise SpecError(f"benchmarks must be a list of columns, found the text {benchmarks!r}")
    names = tuple(benchmarks)
    known = [str(column) for column in table.columns]
    roles = [*(("benchmark", name) for name in names), ("target", target)]
    roles += [("family column", family), ("model column", model)]
    roles += [] if flops is None else [("flops column", flops)]
    for role, name in roles:
        if name not in known:
            raise SpecError(f"no {role} '{name}' in the table{nearest(str(name), known)}; it has {listed(known)}")
    if target in names:
        raise SpecError(
            f"the target '{target}' is among the benchmarks, which would give it away: leave it out of benchmarks"
        )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise SpecError(f"these benchmarks are named twice: {listed(twice)}")
    return names


def _by_task(what: str, given: Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
    """Return a number for each task, after checking names and range."""
    for name, value in given.items():
        if name not in tasks:
            raise SpecError(f"{what} names '{name}', which is neither a benchmark nor the target{nearest(name, tasks)}")
        if not (0 <= value < 1 if what == "chance" else value >= 1):
            allowed = "a share from 0 to below 1" if what == "chance" else "a count of 1 or more"
            raise SpecError(f"{what} of '{name}' is {value!r}, expected {allowed}")
    return {name: float(given[name]) for name in tasks if name in given}


def _shares(cells: pd.Series, column: str, faults: list[Fault]) -> np.ndarray:
    """Read a column of scores; empty cells are allowed."""
    numbers, wrong = read_numbers(cells, column)
    faults += [fault for fault in wrong if fault.kind != "missing_value"]
    # a column in per cent is one fault, not one a row
    finite = numbers[np.isfinite(numbers)]
    if finite.size and np.median(finite) > 1 and finite.max() <= 100:
        faults.append(
            Fault(
                kind="percent_accuracy",
                message=f"found scores up to {finite.max():g}, expected shares from 0 to 1; this looks like percent",
                remedy=f"divide by 100, table['{column}'] /= 100",
                column=column,
            )
        )
        return numbers
    outside = np.flatnonzero(np.isfinite(numbers) & ((numbers < 0) | (numbers > 1)))
    remedy = "divide by 100 if it is percent, or correct it"
    faults += rows_fault("out_of_range", "found {value}, scores go from 0 to 1", remedy, column, outside, list(cells))
    return numbers


def _holes(scores: np.ndarray, names: Sequence[str], labels: Sequence[str], model: str) -> list[Fault]:
    """Return a fault for each empty benchmark, each model without scores, and each model named twice."""
    found = np.isfinite(scores)
    remedy = "fill in the column, or leave it out of benchmarks"
    faults = [
        Fault(kind="empty_benchmark", message="no model has a score", remedy=remedy, column=name)
        for name, some in zip(names, found.any(axis=0), strict=True)
        if not some
    ]
    message, remedy = "{value} has no score on any benchmark", "give one, or leave the row out"
    faults += rows_fault("no_scores", message, remedy, model, np.flatnonzero(~found.any(axis=1)), list(labels))
    twice = [row for row, label in enumerate(labels) if label and label in labels[:row]]
    message, remedy = "{value} is there twice", "keep one row a model, or name them apart"
    return faults + rows_fault("duplicate_model", message, remedy, model, twice, list(labels))
