"""Move a law's outputs on the scale on which their noise acts: a law rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bayesfit.card import Law, Limits, Parameter
from bayesfit.errors import SpecError
from bayesfit.expression import Equation, parse_expression
from bayesfit.noise import Noise


def with_shifts(law: Law, before: str, parameters: Mapping[str, Mapping[str, Parameter]]) -> Law:
    """Return the law with parameters that move each of its outputs on the scale on which noise acts.

    Parameters
    ----------
    law
        A closed law.
    before
        An output's equation becomes ``loss_<before>``.
    parameters
        The parameters of each output by shift; they are called ``loss_<shift>`` and add up.
    """
    equations: list[Equation] = []
    shifts: dict[str, Parameter] = {}
    for equation in law.equations:
        if equation.target not in parameters:
            equations.append(equation)
            continue
        unmoved = f"{equation.target}_{before}"
        mine = {f"{equation.target}_{shift}": part for shift, part in parameters[equation.target].items()}
        for name in (unmoved, *mine):
            if name in {*law.inputs, *law.parameters, *law.derived, *(one.target for one in law.equations)}:
                raise SpecError(f"law {law.id} has a '{name}' of its own, which this fit needs; rename it")
        moved = " + ".join(mine) if len(mine) == 1 else f"({' + '.join(mine)})"
        text = _shifted(law.outputs[equation.target].noise, unmoved, moved)
        equations += [Equation(unmoved, equation.expression), Equation(equation.target, parse_expression(text))]
        shifts |= mine
    # checks and bounds are those of the law itself
    return replace(
        law,
        equations=tuple(equations),
        parameters={**law.parameters, **shifts},
        limits=Limits(),
        checks=(),
        recovery=None,
    )


def _shifted(noise: Noise, typical: str, shift: str) -> str:
    """Return the formula of a moved value."""
    if noise.kind == "negative_binomial":
        # tries, whose least number stays the number of passes
        return f"{noise.trials} + ({typical} - {noise.trials})*exp({shift})"
    if noise.counted or noise.on == "logit":
        return f"{typical}/({typical} + (1 - {typical})*exp(-{shift}))"
    if noise.on == "log":
        return f"{typical}*exp({shift})"
    return f"{typical} + {shift}"
