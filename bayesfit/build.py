"""Turn a law, its pooling and the runs into a PyMC model. The only module that builds PyMC graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytensor.tensor as pt
from pymc.dims import math as pmath
from pytensor.tensor.linalg import cholesky, solve_triangular

from bayesfit.card import Law
from bayesfit.expression import Backend
from bayesfit.geometry import Geometry, pilot
from bayesfit.noise import Noise
from bayesfit.pooling import Block, ParameterPlan, layout, noise_names, spread_name

if TYPE_CHECKING:
    from bayesfit.runs import Runs


#: Up to this many entries, one matrix is factored whole.
_ONE_MATRIX = 60


def _logaddexp(a: Any, b: Any) -> Any:
    return pmath.maximum(a, b) + pmath.log1p(pmath.exp(-pmath.abs(a - b)))


def _boxcox(z: Any, c: Any) -> Any:
    t = c * z
    # a series near zero; the other branch gets a harmless value there, so that its gradient is finite
    small = pmath.abs(t) < 1e-6
    safe = pmath.where(small, 1.0, t)
    return z * pmath.where(small, 1 + t / 2 + t**2 / 6, pmath.expm1(safe) / safe)


def _indicator(comparison: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    # plain 1.0 and 0.0 would make it single precision
    return lambda a, b: pmath.where(comparison(a, b), np.float64(1.0), np.float64(0.0))


#: The formula language for PyMC, over tensors with named dims.
PYMC: Backend = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "<": _indicator(pmath.lt),
    "<=": _indicator(pmath.le),
    ">": _indicator(pmath.gt),
    ">=": _indicator(pmath.ge),
    "exp": pmath.exp,
    "log": pmath.log,
    "log10": pmath.log10,
    "log1p": pmath.log1p,
    "expm1": pmath.expm1,
    "sqrt": pmath.sqrt,
    "expit": pmath.sigmoid,
    "softplus": pmath.softplus,
    "gammaln": pmath.gammaln,
    "logaddexp": _logaddexp,
    "minimum": pmath.minimum,
    "maximum": pmath.maximum,
    "boxcox": _boxcox,
    "betaln": lambda a, b: pmath.gammaln(a) + pmath.gammaln(b) - pmath.gammaln(a + b),
    "sum": lambda x, dim: x.sum(dim),
    "half_normal": lambda z: pmath.erfcinv(0.5 * pmath.erfc(z / np.sqrt(2.0))),
}


@dataclass(frozen=True, kw_only=True)
class Build:
    """A PyMC model with what is needed to read its draws.

    Parameters
    ----------
    model
        Free variables: `w`, the vector that the sampler moves, and the standard deviation of each
        partially pooled parameter over each group.
    geometry
        How `w` gives the standard normals of `plans`.
    plans, levels
        The parameters, and the levels of each group.
    """

    model: pm.Model
    geometry: Geometry
    plans: tuple[ParameterPlan, ...]
    levels: Mapping[str, tuple[str, ...]]

    @property
    def start(self) -> dict[str, Any]:
        """The pilot's optimum, as an initial point."""
        return {"w": np.zeros(len(self.geometry.pull)), **self.geometry.spreads}


def build(law: Law, plans: tuple[ParameterPlan, ...], runs: Runs) -> Build:
    """Build the model of a law for runs.

    Parameters
    ----------
    law
        The law; every input and output must be a column of `runs`.
    plans
        How its parameters and noise scales vary, from `bayesfit.pooling.plan_parameters`.
    runs
        The runs.
    """
    groups = list(dict.fromkeys(group for plan in plans for group in plan.dims))
    levels = {group: runs.levels(group) for group in groups}
    blocks = layout(plans, levels)
    geometry = pilot(law, plans, runs)
    coords: dict[str, Any] = {
        "run": np.arange(len(runs)),
        "latent": [label if not block.offset else f"{label} shift" for block in blocks for label in block.labels],
        **{group: list(names) for group, names in levels.items()},
    }
    with pm.Model(coords=coords) as model:
        codes = {group: pmd.Data(f"{group}_of_run", runs.codes(group), dims="run") for group in groups}
        values = _parameters(plans, blocks, geometry, codes)
        known = {**_inputs(law, runs), **values}
        means = law.mean(known, PYMC)
        for output, name in noise_names(law).items():
            _observe(output, law.outputs[output].noise, means[output], known[name], runs)
    return Build(model=model, geometry=geometry, plans=plans, levels=levels)


def _parameters(
    plans: tuple[ParameterPlan, ...], blocks: tuple[Block, ...], geometry: Geometry, codes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return every parameter's value in each run."""
    spreads = {
        (plan.name, group): pmd.HalfNormal(spread_name(plan.name, group), sigma=plan.spread)
        for plan in plans
        for group in plan.shared
    }
    scale = pt.concatenate(
        [
            (spreads[block.plan.name, str(block.group)].values if block.offset else 1.0) * np.ones(len(block.labels))
            for block in blocks
        ]
    )
    z = _standard_normals(blocks, geometry, scale)

    def at(piece: Any, group: str) -> Any:
        return piece.isel({group: codes[group]})

    values: dict[str, Any] = {}
    for plan in plans:
        location: Any = None
        offsets: dict[str, Any] = {}
        for block in blocks:
            if block.plan is not plan:
                continue
            piece = z[block.where]
            if block.offset:
                group = str(block.group)
                offsets[group] = spreads[plan.name, group] * pmd.as_xtensor(piece, dims=(group,))
            else:
                dims = () if block.group is None else (block.group,)
                location = _tensor_prior(plan).location(pmd.as_xtensor(piece if dims else piece[0], dims=dims), PYMC)
        values[plan.name] = _tensor_prior(plan).value(location, offsets, PYMC, at)
    return values


def _tensor_prior(plan: ParameterPlan) -> ParameterPlan:
    """Return the plan with its prior's arrays over levels, if any, as tensors."""
    from dataclasses import replace

    if plan.separate is None:
        return plan
    group = plan.separate
    return replace(plan, prior=plan.prior.map(lambda argument: pmd.as_xtensor(np.asarray(argument), dims=(group,))))


def _standard_normals(blocks: tuple[Block, ...], geometry: Geometry, scale: Any) -> Any:
    """Return the vector of standard normals, moved by the sampler through `w` as `bayesfit.geometry` says.

    Runs of different levels of a group meet in nothing but the rest of the vector, so where there
    are many levels (of the group with most entries, the *leaves*) their small matrices are
    factored side by side, and only the rest (the *root*) as one.
    """
    n = len(geometry.pull)
    leaves = _leaves(blocks, n)
    root = np.setdiff1d(np.arange(n), leaves)
    information, pull = geometry.information, geometry.pull
    parts = [scale, pull, information[np.ix_(root, root)]]
    if leaves.size:
        parts += [information[leaves[:, :, None], root], information[leaves[:, :, None], leaves[:, None, :]]]
    order = np.argsort(np.concatenate([root, leaves.ravel()]))

    def normals(w: Any, scale: Any, pull: Any, root_block: Any, *leaf_blocks: Any) -> tuple[Any, Any]:
        """Return the normals and the log determinant of the map from `w`."""
        t = scale[root]
        within = t[:, None] * root_block * t[None, :] + pt.eye(root.size)
        pulled = t * pull[root]
        if not leaf_blocks:
            lower = cholesky(within)
            z = solve_triangular(lower.T, w[root] + solve_triangular(lower, pulled, lower=True), lower=False)
            return z[order], -pt.sum(pt.log(pt.diag(lower)))
        cross, inner = leaf_blocks
        s = scale[leaves]
        lowers = cholesky(s[:, :, None] * inner * s[:, None, :] + np.eye(leaves.shape[1]))
        across = solve_triangular(lowers, s[:, :, None] * cross * t, lower=True, b_ndim=2)
        pulls = solve_triangular(lowers, s * pull[leaves], lower=True, b_ndim=1)
        lower = cholesky(within - pt.sum(pt.matmul(across.mT, across), axis=0))
        pulled = pulled - pt.sum(pt.matmul(across.mT, pulls[:, :, None])[:, :, 0], axis=0)
        first = solve_triangular(lower.T, w[root] + solve_triangular(lower, pulled, lower=True), lower=False)
        rest = solve_triangular(lowers.mT, w[leaves] + pulls - pt.matmul(across, first), lower=False, b_ndim=1)
        diagonals = pt.sum(pt.log(pt.diagonal(lowers, axis1=-2, axis2=-1))) + pt.sum(pt.log(pt.diag(lower)))
        return pt.concatenate([first, rest.ravel()])[order], -diagonals

    def logp(w: Any, *parts: Any) -> Any:
        z, log_determinant = normals(w, *parts)
        return -0.5 * pt.sum(z**2) - 0.5 * np.log(2 * np.pi) * n + log_determinant

    signature = "(n),(n),(r,r)" + (",(l,p,r),(l,p,p)" if leaves.size else "") + "->(n)"
    w = pm.CustomDist("w", *parts, logp=logp, signature=signature, dims="latent")
    return pm.Deterministic("z", normals(w, *(pt.as_tensor(part) for part in parts))[0], dims="latent")


def _leaves(blocks: tuple[Block, ...], size: int) -> np.ndarray:
    """Return the places of the leaves, one row a level; none where a single matrix is as quick."""
    groups = {block.group for block in blocks if block.group is not None}
    none: np.ndarray = np.zeros((0, 0), dtype=int)
    if size <= _ONE_MATRIX or not groups:
        return none
    count = {group: sum(len(block.labels) for block in blocks if block.group == group) for group in groups}
    most = max(count, key=lambda group: count[group])
    return np.column_stack([np.arange(block.where.start, block.where.stop) for block in blocks if block.group == most])


def _inputs(law: Law, runs: Runs) -> dict[str, Any]:
    """Return inputs and data summaries as data of the model."""
    used = frozenset[str]().union(*(equation.expression.names for equation in law.equations))
    summaries = runs.summaries()
    known: dict[str, Any] = {name: pmd.Data(name, runs.values(name), dims="run") for name in law.inputs}
    for name in sorted(used & summaries.keys()):
        known[name] = pmd.Data(name, np.float64(summaries[name]))
    return known


def _observe(output: str, noise: Noise, mean: Any, sigma: Any, runs: Runs) -> None:
    values = runs.values(output)
    observed = pmd.Data(f"{output}_data", noise.observed(values), dims="run")
    if output == "loss" and runs.loss_se is not None:
        measured = pmd.Data("loss_se", noise.measured(runs.loss_se, values), dims="run")
        sigma = pmath.sqrt(sigma**2 + measured**2)
    name = output if noise.on == "identity" else f"{noise.on}_{output}"
    if noise.on != "identity":
        mean = pmath.log(mean) - pmath.log1p(-mean) if noise.on == "logit" else pmath.log(mean)
    if noise.kind == "student_t":
        pmd.StudentT(name, nu=noise.nu, mu=mean, sigma=sigma, observed=observed)
    elif noise.kind == "laplace":
        pmd.Laplace(name, mu=mean, b=sigma, observed=observed)
    else:
        pmd.Normal(name, mu=mean, sigma=sigma, observed=observed)
