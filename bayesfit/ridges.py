"""Ridges that bend: how all else goes along with a floor that runs leave open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bayesfit.pooling import Block

#: Knots of a curve.
KNOTS = 17


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """How the likelihood pulls all else to where its ridge lies for every value of a floor.

    Each level of the group over which the floor varies, or each cell where it varies over several, has curves of its
    own, by how far its floor is from the pilot's; a floor that does not vary has one set.

    Parameters
    ----------
    floor
        The parameter.
    knots
        Knots of natural cubic splines, on the floor's link scale, one row a cell.
    places
        Which entries of the vector of standard normals each cell pulls, one row a cell, filled up with zeros.
    pulls
        For each of these the coefficients of the cubed distances past each knot (cells by entries by knots). Value
        and slope at zero are taken off, since the quadratic approximation has them.
    at
        The standard deviation of the floor's prior and its place at the pilot's optimum, on the link scale less the
        prior's mean; then the shift of each cell there.
    cells
        Which of the shifts of its levels, in the vector's order, each cell has (1 or 0).
    """

    floor: str
    knots: np.ndarray = field(repr=False)
    places: np.ndarray = field(repr=False)
    pulls: np.ndarray = field(repr=False)
    at: np.ndarray = field(repr=False)
    cells: np.ndarray = field(repr=False)

    @property
    def tables(self) -> tuple[np.ndarray, ...]:
        """What the model needs as data."""
        return self.knots, self.places, self.pulls, self.at, self.cells


def curve(values: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return knots of a natural cubic spline through points (in rows), and each column's coefficients at them."""
    from scipy.interpolate import CubicSpline

    knots = np.linspace(values[0], values[-1], KNOTS)
    spline = CubicSpline(knots, CubicSpline(values, points)(knots), bc_type="natural")
    # a natural spline is straight up to its first knot, and its third derivative jumps at each
    return knots, np.diff(spline.c[0], axis=0, prepend=0.0, append=0.0).T


def past(distance: Any, knots: Any, xp: Any) -> Any:
    """Return the cubed distances past knots (last axis), less their value and slope at zero."""
    before = xp.maximum(-knots, 0.0)
    beyond = xp.maximum(distance[..., None] - knots, 0.0)
    return beyond**3 - before**3 - 3 * before**2 * distance[..., None]


def pulled(z: Any, scale: Any, blocks: Sequence[Block], floor: str, tables: Sequence[Any], xp: Any) -> Any:
    """Return the pull towards the ridge beyond what the quadratic approximation has, given the floors.

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
    knots, places, pulls, at, cells = tables
    population, *shifts = [block for block in blocks if block.plan.name == floor]
    away = at[0] * z[..., population.where] - at[1]
    if shifts:
        own = xp.concatenate([scale[..., block.where] * z[..., block.where] for block in shifts], axis=-1)
        away = away + xp.dot(own, cells.T) - at[2:]
    along = past(away, knots, xp)
    pull = xp.matmul(pulls, along[..., None])[..., 0]
    places = places.astype("int64").ravel()
    if xp is np:
        found = np.zeros((z.shape[-1], *z.shape[:-1]))
        np.add.at(found, places, np.moveaxis(pull.reshape(*z.shape[:-1], -1), -1, 0))
        return np.moveaxis(found, 0, -1)
    return xp.inc_subtensor(xp.zeros_like(z)[places], pull.ravel())
