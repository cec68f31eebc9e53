"""An exponent on all that a law has above its floor: terms that do not simply add up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from bayesfit.card import Derived, Law, Limits, Parameter
from bayesfit.expression import SUMMARIES, Binary, Call, Equation, Name, Node, Number, parse_expression
from bayesfit.priors import Prior

_POSITIVE_CALLS = {"exp", "sqrt", "softplus", "expit"}


def with_outer_exponent(law: Law) -> Law:
    """Return the law with an exponent on the sum of its terms above a floor.

    Parameters
    ----------
    law
        A closed law.

    Returns
    -------
    Law
        An output ``loss = E + a*... + b*...`` becomes ``loss_sum``, what this is above E at the geometric mean of the
        inputs ``loss_slope`` (``a + b``), and
        ``loss = E + (loss_level - E)*((loss_sum - E)/loss_slope)**(loss_slope/(loss_level - E))``, which is undefined
        where E lies above the level. The new parameter ``loss_level`` is the loss at that mean; the exponent is the
        one derived quantity, ``loss_outer``, since those in a paper's notation do not hold with it. Other outputs
        stay: with one term above the floor there is nothing that this would add to its exponent, and terms must be
        positive for any value of inputs and parameters.

    Notes
    -----
    With an exponent of 1 it is the law. Kaplan's law of parameters and tokens is such a sum with an exponent; the
    sum of two power laws that Chinchilla has is none. Which holds can hardly be seen in small runs, and it matters.

    Level and slopes at the centre are what runs tell, so they are the parameters: a and b are the terms' slopes there
    by their exponents, as in the law itself. The floor alone is left open, and the exponent follows from it. With the
    exponent as a parameter, and amplitudes in place of slopes, floor and exponent lie on a narrow ridge that bends.
    """
    equations: list[Equation] = []
    levels: dict[str, Parameter] = {}
    exponents: dict[str, Derived] = {}
    for equation in law.equations:
        floor = _floor(law, equation) if equation.target in law.outputs else None
        if floor is None:
            equations.append(equation)
            continue
        name = equation.target
        total, slope, level = f"{name}_sum", f"{name}_slope", level_name(name)
        text = equation.expression.text
        at_centre = re.sub(r"(?<![\w.])([A-Za-z_]\w*)(?![\w(])", lambda m: _centred(law, m[1]), text)
        # by its logarithm, so that there is no law where the floor lies above the level
        grown = f"{slope}/({level} - {floor})*log(({total} - {floor})/{slope})"
        bent = f"{floor} + exp(log({level} - {floor}) + {grown})"
        equations += [
            Equation(total, equation.expression),
            Equation(slope, parse_expression(f"({at_centre}) - {floor}")),
            Equation(name, parse_expression(bent)),
        ]
        levels[level] = Parameter(
            prior=Prior.parse(f"LogitNormal(-1, 1.5, min.{name}, 2*max.{name})"),
            role="location",
            above=floor,
            unit=law.outputs[name].unit,
            about=f"{name} at the geometric mean of the inputs",
        )
        exponents[f"{name}_outer"] = Derived(
            formula=parse_expression(f"(({at_centre}) - {floor})/({level} - {floor})"),
            about=f"exponent on what {name} has above {floor}; 1 in the law itself",
        )
    if not levels:
        return law
    # checks, bounds, and coefficients in a paper's notation are those of the law itself: with an exponent about them,
    # a and b are no longer what a paper's A and B are made from
    return replace(
        law,
        equations=tuple(equations),
        parameters={**law.parameters, **levels},
        derived=exponents,
        from_paper={},
        published={},
        limits=Limits(),
        checks=(),
        recovery=None,
    )


def level_name(output: str) -> str:
    """Return the name of the parameter that an outer exponent brings to an output."""
    return f"{output}_level"


def _centred(law: Law, name: str) -> str:
    return f"ref.{name}" if name in law.inputs else name


def _floor(law: Law, equation: Equation) -> str | None:
    """Return the floor of a sum of it and two positive terms or more, if an equation is one."""
    terms = list(_terms(equation.expression.node))
    floors = [term.name for term in terms if isinstance(term, Name) and term.name in law.parameters]
    if len(floors) != 1 or len(terms) < 3 or not all(_is_positive(term, law) for term in terms):
        return None
    for name in equation.expression.names:
        column = name.partition(".")[2] if name.partition(".")[0] in SUMMARIES else name
        # another equation may hold inputs that have no geometric mean, or more of them
        if name not in law.parameters and (column not in law.inputs or law.inputs[column].support != "positive"):
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
