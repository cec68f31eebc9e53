"""Laws over vectors: mixture proportions, capability scores.

A card may give inputs and parameters a *dim* and write ``sum(t*share, domain)``. For the levels at hand
(``share_web`` and ``share_code`` make the dim's levels ``web`` and ``code``) `close` turns it into an ordinary
law with a number for each level and every sum written out, which is all that the rest of the package knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bayesfit.errors import SpecError
from bayesfit.expression import (
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Node,
    Number,
    parse_equations,
    parse_expression,
)
from bayesfit.typeset import plain

if TYPE_CHECKING:
    from bayesfit.card import Law
    from bayesfit.priors import Prior

_LEVEL = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")


def levels_in(law: Law, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the levels of each dim of a law, from the names of columns.

    Parameters
    ----------
    law
        A law with vector inputs.
    names
        Columns or roles; ``share_web`` is level ``web`` of the input ``share``.

    Raises
    ------
    SpecError
        If a dim has fewer than two levels there, or two of its inputs have different ones.
    """
    known = [name for name in dict.fromkeys(map(str, names)) if name not in law.inputs]
    found: dict[str, tuple[str, ...]] = {}
    for vector, part in law.inputs.items():
        if not part.dim:
            continue
        levels = tuple(name.removeprefix(f"{vector}_") for name in known if name.startswith(f"{vector}_"))
        if len(levels) < 2:
            raise SpecError(
                f"{law.id} reads {vector} over {part.dim}: one column for each, such as {vector}_web and "
                f"{vector}_code; the table has {', '.join(known) or 'none'}"
            )
        if found.setdefault(part.dim, levels) != levels:
            raise SpecError(
                f"{law.id}: the columns of {vector} speak of {', '.join(levels)}, those of another input over "
                f"{part.dim} of {', '.join(found[part.dim])}; give both in the same order"
            )
    return found


def close(law: Law, levels: Mapping[str, tuple[str, ...]]) -> Law:
    """Return the law with a number for each level in place of every vector.

    Published numbers, checks and the recovery design stay only if the levels are those of the card.

    Raises
    ------
    SpecError
        If levels are missing, cannot be part of a name, or a vector stands outside a sum over its dim.
    """
    vectors = law.vectors
    for dim in set(vectors.values()):
        if dim not in levels:
            raise SpecError(f"{law.id} needs levels of its dim '{dim}'")
        for level in levels[dim]:
            if not _LEVEL.fullmatch(level):
                raise SpecError(
                    f"'{level}' cannot be part of a name in a formula; rename the column, in letters and digits"
                )

    def written_out(expression: Expression) -> Expression:
        return parse_expression(plain(_written_out(expression.node, vectors, levels, {}, expression)))

    def spread[T](parts: Mapping[str, T]) -> dict[str, T]:
        spread: dict[str, T] = {}
        for name, part in parts.items():
            for level in levels[vectors[name]] if name in vectors else ("",):
                spread[f"{name}_{level}" if level else name] = part
        return spread

    inputs = {
        name: replace(part, dim="", about=f"{part.about} ({name})") if part.dim else part
        for name, part in spread(law.inputs).items()
    }
    for name, part in law.inputs.items():
        if part.dim and part.support == "simplex":
            for level in levels[part.dim]:
                inputs[f"{name}_{level}"] = replace(inputs[f"{name}_{level}"], whole=name)
    parameters = {
        name: replace(part, prior=_prior_at(part.prior, level, vectors), dim="", symbol="") if part.dim else part
        for name, part, level in (
            (f"{name}_{level}" if level else name, part, level)
            for name, part in law.parameters.items()
            for level in (levels[part.dim] if part.dim else ("",))
        )
    }
    equations = "\n".join(
        f"{equation.target} = {plain(_written_out(equation.expression.node, vectors, levels, {}, equation.expression))}"
        for equation in law.equations
    )
    own = {dim: tuple(levels[dim]) for dim in set(vectors.values())} == dict(law.levels)
    recovery = law.recovery if own else None
    if recovery is not None:
        recovery = replace(recovery, inputs=spread(recovery.inputs))
    return replace(
        law,
        equations=parse_equations(equations),
        inputs=inputs,
        parameters=parameters,
        fixed=spread(law.fixed),
        derived={name: replace(part, formula=written_out(part.formula)) for name, part in law.derived.items()},
        from_paper={name: written_out(formula) for name, formula in law.from_paper.items()},
        levels={},
        published=law.published if own else {},
        checks=law.checks if own else (),
        recovery=recovery,
    )


def _prior_at(prior: Prior, level: str, vectors: Mapping[str, str]) -> Prior:
    """Return a vector's prior for one level: ``max.score`` becomes ``max.score_<level>``."""

    def named(node: Node) -> Node:
        match node:
            case Name(name=name, span=span) if name.rpartition(".")[2] in vectors:
                return Name(f"{name}_{level}", span)
            case Negative(operand=operand, span=span):
                return Negative(named(operand), span)
            case Binary(operator=operator, left=left, right=right, span=span):
                return Binary(operator, named(left), named(right), span)
            case Call(function=function, arguments=arguments, dim=dim, span=span):
                return Call(function, tuple(named(argument) for argument in arguments), dim, span)
        return node

    arguments = tuple(parse_expression(plain(named(argument.node))) for argument in prior.arguments)
    return replace(prior, arguments=arguments)


def _written_out(
    node: Node,
    vectors: Mapping[str, str],
    levels: Mapping[str, tuple[str, ...]],
    at: Mapping[str, str],
    expression: Expression,
) -> Node:
    """Return a node with sums written out; `at` holds the level of each dim that is summed over."""

    def inner(part: Node) -> Node:
        return _written_out(part, vectors, levels, at, expression)

    match node:
        case Name(name=name, span=span):
            summary, dot, column = name.rpartition(".")
            dim = vectors.get(column)
            if dim is None:
                return node
            if dim not in at:
                raise SpecError(
                    f"'{name}' has a value for each {dim}; use it inside sum(..., {dim}), in {expression.text}"
                )
            return Name(f"{summary}{dot}{column}_{at[dim]}", span)
        case Number():
            return node
        case Negative(operand=operand, span=span):
            return Negative(inner(operand), span)
        case Binary(operator=operator, left=left, right=right, span=span):
            return Binary(operator, inner(left), inner(right), span)
        case Call(function="sum", arguments=(argument,), dim=str(dim), span=span) if dim in levels:
            terms = [_written_out(argument, vectors, levels, {**at, dim: level}, expression) for level in levels[dim]]
            total = terms[0]
            for term in terms[1:]:
                total = Binary("+", total, term, span)
            return total
        case Call(function=function, arguments=arguments, dim=dim, span=span):
            return Call(function, tuple(inner(argument) for argument in arguments), dim, span)
