"""A small sound table of runs, and what a law wants of it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bayesfit.runs import Runs

LAW: dict[str, Any] = {"inputs": ["params", "tokens"], "outputs": ["loss"], "groups": [], "n_parameters": 3}


def frame(**changes: Any) -> pd.DataFrame:
    columns = {
        "params": [7e7, 1.6e8, 4.1e8, 1e9],
        "tokens": [2e9, 1e9, 9e9, 3e9],
        "loss": [3.5, 3.4, 2.9, 2.8],
        "family": ["b", "a", "b", "c"],
    }
    return pd.DataFrame(columns | changes)


def made(**arguments: Any) -> Runs:
    return Runs.from_frame(frame(), **{"groups": ["family"], **arguments})
