"""Simulation-based calibration: see `tests.calibration`."""

from __future__ import annotations

import pytest
from scipy import stats

from tests.calibration import calibrate


@pytest.mark.slow
def test_ranks_are_uniform() -> None:
    table = calibrate()
    print(table.to_string())
    assert table.groupby("model").size().to_dict() == {"families": 10, "one family": 4}
    # with 14 quantities, the smallest of honest p-values is below 0.001 once in seventy times
    assert (table["uniform_p"] > 0.001).all()
    # so are counts of held intervals: 59 of 60 come once in seventy times for each quantity, 45 once in a thousand
    held = (table["inside_90"] * table["sets"]).round().astype(int)
    chance = [stats.binomtest(n, sets, 0.9).pvalue for n, sets in zip(held, table["sets"], strict=True)]
    assert min(chance) > 0.001, table.to_string()
    assert (table["failed_checks"] <= 0.03 * table["sets"]).all()
