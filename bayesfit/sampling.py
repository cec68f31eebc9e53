"""Run NUTS on a built model and turn its draws into parameters."""

from __future__ import annotations

import inspect
import logging
import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
import xarray as xr

from bayesfit.correlation import correlated_of, correlation_name, correlation_pairs, correlation_root, partial_name
from bayesfit.diagnostics import BULK, DIVERGENCES, ESS_PER_CHAIN, R_HAT_NAME, TAIL, Diagnostics, diagnose
from bayesfit.errors import SpecError, nearest
from bayesfit.geometry import correlated_columns, leaves_of, standard_normals
from bayesfit.knots import KNOT
from bayesfit.pooling import spread_name
from bayesfit.priors import NUMPY_LINKS

if TYPE_CHECKING:
    from bayesfit.build import Build

_ATTEMPTS = 3
_ACCEPT = 0.95
#: Mean steps a draw from which on shorter steps cost too much.
_DEEP = 50
#: Draws made for each draw kept, at most.
_MOST_THINNING = 16
#: What samplers call settings that are arguments of a fit, and what these are called there.
_ARGUMENTS = {name: name for name in ("draws", "tune", "chains", "cores", "seed", "progress")} | {
    "random_seed": "seed",
    "progressbar": "progress",
    "progress_bar": "progress",
}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings of NUTS.

    Parameters
    ----------
    draws, tune, chains
        Kept and warm-up draws per chain, and chains.
    cores
        Chains that run at once; all processors by default.
    seed
        Same seed, same draws, on the same versions. Drawn at random (and recorded) if None.
    sampler
        Passed whole to ``pm.sample``, such as ``{"nuts_sampler": "pymc"}``; ``"nuts"`` alone, such as
        ``{"nuts": {"target_accept": 0.99}}``, goes to the sampler as it is. ``{"attempts": 1}`` says how often
        to sample at most: where checks fail, the next attempt takes more care (3 by default).
    progress
        Whether to show a progress bar.
    """

    draws: int = 2000
    tune: int = 1000
    chains: int = 4
    cores: int | None = None
    seed: int | None = None
    sampler: Mapping[str, Any] | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        for name, least in (("draws", 4), ("tune", 1), ("chains", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise SpecError(f"{name} must be a whole number of at least {least}, found {value!r}")
        if self.seed is not None and not (isinstance(self.seed, int) and 0 <= self.seed < 2**32):
            raise SpecError(f"seed must be a whole number from 0 to 2**32 - 1, found {self.seed!r}")
        if self.sampler is not None:
            _check_sampler(self.sampler)

    def seeded(self) -> Sampling:
        """Return the settings with a seed, drawn now if there is none."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(2**32))


def _check_sampler(told: Mapping[str, Any]) -> None:
    """Refuse what neither this package nor ``pm.sample`` takes, before anything is sampled."""
    if not isinstance(told, Mapping):
        raise SpecError(f"sampler must be a dict such as {{'attempts': 1}}, found {told!r}")
    attempts, nuts = told.get("attempts", 1), told.get("nuts", {})
    if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
        raise SpecError(f"attempts must be a whole number of at least 1, found {attempts!r}")
    if not isinstance(nuts, Mapping):
        raise SpecError(f"nuts must be a dict such as {{'target_accept': 0.99}}, found {nuts!r}")
    accept = nuts.get("target_accept", _ACCEPT)
    if not isinstance(accept, int | float) or not 0 < accept < 1:
        raise SpecError(f"target_accept must be a number between 0 and 1, found {accept!r}")
    known = {"attempts", "nuts", *inspect.signature(pm.sample).parameters} - {"kwargs"}
    for name in (*told, *nuts):
        if name in _ARGUMENTS:
            raise SpecError(f"'{name}' is no setting of sampler: write bf.fit(..., {_ARGUMENTS[name]}=...)")
    for name in told:
        if name not in known:
            raise SpecError(
                f"pm.sample does not take '{name}'{nearest(name, known)}; what NUTS itself takes is written "
                f"sampler={{'nuts': {{'{name}': {told[name]!r}}}}}"
            )


def sample(build: Build, settings: Sampling) -> xr.DataTree:
    """Sample the model.

    Parameters
    ----------
    build
        The model and its geometry.
    settings
        Must have a seed.

    Returns
    -------
    xarray.DataTree
        ``posterior``: parameters with dims (chain, draw) and the groups they vary over, each
        population's centre (``alpha_population``) and standard deviation on the link scale
        (``alpha_sd_family``). ``latent``: the pieces that forecasts put together, on the link
        scale. ``sample_stats`` from the sampler; its attributes tell how many attempts it took, their
        last target acceptance and thinning, and all divergences of that attempt.
    """
    told = dict(settings.sampler or {})
    nuts = dict(told.pop("nuts", {}))
    attempts = int(told.pop("attempts", 1 if "target_accept" in nuts else _ATTEMPTS))
    accept, thin = float(nuts.pop("target_accept", _ACCEPT)), 1
    for number in range(1, attempts + 1):
        run = replace(settings, draws=settings.draws * thin, tune=settings.tune * min(thin, 4))
        drawn = _drawn(build, run, told, {**nuts, "target_accept": accept})
        tree = posterior(build, kept(drawn["posterior"].to_dataset(), thin))
        stats = statistics(drawn, thin, accept, number)
        divergences = stats.attrs["divergences"]
        tree["sample_stats"] = xr.DataTree(stats)
        report = diagnose(tree, build.law, build.plans)
        # the check forgives one divergence in a thousand draws; another attempt usually has none
        if number == attempts or not (report.trouble or divergences):
            return tree
        accept, thin = _more_care(report, stats, accept, thin, settings)
        if settings.progress:
            failed = ", ".join(result.name for result in report.trouble) or DIVERGENCES
            print(f"attempt {number} of {attempts} fails on {failed}; sampling again with more care", file=sys.stderr)
    raise AssertionError("the last attempt returns")


def _drawn(build: Build, settings: Sampling, told: Mapping[str, Any], nuts: Mapping[str, Any]) -> xr.DataTree:
    """Return the sampler's draws: from a compiled model, or by ``pm.sample`` if it was told anything."""
    if told:
        arguments: dict[str, Any] = {
            "draws": settings.draws,
            "tune": settings.tune,
            "chains": settings.chains,
            "cores": settings.cores,
            "random_seed": settings.seed,
            "progressbar": settings.progress,
            "initvals": build.start,
            "nuts_sampler": "nutpie",
            "compute_convergence_checks": False,
            **told,
            "nuts": nuts,
        }
        with build.model, _quiet(), _one_thread():
            return _whole(pm.sample(**arguments), settings.draws)
    return run_nuts(compiled(build), settings, **{"adaptation": _metric(build), **nuts})


def run_nuts(model: Any, settings: Sampling, **nuts: Any) -> xr.DataTree:
    """Return the draws of a compiled model.

    Raises
    ------
    KeyboardInterrupt
        If sampling was stopped: the sampler hands over what it has then, and part of a fit is none.
    SpecError
        If the sampler does not know a setting.
    """
    import nutpie

    try:
        with _one_thread():
            drawn: xr.DataTree = nutpie.sample(
                model,
                draws=settings.draws,
                tune=settings.tune,
                chains=settings.chains,
                cores=settings.cores,
                seed=settings.seed,
                save_warmup=False,
                progress_bar=settings.progress,
                **nuts,
            )
    except AttributeError as error:
        # so nutpie speaks of what it does not know; any other is a fault, and must not pass for the user's
        if "settings attribute" not in str(error):
            raise
        raise SpecError(f"the sampler refuses nuts={nuts}: {error}") from error
    return _whole(drawn, settings.draws)


def _whole(drawn: xr.DataTree, draws: int) -> xr.DataTree:
    if drawn["posterior"].sizes["draw"] < draws:
        raise KeyboardInterrupt("sampling was stopped")
    return drawn


def _metric(build: Build) -> str:
    """Return how the sampler learns scales.

    Ridges that bend are longer than the pilot sees from its optimum, and a low-rank metric learns their length. Where
    levels spread about a population the shape changes with the spread, and what was learnt at one spread hurts at
    others: with a shift for each of 14 runs it gave 12 effective draws of 2000, a diagonal one 243. A path of all runs
    has no such levels: with it Chinchilla's form mixes six times as well with a low-rank metric.
    """
    return "diag" if any(group != KNOT for plan in build.plans for group in plan.shared) else "low_rank"


def _one_thread() -> Any:
    """Keep linear algebra to one thread: chains run side by side, and twice as fast as when each wants all cores."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


#: Compiled models by structure, the last used ones.
_COMPILED: OrderedDict[Hashable, Any] = OrderedDict()
_MOST_COMPILED = 32


def compiled(build: Build) -> Any:
    """Return the compiled model of a build with the build's own data; compile it if no other like it was."""
    import nutpie

    if build.structure not in _COMPILED:
        _COMPILED[build.structure] = nutpie.compile_pymc_model(build.model, var_names=build.drawn)
        if len(_COMPILED) > _MOST_COMPILED:
            _COMPILED.popitem(last=False)
    _COMPILED.move_to_end(build.structure)
    model = _COMPILED[build.structure].with_data(data=build.packed)
    return replace(model, initial_point_func=_initial_point(build, model.coords["unconstrained_parameter"]))


def _initial_point(build: Build, entries: Iterable[str]) -> Callable[[Any], np.ndarray]:
    """Return a function that jitters the pilot's optimum, on the scales on which the sampler moves.

    `entries` names these in the sampler's order: ``w_0``, ``w_1``, ..., and a spread's ``..._log__``.
    """
    starts = {f"w_{place}": value for place, value in enumerate(build.start["w"])}
    starts |= {f"{name}_log__": np.log(value) for name, value in build.geometry.spreads.items()}
    group, _ = correlated_of(build.plans)
    # correlations start at none
    none = f"{partial_name(group)}_logodds__" if group else None
    centre = np.array([0.0 if none and entry.startswith(none) else starts[entry] for entry in entries])

    def point(seed: Any) -> np.ndarray:
        return centre + np.random.default_rng(seed).uniform(-1, 1, len(centre))

    return point


def _more_care(
    report: Diagnostics, stats: xr.Dataset, accept: float, thin: int, settings: Sampling
) -> tuple[float, int]:
    """Return acceptance and thinning for another attempt, by what went wrong.

    Few runs leave narrow curved ridges (floor against exponent). Shorter steps get to the ends of
    these: six runs give five times as many effective draws at an acceptance of .99 as at .95, for twice
    the steps. More draws are made and thinned where these were too few, which is all that is done where
    trees are deep already.
    """
    needed = ESS_PER_CHAIN * settings.chains
    short = [result.value for result in report.trouble if result.name in (BULK, TAIL)]
    if short:
        thin *= max(2, int(np.ceil(1.5 * needed / max(min(short), 1.0))))
    elif any(result.name == R_HAT_NAME for result in report.trouble):
        thin *= 2
    mixing_only = all(result.name in (BULK, TAIL, R_HAT_NAME) for result in report.trouble)
    if stats.attrs["divergences"] or not mixing_only or stats["n_steps"].mean() < _DEEP:
        accept = 1 - (1 - accept) / 5
    return accept, min(thin, _MOST_THINNING)


def statistics(drawn: xr.DataTree, thin: int, accept: float, attempt: int) -> xr.Dataset:
    """Return the sampler's statistics of every `thin`-th draw, with how it was told to sample as attributes."""
    stats = drawn["sample_stats"].to_dataset()
    divergences = int(stats["diverging"].sum())
    # columns of Python objects (texts about divergences) cannot be stored in a file
    stats = kept(stats.drop_vars([name for name in stats.data_vars if stats[name].dtype == object]), thin)
    stats.attrs |= {"target_accept": accept, "thin": thin, "attempts": attempt, "divergences": divergences}
    return stats


def kept(data: xr.Dataset, thin: int) -> xr.Dataset:
    """Return every `thin`-th draw, numbered anew."""
    if thin == 1:
        return data
    thinned = data.isel(draw=slice(thin - 1, None, thin))
    return thinned.assign_coords(draw=range(thinned.sizes["draw"]))


def posterior(build: Build, drawn: xr.Dataset) -> xr.DataTree:
    """Turn draws of the sampler's variables into parameters (groups ``posterior`` and ``latent``)."""
    levels = build.levels
    blocks = build.blocks
    w = drawn["w"].transpose("chain", "draw", ...).values
    flat = w.reshape(-1, w.shape[-1])
    scale = np.ones_like(flat)
    for block in blocks:
        if block.offset:
            deviation = drawn[spread_name(block.plan.name, str(block.group))].transpose("chain", "draw").values
            scale[:, block.where] = deviation.reshape(-1, 1)
    mixing, correlations = _correlated(build, drawn)
    normals = standard_normals(build.geometry, blocks, flat, scale, mixing)
    if mixing is not None:
        leaves = leaves_of(blocks)
        normals[:, leaves] = normals[:, leaves] @ mixing.mT
    z = build.geometry.placed(normals).reshape(w.shape)
    chains = {"chain": drawn["chain"].values, "draw": drawn["draw"].values}
    latent: dict[str, xr.DataArray] = {}
    for block in blocks:
        dims = ("chain", "draw") if block.group is None else ("chain", "draw", block.group)
        coords = {**chains, **({} if block.group is None else {block.group: list(levels[block.group])})}
        piece = z[..., block.where]
        array = xr.DataArray(piece[..., 0] if block.group is None else piece, dims=dims, coords=coords)
        if block.offset:
            spread = drawn[spread_name(block.plan.name, str(block.group))]
            latent[f"{block.plan.name}_offset_{block.group}"] = spread * array
        else:
            latent[f"{block.plan.name}_location"] = block.plan.location(array, NUMPY_LINKS)
    named: dict[str, xr.DataArray] = {}
    for plan in build.plans:
        location = latent[f"{plan.name}_location"]
        offsets = {group: latent[f"{plan.name}_offset_{group}"] for group in plan.shared}
        named[plan.name] = plan.value(location, offsets, NUMPY_LINKS)
        if plan.shared and not plan.about_zero:
            named[f"{plan.name}_population"] = plan.prior.value(location, NUMPY_LINKS)
        for group in plan.shared:
            named[spread_name(plan.name, group)] = drawn[spread_name(plan.name, group)]
    named |= correlations
    order = ("chain", "draw", *levels)
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(named).transpose(*order, ..., missing_dims="ignore"),
            "latent": xr.Dataset(latent).transpose(*order, missing_dims="ignore"),
        }
    )


def _correlated(build: Build, drawn: xr.Dataset) -> tuple[np.ndarray | None, dict[str, xr.DataArray]]:
    """Return the root of the correlations of the leaves' columns in each draw, and the correlations by name."""
    group, together = correlated_of(build.plans)
    if not group:
        return None, {}
    name = correlation_name(group)
    shares = drawn[partial_name(group)].transpose("chain", "draw", ...).values
    partials = np.moveaxis(2.0 * shares - 1.0, -1, 0).reshape(shares.shape[-1], -1)
    count = len(together)
    root = np.zeros((partials.shape[1], count, count))
    for row, entries in enumerate(correlation_root(partials, count, np.sqrt)):
        for column, entry in enumerate(entries):
            root[:, row, column] = entry
    columns = correlated_columns(build.blocks)
    mixing = np.tile(np.eye(leaves_of(build.blocks).shape[1]), (len(root), 1, 1))
    mixing[:, np.array(columns)[:, None], columns] = root
    matrix = root @ root.mT
    pairs = [(row, column) for row in range(count) for column in range(row)]
    values = np.stack([matrix[:, row, column] for row, column in pairs], axis=-1).reshape(shares.shape)
    coords = {"chain": drawn["chain"].values, "draw": drawn["draw"].values, "pair": correlation_pairs(together)}
    return mixing, {name: xr.DataArray(values, dims=("chain", "draw", "pair"), coords=coords)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyMC's list of variables, which names the sampler's own coordinates, off the screen."""
    log = logging.getLogger("pymc")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
