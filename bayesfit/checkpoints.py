"""Checkpoints of one training run are not independent: a law in which every run has a shift of its own."""

from __future__ import annotations

from dataclasses import replace

from bayesfit.card import Law, Limits, Parameter
from bayesfit.errors import SpecError
from bayesfit.expression import Equation, parse_expression
from bayesfit.noise import Noise
from bayesfit.priors import Prior

#: Half-normal scale of how far runs lie from the law: on the log (5%), the log-odds, or in the output's spread.
_ON_LOG, _ON_LOGIT = 0.05, 0.3


def with_run_shifts(law: Law) -> Law:
    """Return the law with a shift of every observed output that belongs to the training run.

    Parameters
    ----------
    law
        A closed law.

    Returns
    -------
    Law
        Every output's equation is that of a typical run (``loss_typical``) with a shift (``loss_shift``):
        a factor where noise acts on the log, a term where it acts on the output, a change of the log-odds
        for shares and counts of correct answers. Equations downstream see the run's own value.

    Notes
    -----
    The rows of a run agree better with each other than with the law, since its shape, data order and
    seed stay the same. Taken as independent they would make the band too narrow by the square root of their
    number. The shifts scatter about zero; how widely is found from the runs, and where rows of a run are
    no more alike than others it is found to be near zero.
    """
    if any(parameter.role == "run" for parameter in law.parameters.values()):
        return law
    equations: list[Equation] = []
    shifts: dict[str, Parameter] = {}
    for equation in law.equations:
        if equation.target not in law.outputs:
            equations.append(equation)
            continue
        typical, shift = f"{equation.target}_typical", f"{equation.target}_shift"
        for name in (typical, shift):
            if name in {*law.inputs, *law.parameters, *law.derived, *(one.target for one in law.equations)}:
                raise SpecError(f"law {law.id} has a '{name}' of its own, which checkpoints need; rename it")
        text, spread = _shifted(law.outputs[equation.target].noise, typical, shift)
        equations += [
            Equation(typical, equation.expression),
            Equation(equation.target, parse_expression(text)),
        ]
        shifts[shift] = Parameter(
            prior=Prior.parse("Normal(0, 0)"),
            role="run",
            spread=spread,
            about=f"how far a training run's {equation.target} lies off the law",
        )
    # checks and bounds are those of the law itself
    return replace(
        law,
        equations=tuple(equations),
        parameters={**law.parameters, **shifts},
        limits=Limits(),
        checks=(),
        recovery=None,
    )


def _shifted(noise: Noise, typical: str, shift: str) -> tuple[str, float]:
    """Return the formula of a run's own value, and the scale of the shifts' spread."""
    if noise.kind == "negative_binomial":
        # tries, whose least number stays the number of passes
        return f"{noise.trials} + ({typical} - {noise.trials})*exp({shift})", _ON_LOGIT
    if noise.counted or noise.on == "logit":
        return f"{typical}/({typical} + (1 - {typical})*exp(-{shift}))", _ON_LOGIT
    if noise.on == "log":
        return f"{typical}*exp({shift})", _ON_LOG
    return f"{typical} + {shift}", _ON_LOG
