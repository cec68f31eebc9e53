"""The committed recovery table is complete and its intervals hold the truth as often as they say."""

from __future__ import annotations

import pytest

import bayesfit as bf
from tests.recovery import SETS, recover, saved

CARDS = [entry.id for entry in bf.laws()]


def test_the_table_has_every_card() -> None:
    assert sorted(saved().index.get_level_values("card").unique()) == sorted(CARDS)


@pytest.mark.parametrize("name", CARDS)
def test_the_table_has_every_parameter_of_every_card(name: str) -> None:
    rows, law = saved().loc[name], bf.law(name).closed()
    assert list(rows.index) == [*law.free, *law.sigmas.values(), "all"]
    # more sets where twenty leave open whether a share is chance
    assert (rows["sets"] >= SETS).all()
    assert 0.80 <= rows.loc["all", "share"] <= 0.98
    assert (rows["failed_checks"] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_the_table_is_what_the_code_gives(name: str) -> None:
    """Same seeds, same code: a difference of more than a few intervals means that the code changed."""
    rows = saved().loc[name]
    found = recover(name, sets=int(rows.loc["all", "sets"]))
    assert found.loc[(name, "all"), "held"] == pytest.approx(rows.loc["all", "held"], abs=4)
