"""How bands are made elsewhere: predictive draws of the log loss, each group of a study on its own.

Every rival gets the same runs and the same columns as ours, and is asked for the loss of a run, noise included.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

import bayesfit as bf
from bayesfit.pooling import ParameterPlan, Pooling, plan_parameters
from bayesfit.priors import NUMPY_LINKS
from tests.benchmarks.calibration.suite import Split

#: Resamples of the bootstraps.
RESAMPLES = 1000
#: Where the Huber loss of a residual of the log loss turns from square to absolute.
_HUBER = 1e-3
#: Largest distance of a parameter from the middle of its prior, in its standard deviations: a bound, not a pull.
_EDGE = 8.0
_STARTS = 8
#: Steps of a refit, from the best fit of all runs.
_STEPS = 20
#: Places of the quantiles that stand for draws of a rival that gives quantiles.
_PLACES = (np.arange(200) + 0.5) / 200

Draws = np.ndarray


def by_group(rival: Callable[[bf.Law, bf.Runs, bf.Runs, int], Draws], split: Split, seed: int = 0) -> Draws:
    """Return predictive draws of the log loss of held-out runs (draws by runs), each group on its own.

    Runs of groups without small runs get those of the first group, as one would guess.
    """
    law, train, test = bf.law(split.study.law), split.train, split.test
    if not split.study.by:
        return rival(law, train, test, seed)
    (group,) = split.study.by
    mine, theirs = train.table[group].to_numpy(), test.table[group].to_numpy()
    known = pd.Series(mine).value_counts()
    # too few runs for a curve of one's own borrow all
    alone = {name for name, count in known.items() if count > len(law.free) + 1}
    found: Draws | None = None
    for name in pd.unique(theirs):
        rows = theirs == name
        small = train.select(mine == name) if name in alone else train
        drawn = rival(law, small, test.select(rows), seed)
        if found is None:
            found = np.zeros((len(drawn), len(theirs)))
        found[:, rows] = drawn
    assert found is not None
    return found


def huber(law: bf.Law, train: bf.Runs, test: bf.Runs, seed: int) -> Draws:
    """Return the usual notebook: a Huber fit on the log loss, refitted to resampled runs, with their scatter."""
    rng = np.random.default_rng(seed)
    plans = [plan for plan in plan_parameters(law, train, Pooling()) if plan.name in law.free]
    logs, fixed = np.log(train.values("loss")), train.summaries()

    def curve(z: np.ndarray, runs: bf.Runs) -> np.ndarray:
        with np.errstate(all="ignore"):
            values = law.mean({**fixed, **{name: runs.values(name) for name in law.inputs}, **_values(plans, z)})
            return np.asarray(np.log(values["loss"]) + np.zeros(len(runs)))

    def best(start: np.ndarray, rows: np.ndarray, steps: int) -> Any:
        runs, truth = train.take(rows), logs[rows]
        return least_squares(
            lambda z: np.nan_to_num(curve(z, runs) - truth, nan=1e3, posinf=1e3, neginf=-1e3),
            start,
            bounds=(-_EDGE, _EDGE),
            loss="huber",
            f_scale=_HUBER,
            max_nfev=steps,
        )

    everything = np.arange(len(train))
    starts = [np.zeros(len(plans)), *rng.standard_normal((_STARTS - 1, len(plans)))]
    first = min((best(start, everything, 300) for start in starts), key=lambda found: float(found.cost)).x
    scatter = logs - curve(first, train)
    drawn = [curve(best(first, rng.integers(len(train), size=len(train)), _STEPS).x, test) for _ in range(RESAMPLES)]
    return np.array(drawn) + rng.choice(scatter, size=(RESAMPLES, len(test)))


def wild_bootstrap(law: bf.Law, train: bf.Runs, test: bf.Runs, seed: int) -> Draws:
    """Return the bands of simple-scaling-laws: its additive law over the columns of ours, new runs."""
    import polars as pl
    import simple_scaling_laws

    columns = {f"model_size__{name}": name for name in law.inputs}

    def table(runs: bf.Runs) -> dict[str, np.ndarray]:
        return {column: runs.values(name) for column, name in columns.items()}

    run = [str(number) for number in range(len(train))]
    small = pl.DataFrame({"training_run_id": run, **table(train), "test_loss__loss": train.values("loss")})
    with warnings.catch_warnings():
        # it warns of extrapolation, which is what is asked of it
        warnings.simplefilter("ignore")
        fit = simple_scaling_laws.fit(small, law="separable-power", n_draws=RESAMPLES, seed=seed)
        bands = fit.predict(pl.DataFrame(table(test)), kind="new-run", quantiles=_PLACES.tolist())
    losses = bands.select([name for name in bands.columns if name.startswith("test_loss__loss__q")]).to_numpy()
    return np.log(np.maximum(losses.T, 1e-9))


def gaussian_process(law: bf.Law, train: bf.Runs, test: bf.Runs, seed: int) -> Draws:
    """Return a Gaussian process of the log loss over the log inputs: a plane, a smooth part and noise."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    names = [name for name in law.inputs if np.ptp(train.values(name)) > 0]
    inputs, far = (np.column_stack([np.log(runs.values(name)) for name in names]) for runs in (train, test))
    centre, width = inputs.mean(axis=0), inputs.std(axis=0)
    logs = np.log(train.values("loss"))
    kernel = ConstantKernel(1.0) * DotProduct(1.0) + ConstantKernel(0.1) * RBF([1.0] * len(names)) + WhiteKernel(1e-2)
    model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=3, random_state=seed)
    with warnings.catch_warnings():
        # hyperparameters at their bounds are the method's own business
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((inputs - centre) / width, logs)
    mean, sd = model.predict((far - centre) / width, return_std=True)
    return mean + sd * np.random.default_rng(seed).standard_normal((4 * RESAMPLES, len(test)))


def _values(plans: list[ParameterPlan], z: np.ndarray) -> dict[str, Any]:
    found = zip(plans, z, strict=True)
    return {plan.name: plan.value(plan.location(place, NUMPY_LINKS), {}, NUMPY_LINKS) for plan, place in found}
