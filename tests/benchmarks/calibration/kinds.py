"""Ways of ours to make bands: what a fit gives, and what was compared with it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

import bayesfit as bf
from bayesfit.discrepancy import Structure
from bayesfit.outer import with_outer_exponent
from tests.benchmarks import honest
from tests.benchmarks.calibration.suite import Split

#: Laws of parameters and tokens that are averaged.
FORMS = ("chinchilla", "kaplan_nd", "farseer")
#: Least decades by which an error of the study's own is divided: nearer ones are noise.
_NEAREST = 0.1

Answer = tuple[np.ndarray, dict[str, Any]]
ALLOW = ("few_runs", "one_group", "collinear")


def fitted(split: Split, structure: Structure | None, law: bf.Law | str = "", seed: int = 0) -> Answer:
    """Return predictive draws of the log loss, or of an accuracy's log-odds, by a fit, and what its checks say."""
    study = split.study
    settings: dict[str, Any] = {"draws": 1000, "tune": 500, "sampler": {"attempts": study.attempts}, **study.options}
    if structure is None and "pooling" in settings:
        # a law that is trusted has no path whose pooling one could tell
        settings["pooling"] = {name: how for name, how in settings["pooling"].items() if not name.endswith("_drift")}
    with warnings.catch_warnings():
        # trouble in sampling is told by the checks, far forecasts are the point
        warnings.simplefilter("ignore")
        fit = bf.fit(
            split.train,
            law or study.law,
            by=list(study.by),
            checkpoints=study.checkpoints,
            structure=structure,
            cores=1,
            seed=seed,
            progress=False,
            allow=list(ALLOW),
            **settings,
        )
        forecast = fit.forecast(split.test.table, output=study.output, allow_unconverged=True)
    drawn = forecast.draws.values.reshape(-1, len(split.test))
    return study.drawn(drawn), {"passed_checks": fit.check().passed}


def drifting(split: Split, *, outer: bool) -> Answer:
    """Return draws of the law with a path, and an exponent on its terms or not."""
    return fitted(split, replace(honest(split.study.paper), outer=outer, along=split.study.along))


def exponent_alone(split: Split) -> Answer:
    """Return draws of the law with an exponent on its terms and no path: the model expanded, and trusted."""
    return fitted(split, None, with_outer_exponent(bf.law(split.study.law).closed()))


def own_errors(split: Split) -> Answer:
    """Return draws of the plain law, spread by what it missed hidden runs of its own by.

    The largest of the runs that are fitted are hidden at several cuts. The root mean square of what the forecasts of
    them missed by, per decade, is how far draws of a run spread for each decade that it lies beyond.
    """
    drawn, told = fitted(split, None)
    found = bf.backtest(split.train, split.study.law, by=list(split.study.by), cores=1, structure=None).table
    spread = np.sqrt(np.mean((found["error"] / np.maximum(found["decades"], _NEAREST)) ** 2))
    rng = np.random.default_rng(0)
    return drawn + spread * split.decades * rng.standard_normal((len(drawn), 1)), told


def averaged(split: Split, *, drift: bool) -> Answer:
    """Return draws of several laws in equal parts, each with a path or none."""
    structure = honest(split.study.paper) if drift else None
    answers = [fitted(split, structure, form) for form in FORMS]
    return np.concatenate([drawn for drawn, _ in answers]), {
        "passed_checks": all(told["passed_checks"] for _, told in answers)
    }
