"""The committed recovery table is complete and its intervals hold the truth as often as they say."""

from __future__ import annotations

import pytest

import bayesfit as bf
from tests.recovery import SETS, recover, saved

CARDS = [entry.id for entry in bf.laws()]


@pytest.mark.parametrize("name", CARDS)
def test_the_table_has_every_parameter_of_every_card(name: str) -> None:
    rows = saved().loc[name]
    assert list(rows.index) == [*bf.law(name).free, "sigma", "all"]
    assert (rows["sets"] == SETS).all()
    assert 0.80 <= rows.loc["all", "share"] <= 0.98
    assert (rows["failed_checks"] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_the_table_is_what_the_code_gives(name: str) -> None:
    """Same seeds, same code: a difference of more than a few intervals means that the code changed."""
    found, rows = recover(name), saved().loc[name]
    assert found.loc[(name, "all"), "held"] == pytest.approx(rows.loc["all", "held"], abs=4)
