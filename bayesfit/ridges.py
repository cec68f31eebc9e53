"""Ridges that bend: how all else goes along with a floor that runs leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesfit.knots import owner_of

if TYPE_CHECKING:
    from bayesfit.pooling import Block

#: Knots of a curve.
_KNOTS = 17


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """Where the likelihood's ridge lies for every value of a floor, as curves by the floor's distance from the pilot's.

    Parameters
    ----------
    floor
        The parameter.
    knots
        Knots of natural cubic splines, on the floor's link scale.
    curves
        For each entry of the vector of standard normals the coefficients of the cubed distances past each knot: first
        of the distance of the entry's own level of a group, then of the population's. Value and slope at zero are
        taken off, since the quadratic approximation has them. Locations as normals, shifts on the link scale.
    at
        The standard deviation of the floor's prior and its place at the pilot's optimum, on the link scale less the
        prior's mean; then the shifts of its levels there, by group.
    """

    floor: str
    knots: np.ndarray = field(repr=False)
    curves: np.ndarray = field(repr=False)
    at: np.ndarray = field(repr=False)

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the model needs as data."""
        return self.knots, self.curves, self.at

    @classmethod
    def through(
        cls, floor: str, points: np.ndarray, sigmas: Mapping[str, float], at: np.ndarray, blocks: Sequence[Block]
    ) -> Ridge:
        """Return the ridge through points, in rising order of the floor and less the pilot's optimum.

        Parameters
        ----------
        floor
            The floor, alike in all levels of a group.
        points
            One a row; locations as standard normals, shifts on the link scale.
        sigmas
            Standard deviation of the prior of each location.
        at
            As the ridge has it.
        blocks
            The layout of the vector.
        """
        from scipy.interpolate import CubicSpline

        found = {(block.plan.name, block.group): block.where for block in blocks}
        values = points[:, found[floor, None].start] * sigmas[floor]
        knots = np.linspace(values[0], values[-1], _KNOTS)
        curve = CubicSpline(knots, CubicSpline(values, points)(knots), bc_type="natural")
        # a natural spline is straight up to its first knot, and its third derivative jumps at each
        steps = np.diff(curve.c[0], axis=0, prepend=0.0, append=0.0).T
        near, far = np.zeros_like(steps), np.zeros_like(steps)
        for block in blocks:
            if block.plan.name == floor:
                continue
            owner = _owner(block)
            if not block.offset or owner is None or (floor, owner) not in found:
                far[block.where] = steps[block.where]
                continue
            near[block.where] = steps[block.where]
            if block.plan.knots is None and block.plan.name in sigmas:
                # of the population's way a level has its own
                alike = sigmas[block.plan.name] * steps[found[block.plan.name, None]]
                near[block.where] += alike
                far[block.where] -= alike
        return cls(floor=floor, knots=knots, curves=np.hstack([near, far]), at=at)


def displaced(z: Any, scale: Any, blocks: Sequence[Block], floor: str, tables: Sequence[Any], xp: Any) -> Any:
    """Return how far the ridge is from where the quadratic approximation has it, given the floor.

    Parameters
    ----------
    z, scale
        Normals and the populations' standard deviations (one for locations), along the last axis.
    blocks
        The layout of the vector.
    floor, tables
        A ridge's floor, and its tables as `xp` has them.
    xp
        numpy, or PyTensor's tensors.
    """
    knots, curves, at = tables
    found = {(block.plan.name, block.group): block.where for block in blocks}

    def past(distance: Any) -> Any:
        before = xp.maximum(-knots, 0.0)
        beyond = xp.maximum(distance[..., None] - knots, 0.0)
        return beyond**3 - before**3 - 3 * before**2 * distance[..., None]

    away = at[0] * z[..., found[floor, None]] - at[1]
    middle, start = past(away), 2
    levels: dict[str | None, Any] = {}
    count: dict[str | None, int] = {}
    for block in blocks:
        if block.plan.name == floor and block.offset:
            count[block.group] = len(block.labels)
            stop = start + len(block.labels)
            levels[block.group] = past(away + scale[..., block.where] * z[..., block.where] - at[start:stop])
            start = stop
    parts = []
    for block in blocks:
        near, far = curves[block.where, :_KNOTS], curves[block.where, _KNOTS:]
        part = (far * middle).sum(axis=-1)
        owner = _owner(block)
        if block.offset and owner in levels:
            own, repeats = levels[owner], len(block.labels) // count[owner]
            # all knots of a level's own path go along with its floor
            part = part + (near * (own if repeats == 1 else xp.repeat(own, repeats, axis=own.ndim - 2))).sum(axis=-1)
        parts.append(part)
    return xp.concatenate(parts, axis=-1)


def _owner(block: Block) -> str | None:
    """Return the group whose levels' values of the floor an entry goes along with."""
    return block.group if block.plan.knots is None else owner_of(str(block.group)) or None
