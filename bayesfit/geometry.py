"""Coordinates for NUTS in which the posterior is round, from a pilot fit.

The model is written in standard normals `z`: locations, and for each partially pooled parameter its
levels' shifts in units of the population's standard deviation. A quadratic approximation of the
likelihood about the pilot's optimum, with information `F` and pull `h` on (locations, shifts), turns
into one of the posterior for *any* standard deviations `T`: precision ``T F T + 1`` and pull ``T h``.
The sampler moves `w`, with ``z = C^-T (w + C^-1 T h)`` and ``C C' = T F T + 1``, which is about a
standard normal whatever `T`. So a well-determined level is sampled centred, a poorly determined one
non-centred, everything in between as it should be, and the ridges (floor against exponent, amplitude
against exponent, centre against shifts) are gone, and where one bends along a floor that runs leave
open it is followed (`bayesfit.ridges`). Only coordinates change, not the posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesfit.correlation import correlated_of
from bayesfit.knots import owner_of
from bayesfit.pooling import Block
from bayesfit.ridges import Ridge, pulled

#: Up to this many entries, one matrix is factored whole.
_ONE_MATRIX = 60
#: Draws whose matrices are factored at once.
_BLOCK = 500


@dataclass(frozen=True)
class Geometry:
    """Coordinates for sampling.

    Parameters
    ----------
    information, pull
        Quadratic approximation of the log likelihood over locations (as standard normals) and shifts
        (on the link scale): its matrix, and its slope at zero.
    spreads
        The pilot's standard deviation of each parameter over each group, as a start.
    entries, centre, root
        The locations that a population makes correlated: with it the place in a parameter's own prior is
        ``centre + root @ z``; see `bayesfit.pooling.population_of`.
    ridges
        How ridges bend along floors.
    """

    information: np.ndarray
    pull: np.ndarray
    spreads: dict[str, float]
    entries: np.ndarray
    centre: np.ndarray
    root: np.ndarray
    ridges: tuple[Ridge, ...] = ()

    def placed(self, z: np.ndarray) -> np.ndarray:
        """Return each entry's place in its parameter's own prior, or its shift, from standard normals (last axis)."""
        if not self.entries.size:
            return z
        places = z.copy()
        places[..., self.entries] = self.centre + z[..., self.entries] @ self.root.T
        return places


def standard_normals(
    geometry: Geometry, blocks: tuple[Block, ...], w: np.ndarray, scale: np.ndarray, mixing: np.ndarray | None = None
) -> np.ndarray:
    """Return the standard normals of draws of the vector that the sampler moves.

    Parameters
    ----------
    geometry
        The coordinates.
    blocks
        The layout of the vector.
    w, scale
        Draws, and the populations' standard deviations (one for locations), one row a draw.
    mixing
        Where parameters correlate over a group, the root of the correlations of the leaves' columns, one
        matrix a draw.

    Notes
    -----
    The same map as the model's own (`bayesfit.build`), which need not be recorded then.
    """
    leaves = leaves_of(blocks)
    z = np.empty_like(w)
    for start in range(0, len(w), _BLOCK):
        rows = slice(start, start + _BLOCK)
        mixed = None if mixing is None else mixing[rows]
        z[rows] = _normals_of(geometry, leaves, w[rows], scale[rows], geometry.pull, mixed)
        if geometry.ridges:
            z[rows] += along_ridges(geometry, blocks, z[rows], scale[rows])
    return z


def along_ridges(geometry: Geometry, blocks: tuple[Block, ...], z: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return what ridges that bend add to standard normals, which rests on the floors and leaves these alone."""
    pull = np.zeros_like(z)
    for ridge in geometry.ridges:
        pull += pulled(z, scale, blocks, ridge.floor, ridge.tables, np)
    given = scale * ~np.isin(np.arange(z.shape[1]), floors_of(geometry, blocks))
    return _normals_of(geometry, leaves_of(blocks), np.zeros_like(z), given, pull, None)


def floors_of(geometry: Geometry, blocks: tuple[Block, ...]) -> np.ndarray:
    """Return the entries of the floors along which ridges bend."""
    names = {ridge.floor for ridge in geometry.ridges}
    floors = [np.arange(block.where.start, block.where.stop) for block in blocks if block.plan.name in names]
    return np.concatenate([np.zeros(0, dtype=int), *floors])


def _normals_of(
    geometry: Geometry,
    leaves: np.ndarray,
    w: np.ndarray,
    scale: np.ndarray,
    pull: np.ndarray,
    mixing: np.ndarray | None,
) -> np.ndarray:
    root = np.setdiff1d(np.arange(w.shape[1]), leaves)
    t = scale[:, root]
    within = t[:, :, None] * geometry.information[np.ix_(root, root)] * t[:, None, :] + np.eye(root.size)
    pulled, z = t * pull[..., root], np.empty_like(w)
    if leaves.size:
        s = scale[:, leaves]
        inner = geometry.information[leaves[:, :, None], leaves[:, None, :]]
        cross = geometry.information[leaves[:, :, None], root]
        spread = s[..., :, None] * (np.eye(leaves.shape[1]) if mixing is None else mixing[:, None])
        lowers = np.linalg.cholesky(spread.mT @ inner @ spread + np.eye(leaves.shape[1]))
        across = np.linalg.solve(lowers, spread.mT @ cross * t[:, None, None, :])
        pulls = np.linalg.solve(lowers, spread.mT @ pull[..., leaves, None])
        within = within - (across.mT @ across).sum(axis=1)
        pulled = pulled - (across.mT @ pulls).sum(axis=1)[..., 0]
    lower = np.linalg.cholesky(within)
    first = np.linalg.solve(lower.mT, w[:, root, None] + np.linalg.solve(lower, pulled[..., None]))
    z[:, root] = first[..., 0]
    if leaves.size:
        rest = np.linalg.solve(lowers.mT, w[:, leaves][..., None] + pulls - across @ first[:, None])
        z[:, leaves] = rest[..., 0]
    return z


def correlated_columns(blocks: tuple[Block, ...]) -> list[int]:
    """Return the columns of the leaves that correlate, in the order of their parameters."""
    group, _ = correlated_of([block.plan for block in blocks])
    columns = [block for block in blocks if block.group == group]
    return [place for place, block in enumerate(columns) if block.offset and block.plan.correlated]


def leaves_of(blocks: tuple[Block, ...]) -> np.ndarray:
    """Return the places of the leaves, one row a level; none where a single matrix is as quick.

    The group over which parameters correlate, or the one with most entries. The knots of a level's own path
    stand with it, behind its other entries.
    """
    size = blocks[-1].where.stop
    groups = {block.group for block in blocks if block.group is not None and block.plan.knots is None}
    none: np.ndarray = np.zeros((0, 0), dtype=int)
    correlated, _ = correlated_of([block.plan for block in blocks])
    if not correlated and (size <= _ONE_MATRIX or not groups):
        return none
    count = {group: sum(len(block.labels) for block in blocks if block.group == group) for group in groups}
    most = correlated or max(count, key=lambda group: count[group])
    columns = [np.arange(block.where.start, block.where.stop) for block in blocks if block.group == most]
    paths = [
        block for block in blocks if block.plan.knots is not None and block.group and owner_of(block.group) == most
    ]
    columns += [np.arange(block.where.start, block.where.stop).reshape(len(columns[0]), -1) for block in paths]
    return np.column_stack(columns)
