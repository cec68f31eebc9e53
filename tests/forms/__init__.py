"""Which form made the data: ten core laws simulated, each compared with its rivals.

``python -m tests.forms [CARD ...]`` rewrites the rows of ``table.csv`` for these laws (all by default).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

import bayesfit as bf

TABLE = Path(__file__).with_name("table.csv")

#: Each true form with its rivals, which read some of the same inputs.
FORMS: Mapping[str, tuple[str, ...]] = {
    "chinchilla": ("kaplan_nd", "kaplan_n", "kaplan_d"),
    "kaplan_nd": ("chinchilla", "kaplan_n", "kaplan_d"),
    "farseer": ("chinchilla", "kaplan_nd"),
    "data_constrained": ("chinchilla", "kaplan_nd"),
    "power_floor": ("bnsl", "m4"),
    "bnsl": ("power_floor", "shifted_power"),
    "m4": ("power_floor", "shifted_power"),
    "diloco": ("kaplan_n", "mup_width"),
    "routed_bilinear": ("kaplan_n", "mup_width"),
    "cerebras_c": ("kaplan_c", "linear_complexity_c"),
}


def identify(name: str, *, seed: int = 1) -> pd.DataFrame:
    """Simulate a card's recovery design and compare it with its rivals.

    Returns
    -------
    pandas.DataFrame
        One row a form, index (true, form): ``loo_weight``, ``elpd_diff`` and ``dse``, ``rolling_weight``, and
        ``converged``.
    """
    runs = bf.simulate(name, seed=seed).runs
    _, found = bf.compare_laws(runs, [name, *FORMS[name]], seed=seed, draws=1000, tune=500)
    table = found.table[["loo_weight", "elpd_diff", "dse", "rolling_weight", "converged"]].round(3)
    return pd.concat({name: table}, names=["true", "form"])


def saved() -> pd.DataFrame:
    """Return the committed table."""
    return pd.read_csv(TABLE).set_index(["true", "form"])


def write(found: pd.DataFrame) -> None:
    """Put rows into the committed table, in place of those of the same laws."""
    table = found
    if TABLE.exists():
        old = saved()
        table = pd.concat(
            [old.drop(found.index.get_level_values("true").unique(), level="true", errors="ignore"), found]
        )
    order = list(FORMS)
    table.sort_index(
        level="true", key=lambda names: names.map(order.index), sort_remaining=False, kind="stable"
    ).to_csv(TABLE)


def found_again(rows: pd.DataFrame, name: str) -> bool:
    """Return whether the true form has the highest weight, or ties the best within a standard error of its ELPD."""
    mine = rows.loc[name]
    return bool(mine["loo_weight"] == rows["loo_weight"].max() or -mine["elpd_diff"] <= mine["dse"])
