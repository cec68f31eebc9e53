"""Recovery of known truths: simulate from each card, fit, and count how often intervals hold the truth.

``python -m tests.recovery [CARD ...]`` rewrites the rows of ``table.csv`` for these cards (all by default).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import bayesfit as bf

TABLE = Path(__file__).with_name("table.csv")
SETS, PROB = 20, 0.9


def recover(name: str, sets: int = SETS, cores: int | None = None) -> pd.DataFrame:
    """Fit `sets` simulated data sets of a card, chains on so many `cores`, and score its 90% intervals.

    Returns
    -------
    pandas.DataFrame
        One row a parameter, and one for all: how many of the intervals held the truth, the mean of
        (median - truth) / sd, how much of the prior's width is left (``prior_left``: the posterior's
        standard deviation where the prior has one, the largest of them in the row for all), and how many
        fits failed their checks. Where half of the prior or more is left, the runs of the design say
        little of the parameter, and its interval shows the prior.
    """
    law = bf.law(name).closed()
    assert law.recovery is not None
    rows, failed = [], 0
    for seed in range(sets):
        simulation = bf.simulate(law, seed=seed)
        fit = bf.fit(simulation.runs, law, draws=1000, tune=500, cores=cores, seed=seed, progress=False, structure=None)
        failed += not fit.check().passed
        table = fit.summary(PROB)
        truth = {**simulation.truth, **dict.fromkeys(law.sigmas.values(), law.recovery.sigma)}
        for plan in fit.plans:
            row, value = table.loc[plan.name], truth[plan.name]
            held = row.iloc[3] <= value <= row.iloc[4]
            left = float(plan.prior.standard(fit.posterior[plan.name]).std())
            rows.append((plan.name, held, (row["median"] - value) / row["sd"], left))
    frame = pd.DataFrame(rows, columns=["parameter", "held", "score", "left"])
    everything = frame.assign(parameter="all")
    scored = pd.concat([frame, everything]).groupby("parameter", sort=False)
    result = pd.DataFrame(
        {
            "sets": sets,
            "held": scored["held"].sum(),
            "of": scored["held"].size(),
            "share": scored["held"].mean().round(3),
            "mean_score": scored["score"].mean().round(2),
            "prior_left": scored["left"].mean().round(2),
            "failed_checks": failed,
        }
    )
    result.loc["all", "prior_left"] = result["prior_left"].drop("all").max()
    result.insert(0, "card", name)
    return result.reset_index().set_index(["card", "parameter"])


def saved() -> pd.DataFrame:
    """Return the committed table."""
    return pd.read_csv(TABLE).set_index(["card", "parameter"])


def write(found: pd.DataFrame) -> None:
    """Put rows into the committed table, in place of those of the same cards."""
    table = found
    if TABLE.exists():
        old = saved()
        others = old[~old.index.get_level_values("card").isin(found.index.get_level_values("card"))]
        table = pd.concat([others, found])
    order = [entry.id for entry in bf.laws()]
    table = table.sort_index(
        level="card", key=lambda cards: cards.map(order.index), sort_remaining=False, kind="stable"
    )
    table.to_csv(TABLE)
