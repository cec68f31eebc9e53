"""The form that made the data is found again among its rivals."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.forms import FORMS, found_again, identify, saved


def test_the_true_form_wins_or_ties_in_eight_of_ten() -> None:
    table = saved()
    assert sorted(table.index.get_level_values("true").unique()) == sorted(FORMS)
    assert len(FORMS) == 10
    assert sum(found_again(table.loc[name], name) for name in FORMS) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chinchilla", "bnsl"])
def test_the_table_of_forms_is_what_the_code_gives(name: str) -> None:
    found, rows = identify(name).loc[name], saved().loc[name]
    pd.testing.assert_series_equal(found["elpd_diff"].sort_index(), rows["elpd_diff"].sort_index(), atol=1.0, rtol=0.05)
    assert found_again(found, name) == found_again(rows, name)
