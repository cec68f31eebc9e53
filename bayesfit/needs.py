"""What a law needs of a table of runs, and what keeps the table from giving it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from bayesfit.cells import listed, rows_fault, support_faults
from bayesfit.errors import DataError, Fault, nearest
from bayesfit.runs import Allow, check_allow

if TYPE_CHECKING:
    from bayesfit.card import Law, Support
    from bayesfit.runs import Runs

#: Ratio of singular values of the logarithms of inputs under which they cannot be told apart.
_COLLINEAR = 1e-3
#: How far proportions may miss a sum of 1: published tables have two to four digits.
_SIMPLEX = 0.005


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a law, fitted in a certain way, needs of the runs.

    Parameters
    ----------
    inputs, outputs
        What the law reads and predicts.
    groups
        What its parameters shall vary over.
    n_parameters
        Its number of fitted parameters.
    support
        What values its inputs and outputs may take, where they need not be positive.
    simplexes
        Inputs that add up to 1 in every run, by the name of the whole.
    constant
        Inputs that may be the same in every run.
    odds
        Outputs whose log-odds scatter.
    trials
        Columns of trials, such as numbers of items, by the output that counts them.
    """

    inputs: Sequence[str]
    outputs: Sequence[str]
    groups: Sequence[str] = ()
    n_parameters: int = 0
    support: Mapping[str, Support] = field(default_factory=dict)
    simplexes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    constant: Collection[str] = ()
    odds: Collection[str] = ()
    trials: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, law: Law, groups: Sequence[str]) -> Needs:
        """Return the needs of a closed law."""
        return cls(
            inputs=tuple(law.inputs),
            outputs=tuple(law.outputs),
            groups=groups,
            n_parameters=law.n_parameters,
            support=law.support,
            simplexes=law.simplexes,
            constant=tuple(name for name, part in law.inputs.items() if not part.varies),
            odds=tuple(name for name, part in law.outputs.items() if part.noise.on == "logit"),
            trials={name: part.noise.trials for name, part in law.outputs.items() if part.noise.counted},
        )


def require(runs: Runs, needs: Needs, allow: Collection[Allow] = ()) -> None:
    """Raise a `DataError` with all of `faults_for`, if any."""
    faults = faults_for(runs, needs, allow)
    if faults:
        raise DataError(faults, runs.name)


def faults_for(runs: Runs, needs: Needs, allow: Collection[Allow] = ()) -> list[Fault]:
    """Return what keeps runs from determining a law.

    Parameters
    ----------
    runs
        The runs.
    needs
        What the law needs.
    allow
        Faults that are meant: ``one_group``, ``few_runs``, ``collinear``.
    """
    check_allow(allow)
    faults = [_missing(runs, role, "input") for role in needs.inputs if role not in runs.inputs]
    faults += [_missing(runs, role, "output") for role in needs.outputs if role not in runs.outputs]
    faults += [no_trials(runs, output, role) for output, role in needs.trials.items() if role not in runs.table]
    faults += [_empty(role) for role in needs.outputs if role in runs.outputs and np.isnan(runs.values(role)).all()]
    faults += _value_faults(runs, needs)
    for group in needs.groups:
        faults += _group_faults(runs, group, allow)
    if len(runs) < needs.n_parameters and "few_runs" not in allow:
        count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
        message = f"{count} cannot determine {needs.n_parameters} parameters"
        remedy = "add runs, hold parameters (fixed={'E': 0}), or allow=['few_runs'] to lean on the priors"
        faults.append(Fault(kind="few_runs", message=message, remedy=remedy))
    if "collinear" not in allow and len(runs) > 1:
        wanted = [role for role in needs.inputs if role in runs.inputs and role not in needs.constant]
        present = {role: runs.values(role) for role in wanted}
        # an accuracy of zero has no logarithm
        faults += _collinear_faults({role: values for role, values in present.items() if (values > 0).all()})
    return faults


def _value_faults(runs: Runs, needs: Needs) -> list[Fault]:
    """Return the faults of values that the law cannot take."""
    faults = _simplex_faults(runs, needs.simplexes)
    # reading the table has seen to it that every other column is positive
    for role in (role for role in (*needs.inputs, *needs.outputs) if role in runs.support):
        values = runs.values(role)
        faults += support_faults(needs.support.get(role, "positive"), role, role, values, values.tolist())
    for role in (role for role in needs.odds if role in runs.outputs):
        values = runs.values(role)
        faults += rows_fault(
            "no_log_odds",
            f"found {{value}}, {role} must lie between 0 and 1, both excluded: its log-odds scatter",
            "give the number of items and count them, noise='binomial' (--n-items YOUR_COLUMN --noise binomial)",
            role,
            np.flatnonzero((values <= 0) | (values >= 1)),
            values.tolist(),
        )
    return faults


def _group_faults(runs: Runs, group: str, allow: Collection[Allow]) -> list[Fault]:
    if not runs.has_group(group):
        close = nearest(group, runs.groups)
        message = f"'{group}' is not a group of these runs{close}; they have {listed(runs.groups)}"
        parts = [part for part in group.split(":") if part not in runs.groups]
        told = ", ".join(f"'{part}'" for part in parts)
        remedy = f"name it when reading the table, groups=[{told}] (--by {','.join(parts)})"
        remedy = f"correct its name, or {remedy}" if close else remedy
        return [Fault(kind="group_missing", message=message, remedy=remedy)]
    if len(runs.levels(group)) == 1 and "one_group" not in allow:
        message = f"every run has {group} '{runs.levels(group)[0]}': one level says nothing about how levels differ"
        remedy = f"leave '{group}' out of by, or allow=['one_group'] to lean on the priors"
        return [Fault(kind="one_group", message=message, remedy=remedy, column=group)]
    return []


def _missing(runs: Runs, role: str, what: Literal["input", "output"]) -> Fault:
    remedy = f"say which column it is, columns={{'{role}': 'YOUR_COLUMN'}} (--column {role}=YOUR_COLUMN)"
    for missing, others, formula in (
        ("flops", {"params", "tokens"}, "6*params*tokens"),
        ("tokens", {"params", "flops"}, "flops/(6*params)"),
        ("params", {"tokens", "flops"}, "flops/(6*tokens)"),
    ):
        if role == missing and others <= {*runs.inputs}:
            remedy = f"compute it, derive={{'{role}': '{formula}'}} (--derive '{role} = {formula}')"
    if role == "chance":
        remedy += (
            "; or read the table by bf.read_long, which knows that of many tasks (--chance TASK=NUMBER for others)"
        )
    if role in runs.groups or role in runs.table:
        remedy = f"name it when reading the table, {what}s=[..., '{role}']"
    have = runs.inputs if what == "input" else runs.outputs
    message = f"the law needs the {what} '{role}'{nearest(role, have)}; the runs have the {what}s {listed(have)}"
    return Fault(kind="missing_column", message=message, remedy=remedy, column=role)


def no_trials(runs: Runs, output: str, role: str) -> Fault:
    """Return what to say of runs that lack the number of items that the noise of an output counts."""
    return Fault(
        kind="missing_column",
        message=f"noise of {output} counts items and needs their number, '{role}'; the runs have "
        f"{', '.join(map(str, runs.table.columns))}",
        remedy=f"say which column it is, {role}='YOUR_COLUMN' (--n-items YOUR_COLUMN), or use noise on the log-odds, "
        f"noise=Noise(on='logit') (--noise student_t)",
        column=role,
    )


def _empty(role: str) -> Fault:
    remedy = "keep runs that have it, or fit a law without it"
    return Fault(kind="missing_value", message=f"no run has a value of '{role}'", remedy=remedy, column=role)


def _simplex_faults(runs: Runs, simplexes: Mapping[str, Sequence[str]]) -> list[Fault]:
    """Return a fault for every run whose proportions do not add up to 1, to the digits they are given with."""
    faults = []
    for whole, parts in simplexes.items():
        if not {*parts} <= {*runs.inputs}:
            continue
        totals = np.sum([runs.values(part) for part in parts], axis=0)
        faults += rows_fault(
            "not_a_mixture",
            f"{', '.join(parts)} add up to {{value}}, expected 1",
            f"give every part of the mixture a column {whole}_..., or divide by their sum",
            whole,
            np.flatnonzero(np.abs(totals - 1) > _SIMPLEX),
            totals.tolist(),
        )
    return faults


def _collinear_faults(inputs: Mapping[str, np.ndarray]) -> list[Fault]:
    """Return one fault for every input that does not vary, or that the inputs before it determine.

    Parameters
    ----------
    inputs
        Positive values over runs; compute (``flops``) is expressed by the others where it can be.
    """
    faults = []
    apart: dict[str, np.ndarray] = {}
    for name in sorted(inputs, key=lambda name: name == "flops"):
        logs = np.log(inputs[name])
        if np.ptp(logs) < 1e-9:
            same = f"{name} is the same in every run ({inputs[name][0]:.6g}): its effect cannot be told"
            remedy = f"use a law without {name}, add runs that vary it, or allow=['collinear'] to lean on the priors"
            faults.append(Fault(kind="collinear", message=same, remedy=remedy, column=name))
            continue
        columns = np.column_stack([*apart.values(), logs])
        centred = columns - columns.mean(axis=0)
        scaled = centred / centred.std(axis=0)
        singular = np.linalg.svd(scaled, compute_uv=False)
        if singular[-1] >= _COLLINEAR * singular[0]:
            apart[name] = logs
        else:
            weights = np.abs(np.linalg.lstsq(scaled[:, :-1], scaled[:, -1], rcond=None)[0])
            used = [other for other, weight in zip(apart, weights, strict=True) if weight > 0.01 * weights.max()]
            faults.append(_relation(name, logs, {other: apart[other] for other in used}))
    return faults


def _relation(name: str, logs: np.ndarray, others: Mapping[str, np.ndarray]) -> Fault:
    """Return the fault that `name` is a product of powers of `others`."""
    design = np.column_stack([np.ones(len(logs)), *others.values()])
    constant, *slopes = np.linalg.lstsq(design, logs, rcond=None)[0]
    terms = [(float(constant), f"{abs(constant):.3g}")] if abs(constant) >= 0.005 else []
    for slope, other in zip(slopes, others, strict=True):
        size = f"{abs(slope):.3g}"
        terms.append((float(slope), f"log {other}" if size == "1" else f"{size} log {other}"))
    # negative terms read better after a positive one
    terms.sort(key=lambda term: term[0] < 0)
    text = " ".join(f"{'-' if value < 0 else '+'} {term}" for value, term in terms).removeprefix("+ ")
    count = len(others) + 1
    number = {2: "one of the two", 3: "two of the three"}.get(count, f"{count - 1} of the {count}")
    return Fault(
        kind="collinear",
        message=f"{', '.join([*others, name])} cannot be told apart: log {name} = {text} in every run",
        remedy=f"pick {number} for the law, add runs off this line, or allow=['collinear'] to lean on the priors",
    )
