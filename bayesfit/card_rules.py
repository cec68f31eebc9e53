"""What a card must hold together: names, formulas, evidence and checks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, get_args

from bayesfit.card import Role, Support, Trend, Verified, expected
from bayesfit.errors import SpecError, nearest
from bayesfit.expression import FUNCTIONS, SEEN, SUMMARIES, parse_expression

if TYPE_CHECKING:
    from bayesfit.card import Law, Parameter

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*")
#: Names that fits use for themselves, and endings that they add to parameter names.
_RESERVED = frozenset({"chain", "draw", "run", "scenario", "z", "sigma", "level", "variable"})
#: Names of the model's own arrays and variables, which inputs and outputs would get in the way of.
_IN_MODEL = frozenset({"w", "latent", "information", "pull", "data"})
_RESERVED_PARTS = ("_population", "_sd_", "_offset_")


def validate(law: Law) -> None:
    """Refuse a law whose parts do not fit together."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", law.id):
        raise SpecError(f"a law's id is lower-case words joined by underscores, found '{law.id}'")
    targets = {equation.target for equation in law.equations}
    names = [*law.inputs, *law.parameters, *targets, *law.derived]
    for name in names:
        if not _IDENTIFIER.fullmatch(name) or name in FUNCTIONS or name in (*SUMMARIES, SEEN, "has"):
            raise SpecError(
                f"law {law.id}: '{name}' cannot be the name of an input, parameter, output or derived quantity"
            )
        own = name in _IN_MODEL and (name in law.inputs or name in law.outputs)
        if name in _RESERVED or own or any(part in name for part in _RESERVED_PARTS):
            raise SpecError(f"law {law.id}: the name '{name}' is reserved for fits; call it something else")
        if names.count(name) > 1:
            raise SpecError(f"law {law.id}: '{name}' is used for two things")
    summaries = {f"{summary}.{column}" for summary in SUMMARIES for column in (*law.inputs, *law.outputs)}
    for equation in law.equations:
        # what a run showed of an output stands beside what the law says of it, which is worked out first
        seen = {f"{SEEN}.{name}" for name in law.outputs if name in equation.expression.names}
        equation.expression.check({*law.inputs, *law.parameters, *targets, *summaries, *seen})
    used = frozenset[str]().union(*(equation.expression.names for equation in law.equations))
    used |= {part.noise.trials for part in law.outputs.values() if part.noise.counted}
    for name in (*law.inputs, *law.parameters):
        if name not in used and not any(f"{summary}.{name}" in used for summary in SUMMARIES):
            raise SpecError(f"law {law.id}: '{name}' is declared and does not occur in the equations")
    if not law.outputs or law.outputs.keys() - targets:
        raise SpecError(f"law {law.id}: outputs must be equations; found {[*law.outputs]}, equations {sorted(targets)}")
    for name, parameter in law.parameters.items():
        _validate_parameter(law, name, parameter, summaries)
    if law.population is not None:
        law.population.require(law)
    if law.dims:
        # all the rest is about numbers, and those come with levels
        if law.levels:
            law.closed()
        return
    earlier: list[str] = []
    for name, derived in law.derived.items():
        derived.formula.check({*law.parameters, *law.sigmas.values(), *summaries, *earlier})
        earlier.append(name)
    for name in law.fixed:
        if name not in law.parameters:
            raise SpecError(f"law {law.id}: no parameter '{name}'{nearest(name, law.parameters)}")
    _validate_way_back(law, summaries)
    for bound in (law.limits.floor, law.limits.ceiling):
        if bound:
            parse_expression(bound).check({*law.parameters, *law.inputs, *summaries})
    _validate_evidence(law)
    _validate_checks(law)


def _validate_way_back(law: Law, summaries: set[str]) -> None:
    """Refuse formulas of `from_paper` that use what is not known there, or that lead to no parameter."""
    steps: list[str] = []
    formulas = [*law.from_paper.values()]
    for place, (name, formula) in enumerate(law.from_paper.items()):
        formula.check({*law.parameters, *law.derived, *summaries, *steps})
        if name in law.parameters:
            continue
        if not any(name in later.names for later in formulas[place + 1 :]):
            raise SpecError(
                f"law {law.id}: from_paper has no parameter '{name}'{nearest(name, law.parameters)}, and no formula "
                f"below it uses it"
            )
        # a step of a paper's own name would hide what the paper gives
        if name in law.derived or name in FUNCTIONS or not _IDENTIFIER.fullmatch(name):
            raise SpecError(
                f"law {law.id}: '{name}' cannot be the name of a step of from_paper; choose one that is no derived "
                "quantity and no function"
            )
        steps.append(name)


def _validate_parameter(law: Law, name: str, parameter: Parameter, summaries: set[str]) -> None:
    if parameter.role not in get_args(Role):
        raise SpecError(
            f"law {law.id}: role '{parameter.role}' of {name} is unknown{nearest(parameter.role, get_args(Role))}; "
            f"known: {', '.join(get_args(Role))}"
        )
    unknown = sorted(parameter.prior.names - summaries)
    if unknown:
        raise SpecError(
            f"law {law.id}: the prior of {name} uses {unknown[0]}, which is not a summary of its inputs or outputs"
        )
    if parameter.spread is not None and not parameter.spread > 0:
        raise SpecError(f"law {law.id}: spread of {name} must be positive, found {parameter.spread}")
    if parameter.spread_sd < 0:
        raise SpecError(f"law {law.id}: spread_sd of {name} must not be negative, found {parameter.spread_sd}")
    if bool(parameter.along) != (parameter.role == "structure"):
        raise SpecError(
            f"law {law.id}: {name} has the role {parameter.role!r} and along = {parameter.along!r}; a parameter that "
            f"drifts needs the role 'structure' and the axis it drifts along, and no other has one"
        )
    below = law.parameters.get(parameter.above)
    if parameter.above and (below is None or below is parameter or below.dim or parameter.dim):
        raise SpecError(
            f"law {law.id}: {name} has above = '{parameter.above}'{nearest(parameter.above, law.parameters)}; expected "
            "another parameter, and vectors have no order"
        )
    if parameter.along:
        parse_expression(parameter.along).check(law.inputs)


def _validate_evidence(law: Law) -> None:
    if law.verified and law.verified not in get_args(Verified):
        raise SpecError(
            f"law {law.id} says verified = '{law.verified}'{nearest(law.verified, get_args(Verified))}; "
            f"known: {', '.join(get_args(Verified))}"
        )
    for name, part in law.inputs.items():
        if part.support not in get_args(Support):
            raise SpecError(
                f"law {law.id}: support '{part.support}' of {name} is unknown"
                f"{nearest(part.support, get_args(Support))}; known: {', '.join(get_args(Support))}"
            )
    for key, published in law.published.items():
        if published.verified not in get_args(Verified):
            raise SpecError(
                f"law {law.id}: published '{key}' says verified = '{published.verified}'; "
                f"known: {', '.join(get_args(Verified))}"
            )
        allowed = {*law.parameters, *law.derived}
        for name in (*published.values, *published.intervals, *published.se):
            if name not in allowed:
                raise SpecError(
                    f"law {law.id}: published '{key}' gives '{name}', which is neither a parameter nor a derived "
                    f"quantity{nearest(name, allowed)}"
                )
    for name, trend in law.limits.monotone.items():
        if name not in law.inputs or trend not in get_args(Trend):
            raise SpecError(f"law {law.id}: monotone {name} = '{trend}' needs an input and one of {get_args(Trend)}")
    if law.recovery is not None:
        missing = sorted(law.free.keys() - law.recovery.truth.keys()) + sorted(
            law.inputs.keys() - law.recovery.inputs.keys()
        )
        if missing:
            raise SpecError(f"law {law.id}: the recovery test gives nothing for {', '.join(missing)}")
        _known(law, "the recovery test", law.recovery.truth, law.parameters)
        _known(law, "the recovery test", law.recovery.inputs, (*law.inputs, "n_items"))
        for name, values in law.recovery.inputs.items():
            signed = name in law.inputs and law.inputs[name].support == "real"
            if len(values) < 2 or (len(values) == 2 and not (values[0] < values[1] and (signed or values[0] > 0))):
                raise SpecError(
                    f"law {law.id}: the recovery test needs {name} = [low, high] or more than two values, "
                    f"found {list(values)}"
                )


def _validate_checks(law: Law) -> None:
    targets = [equation.target for equation in law.equations]
    for check in law.checks:
        if check.published and check.published not in law.published:
            raise SpecError(f"law {law.id}: a check uses coefficients '{check.published}', which the card lacks")
        if bool(check.published) == bool(check.parameters):
            raise SpecError(f"law {law.id}: a check needs one of published = and parameters =")
        _known(law, "a check", check.parameters, (*law.parameters, *law.derived))
        _known(law, "a check", check.inputs, (*law.inputs, *(f"ref.{name}" for name in law.inputs)))
        _known(law, "a check", check.expect, (*targets, *law.derived))
        missing = sorted(law.inputs.keys() - check.inputs.keys())
        if missing and (check.inputs or not check.expect.keys() <= law.derived.keys()):
            raise SpecError(f"law {law.id}: a check gives no value for the input {missing[0]}")
        for name, text in check.expect.items():
            try:
                expected(text)
            except ValueError:
                raise SpecError(
                    f"law {law.id}: a check expects {name} = '{text}'; expected a number such as \"1.92084\""
                ) from None


def _known(law: Law, where: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that the law does not have."""
    for name in names:
        if name not in known:
            raise SpecError(
                f"law {law.id}: {where} names '{name}'{nearest(name, known)}; known here: {', '.join(known)}"
            )
