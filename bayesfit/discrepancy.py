"""A law's own error: a term that is pinned inside the runs and widens with distance beyond them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from bayesfit.card import Law, Parameter
from bayesfit.errors import FormulaError, SpecError, nearest
from bayesfit.expression import parse_expression
from bayesfit.priors import Prior
from bayesfit.shifts import with_shifts

if TYPE_CHECKING:
    from bayesfit.runs import Runs

Kind = Literal["drift"]

#: Median scale of a path: the slope's change over a decade, on the log and on the log-odds; and the standard
#: deviation of its logarithm.
_SCALE, _SCALE_SD = {"log": 0.012, "logit": 0.1}, 0.8
#: Axes by preference: what a law reads of them decides.
_AXES = (("flops", "flops"), ("params*tokens", "params tokens"), ("params", "params"), ("tokens", "tokens"))


@dataclass(frozen=True, kw_only=True)
class Structure:
    """How a law may be wrong.

    Parameters
    ----------
    kind
        ``"drift"``: on the scale on which noise acts, outputs lie off the law by a path along an axis, an integrated
        Wiener process whose mean and trend over the runs are taken off (see `bayesfit.knots`). So the law's
        local exponent drifts, by about the path's scale times the square root of the decades travelled.
    along
        The axis, a formula over inputs such as ``"params*tokens"``; by default compute, or what the law has of it.
    scale, scale_sd
        Prior of the path's scale: its median (per decade to the power 3/2) and the standard deviation of its log.
        By default .012 where noise acts on the log and .1 on log-odds, and .8.
    """

    kind: Kind = "drift"
    along: str = ""
    scale: float | None = None
    scale_sd: float = _SCALE_SD

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise SpecError(
                f"structure '{self.kind}' is unknown{nearest(str(self.kind), get_args(Kind))}; "
                f"known: {', '.join(get_args(Kind))}"
            )
        if self.scale is not None and not self.scale > 0:
            raise SpecError(f"the scale of structure must be positive, found {self.scale}")
        if not self.scale_sd > 0:
            raise SpecError(f"scale_sd of structure must be positive, found {self.scale_sd}")
        if self.along:
            parse_expression(self.along)


def with_structure(law: Law, structure: Structure | Kind, runs: Runs) -> Law:
    """Return the law with a path of its own error for every observed output.

    Parameters
    ----------
    law
        A closed law.
    structure
        How it may be wrong, or the kind.
    runs
        Runs, whose values tell whether an axis is one.

    Returns
    -------
    Law
        ``loss`` is now ``loss_law``, what the law says, with ``loss_drift``.

    Raises
    ------
    SpecError
        If there is no axis along which runs differ.
    """
    told = Structure(kind=structure) if isinstance(structure, str) else structure
    if law.drifts:
        return law
    along = told.along or _axis(law, runs)
    _check_axis(along, law, runs)
    paths = {}
    for output, part in law.outputs.items():
        scale = told.scale or _SCALE["logit" if part.noise.counted or part.noise.on == "logit" else "log"]
        paths[output] = Parameter(
            prior=Prior.parse("Normal(0, 0)"),
            role="structure",
            spread=scale,
            spread_sd=told.scale_sd,
            along=along,
            about=f"how far {output} drifts off the law along {along}",
        )
    return with_shifts(law, "law", "drift", paths)


def assumed(law: Law) -> str:
    """Return what a band beyond the runs rests on, in words."""
    if law.drifts:
        return "the band's width there rests on how far laws are taken to drift"
    return "the band assumes that the law holds there"


def law_name(output: str) -> str:
    """Return the name of the equation that says what the law alone gives for an output."""
    return f"{output}_law"


def _axis(law: Law, runs: Runs) -> str:
    for axis, needed in _AXES:
        if {*needed.split()} <= {*law.inputs}:
            return axis
    for name, part in law.inputs.items():
        if part.support == "positive" and part.varies and np.ptp(np.log(runs.values(name))) > 0:
            return name
    raise SpecError(
        f"law {law.id} has no positive input along which it could drift; name an axis, "
        f"structure=bf.Structure(along='...'), or trust the law, structure=None"
    )


def _check_axis(along: str, law: Law, runs: Runs) -> None:
    axis = parse_expression(along)
    try:
        axis.check(law.inputs)
    except FormulaError as error:
        raise SpecError(f"the axis of structure must be a formula over inputs of law {law.id}: {error}") from None
    values = np.asarray(axis.evaluate({name: runs.values(name) for name in axis.names}), dtype=float)
    if not (values > 0).all() or values.min() == values.max():
        raise SpecError(
            f"the axis of structure, {along}, must be positive and differ between runs; found {values.min():.6g} to "
            f"{values.max():.6g}"
        )
