"""Wide tables as long ones, the known tasks, and every message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import datasets
from tests.harness_files import wide_fault


def wide() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": ["a", "b", "c"],
            "family": ["x", "x", "y"],
            "params": ["70M", "1B", "7B"],
            "hellaswag": [0.3, 0.4, 0.5],
            "piqa": [0.6, None, 0.8],
            "mine": [np.nan, 0.5, 0.75],
        }
    )


def test_a_wide_table_becomes_long() -> None:
    long = bf.read_wide(wide(), ["hellaswag", "piqa"])
    assert list(long) == ["model", "family", "params", "mine", "task", "accuracy", "n_items", "chance"]
    assert long[["model", "task", "accuracy", "n_items", "chance"]].to_numpy().tolist() == [
        ["a", "hellaswag", 0.3, 10042, 0.25],
        ["a", "piqa", 0.6, 1838, 0.5],
        ["b", "hellaswag", 0.4, 10042, 0.25],
        ["c", "hellaswag", 0.5, 10042, 0.25],
        ["c", "piqa", 0.8, 1838, 0.5],
    ]
    runs = bf.Runs.from_frame(long, outputs=["accuracy"], groups=["family", "task"], n_items="n_items")
    assert runs.values("params").tolist() == [7e7, 7e7, 1e9, 7e9, 7e9]
    given = bf.read_wide(wide(), ["mine", "piqa"], chance={"mine": 0.25}, n_items={"mine": 400, "piqa": 100})
    assert given["n_items"].tolist() == [100, 400, 400, 100]
    assert bf.read_wide(wide(), ["mine"], chance=0.2)["n_items"].isna().all()
    named = bf.read_wide(wide(), {"sciq": "hellaswag", "copa": "mine"})
    assert named["task"].tolist() == ["sciq", "sciq", "copa", "sciq", "copa"]
    assert list(named) == ["model", "family", "params", "piqa", "task", "accuracy", "n_items", "chance"]


def test_the_built_in_models_as_a_long_table() -> None:
    names = ("hellaswag", "piqa", "winogrande", "arc_easy", "arc_challenge", "openbookqa")
    tasks = {name: f"{name}_0shot" for name in names} | {"lambada_openai": "lambada_0shot"}
    # they are right, and small models score below chance there
    with pytest.warns(bf.DataWarning) as told:
        long = bf.read_wide(datasets.table("open_models"), tasks)
    assert [str(one.message).split("'")[1] for one in told] == ["arc_challenge", "openbookqa"]
    assert len(long) == 35 * 7
    one = long[(long["model"] == "Cerebras-GPT-111M") & (long["task"] == "piqa")]
    assert one[["accuracy", "chance", "n_items", "flops"]].to_numpy().tolist() == [[0.594, 0.5, 1838, 2.6e18]]


def test_wide_tables_are_read_from_files(tmp_path: Path) -> None:
    csv = tmp_path / "evals.csv"
    csv.write_text("model,piqa,boolq\na, 0.6 ,NA\nb,,0.61\nc,-,n/a\n", encoding="utf-8-sig")
    long = bf.read_wide(csv, ["piqa", "boolq"])
    assert long[["model", "task", "accuracy"]].to_numpy().tolist() == [["a", "piqa", 0.6], ["b", "boolq", 0.61]]
    wide().to_parquet(tmp_path / "evals.parquet")
    assert len(bf.read_wide(str(tmp_path / "evals.parquet"), ["hellaswag"])) == 3
    assert wide_fault(tmp_path / "no.csv", ["piqa"]) == "there is no such file; check the path"


def test_losses_get_no_chance_unless_given() -> None:
    table = wide().assign(hellaswag=[3.0, 2.5, 2.1])
    long = bf.read_wide(table, ["hellaswag"], value="task_loss")
    assert list(long)[-2:] == ["task", "task_loss"]
    assert long["task_loss"].tolist() == [3.0, 2.5, 2.1]
    given = bf.read_wide(table, ["hellaswag"], value="task_loss", chance=0.25, n_items=10)
    assert given[["n_items", "chance"]].to_numpy().tolist() == [[10, 0.25]] * 3


@pytest.mark.parametrize(
    ("changes", "tasks", "message"),
    [
        (
            {"piqa": [0.6, 62.5, 0.8]},
            ["piqa"],
            "row 2, column 'piqa': model 'b': found 62.5, accuracy goes from 0 to 1 and this looks like percent; "
            "divide by 100 if it is percent",
        ),
        (
            {"piqa": [0.6, None, -0.8]},
            ["piqa"],
            "row 3, column 'piqa': model 'c': found -0.8, accuracy goes from 0 to 1; correct it",
        ),
        (
            {"piqa": ["0,6", "", "0.8"]},
            ["piqa"],
            "row 1, column 'piqa': model 'a': found '0,6', expected a number; write the decimals after a point, not a "
            "comma",
        ),
        (
            {"piqa": [float("inf"), None, None]},
            ["piqa"],
            "row 1, column 'piqa': model 'a': found inf, expected a finite number; a run that diverged has no place in "
            "a fit: leave the row out",
        ),
        (
            {},
            ["piqua"],
            "column 'piqua': there is no column 'piqua' (did you mean 'piqa'?); the table has model, family, params, "
            "hellaswag, piqa, mine; correct its name, or leave it out of tasks",
        ),
        (
            {},
            ["mine"],
            "chance level of task 'mine' is unknown; give chance={'mine': 0.25} (one over the number of choices; 0 "
            "where answers are written freely), --chance 'mine=0.25'",
        ),
        (
            {"chance": 0.5},
            ["piqa"],
            "column 'chance': the table has a column 'chance', which is to hold what its columns of tasks say; rename "
            "it, or leave it out",
        ),
        ({"piqa": None}, ["piqa"], "no model has a value in piqa; name columns that have some"),
    ],
)
def test_wide_tables_with_faults(changes: dict[str, Any], tasks: list[str], message: str) -> None:
    extra = {"chance": {"piqua": 0.5}} if tasks == ["piqua"] else {}
    assert wide_fault(wide().assign(**changes), tasks, **extra) == message


def test_wide_columns_that_are_there_twice() -> None:
    table = wide()
    table.columns = pd.Index(["model", "family", "params", "piqa", "piqa", "mine"])
    assert wide_fault(table, ["piqa"]) == "column 'piqa': 2 columns are called 'piqa'; rename all but one"
    table.columns = pd.Index(["model", "family", "family", "piqa", "x", "mine"])
    assert len(bf.read_wide(table, ["piqa"], chance=0.1)) == 3


@pytest.mark.parametrize(
    ("tasks", "message"),
    [("piqa", "tasks must be a list, found the text 'piqa'"), ([], "different names"), ([3], "different names")],
)
def test_tasks_are_names(tasks: Any, message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        bf.read_wide(wide(), tasks)


def test_wide_accuracies_far_below_chance_are_told() -> None:
    table = wide().assign(hellaswag=[0.1, 0.05, 0.5], piqa=[0.2, None, 0.8]).drop(columns="model")
    with pytest.warns(bf.DataWarning) as told:
        bf.read_wide(table, ["hellaswag", "piqa"])
    assert [str(warning.message) for warning in told] == [
        "the table: accuracy on 'hellaswag' lies far below its chance level 0.25 for a model 0.1, a model 0.05; chance "
        "is probably set wrong, or answers are inverted, unless items were chosen to mislead (ARC challenge)",
        "the table: accuracy on 'piqa' lies far below its chance level 0.5 for a model 0.2; chance is probably set "
        "wrong, or answers are inverted, unless items were chosen to mislead (ARC challenge)",
    ]


def test_the_table_of_known_tasks_is_sound() -> None:
    known = datasets.tasks()
    assert list(known) == ["task", "aliases", "choices", "chance", "n_items", "note"]
    names = [
        name for task, aliases in zip(known["task"], known["aliases"], strict=True) for name in (task, *aliases.split())
    ]
    assert len(names) == len(set(names))
    assert all(name == name.casefold() and not set(name) & set(" :-") for name in names)
    choices = known["choices"].notna()
    assert (known.loc[choices, "chance"] * known.loc[choices, "choices"].astype(float)).tolist() == pytest.approx(
        [1.0] * choices.sum()
    )
    assert set(known.loc[~choices, "chance"].dropna()) == {0.0}
    # a task without a level says why
    assert (known.loc[known["chance"].isna(), "note"].str.len() > 20).all()
    sizes = known.set_index("task")["n_items"]
    groups = ["mmlu_humanities", "mmlu_social_sciences", "mmlu_stem", "mmlu_other"]
    subjects = [task for task in sizes.index if task.startswith("mmlu_") and task not in (*groups, "mmlu_pro")]
    assert len(subjects) == 57
    assert sizes[subjects].sum() == sizes[groups].sum() == sizes["mmlu"] == 14042


@pytest.mark.parametrize(
    ("written", "chance", "n_items"),
    [
        ("HellaSwag", 0.25, 10042),
        ("ARC-Challenge", 0.25, 1172),
        ("arc:easy", 0.25, 2376),
        ("hendrycksTest-abstract_algebra", 0.25, 100),
        ("Social IQA", 1 / 3, 1954),
        ("GSM8K", 0.0, 1319),
    ],
)
def test_known_tasks_are_found_as_people_write_them(written: str, chance: float, n_items: int) -> None:
    long = bf.read_wide(pd.DataFrame({"model": ["m"], written: [0.9]}), [written])
    assert long[["task", "chance", "n_items"]].to_numpy().tolist() == [[written, chance, n_items]]
