"""Simulation-based calibration: see `tests.calibration`."""

from __future__ import annotations

import pytest

from tests.calibration import calibrate


@pytest.mark.slow
def test_ranks_are_uniform() -> None:
    table = calibrate()
    assert table.groupby("model").size().to_dict() == {"families": 10, "one family": 4}
    # with 14 quantities, the smallest of honest p-values is below 0.001 once in seventy times
    assert (table["uniform_p"] > 0.001).all()
    assert table["inside_90"].between(0.80, 0.98).all()
    assert (table["failed_checks"] <= 0.03 * table["sets"]).all()
