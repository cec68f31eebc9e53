"""Tables that have one row a model and task already: what they need beside accuracies."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf


def long(**columns: Any) -> pd.DataFrame:
    """Return two models on two known tasks, and the columns told."""
    table = {"model": ["a", "a", "b", "b"], "task": ["piqa", " ARC-Easy"] * 2, "accuracy": [0.6, 0.4, 0.7, 0.5]}
    return pd.DataFrame({**table, **columns})


def test_known_tasks_bring_their_chance_level(tmp_path: Path) -> None:
    read = bf.read_long(long())
    assert read["chance"].tolist() == [0.5, 0.25, 0.5, 0.25]
    pd.testing.assert_frame_equal(read.drop(columns="chance"), long())
    long().to_csv(tmp_path / "evals.csv", index=False)
    assert bf.read_long(tmp_path / "evals.csv")["chance"].tolist() == [0.5, 0.25, 0.5, 0.25]


def test_what_is_told_of_chance_goes_before_what_is_known() -> None:
    table = long(task=["exam", "piqa"] * 2, accuracy=0.6)
    assert bf.read_long(table, chance={"exam": 0.2})["chance"].tolist() == [0.2, 0.5, 0.2, 0.5]
    assert bf.read_long(table, chance=0.1)["chance"].tolist() == [0.1] * 4
    assert bf.read_long(table.assign(chance=0.3))["chance"].tolist() == [0.3] * 4


def test_a_level_that_nobody_knows_is_asked_for() -> None:
    with pytest.raises(bf.DataError, match=r"task 'exam' is unknown; give chance=\{'exam': 0\.25\}"):
        bf.read_long(long(task=["exam", "piqa"] * 2))
    with pytest.raises(bf.SpecError, match=r"no task \(did you mean 'piqa'\?\); there are piqa, ARC-Easy"):
        bf.read_long(long(), chance={"pica": 0.5})
    with pytest.raises(bf.SpecError, match="a column 'chance', and chance is given; keep one"):
        bf.read_long(long(chance=0.5), chance=0.5)
    with pytest.raises(bf.DataError, match="row 3, column 'task': the cell is empty"):
        bf.read_long(long(task=["piqa", "piqa", None, "piqa"]))
    with pytest.raises(bf.DataError, match=r"no column 'task'.*read by read_wide"):
        bf.read_long(long().drop(columns="task"))


@pytest.mark.parametrize("items", [{}, {"n_items": 2000}, {"chance": 0.5}])
def test_accuracies_far_below_chance_are_told(items: dict[str, float]) -> None:
    with pytest.warns(bf.DataWarning, match=r"'piqa' lies far below its chance level 0\.5 for b 0\.2") as told:
        bf.read_long(long(accuracy=[0.6, 0.6, 0.2, 0.6], **items))
    assert len(told) == 1


def test_a_task_with_several_chance_levels_is_told() -> None:
    with pytest.warns(bf.DataWarning, match=r"'piqa' has several chance levels, 0\.5, 0\.25") as told:
        bf.read_long(long(chance=[0.5, 0.25, 0.25, 0.25]))
    assert len(told) == 1


@pytest.mark.parametrize("chance", [1.0, 25, -0.1])
def test_what_is_no_chance_level_is_refused(chance: float) -> None:
    table = long(flops=np.repeat([1e20, 1e21], 2), chance=[0.5, chance, 0.5, 0.25])
    with pytest.raises(bf.DataError, match=r"row 2, column 'chance'.*from 0 to below 1.*25% is 0\.25"):
        bf.Runs.from_frame(table, law="log_acc_power", groups=["task"])


def test_few_items_excuse_what_lies_below() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bf.read_long(long(accuracy=[0.6, 0.6, 0.2, 0.6], n_items=20))
        # nothing to hold against chance
        bf.read_long(long().drop(columns="accuracy"))


def test_a_law_that_counts_items_reads_how_many() -> None:
    table = bf.read_long(long(flops=np.repeat([1e20, 1e21], 2), n_items=100))
    counts = bf.law("log_acc_power").with_noise("binomial")
    assert bf.Runs.from_frame(table, law=counts, groups=["task"]).n_items.tolist() == [100] * 4
    # noise on the log-odds asks for none
    assert bf.Runs.from_frame(table, law="log_acc_power", groups=["task"]).n_items is None
    none = bf.Runs.from_frame(table.drop(columns="n_items"), law=counts, groups=["task"])
    with pytest.raises(bf.DataError, match="noise of accuracy counts items and needs their number, 'n_items'"):
        bf.fit(none, counts, by=["task"])


def test_a_long_table_is_read_for_a_law() -> None:
    table = long(flops=np.repeat([1e20, 1e21], 2))
    with pytest.raises(bf.DataError, match=r"the law needs the input 'chance'.*bf\.read_long"):
        bf.fit(bf.Runs.from_frame(table, inputs=["flops"], outputs=["accuracy"]), "log_acc_power")
    runs = bf.Runs.from_frame(bf.read_long(table), law="log_acc_power", groups=["task"])
    assert runs.values("chance").tolist() == [0.5, 0.25, 0.5, 0.25]
    assert runs.levels("task") == ("piqa", "ARC-Easy")
