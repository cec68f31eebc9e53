"""An exponent on all that a law has above its floor: terms that do not simply add up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from bayesfit.card import Law, Limits, Parameter
from bayesfit.expression import Binary, Call, Equation, Name, Node, Number, parse_expression
from bayesfit.priors import Prior

_POSITIVE_CALLS = {"exp", "sqrt", "softplus", "expit"}


def with_outer_exponent(law: Law, prior: Prior) -> Law:
    """Return the law with an exponent on the sum of its terms above a floor.

    Parameters
    ----------
    law
        A closed law.
    prior
        Prior of the exponent.

    Returns
    -------
    Law
        An output ``loss = E + a*... + b*...`` becomes ``loss_sum``, that of the geometric mean of the inputs
        ``loss_centre``, and ``loss = E + (loss_centre - E)*((loss_sum - E)/(loss_centre - E))**loss_outer``. Other
        outputs stay: with one term above the floor there is nothing that this would add to its exponent, and terms
        must be positive for any value of inputs and parameters.

    Notes
    -----
    With an exponent of 1 it is the law. Kaplan's law of parameters and tokens is such a sum with an exponent; the
    sum of two power laws that Chinchilla has is none. Which holds can hardly be seen in small runs, and it matters.
    A Box-Cox form, which leaves level and slopes at the centre alone, was tried: floors below zero fit small runs
    as well, and on Farseer's it ended in one of them.
    """
    equations: list[Equation] = []
    outer: dict[str, Parameter] = {}
    for equation in law.equations:
        floor = _floor(law, equation) if equation.target in law.outputs else None
        if floor is None:
            equations.append(equation)
            continue
        name = equation.target
        total, centre, exponent = f"{name}_sum", f"{name}_centre", f"{name}_outer"
        text = equation.expression.text
        at_centre = re.sub(r"(?<![\w.])([A-Za-z_]\w*)(?![\w(])", lambda m: _centred(law, m[1]), text)
        above = f"({total} - {floor})/({centre} - {floor})"
        bent = f"{floor} + ({centre} - {floor})*({above})**{exponent}"
        equations += [
            Equation(total, equation.expression),
            Equation(centre, parse_expression(at_centre)),
            Equation(name, parse_expression(bent)),
        ]
        outer[exponent] = Parameter(
            prior=prior,
            role="outer",
            varies=False,
            about=f"exponent on what {name} has above {floor}; 1 in the law itself",
        )
    if not outer:
        return law
    # checks and bounds are those of the law itself
    return replace(
        law,
        equations=tuple(equations),
        parameters={**law.parameters, **outer},
        limits=Limits(),
        checks=(),
        recovery=None,
    )


def _centred(law: Law, name: str) -> str:
    return f"ref.{name}" if name in law.inputs else name


def _floor(law: Law, equation: Equation) -> str | None:
    """Return the floor of a sum of it and two positive terms or more, if an equation is one."""
    terms = list(_terms(equation.expression.node))
    floors = [term.name for term in terms if isinstance(term, Name) and term.name in law.parameters]
    if len(floors) != 1 or len(terms) < 3 or not all(_is_positive(term, law) for term in terms):
        return None
    return floors[0]


def _terms(node: Node) -> Iterator[Node]:
    """Yield the terms of a sum."""
    if isinstance(node, Binary) and node.operator == "+":
        yield from _terms(node.left)
        yield from _terms(node.right)
    else:
        yield node


def _is_positive(node: Node, law: Law) -> bool:
    """Return whether a term is positive whatever the values of inputs and parameters."""
    match node:
        case Number(value=value):
            return value > 0
        case Name(name=name):
            if name in law.parameters:
                return _never_negative(law.parameters[name].prior)
            column = name.partition(".")[2] or name
            return column in law.inputs and law.inputs[column].support == "positive"
        case Binary(operator="+" | "*" | "/", left=left, right=right):
            return _is_positive(left, law) and _is_positive(right, law)
        case Binary(operator="**", left=left):
            return _is_positive(left, law)
        case Call(function=function):
            return function in _POSITIVE_CALLS
        case _:
            return False


def _never_negative(prior: Prior) -> bool:
    if prior.family == "LogitNormal":
        lower = prior.arguments[2].node
        return isinstance(lower, Number) and lower.value >= 0
    return prior.family in ("LogNormal", "HalfNormal")
