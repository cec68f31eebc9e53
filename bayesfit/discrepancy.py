"""A law's own error: a term that is pinned inside the runs and widens with distance beyond them."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from bayesfit.card import Law, Parameter
from bayesfit.errors import FormulaError, SpecError, nearest
from bayesfit.expression import parse_expression
from bayesfit.outer import level_name, with_outer_exponent
from bayesfit.priors import Prior
from bayesfit.shifts import with_shifts
from bayesfit.track_record import PUBLIC, Of, TrackRecord, drifts_on, path_unit, track_record

if TYPE_CHECKING:
    from bayesfit.runs import Runs

Kind = Literal["drift"]
#: A path where public studies say how far such laws drift; see `with_structure`.
Auto = Literal["auto"]
_KINDS = (*get_args(Auto), *get_args(Kind))
#: What a band allows for beyond noise and what is not known of parameters: nothing; a path of the law's error;
#: a path and an exponent on the law's terms.
Bands = Literal["plain law", "path alone", "drift"]

#: Standard deviation of the log of a scale that is named.
_SCALE_SD = 0.8
#: Fewest runs, of each family, with which a law drifts unless told: studies that bands were tested on have as many, and
#: with eight a path took a minute of sampling to say next to nothing.
_FEWEST_RUNS = 12
#: Outputs that the public record speaks of, and what their path is on there: no other output has been followed.
#: A task's loss has the scale of losses, the nearest there is.
_RECORDED: Mapping[str, Of] = {"loss": "log", "task_loss": "log", "accuracy": "logit"}
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
        ``"auto"``: so where `with_structure` says that laws drift unless told, and not elsewhere.
    outer
        Whether the terms of a sum above a floor also get an exponent together (see `bayesfit.outer`), so that the path
        need not make up for it: bands of laws of several terms are sharper with it. Not where the fit has a
        `population`, which speaks of the law's own terms.
    along
        The axis, a formula over inputs such as ``"params*tokens"``; by default compute, or what the law has of it.
        Several axes, ``("params", "tokens")``, have a path each, and these add up.
    scale, scale_sd
        Prior of the path's scale: its median (per decade to the power 3/2; where noise acts on the output itself, as a
        share of the runs' median absolute value) and the standard deviation of its log, .8 where only `scale` is given.
        By default what the track record says of a study to come.
    record
        The track record: that of public studies by default, the path of a file or a `bayesfit.TrackRecord` of your
        own.
    without
        A study or paper, or several, that the record is to leave out: what you forecast must not be its own evidence.
    """

    kind: Kind | Auto = "drift"
    outer: bool = True
    along: str | tuple[str, ...] = ""
    scale: float | None = None
    scale_sd: float | None = None
    record: str | Path | TrackRecord = PUBLIC
    without: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        if not (isinstance(self.kind, str) and self.kind in _KINDS):
            raise _unknown(self.kind)
        if not isinstance(self.outer, bool):
            raise SpecError(f"outer of structure must be True or False, found {self.outer!r}")
        for name in ("scale", "scale_sd"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < np.inf):
                raise SpecError(
                    f"the {name} of structure must be positive, found {value!r}; give a number, or None for what the "
                    "track record says"
                )
        if not isinstance(self.record, str | Path | TrackRecord):
            raise SpecError(
                f"the record of structure must be a name, the path of a file or a bayesfit.TrackRecord, found "
                f"{reprlib.repr(self.record)}"
            )
        if not _are_texts(self.without):
            raise SpecError(
                f"structure leaves out a study by its name, or several, without=['Gadre et al. 2024']; found "
                f"{reprlib.repr(self.without)}"
            )
        self._check_axes()

    def _check_axes(self) -> None:
        if not _are_texts(self.along):
            raise SpecError(
                f"the axis of structure must be a formula such as along='params*tokens', or several; found "
                f"{reprlib.repr(self.along)}"
            )
        texts = [parse_expression(axis).text for axis in self.axes]
        for place, text in enumerate(texts):
            if text in texts[:place]:
                raise SpecError(f"structure names the axis {text} twice, and a law drifts along each once; keep one")

    def path_prior(self, of: Of) -> tuple[float, float]:
        """Return the median of the path's scale on the log or log-odds, and the standard deviation of its log."""
        own_sd = None if self.scale_sd is None else float(self.scale_sd)
        if self.scale is not None:
            return float(self.scale), own_sd or _SCALE_SD
        without = (self.without,) if isinstance(self.without, str) else tuple(self.without)
        median, sd = track_record(self.record).prior(of, without)
        return median, own_sd or sd

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that were named."""
        return ((self.along,) if self.along else ()) if isinstance(self.along, str) else tuple(self.along)


def with_structure(
    law: Law,
    structure: Structure | Kind | Auto | None,
    runs: Runs,
    by: Sequence[str] = (),
    checkpoints: str = "",
) -> Law:
    """Return the law with a path of its own error for every observed output.

    Parameters
    ----------
    law
        A closed law.
    structure
        How it may be wrong, or the kind. None leaves it as it is. ``"auto"`` gives it a path where public studies say
        how far such laws drift (a record of your own then says how far, not whether): laws of losses and of accuracies
        on the log-odds, with twelve runs or more that differ in compute, parameters or tokens. By one group each of its
        levels has to have twelve, and checkpoints to be of twelve training runs. It leaves others: of other outputs
        there is no record, paths of few runs and of several groups, checkpoints among them, take long, and a population
        speaks of the law's own terms.
    runs
        Runs, whose values tell whether an axis is one.
    by, checkpoints
        Groups that its parameters, and shifts of training runs, will vary over; they matter to ``"auto"``.

    Returns
    -------
    Law
        ``loss`` is now ``loss_law``, what the law says, with ``loss_drift``.

    Raises
    ------
    SpecError
        If there is no axis along which runs differ, the kind is unknown, or it is no structure.
    """
    told = Structure(kind=structure) if isinstance(structure, str) else structure
    if not (told is None or isinstance(told, Structure)):
        raise SpecError(
            f"structure must be {', '.join(map(repr, _KINDS))}, a bayesfit.Structure(...), or None to trust the law; "
            f"found {reprlib.repr(told)}"
        )
    if told is None or law.drifts or (told.kind == "auto" and not _drifts_usually(law, runs, by, checkpoints)):
        return law
    axes = told.axes or (_axis(law, runs),)
    for axis in axes:
        wrong = _not_an_axis(axis, law, runs)
        if wrong:
            raise SpecError(f"the axis of structure, {axis}, {wrong}")
    paths: dict[str, dict[str, Parameter]] = {}
    for output, part in law.outputs.items():
        scale, scale_sd = told.path_prior(drifts_on(part.noise))
        scale *= path_unit(part.noise, runs.values(output))
        paths[output] = {
            name: Parameter(
                prior=Prior.parse("Normal(0, 0)"),
                role="structure",
                spread=scale,
                spread_sd=scale_sd,
                along=axis,
                about=f"how far {output} drifts off the law along {axis}",
            )
            for name, axis in zip(_names(axes), axes, strict=True)
        }
    # a population speaks of the law's own terms, which an exponent about them would make something else
    exponent = told.outer and law.population is None
    return with_shifts(with_outer_exponent(law) if exponent else law, "law", paths)


def bands_of(law: Law, output: str) -> Bands:
    """Return what the bands of a law's output allow for."""
    if not law.drifts or output not in law.outputs:
        return "plain law"
    return "drift" if level_name(output) in law.parameters else "path alone"


def assumed(law: Law) -> str:
    """Return what a band beyond the runs rests on, in words."""
    if law.drifts:
        return "the band's width there rests on how far laws are taken to drift"
    return "the band assumes that the law holds there"


def _unknown(kind: object) -> SpecError:
    """Return what to say of a kind that is none."""
    if str(kind).lower() == "none":
        return SpecError(
            f"to trust the law write structure=None, without quotes and outside of Structure; found {kind!r}"
        )
    return SpecError(
        f"structure '{kind}' is unknown{nearest(str(kind), _KINDS)}; known: {', '.join(_KINDS)}, or None to trust "
        "the law"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _are_texts(value: object) -> bool:
    """Return whether a value is a text, or several."""
    if isinstance(value, str):
        return True
    return isinstance(value, Collection) and all(isinstance(text, str) for text in value)


def _names(axes: tuple[str, ...]) -> list[str]:
    """Return what the shift along each axis is called: ``drift``, or for several with the axis or its place."""
    if len(axes) == 1:
        return ["drift"]
    return [f"drift_{axis if axis.isidentifier() else place}" for place, axis in enumerate(axes, start=1)]


def _drifts_usually(law: Law, runs: Runs, by: Sequence[str], checkpoints: str) -> bool:
    """Return whether ``"auto"`` lets a law drift."""
    recorded = all(_RECORDED.get(name) == drifts_on(part.noise) for name, part in law.outputs.items())
    if not recorded or law.population is not None:
        return False
    groups = (*by, *([checkpoints] if checkpoints else []))
    if any(group not in runs.groups for group in groups):
        return False
    # checkpoints are as many runs as were trained
    counts = [len(runs.levels(checkpoints)) if checkpoints else len(runs)]
    counts += [int(np.bincount(runs.codes(group)).min()) for group in by]
    # crossed groups have one matrix of all their knots, and take long
    if min(counts) < _FEWEST_RUNS or len(groups) > 1:
        return False
    axis = _scale_axis(law)
    return bool(axis) and not _not_an_axis(axis, law, runs)


def _scale_axis(law: Law) -> str:
    """Return compute, or what the law has of it; nothing where it has none."""
    return next((axis for axis, needed in _AXES if {*needed.split()} <= {*law.inputs}), "")


def _axis(law: Law, runs: Runs) -> str:
    """Return the axis along which a law drifts unless told."""
    if axis := _scale_axis(law):
        return axis
    for name, part in law.inputs.items():
        if part.support == "positive" and part.varies and np.ptp(np.log(runs.values(name))) > 0:
            return name
    raise SpecError(
        f"law {law.id} has no positive input along which it could drift; name an axis, "
        f"structure=bf.Structure(along='...'), or trust the law, structure=None"
    )


def _not_an_axis(along: str, law: Law, runs: Runs) -> str:
    """Return what keeps a formula from being an axis; nothing where it is one."""
    try:
        axis = parse_expression(along)
        axis.check(law.inputs)
    except FormulaError as error:
        return f"must be a formula over inputs of law {law.id}: {error}"
    values = np.asarray(axis.evaluate({name: runs.values(name) for name in axis.names}), dtype=float)
    if not (values > 0).all() or values.min() == values.max():
        return f"must be positive and differ between runs; found {values.min():.6g} to {values.max():.6g}"
    return ""
