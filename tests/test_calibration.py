"""Simulation-based calibration: see `tests.calibration`."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.calibration import SETS, TABLE, calibrate


def holds(table: pd.DataFrame) -> None:
    # with 16 quantities, the smallest of honest p-values is below 0.001 once in sixty times
    assert (table["uniform_p"] > 0.001).all()
    assert table["inside_90"].between(0.80, 0.98).all()
    assert (table["failed_checks"] <= 0.03 * table["sets"]).all()


def test_the_committed_table_is_calibrated() -> None:
    table = pd.read_csv(TABLE)
    assert (table["sets"] == SETS).all()
    assert table.groupby("model").size().to_dict() == {"families": 10, "one family": 4}
    holds(table)


@pytest.mark.slow
def test_ranks_are_uniform() -> None:
    holds(calibrate(sets=40))
