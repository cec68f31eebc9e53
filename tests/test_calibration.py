"""Simulation-based calibration: see `tests.calibration`."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.calibration import MODELS, SETS, calibrate, saved

COUNTS = dict(zip(MODELS, (4, 10, 6, 22), strict=True))


def check(table: pd.DataFrame) -> None:
    # with 20 quantities, the smallest of honest p-values is below 0.001 once in fifty times
    assert (table["uniform_p"] > 0.001).all()
    # over 120 sets one of 20 honest intervals leaves these bounds once in a hundred times; over 60, once in three
    assert (table["sets"] >= SETS).all()
    assert table["inside_90"].between(0.80, 0.98).all()
    assert (table["failed_checks"] <= 0.03 * table["sets"]).all()


def test_the_table_says_that_ranks_are_uniform() -> None:
    table = saved()
    assert table.groupby("model").size().to_dict() == COUNTS
    check(table)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_ranks_are_uniform(model: str) -> None:
    table = calibrate(model)
    assert len(table) == COUNTS[model]
    check(table)
