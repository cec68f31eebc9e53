"""Simulation-based calibration: truths drawn from the prior must rank uniformly among the posterior's draws.

Priors are fixed numbers here: data-aware ones move with each simulated data set, for which uniform ranks are not
promised.

``python -m tests.calibration [MODEL ...]`` (two hours for all) rewrites ``tests/calibration.csv``. Where the law
drifts, the forecast of a run a decade ahead is ranked too: its path beyond the runs is drawn given that inside. By
family a law of two terms drifts, which is what a fit gets unless told otherwise.

Talts, Betancourt, Simpson, Vehtari, Gelman 2018, arXiv:1804.06788.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import bayesfit as bf
from bayesfit.discrepancy import with_structure
from bayesfit.knots import LABELS, Knots, owner_of
from bayesfit.noise import Noise
from bayesfit.parallel import run_jobs
from bayesfit.pooling import Pooling, plan_parameters, spread_name
from bayesfit.priors import NUMPY_LINKS, Prior

TABLE = Path(__file__).with_suffix(".csv")
SETS, RANKS, LEVELS = 120, 99, 4
#: The name of the true value of a run ten times as large.
AHEAD = "a decade ahead"
MODELS = ("one family", "families", "drift", "families drift")
#: Median of the path's scale and standard deviation of its log, where the law drifts.
SCALE, SCALE_SD = 0.02, 0.8

LAW = bf.Law.from_text(
    "loss = E + a*(params/ref.params)**-alpha",
    priors={
        "E": "LogitNormal(1, 0.7, 0, 2)",
        "a": "LogNormal(log(0.5), 0.5)",
        "alpha": "LogNormal(log(0.3), 0.4)",
    },
    noise=Noise(scale=Prior.parse("LogNormal(log(0.01), 0.3)")),
    id="calibrated",
)
#: Families of a law that drifts, with an outer exponent, and how many runs each has.
TERMS = bf.Law.from_text(
    "loss = E + a*(params/ref.params)**-alpha + b*(tokens/ref.tokens)**-beta",
    priors={
        **{name: LAW.parameters[name].prior.text for name in ("E", "a", "alpha")},
        "b": LAW.parameters["a"].prior.text,
        "beta": LAW.parameters["alpha"].prior.text,
    },
    noise=LAW.outputs["loss"].noise,
    id="calibrated_terms",
)
DRIFTING, EACH = 3, 12
#: How far they lie apart. Tables drawn with what a card has, .3 and .5, are like no laboratory's (losses of 1.7 beside
#: 168) and take minutes each.
APART = 0.1
POOLED = Pooling(by=("family",), how={"noise": "complete"})


def simulated(seed: int, model: str) -> tuple[bf.Runs, dict[str, float]]:
    """Draw truths from the prior and runs from the truths."""
    grouped = model == "families"
    rng = np.random.default_rng([seed, MODELS.index(model)])
    levels = LEVELS if grouped else 1
    code = np.repeat(np.arange(levels), 8 if grouped else 15)
    params = np.exp(rng.uniform(np.log(1e8), np.log(1e10), len(code)))
    truth: dict[str, float] = {}
    values = {}
    for name, parameter in LAW.parameters.items():
        prior = parameter.prior.resolve({})
        u = prior.latent(rng.standard_normal(), NUMPY_LINKS)
        shift = np.zeros(levels)
        if grouped:
            truth[f"{name}_sd_family"] = abs(rng.normal(0, parameter.group_spread))
            shift = truth[f"{name}_sd_family"] * rng.standard_normal(levels)
            truth[f"{name}_population"] = float(prior.value(u, NUMPY_LINKS))
            truth[f"{name}[0]"] = float(prior.value(u + shift[0], NUMPY_LINKS))
        else:
            truth[name] = float(prior.value(u, NUMPY_LINKS))
        values[name] = prior.value(u + shift, NUMPY_LINKS)[code]
    truth["sigma"] = float(np.exp(rng.normal(np.log(0.01), 0.3)))
    centre = np.exp(np.log(params).mean())
    mean = values["E"] + values["a"] * (params / centre) ** -values["alpha"]
    if model == "drift":
        mean, truth["loss_drift_sd_knot"], truth[AHEAD] = _drifted(rng, params, mean, truth)
    loss = mean * np.exp(truth["sigma"] * rng.standard_t(4, len(code)))
    table = pd.DataFrame({"params": params, "loss": loss, "family": [f"f{i}" for i in code]})
    return bf.Runs.from_frame(table, groups=["family"], allow=["units"]), truth


def _drifted(
    rng: np.random.Generator, params: np.ndarray, mean: np.ndarray, truth: dict[str, float]
) -> tuple[np.ndarray, float, float]:
    """Return the runs' true values with a path, the path's scale, and the true value of a run far ahead."""
    scale = SCALE * float(np.exp(SCALE_SD * rng.standard_normal()))
    knots = Knots.of("params", lambda _: params)
    kinks = scale * rng.standard_normal(len(LABELS))
    far = np.array([ahead(params)])
    _, further = knots.beyond(lambda _: far)
    path = knots.inside(lambda _: far) @ kinks + further @ (scale * rng.standard_normal(further.shape[1]))
    centre = np.exp(np.log(params).mean())
    law = truth["E"] + truth["a"] * (far / centre) ** -truth["alpha"]
    return mean * np.exp(knots.inside(lambda _: params) @ kinks), scale, float((law * np.exp(path))[0])


def families_drift(seed: int, apart: float = APART) -> tuple[bf.Runs, bf.Law, dict[str, float]]:
    """Draw truths of families of a law that drifts from the prior: their runs, the law, and the truths of the first."""
    rng = np.random.default_rng([seed, MODELS.index("families drift")])
    code = np.repeat(np.arange(DRIFTING), EACH)
    params = np.exp(rng.uniform(np.log(1e8), np.log(1e10), len(code)))
    tokens = 20 * params * 10 ** rng.uniform(-0.5, 0.5, len(code))
    families = [f"f{i}" for i in code]

    def runs_of(loss: np.ndarray) -> bf.Runs:
        table = pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, "family": families})
        return bf.Runs.from_frame(table, groups=["family"], allow=["units"])

    blank = runs_of(np.full(len(code), 3.0))
    law = with_structure(TERMS, bf.Structure(scale=SCALE, scale_sd=SCALE_SD), blank)
    # as the other priors here it must not look at the losses
    law = law.with_priors({"loss_level": "LogitNormal(0, 0.7, 2, 4)"})
    near = {name: replace(law.parameters[name], spread=apart) for name in (*TERMS.free, "loss_level")}
    law = replace(law, parameters={**law.parameters, **near})
    far = {"params": np.array([ahead(params)]), "tokens": np.array([20 * ahead(params)])}
    truth: dict[str, float] = {}
    inside: dict[str, np.ndarray] = {}
    beyond: dict[str, np.ndarray] = {}
    for plan in plan_parameters(law, blank, POOLED):
        u = plan.prior.latent(rng.standard_normal(), NUMPY_LINKS)
        here, there = np.full(len(code), u), np.array([u])
        for group in plan.shared:
            name = spread_name(plan.name, group)
            normal = rng.standard_normal()
            truth[name] = float(
                plan.spread * np.exp(plan.spread_sd * normal) if plan.spread_sd else plan.spread * abs(normal)
            )
            if plan.knots is None:
                shifts = truth[name] * rng.standard_normal(DRIFTING)
                here, there = here + shifts[code], there + shifts[0]
                continue
            owned = bool(owner_of(group))
            kinks = truth[name] * rng.standard_normal((DRIFTING if owned else 1, len(LABELS)))
            _, further = plan.knots.beyond(far.__getitem__)
            path = plan.knots.inside({"params": params, "tokens": tokens}.__getitem__) @ kinks.T
            here = here + (path[np.arange(len(code)), code] if owned else path[:, 0])
            there = there + plan.knots.inside(far.__getitem__) @ kinks[0]
            there = there + further @ (truth[name] * rng.standard_normal(further.shape[1]))
        inside[plan.name] = plan.prior.value(here, NUMPY_LINKS)
        beyond[plan.name] = plan.prior.value(there, NUMPY_LINKS)
        if plan.knots is None and plan.shared:
            truth[f"{plan.name}_population"] = float(plan.prior.value(u, NUMPY_LINKS))
            truth[f"{plan.name}[0]"] = float(inside[plan.name][0])
    truth["sigma"] = float(inside.pop("sigma")[0])
    known = {name: blank.summaries()[f"ref.{name}"] for name in ("params", "tokens")}
    refs = {f"ref.{name}": value for name, value in known.items()}
    mean = law.mean({**inside, **refs, "params": params, "tokens": tokens})["loss"]
    truth[AHEAD] = float(law.mean({**beyond, **refs, **far})["loss"][0])
    return runs_of(mean * np.exp(truth["sigma"] * rng.standard_t(4, len(code)))), law, truth


def ahead(params: np.ndarray) -> float:
    """Return the size of the run that is forecast."""
    return 10 * float(params.max())


def draws_of(fit: bf.Fit, name: str) -> np.ndarray:
    """Return the posterior draws behind a name of `simulated`."""
    if name == AHEAD:
        size = ahead(fit.runs.values("params"))
        more = {"tokens": 20 * size, "family": "f0"} if fit.pooling.by else {}
        far = fit.forecast({"params": size, **more}, allow_unconverged=True)
        return far.expected.values.ravel()
    plain, _, level = name.partition("[")
    array = fit.posterior[plain]
    return (array.sel(family="f0") if level else array).values.ravel()


@dataclass(frozen=True, kw_only=True)
class Set:
    """One simulated data set of a model."""

    model: str
    seed: int


def ranked(one: Set) -> dict[str, int]:
    """Return the rank of every truth among the draws, and whether checks failed."""
    settings: dict[str, Any] = {
        "families": {"by": ["family"], "pooling": {"noise": "complete"}, "structure": None},
        "drift": {"structure": bf.Structure(scale=SCALE, scale_sd=SCALE_SD)},
    }.get(one.model, {"structure": None})
    if one.model == "families drift":
        runs, law, truth = families_drift(one.seed)
        settings = {"by": ["family"], "pooling": {"noise": "complete"}, "structure": None}
    else:
        law = LAW
        runs, truth = simulated(one.seed, one.model)
    # chains one after the other: two sets are worked on side by side
    fit = bf.fit(runs, law, seed=one.seed, draws=1000, cores=1, progress=False, **settings)
    found = {"failed": int(not fit.check().passed)}
    for name, value in truth.items():
        draws = draws_of(fit, name)
        kept = draws[:: len(draws) // RANKS][:RANKS]
        found[name] = int((kept < value).sum())
    return found


def calibrate(model: str, sets: int = SETS, workers: int | None = None) -> pd.DataFrame:
    """Return one row a quantity: uniformity of its ranks, coverage of 90% intervals, failed checks."""
    ranks = pd.DataFrame(run_jobs(ranked, [Set(model=model, seed=seed) for seed in range(sets)], workers=workers))
    failed = int(ranks.pop("failed").sum())
    rows = []
    for name, found in ranks.items():
        p = stats.kstest((found + 0.5) / (RANKS + 1), "uniform").pvalue
        inside = found.between(0.05 * RANKS, 0.95 * RANKS).mean()
        rows.append((model, name, sets, round(p, 4), round(inside, 3), failed))
    columns = ["model", "quantity", "sets", "uniform_p", "inside_90", "failed_checks"]
    return pd.DataFrame(rows, columns=columns)


def saved() -> pd.DataFrame:
    """Return the committed table."""
    return pd.read_csv(TABLE)


if __name__ == "__main__":
    told = sys.argv[1:] or MODELS
    others = [saved()[lambda rows: ~rows["model"].isin(told)]]
    table = pd.concat([*others, *(calibrate(model) for model in told)], ignore_index=True)
    table = table.sort_values("model", key=lambda names: names.map(MODELS.index), kind="stable")
    table.to_csv(TABLE, index=False)
    print(table.to_string())
