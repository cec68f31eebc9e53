"""Capability factors of models: where their axes lie, and the PyMC model of benchmarks, compute and target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from scipy.special import expit

from bayesfit.benchmark_table import BenchmarkTable
from bayesfit.components import signs

#: Degrees of freedom of benchmark scores about what the factors say.
NU = 4.0
#: Scatter of a score that items do not explain, as a share of the binomial standard deviation of one item.
_SPREAD = 0.03
#: Rounds of the search for the axes.
_ROUNDS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """Axes of the factors, found by a quick fit, that hold the rotation and the scale of the real one.

    With r directions of loadings free, the product ``anchor @ loadings`` is the unit matrix and ``anchor @
    intercepts`` a constant in every draw. No rotation, reflection or rescaling of the factors keeps that, so
    chains cannot end in different ones. `anchor` weighs the benchmarks as the quick fit does when it reads a
    model's factors off its scores, so that no single benchmark has to carry a factor.

    Parameters
    ----------
    intercepts, loadings
        Of the quick fit: log-odds above chance of each benchmark at the mean model, and per unit of each
        factor. Factors have mean 0 and standard deviation 1 over the models there, are uncorrelated, and
        come in the order of how well the benchmarks determine them.
    free
        Orthonormal directions in which intercepts and loadings may still move, one column each.
    scores, information
        Each model's factors, and how well its scores determine each: one over the variance.
    """

    intercepts: np.ndarray
    loadings: np.ndarray
    free: np.ndarray
    scores: np.ndarray
    information: np.ndarray


def find_frame(table: BenchmarkTable, factors: int) -> Frame:
    """Find the axes by weighted alternating least squares on working log-odds.

    Scores scatter as in the real model, with one `spread` for all benchmarks and Student-t weights, and each
    model's factors are shrunk as standard normals.
    """
    y, seen = table.scores, np.isfinite(table.scores)
    chance = np.array([table.chance[name] for name in table.benchmarks])
    per_item = table.per_item(table.benchmarks)
    per_item = np.where(per_item > 0, per_item, _SPREAD**2) + _SPREAD**2
    n, k = len(y), factors
    with np.errstate(invalid="ignore"):
        share = np.clip((y - chance) / (1 - chance), 0.02, 0.98)
    start = np.log(share) - np.log1p(-share)
    intercepts = np.nanmean(start, axis=0)
    left, sizes, right = np.linalg.svd(np.where(seen, start - intercepts, 0.0), full_matrices=False)
    scores, loadings = left[:, :k] * np.sqrt(n), right[:k].T * sizes[:k] / np.sqrt(n)
    identity = np.eye(k)
    for _ in range(_ROUNDS):
        linear = intercepts + scores @ loadings.T
        above = expit(linear)
        mean, slope = chance + (1 - chance) * above, (1 - chance) * above * (1 - above)
        variance = np.maximum(mean * (1 - mean), 1e-4) * per_item
        residual = np.where(seen, y - mean, 0.0)
        weight = seen * (NU + 1) / (NU + residual**2 / variance) * slope**2 / variance
        # one step of a score at chance would be endless
        working = linear + np.clip(residual / np.maximum(slope, 1e-4), -1.0, 1.0)
        inner = np.einsum("jk,ij,jl->ikl", loadings, weight, loadings) + identity
        scores = np.linalg.solve(inner, ((weight * (working - intercepts)) @ loadings)[:, :, None])[:, :, 0]
        covariance = np.linalg.inv(inner)
        design = np.column_stack([np.ones(n), scores])
        moment = np.einsum("ia,ij,ib->jab", design, weight, design)
        moment[:, 1:, 1:] += np.einsum("ij,ikl->jkl", weight, covariance) + identity
        # a benchmark on which everybody guesses has no intercept of its own
        moment[:, 0, 0] += 0.5
        pull = np.einsum("ia,ij->ja", design, weight * working)
        pull[:, 0] -= 0.5
        solved = np.linalg.solve(moment, pull[:, :, None])[:, :, 0]
        intercepts, loadings = solved[:, 0], solved[:, 1:]
        centre = scores.mean(axis=0)
        intercepts, scores = intercepts + loadings @ centre, scores - centre
        root = np.linalg.cholesky(scores.T @ scores / n + covariance.mean(axis=0))
        loadings, scores = loadings @ root, np.linalg.solve(root, scores.T).T
    typical = np.sum(weight, axis=0) / np.maximum(seen.sum(axis=0), 1)
    _, axes = np.linalg.eigh((loadings.T * typical) @ loadings)
    axes = axes[:, ::-1]
    loadings, scores = loadings @ axes, scores @ axes
    sign = signs((loadings * np.sqrt(typical)[:, None]).T)
    loadings, scores = loadings * sign, scores * sign
    anchor = np.linalg.solve((loadings.T * typical) @ loadings, loadings.T * typical)
    return Frame(
        intercepts=intercepts,
        loadings=loadings,
        free=np.linalg.svd(anchor)[2][k:].T,
        scores=scores,
        information=np.einsum("jk,ij,jk->ik", loadings, weight, loadings),
    )


def given(table: BenchmarkTable, frame: Frame | None, known: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the arrays that the model of a table is given, all as numbers."""
    placed = np.isfinite(table.decades)
    found: dict[str, Any] = {
        "family": table.family_of_model,
        "decades": np.where(placed, table.decades, 0.0),
        # a model of unknown compute lies anywhere on its family's line
        "reach": np.where(placed, 0.0, table.decades[placed].std() if placed.any() else 0.0),
        "outcome": np.where(table.fitted, table.outcome, 0.5),
        "fitted": table.fitted,
        "target": [table.chance[table.target], *table.per_item([table.target])],
    }
    if frame is None:
        return found | {"known": np.asarray(known)}
    seen = np.isfinite(table.scores)
    chance = [table.chance[name] for name in table.benchmarks]
    tasks = np.array([chance, table.per_item(table.benchmarks)])
    return found | {"table": np.where(seen, table.scores, 0.5), "seen": seen, "tasks": tasks, **vars(frame)}


def build_model(shapes: Mapping[str, tuple[int, ...]], families: int, factors: int) -> pm.Model:
    """Return the PyMC model of all tables of one shape.

    Parameters
    ----------
    shapes
        Of the arrays that `given` returns.
    families, factors
        How many there are.

    Returns
    -------
    pymc.Model
        Its data is one vector, the arrays one after the other, and its one free variable a vector of standard
        normals, since compiling takes longer with every variable. Made from it are, by name: `scores`,
        `loadings`, `intercepts` and `spread` of the benchmarks; `level` and `slope` of each family in compute
        with the population's means and standard deviations, and the `residual_sd` of models about their family;
        the target's `weights`, `offset`, `target_spread`, `target_sd`, and the families' `shift` with its
        `shift_sd`; each model's `index`, and the mean and scale of its target, `target_mean` and `target_scale`.
    """
    n, k = shapes["family"][0], factors
    free: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("level_mean", "slope_mean", "level_sd", "slope_sd", "residual_sd", "weights"), (k,)),
        **dict.fromkeys(("level", "slope"), (families, k)),
        **dict.fromkeys(("offset", "target_spread", "target_sd", "shift_sd"), (1,)),
        "shift": (families,),
    }
    coords = {"model": range(n), "family": range(families), "factor": range(k)}
    if "table" in shapes:
        j = shapes["table"][1]
        free |= {"scores": (n, k), "intercepts": (j - k,), "loadings": (j - k, k), "spread": (j,)}
        coords["benchmark"] = range(j)
    with pm.Model(coords=coords) as model:
        data = _cut(pm.Data("data", np.zeros(sum(int(np.prod(shape)) for shape in shapes.values()))), shapes)
        draw = _cut(pm.Normal("z", 0.0, 1.0, shape=sum(int(np.prod(shape)) for shape in free.values())), free)
        data["family"] = pt.cast(data["family"], "int64")
        mean, sd = _lines(data, draw, k)
        if "known" in data:
            scores = data["known"]
            pm.Potential("lines", (-0.5 * ((scores - mean) / sd) ** 2 - pt.log(sd)).sum())
        else:
            # where benchmarks and family say about this much of a factor, the sampler moves it in units of its doubt
            precision = data["information"] + 1 / sd**2
            centre = (data["information"] * data["scores"] + mean / sd**2) / precision
            scores = _named("scores", centre + draw["scores"] / pt.sqrt(precision), "model", "factor")
            moved = -0.5 * ((scores - mean) / sd) ** 2 - pt.log(sd) - 0.5 * pt.log(precision)
            pm.Potential("lines", (moved + 0.5 * draw["scores"] ** 2).sum())
            _benchmarks(data, draw, scores)
        _target(data, draw, scores, k)
    return model


def _cut(vector: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return a vector cut up into named arrays."""
    found, start = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        found[name] = vector[start : start + size].reshape(shape)
        start += size
    return found


def _named(name: str, value: Any, *dims: str) -> Any:
    return pm.Deterministic(name, value, dims=dims or None)


def _positive(draw: Mapping[str, Any], name: str, median: float, sd: float, *dims: str) -> Any:
    """Return a parameter with a log-normal prior."""
    return _named(name, median * pt.exp(sd * (draw[name] if dims else draw[name][0])), *dims)


def _lines(data: Mapping[str, Any], draw: Mapping[str, Any], k: int) -> tuple[Any, Any]:
    """Return mean and scatter of every model's factors: a line in compute for each family.

    Lines are only partly right: benchmarks and compute bend. So the residual's prior keeps off zero, where the
    families would dictate the factors and the benchmarks be made to fit.
    """
    level_mean = _named("level_mean", 0.5 * draw["level_mean"], "factor")
    slope_mean = _named("slope_mean", 0.5 * np.eye(k)[0] + 0.4 * draw["slope_mean"], "factor")
    level_sd = _positive(draw, "level_sd", 0.5, 0.6, "factor")
    slope_sd = _positive(draw, "slope_sd", 0.1, 0.6, "factor")
    residual_sd = _positive(draw, "residual_sd", 0.4, 0.2, "factor")
    # families are well determined by their models, so the sampler moves their levels as they are
    level = _named("level", draw["level"], "family", "factor")
    moved = -0.5 * ((level - level_mean) / level_sd) ** 2 - pt.log(level_sd) + 0.5 * level**2
    pm.Potential("levels", moved.sum())
    slope = _named("slope", slope_mean + slope_sd * draw["slope"], "family", "factor")
    own = slope[data["family"]]
    mean = level[data["family"]] + own * data["decades"][:, None]
    return mean, pt.sqrt(residual_sd**2 + (own * data["reach"][:, None]) ** 2)


def _benchmarks(data: Mapping[str, Any], draw: Mapping[str, Any], scores: Any) -> None:
    """Add the benchmarks: log-odds above chance linear in the factors, Student-t scatter of the scores."""
    intercepts = _named("intercepts", data["intercepts"] + pt.dot(data["free"], draw["intercepts"]), "benchmark")
    loadings = data["loadings"] + 0.5 * pt.dot(data["free"], draw["loadings"])
    loadings = _named("loadings", loadings, "benchmark", "factor")
    spread = _positive(draw, "spread", _SPREAD, 0.7, "benchmark")
    chance, per_item = data["tasks"][0], data["tasks"][1]
    mean = chance + (1 - chance) * pt.sigmoid(intercepts + pt.dot(scores, loadings.T))
    scale = _scale(mean, per_item, spread, 0.0)
    density = -(NU + 1) / 2 * pt.log1p(((data["table"] - mean) / scale) ** 2 / NU) - pt.log(scale)
    pm.Potential("benchmarks", (data["seen"] * density).sum())


def _target(data: Mapping[str, Any], draw: Mapping[str, Any], scores: Any, k: int) -> None:
    """Add the target: log-odds above chance linear in the factors, with a shift of each family."""
    weights = _named("weights", np.eye(k)[0] + draw["weights"], "factor")
    offset = _named("offset", -1 + 2 * draw["offset"][0])
    spread = _positive(draw, "target_spread", _SPREAD, 0.7)
    target_sd = _positive(draw, "target_sd", 0.2, 0.7)
    shift = _named("shift", _positive(draw, "shift_sd", 0.2, 0.7) * draw["shift"], "family")
    index = _named("index", offset + pt.dot(scores, weights), "model")
    chance, per_item = data["target"][0], data["target"][1]
    above = pt.sigmoid(index + shift[data["family"]])
    mean = _named("target_mean", chance + (1 - chance) * above, "model")
    apart = (1 - chance) * above * (1 - above) * target_sd
    scale = _named("target_scale", _scale(mean, per_item, spread, apart), "model")
    density = -0.5 * ((data["outcome"] - mean) / scale) ** 2 - pt.log(scale)
    pm.Potential("target", (data["fitted"] * density).sum())


def _scale(mean: Any, per_item: Any, spread: Any, apart: Any) -> Any:
    """Return the scale of a score about `mean`.

    Parameters
    ----------
    mean
        Expected score.
    per_item
        One over the number of items, 0 if unknown.
    spread
        Scatter that items do not explain: prompts, answer formats; acts as fewer items would.
    apart
        Scatter of models' capability, in the score's unit.

    Notes
    -----
    Half an item is added: a score of 0 of 100 does not say that there is no scatter.
    """
    return pt.sqrt(mean * (1 - mean) * (per_item + spread**2) + apart**2 + (0.5 * per_item) ** 2 + 1e-8)
