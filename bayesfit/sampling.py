"""Run NUTS on a built model and turn its draws into parameters."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pymc as pm
import xarray as xr

from bayesfit.errors import SpecError
from bayesfit.pooling import layout, spread_name
from bayesfit.priors import NUMPY_LINKS

if TYPE_CHECKING:
    from bayesfit.build import Build

#: A divergence under the first value is met by sampling once more with the second.
_ACCEPT, _CAREFUL_ACCEPT = 0.95, 0.99


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
        Passed whole to ``pm.sample``, such as ``{"nuts_sampler": "pymc"}``.
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

    def seeded(self) -> Sampling:
        """Return the settings with a seed, drawn now if there is none."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(2**32))


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
        scale. ``sample_stats`` from the sampler; its attribute ``target_accept`` tells whether
        divergences made it sample a second time, more carefully.
    """
    told = dict(settings.sampler or {})
    nuts = dict(told.pop("nuts", {}))
    accepts = [nuts["target_accept"]] if "target_accept" in nuts else [_ACCEPT, _CAREFUL_ACCEPT]
    for accept in accepts:
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
            "nuts": {**nuts, "target_accept": accept},
        }
        with build.model, _quiet():
            drawn = pm.sample(**arguments)
        if not int(drawn["sample_stats"]["diverging"].sum()):
            break
    tree = posterior(build, drawn["posterior"].to_dataset())
    stats = drawn["sample_stats"].to_dataset()
    # columns of Python objects (texts about divergences) cannot be stored in a file
    tree["sample_stats"] = xr.DataTree(
        stats.drop_vars([name for name in stats.data_vars if stats[name].dtype == object])
    )
    tree["sample_stats"].attrs = {**stats.attrs, "target_accept": accept, "tuning_steps": settings.tune}
    return tree


def posterior(build: Build, drawn: xr.Dataset) -> xr.DataTree:
    """Turn draws of the sampler's variables into parameters (groups ``posterior`` and ``latent``)."""
    levels = build.levels
    blocks = layout(build.plans, levels)
    z = drawn["z"].transpose("chain", "draw", ...).values
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
        if plan.shared:
            named[f"{plan.name}_population"] = plan.prior.value(location, NUMPY_LINKS)
        for group in plan.shared:
            named[spread_name(plan.name, group)] = drawn[spread_name(plan.name, group)]
    order = ("chain", "draw", *levels)
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(named).transpose(*order, missing_dims="ignore"),
            "latent": xr.Dataset(latent).transpose(*order, missing_dims="ignore"),
        }
    )


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
