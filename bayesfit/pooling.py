"""Pooling: how each parameter varies over groups, worked out for the runs at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from bayesfit.card import Law, Parameter
from bayesfit.errors import DataError, SpecError, nearest
from bayesfit.expression import Backend
from bayesfit.knots import KNOT, LABELS, Knots, owner_of
from bayesfit.needs import no_trials
from bayesfit.priors import Prior, ResolvedPrior, pooled_prior

if TYPE_CHECKING:
    from bayesfit.runs import Runs

How = Literal["complete", "partial", "correlated", "none"]

#: The name under which `Pooling.how` speaks of the noise scales.
NOISE = "noise"
#: The name under which it speaks of all parameters of the law that vary.
EFFECTS = "effects"


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How parameters vary over groups.

    Parameters
    ----------
    by
        Groups, such as ``("family",)``; several groups are crossed and add on the link scale.
        Every parameter whose card says that it varies is partially pooled over each. ``"family:task"`` is
        the interaction of two groups: what a family's level of a task has of its own beyond both.
    how
        Exceptions by parameter, such as ``{"alpha": "complete", "E": {"task": "none"}}``:
        ``"complete"`` one value for all, ``"partial"`` levels drawn from a population, ``"correlated"`` too,
        where a level's parameters may lie off their centres together (over one group), ``"none"``
        every level on its own (over one group at most). ``"noise"`` stands for the noise scales,
        which are partially pooled over the first group unless told otherwise, ``"effects"`` for all
        parameters that vary and are not named.
    checkpoints
        The group that names the training run of each row, where rows are checkpoints of runs; see
        `bayesfit.checkpoints`.
    """

    by: tuple[str, ...] = ()
    how: Mapping[str, How | Mapping[str, How]] = field(default_factory=dict)
    checkpoints: str = ""

    def __post_init__(self) -> None:
        for name, how in self.how.items():
            for group, word in ({"": how} if isinstance(how, str) else how).items():
                if word not in get_args(How):
                    raise SpecError(
                        f"pooling of {name} is '{word}'{nearest(str(word), get_args(How))}; "
                        f"known: {', '.join(get_args(How))}"
                    )
                if word == "correlated" and name == NOISE:
                    raise SpecError("noise scales do not correlate with parameters; pool noise partially or completely")
                if group and group not in self.by:
                    raise SpecError(f"pooling of {name} speaks of '{group}', which is not in by={list(self.by)}")

        if self.checkpoints in self.by:
            raise SpecError(f"'{self.checkpoints}' is in by and names the runs of checkpoints; keep one of the two")

    @property
    def columns(self) -> tuple[str, ...]:
        """The groups of the runs that a scenario names: those of `by`, interactions taken apart."""
        return tuple(dict.fromkeys(part for group in self.by for part in group.split(":")))

    def of(self, name: str, default: Mapping[str, How]) -> dict[str, How]:
        """Return how `name` is pooled over each group of `by`."""
        told = self.how.get(name, {} if name == NOISE else self.how.get(EFFECTS, {}))
        words = dict.fromkeys(self.by, told) if isinstance(told, str) else told
        return {group: words.get(group, default[group]) for group in self.by}


@dataclass(frozen=True, kw_only=True)
class ParameterPlan:
    """How one parameter is made from standard normals.

    Parameters
    ----------
    name
        The parameter.
    prior
        Prior of the population's centre; with `separate`, its arguments are arrays over levels.
    separate
        The group whose levels each have a value of their own, if any.
    shared
        Groups whose levels are drawn from a population, adding on the link scale.
    spread
        Half-normal scale of each population's standard deviation on the link scale.
    spread_sd
        If positive, each population's standard deviation is lognormal with median `spread`; the standard deviation
        of its log.
    correlated
        The group of `shared` over which its shifts correlate with those of other parameters, if any.
    knots
        For a parameter that drifts along an axis, where its path bends: `shared` are groups of knots then, of the
        path of all and of those of a group's levels.
    """

    name: str
    prior: ResolvedPrior
    separate: str | None = None
    shared: tuple[str, ...] = ()
    spread: float = 0.5
    spread_sd: float = 0.0
    correlated: str | None = None
    knots: Knots | None = None

    def location(self, z: Any, functions: Backend) -> Any:
        """Return the population's centre on the link scale from its standard normals."""
        return self.prior.latent(z, functions)

    def value(
        self, location: Any, offsets: Mapping[str, Any], functions: Backend, at: Callable[[Any, str], Any] | None = None
    ) -> Any:
        """Put the pieces together and leave the link scale.

        Parameters
        ----------
        location
            Centre, with the dim of `separate` where there is one.
        offsets
            For each group of `shared`, the shifts of its levels on the link scale.
        functions
            The backend.
        at
            Spreads a piece with a group's dim over another dim (runs, scenarios); without it the
            groups' dims stay.
        """
        prior, u = self.prior, location
        if self.separate is not None and at is not None:
            group = self.separate
            prior = prior.map(lambda argument: at(argument, group))
            u = at(u, group)
        for group in self.shared:
            u = u + (offsets[group] if at is None else at(offsets[group], group))
        return prior.value(u, functions)

    @property
    def about_zero(self) -> bool:
        """Whether its levels scatter about zero, with no centre to find."""
        return self.prior.family == "Normal" and self.separate is None and self.prior.sigma == 0

    @property
    def dims(self) -> tuple[str, ...]:
        """The groups the parameter varies over."""
        return (*(() if self.separate is None else (self.separate,)), *self.shared)


def plan_parameters(law: Law, runs: Runs, pooling: Pooling) -> tuple[ParameterPlan, ...]:
    """Return the plan of every fitted parameter of the law and of its noise scales.

    Priors that look at the data are resolved on all runs for a completely pooled parameter, and in
    each level of a group for one that varies over it.

    Raises
    ------
    SpecError
        For a parameter that does not exist, more than one group with ``"none"``, or a prior that
        comes out unusable on these runs.
    """
    known = (*law.free, NOISE, EFFECTS)
    for name in pooling.how:
        if name not in known:
            raise SpecError(f"pooling speaks of '{name}'{nearest(name, known)}; {law.id} has {', '.join(known)}")
    plans = []
    for name, parameter in law.free.items():
        how: dict[str, How]
        if parameter.along:
            plans.append(_drifting(name, parameter, runs, pooling))
            continue
        if parameter.role == "run":
            how = {pooling.checkpoints: "partial"}
        else:
            usual: dict[str, How] = dict.fromkeys(pooling.by, "partial" if parameter.varies else "complete")
            how = pooling.of(name, usual)
            if not parameter.varies and name not in pooling.how:
                # whatever is said of all that vary
                how = usual
        plans.append(_plan(name, parameter.prior, parameter.group_spread, how, runs))
    for output, noise_name in law.sigmas.items():
        noise = law.outputs[output].noise
        first: dict[str, How] = {group: "complete" if i else "partial" for i, group in enumerate(pooling.by)}
        plans.append(_plan(noise_name, noise.scale, noise.spread, pooling.of(NOISE, first), runs))
    _check_correlated(plans)
    return tuple(plans)


def _drifting(name: str, parameter: Parameter, runs: Runs, pooling: Pooling) -> ParameterPlan:
    """Return the plan of a parameter that drifts: a path of all runs, and one of each level of a group."""
    if KNOT in runs.groups:
        raise SpecError(f"a group must not be called '{KNOT}' where a law drifts; rename that column")
    how = pooling.of(name, dict.fromkeys(pooling.by, "partial"))
    wrong = sorted({word for word in how.values() if word == "none"})
    if wrong:
        raise SpecError(f"{name} is the path of all runs, so its pooling cannot be 'none'; say 'partial' or 'complete'")
    own = [group for group, word in how.items() if word != "complete" and ":" not in group]
    return ParameterPlan(
        name=name,
        prior=parameter.prior.resolve({}, name),
        shared=(KNOT, *(f"{group}:{KNOT}" for group in own)),
        spread=parameter.group_spread,
        spread_sd=parameter.spread_sd,
        knots=Knots.of(parameter.along, runs.values),
    )


def levels_of(plans: Iterable[ParameterPlan], runs: Runs) -> dict[str, tuple[str, ...]]:
    """Return the levels of every group that parameters vary over, knots among them."""
    found: dict[str, tuple[str, ...]] = {}
    for plan in plans:
        for group in plan.dims:
            if plan.knots is None:
                found[group] = runs.levels(group)
            else:
                owners = runs.levels(owner_of(group)) if owner_of(group) else ()
                found[group] = tuple(f"{owner}:{knot}" for owner in owners for knot in LABELS) or LABELS
    return found


def spreading(plan: ParameterPlan, group: str, runs: Runs) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which levels of a group a parameter takes its value from in each run, and with what weight.

    Returns
    -------
    list
        One level each run, of weight one; or, on a path, one entry for each knot.
    """
    if plan.knots is None:
        codes = runs.codes(group)
        return [(codes, np.ones(len(codes)))]
    owner = owner_of(group)
    first = len(LABELS) * (runs.codes(owner) if owner else np.zeros(len(runs), dtype=np.int64))
    return [(first + place, weight) for place, weight in enumerate(plan.knots.inside(runs.values).T)]


def _check_correlated(plans: Sequence[ParameterPlan]) -> None:
    groups = [plan.correlated for plan in plans if plan.correlated]
    if len(set(groups)) > 1:
        raise SpecError(f"parameters may correlate over one group, found {', '.join(dict.fromkeys(groups))}")
    if len(groups) == 1:
        (name,) = (plan.name for plan in plans if plan.correlated)
        raise SpecError(
            f"only {name} is correlated over {groups[0]}, and nothing with it: name two parameters or more, or all "
            f"that vary, pooling={{'{EFFECTS}': 'correlated'}}"
        )


def population_of(law: Law, blocks: tuple[Block, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the entries of the vector that a population speaks of, their centre, and their covariance's root.

    Raises
    ------
    SpecError
        If a level of a group has such a parameter of its own: a population is of one value, or of one centre.
    """
    told = law.population
    if told is None:
        return np.zeros(0, dtype=int), np.zeros(0), np.zeros((0, 0))
    first = {block.plan.name: block for block in blocks if not block.offset}
    # a parameter that is held at a value has no entry
    kept = [place for place, name in enumerate(told.parameters) if name in first]
    for place in kept:
        block = first[told.parameters[place]]
        if block.group is not None:
            raise SpecError(
                f"population {told.id} is of one {block.plan.name}, and every {block.group} has one of its own here; "
                f"pool it partially or completely"
            )
    entries = np.array([first[told.parameters[place]].where.start for place in kept], dtype=int)
    covariance = np.array(told.covariance)[np.ix_(kept, kept)]
    return entries, np.array(told.centre)[kept], np.linalg.cholesky(covariance)


def trials_of(law: Law, output: str, runs: Runs) -> np.ndarray | None:
    """Return the number of trials of an output in each run; None if it is no count.

    Raises
    ------
    DataError
        If the runs do not have them.
    """
    noise = law.outputs[output].noise
    if not noise.counted:
        return None
    if noise.trials not in runs.table:
        fault = no_trials(runs, output, noise.trials)
        raise DataError([fault], runs.name)
    return runs.values(noise.trials)


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What runs showed of an output.

    Parameters
    ----------
    values
        One a run; any harmless value where a run has none.
    has
        1 for runs that have one, 0 for others.
    trials
        The number of trials, for counts.
    """

    values: np.ndarray
    has: np.ndarray
    trials: np.ndarray | None


def outcomes(law: Law, output: str, runs: Runs) -> Outcomes:
    """Return what the runs showed of an output.

    Raises
    ------
    DataError
        If it is a count and the runs do not have the number of trials.
    """
    values, trials = runs.values(output), trials_of(law, output, runs)
    has = ~np.isnan(values)
    filler: Any = values[has][0]
    if trials is not None:
        filler = trials if law.outputs[output].noise.kind == "negative_binomial" else 0.0
    return Outcomes(values=np.where(has, values, filler), has=has.astype(float), trials=trials)


def _plan(name: str, prior: Prior, spread: float, how: Mapping[str, How], runs: Runs) -> ParameterPlan:
    separate = [group for group, word in how.items() if word == "none"]
    shared = tuple(group for group, word in how.items() if word in ("partial", "correlated"))
    together = [group for group, word in how.items() if word == "correlated"]
    if len(together) > 1:
        raise SpecError(
            f"{name} can correlate with others over one group, found {', '.join(together)}; say which, "
            f"pooling={{'effects': {{'{together[-1]}': 'correlated'}}}} (--pool effects.{together[-1]}=correlated)"
        )
    if len(separate) > 1:
        raise SpecError(f"{name} can stand on its own over one group at most, found {', '.join(separate)}")
    over = (*separate, *shared)
    if not over or not prior.names:
        resolved = prior.resolve(runs.summaries(), name)
        if separate:
            resolved = _stacked([resolved] * len(runs.levels(separate[0])), separate[0], runs)
    elif separate:
        resolved = _stacked(_resolved_by_level(prior, name, separate[0], runs), separate[0], runs)
    else:
        resolved = pooled_prior([level for group in over for level in _resolved_by_level(prior, name, group, runs)])
    return ParameterPlan(
        name=name,
        prior=resolved,
        separate=separate[0] if separate else None,
        shared=shared,
        spread=spread,
        correlated=together[0] if together else None,
    )


def _resolved_by_level(prior: Prior, name: str, group: str, runs: Runs) -> list[ResolvedPrior]:
    codes, everything = runs.codes(group), runs.summaries()
    return [
        # a level that shows nothing of a column is taken to be as the others
        prior.resolve({**everything, **runs.select(codes == code).summaries()}, f"{name} in {group} '{level}'")
        for code, level in enumerate(runs.levels(group))
    ]


def _stacked(levels: list[ResolvedPrior], group: str, runs: Runs) -> ResolvedPrior:
    import xarray as xr

    def over(argument: str) -> Any:
        numbers = np.array([getattr(level, argument) for level in levels], dtype=float)
        return xr.DataArray(numbers, dims=(group,), coords={group: list(runs.levels(group))})

    return replace(levels[0], mu=over("mu"), sigma=over("sigma"), lower=over("lower"), upper=over("upper"))


@dataclass(frozen=True, kw_only=True)
class Block:
    """A stretch of the vector of standard normals.

    Parameters
    ----------
    plan
        The parameter it serves.
    group
        The dim it runs along; None for a single number.
    offset
        Whether these are shifts of a group's levels, or the location.
    where
        Its place in the vector.
    labels
        A name for each entry.
    """

    plan: ParameterPlan
    group: str | None
    offset: bool
    where: slice
    labels: tuple[str, ...]


def layout(plans: tuple[ParameterPlan, ...], levels: Mapping[str, tuple[str, ...]]) -> tuple[Block, ...]:
    """Return the blocks of the vector of standard normals: each parameter's location, then its offsets."""
    blocks: list[Block] = []
    start = 0
    for plan in plans:
        for group, offset in ((plan.separate, False), *((group, True) for group in plan.shared)):
            names = ("",) if group is None else levels[group]
            labels = tuple(f"{plan.name}[{name}]" if name else plan.name for name in names)
            blocks.append(
                Block(plan=plan, group=group, offset=offset, where=slice(start, start + len(names)), labels=labels)
            )
            start += len(names)
    return tuple(blocks)


def spread_name(parameter: str, group: str) -> str:
    """Return the name of the standard deviation of a parameter over a group, on the link scale."""
    return f"{parameter}_sd_{group}"
