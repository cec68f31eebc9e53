"""Recovery of known truths: simulate from each card, fit, and count how often intervals hold the truth.

``python -m tests.recovery [CARD ...]`` rewrites the rows of ``table.csv`` for these cards (all by default).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import bayesfit as bf

TABLE = Path(__file__).with_name("table.csv")
SETS, PROB = 20, 0.9


def recover(name: str, sets: int = SETS) -> pd.DataFrame:
    """Fit `sets` simulated data sets of a card and score its 90% intervals.

    Returns
    -------
    pandas.DataFrame
        One row a parameter, and one for all: how many of the intervals held the truth, the mean of
        (median - truth) / sd, and how many fits failed their checks.
    """
    law = bf.law(name)
    rows, failed = [], 0
    for seed in range(sets):
        simulation = bf.simulate(law, seed=seed)
        fit = bf.fit(simulation.runs, law, seed=seed, progress=False)
        failed += not fit.check().passed
        table = fit.summary(PROB)
        truth = {**simulation.truth, "sigma": law.recovery.sigma}
        for parameter in (*law.free, "sigma"):
            row, value = table.loc[parameter], truth[parameter]
            held = row.iloc[3] <= value <= row.iloc[4]
            rows.append((parameter, held, (row["median"] - value) / row["sd"]))
    frame = pd.DataFrame(rows, columns=["parameter", "held", "score"])
    everything = frame.assign(parameter="all")
    scored = pd.concat([frame, everything]).groupby("parameter", sort=False)
    result = pd.DataFrame(
        {
            "sets": sets,
            "held": scored["held"].sum(),
            "of": scored["held"].size(),
            "share": scored["held"].mean().round(3),
            "mean_score": scored["score"].mean().round(2),
            "failed_checks": failed,
        }
    )
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
