"""Turn a law, its pooling and the runs into a PyMC model. The only module that builds PyMC graphs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytensor.tensor as pt
from pymc.dims import math as pmath
from pytensor.tensor.linalg import cholesky, solve_triangular

from bayesfit.card import Law
from bayesfit.correlation import (
    correlated_of,
    correlation_name,
    correlation_pairs,
    correlation_root,
    partial_concentrations,
    partial_name,
)
from bayesfit.expression import SEEN, Backend
from bayesfit.geometry import Geometry, correlated_columns, floors_of, leaves_of
from bayesfit.knots import LABELS
from bayesfit.noise import Noise
from bayesfit.pilot import pilot
from bayesfit.pooling import Block, ParameterPlan, layout, levels_of, outcomes, spread_name, spreading
from bayesfit.priors import ResolvedPrior
from bayesfit.ridges import Ridge, pulled

if TYPE_CHECKING:
    from bayesfit.runs import Runs


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
    """What a PyMC model is made from, and what is needed to read its draws.

    Whatever depends on the runs is data of the model (`data`). Builds of equal `structure` have the same
    graph, so that one compiled model serves them all.

    Parameters
    ----------
    law
        The law.
    geometry
        How the vector `w` that the sampler moves gives the standard normals of `plans`.
    plans, levels
        The parameters, and the levels of each group.
    data
        Every array of the model beside the geometry, with its dims.
    numbers
        Every single number: data summaries, arguments of priors.
    """

    law: Law
    geometry: Geometry
    plans: tuple[ParameterPlan, ...]
    levels: Mapping[str, tuple[str, ...]]
    data: Mapping[str, tuple[tuple[str, ...], np.ndarray]]
    numbers: Mapping[str, float]

    @cached_property
    def pieces(self) -> dict[str, np.ndarray]:
        """All data by name, those of the runs last: the only ones whose length is not part of the structure."""
        fixed = {name: values for name, (dims, values) in self.data.items() if dims != ("run",)}
        numbers = {name: np.array(value) for name, value in self.numbers.items()}
        coordinates = {"information": self.geometry.information, "pull": self.geometry.pull}
        if self.geometry.entries.size:
            coordinates |= {"population_centre": self.geometry.centre, "population_root": self.geometry.root}
        for ridge in self.geometry.ridges:
            coordinates |= dict(zip(_ridge_names(ridge), ridge.tables, strict=True))
        return coordinates | numbers | fixed | {name: values for name, (_, values) in self.data.items()}

    @property
    def packed(self) -> np.ndarray:
        """All data in one vector, since compiling takes longer with every array (by .7 s)."""
        return np.concatenate([np.ravel(piece).astype(float) for piece in self.pieces.values()])

    def unpacked(self, packed: Any) -> dict[str, Any]:
        """Return the data by name, as tensors with named dims where they have names."""
        columns = {name: values.dtype for name, (dims, values) in self.data.items() if dims == ("run",)}
        found, start = {}, 0
        for name, piece in self.pieces.items():
            if name not in columns:
                found[name] = packed[start : start + piece.size].reshape(piece.shape)
                start += piece.size
        rows = packed[start:].reshape((len(columns), -1))
        found |= {name: rows[row].astype(str(kind)) for row, (name, kind) in enumerate(columns.items())}
        dims = {name: dims for name, (dims, _) in self.data.items()} | dict.fromkeys(self.numbers, ())
        return {name: pmd.as_xtensor(x, dims=dims[name]) if name in dims else x for name, x in found.items()}

    @property
    def start(self) -> dict[str, Any]:
        """The pilot's optimum, as an initial point."""
        found: dict[str, Any] = {"w": np.zeros(len(self.geometry.pull)), **self.geometry.spreads}
        group, together = correlated_of(self.plans)
        if group:
            found[partial_name(group)] = np.full(len(correlation_pairs(together)), 0.5)
        return found

    @property
    def drawn(self) -> list[str]:
        """Names of the free variables."""
        return list(self.start)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The stretches of the vector of standard normals."""
        return layout(self.plans, self.levels)

    @cached_property
    def structure(self) -> Hashable:
        """Whatever shapes the graph."""
        return (
            self.law.text,
            tuple(self.law.fixed.items()),
            tuple(self.geometry.entries.tolist()),
            tuple((ridge.floor, ridge.pulls.shape) for ridge in self.geometry.ridges),
            tuple(
                (name, part.noise.kind, part.noise.on, part.noise.nu, part.noise.quantile)
                for name, part in self.law.outputs.items()
            ),
            tuple((plan.name, plan.prior.family, plan.separate, plan.shared, plan.correlated) for plan in self.plans),
            tuple((group, len(names)) for group, names in self.levels.items()),
            tuple((name, str(values.dtype)) for name, (_, values) in self.data.items()),
            tuple(self.numbers),
        )

    @cached_property
    def model(self) -> pm.Model:
        """The PyMC model.

        Its free variables are `w` and the standard deviation of each partially pooled parameter over each
        group.
        """
        runs = len(self.data[f"{next(iter(self.law.outputs))}_data"][1])
        labels = [label if not block.offset else f"{label} shift" for block in self.blocks for label in block.labels]
        coords = {
            "run": np.arange(runs),
            "latent": labels,
            **{group: list(names) for group, names in self.levels.items()},
        }
        group, together = correlated_of(self.plans)
        if group:
            coords[correlation_name(group)] = correlation_pairs(together)
        with pm.Model(coords=coords) as model:
            data = self.unpacked(pm.Data("data", self.packed))
            known = {**data, **_parameters(self, data)}
            means = self.law.mean(known, PYMC)
            scales = {output: known[name] for output, name in self.law.sigmas.items()}
            for output, part in self.law.outputs.items():
                _observe(output, part.noise, means[output], scales.get(output), data)
        return model


def build(law: Law, plans: tuple[ParameterPlan, ...], runs: Runs) -> Build:
    """Gather what the model of a law for runs is made from.

    Parameters
    ----------
    law
        The law; every input and output must be a column of `runs`.
    plans
        How its parameters and noise scales vary, from `bayesfit.pooling.plan_parameters`.
    runs
        The runs.
    """
    geometry = pilot(law, plans, runs)
    data: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for plan in plans:
        for group in plan.dims:
            for place, (code, weight) in enumerate(spreading(plan, group, runs)):
                data[_code_name(plan, group, place)] = (("run",), code)
                if plan.knots is not None:
                    data[_weight_name(plan, place)] = (("run",), weight)
    numbers: dict[str, float] = {}
    for plan in plans:
        for key, value in plan.prior.arguments.items():
            if plan.separate is None:
                numbers[f"{plan.name}_prior_{key}"] = float(value)
            else:
                data[f"{plan.name}_prior_{key}"] = ((plan.separate,), np.asarray(value, dtype=float))
        if plan.shared:
            numbers[f"{plan.name}_spread"] = plan.spread
            if plan.spread_sd:
                numbers[f"{plan.name}_spread_sd"] = plan.spread_sd
    used = frozenset[str]().union(*(equation.expression.names for equation in law.equations))
    data |= {name: (("run",), runs.values(name)) for name in law.inputs}
    numbers |= {name: value for name, value in sorted(runs.summaries().items()) if name in used}
    for output, part in law.outputs.items():
        shown = outcomes(law, output, runs)
        values, trials = shown.values, shown.trials
        if not shown.has.all():
            data[f"has.{output}"] = (("run",), shown.has)
        if output in law.linked:
            data[f"{SEEN}.{output}"] = (("run",), values)
        observed = part.noise.observed(values) if trials is None else part.noise.counts(values, trials, output)
        data[f"{output}_data"] = (("run",), observed)
        if trials is not None:
            data[f"{output}_trials"] = (("run",), trials.astype(np.int64))
        if output == "loss" and runs.loss_se is not None:
            data["loss_se"] = (("run",), part.noise.measured(runs.loss_se, values))
    return Build(
        law=law,
        geometry=geometry,
        plans=plans,
        levels=levels_of(plans, runs),
        data=data,
        numbers=numbers,
    )


def _parameters(build: Build, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return every parameter's value in each run."""
    blocks = build.blocks
    spreads = {(plan.name, group): _spread(plan, group, data) for plan in build.plans for group in plan.shared}
    scale = pt.concatenate(
        [
            (spreads[block.plan.name, str(block.group)].values if block.offset else 1.0) * np.ones(len(block.labels))
            for block in blocks
        ]
    )
    mixing = _mixing(build.plans, blocks)
    z = _standard_normals(build.geometry, blocks, data, scale, mixing)
    shifts = None if mixing is None else pt.dot(z[leaves_of(blocks)], mixing.T)
    entries = build.geometry.entries
    if entries.size:
        placed = data["population_centre"] + pt.dot(data["population_root"], z[entries])
        z = pt.set_subtensor(z[entries], placed)

    values: dict[str, Any] = {}
    for plan in build.plans:
        numbers = {key: data[f"{plan.name}_prior_{key}"] for key in plan.prior.arguments}
        symbolic = replace(plan, prior=ResolvedPrior(family=plan.prior.family, **numbers))
        location: Any = None
        offsets: dict[str, Any] = {}
        for block in blocks:
            if block.plan is not plan:
                continue
            piece = z[block.where]
            if block.offset:
                group = str(block.group)
                if shifts is not None and plan.correlated == group:
                    piece = shifts[:, leaves_of(blocks)[0].tolist().index(block.where.start)]
                offsets[group] = spreads[plan.name, group] * pmd.as_xtensor(piece, dims=(group,))
            else:
                dims = () if block.group is None else (block.group,)
                location = symbolic.location(pmd.as_xtensor(piece if dims else piece[0], dims=dims), PYMC)
        values[plan.name] = symbolic.value(location, offsets, PYMC, _taking(plan, data))
    return values


def _spread(plan: ParameterPlan, group: str, data: Mapping[str, Any]) -> Any:
    """Return the standard deviation of a parameter over a group."""
    name, typical = spread_name(plan.name, group), data[f"{plan.name}_spread"]
    if plan.spread_sd:
        return pmd.LogNormal(name, mu=pmath.log(typical), sigma=data[f"{plan.name}_spread_sd"])
    return pmd.HalfNormal(name, sigma=typical)


def _taking(plan: ParameterPlan, data: Mapping[str, Any]) -> Callable[[Any, str], Any]:
    """Return what spreads a piece of a parameter over the runs: each takes its level's, or a sum over knots."""

    def at(piece: Any, group: str) -> Any:
        if plan.knots is None:
            return piece.isel({group: data[_code_name(plan, group, 0)]})
        terms = [
            data[_weight_name(plan, place)] * piece.isel({group: data[_code_name(plan, group, place)]})
            for place in range(len(LABELS))
        ]
        return sum(terms[1:], terms[0])

    return at


def _code_name(plan: ParameterPlan, group: str, place: int) -> str:
    """Return the name of the data that tell the level of each run; of a path, the entry at a knot."""
    return f"{group}_of_run" if plan.knots is None else f"{group}_{place}_of_run"


def _weight_name(plan: ParameterPlan, place: int) -> str:
    return f"{plan.name}_at_knot_{place}"


def _mixing(plans: tuple[ParameterPlan, ...], blocks: tuple[Block, ...]) -> Any:
    """Return the root of the correlations of the leaves' columns; None where nothing correlates."""
    group, together = correlated_of(plans)
    if not group:
        return None
    b = partial_concentrations(len(together))
    shares = pm.Beta(partial_name(group), alpha=b, beta=b, dims=correlation_name(group))
    rows = correlation_root(2.0 * shares - 1.0, len(together), pt.sqrt)
    columns = correlated_columns(blocks)
    mixing: Any = pt.eye(leaves_of(blocks).shape[1])
    for row, entries in zip(columns, rows, strict=True):
        for column, entry in zip(columns, entries, strict=False):
            mixing = pt.set_subtensor(mixing[row, column], entry)
    return mixing


def _ridge_names(ridge: Ridge) -> list[str]:
    # with dots, which names of a law cannot have
    return [f"ridge.{ridge.floor}.{piece}" for piece in ("knots", "places", "pulls", "at", "cells")]


def _standard_normals(
    geometry: Geometry, blocks: tuple[Block, ...], data: Mapping[str, Any], scale: Any, mixing: Any
) -> Any:
    """Return the vector of standard normals, moved by the sampler through `w` as `bayesfit.geometry` says.

    Runs of different levels of a group meet in nothing but the rest of the vector, so where there
    are many levels (of the group with most entries, the *leaves*) their small matrices are
    factored side by side, and only the rest (the *root*) as one.
    """
    information, ridges = data["information"], geometry.ridges
    n = blocks[-1].where.stop
    leaves = leaves_of(blocks)
    root = np.setdiff1d(np.arange(n), leaves)
    parts = [scale, data["pull"], information[np.ix_(root, root)]]
    if leaves.size:
        parts += [information[leaves[:, :, None], root], information[leaves[:, :, None], leaves[:, None, :]]]
        parts += [] if mixing is None else [mixing]
    tables = [data[name] for ridge in ridges for name in _ridge_names(ridge)]
    parts += tables
    # no pull moves the floors along which a ridge bends
    given = (~np.isin(np.arange(n), floors_of(geometry, blocks))).astype(float)
    order = np.argsort(np.concatenate([root, leaves.ravel()]))

    def normals(w: Any, scale: Any, pull: Any, *rest: Any) -> tuple[Any, Any]:
        """Return the normals and the log determinant of the map from `w`."""
        first = len(rest) - len(tables)
        blocks_of, tables_of = rest[:first], rest[first:]
        z, log_determinant = straight(w, scale, pull, *blocks_of)
        if not ridges:
            return z, log_determinant
        pulls = [
            pulled(z, scale, blocks, ridge.floor, tables_of[5 * place : 5 * place + 5], pt)
            for place, ridge in enumerate(ridges)
        ]
        bent = straight(pt.zeros_like(w), given * scale, sum(pulls[1:], pulls[0]), *blocks_of)[0]
        return z + bent, log_determinant

    def straight(w: Any, scale: Any, pull: Any, root_block: Any, *leaf_blocks: Any) -> tuple[Any, Any]:
        """Return the same where no ridge bends."""
        t = scale[root]
        within = t[:, None] * root_block * t[None, :] + pt.eye(root.size)
        pulled = t * pull[root]
        if not leaf_blocks:
            lower = cholesky(within)
            z = solve_triangular(lower.T, w[root] + solve_triangular(lower, pulled, lower=True), lower=False)
            return z[order], -pt.sum(pt.log(pt.diag(lower)))
        cross, inner, *roots = leaf_blocks
        s = scale[leaves]
        inner, cross, own = s[:, :, None] * inner * s[:, None, :], s[:, :, None] * cross * t, s * pull[leaves]
        for mixed in roots:
            inner, cross = pt.matmul(mixed.T, pt.matmul(inner, mixed)), pt.matmul(mixed.T, cross)
            own = pt.dot(own, mixed)
        lowers = cholesky(inner + np.eye(leaves.shape[1]))
        across = solve_triangular(lowers, cross, lower=True, b_ndim=2)
        pulls = solve_triangular(lowers, own, lower=True, b_ndim=1)
        lower = cholesky(within - pt.sum(pt.matmul(across.mT, across), axis=0))
        pulled = pulled - pt.sum(pt.matmul(across.mT, pulls[:, :, None])[:, :, 0], axis=0)
        first = solve_triangular(lower.T, w[root] + solve_triangular(lower, pulled, lower=True), lower=False)
        rest = solve_triangular(lowers.mT, w[leaves] + pulls - pt.matmul(across, first), lower=False, b_ndim=1)
        diagonals = pt.sum(pt.log(pt.diagonal(lowers, axis1=-2, axis2=-1))) + pt.sum(pt.log(pt.diag(lower)))
        return pt.concatenate([first, rest.ravel()])[order], -diagonals

    def logp(w: Any, *parts: Any) -> Any:
        z, log_determinant = normals(w, *parts)
        return -0.5 * pt.sum(z**2) - 0.5 * np.log(2 * np.pi) * n + log_determinant

    signature = "(n),(n),(r,r)" + (",(l,p,r),(l,p,p)" if leaves.size else "")
    signature += "" if mixing is None else ",(p,p)"
    signature += "".join(
        f",(m{place},k{place}),(m{place},e{place}),(m{place},e{place},k{place}),(a{place}),(m{place},l{place})"
        for place in range(len(ridges))
    )
    signature += "->(n)"
    w = pm.CustomDist("w", *parts, logp=logp, signature=signature, dims="latent")
    return pm.Deterministic("z", normals(w, *(pt.as_tensor(part) for part in parts))[0], dims="latent")


def _observe(output: str, noise: Noise, mean: Any, sigma: Any, data: Mapping[str, Any]) -> None:
    observed = data[f"{output}_data"]
    name = output
    if noise.counted:
        trials = data[f"{output}_trials"]
        if noise.kind == "binomial":
            kind, arguments = "Binomial", {"n": trials, "p": mean}
        elif noise.kind == "beta_binomial":
            kind, arguments = "BetaBinomial", {"n": trials, "alpha": mean / sigma**2, "beta": (1 - mean) / sigma**2}
        else:
            kind, arguments = "NegativeBinomial", {"n": trials, "p": trials / mean}
    else:
        if output == "loss" and "loss_se" in data:
            sigma = pmath.sqrt(sigma**2 + data["loss_se"] ** 2)
        if noise.on != "identity":
            name = f"{noise.on}_{output}"
            mean = pmath.log(mean) - pmath.log1p(-mean) if noise.on == "logit" else pmath.log(mean)
        if noise.kind == "frontier":
            _observe_frontier(name, noise.quantile, mean, sigma, observed, data.get(f"has.{output}"))
            return
        kind = {"student_t": "StudentT", "laplace": "Laplace", "normal": "Normal"}[noise.kind]
        arguments = {"mu": mean, ("b" if kind == "Laplace" else "sigma"): sigma}
        arguments |= {"nu": noise.nu} if kind == "StudentT" else {}
    if f"has.{output}" not in data:
        getattr(pmd, kind)(name, **arguments, observed=observed)
        return

    def logp(value: Any, has: Any, *parts: Any) -> Any:
        return has * pm.logp(getattr(pm, kind).dist(**dict(zip(arguments, parts, strict=True))), value)

    _observe_custom(name, [data[f"has.{output}"], *arguments.values()], logp, observed)


def _observe_frontier(name: str, q: float, mean: Any, sigma: Any, observed: Any, has: Any) -> None:
    def logp(value: Any, mu: Any, scale: Any, has: Any) -> Any:
        r = (value - mu) / scale
        return has * (np.log(q * (1 - q)) - pt.log(scale) - r * (q - pt.lt(r, 0)))

    _observe_custom(name, [mean, sigma, 1.0 if has is None else has], logp, observed)


def _observe_custom(name: str, parts: list[Any], logp: Callable[..., Any], observed: Any) -> None:
    # a law may not vary over runs
    tensors = [(part + 0.0 * observed).values for part in parts]
    pm.CustomDist(name, *tensors, logp=logp, observed=observed.values, dims="run", dtype=observed.dtype)
