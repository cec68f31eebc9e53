"""Files that are no results, accuracies that are none, names that are odd."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from tests.harness_files import harness_fault, new, wide_fault, write

STRICT, FLEXIBLE = "exact_match,strict-match", "exact_match,flexible-extract"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"results": {"piqa": {"acc,none": 0.',
            "not readable as JSON (Expecting ',' delimiter: line 1 column 36 (char 35))",
        ),
        ("", "not readable as JSON (Expecting value: line 1 column 1 (char 0))"),
        ("\0\0\0", "not readable as JSON ("),
        ('{"results": {"piqa": {}, "piqa": {}}}', "not readable as JSON ('piqa' is there twice)"),
        ("[" * 200_000, "nested too deeply for a result file"),
        ('{"results": ' + "9" * 5000 + "}", "not readable as JSON (Exceeds the limit"),
        ("[1, 2]", "not a result file of lm-evaluation-harness: it holds a list"),
        ('"text"', 'not a result file of lm-evaluation-harness: it holds "text"'),
        ("null", "not a result file of lm-evaluation-harness: it holds null"),
        (
            '{"architectures": ["GPTNeoX"], "hidden_size": 512}',
            "not a result file of lm-evaluation-harness: it has no 'results' but architectures, hidden_size",
        ),
        ("{}", "not a result file of lm-evaluation-harness: it has no 'results' but none"),
        (
            '{"results": []}',
            "not a result file of lm-evaluation-harness: its 'results' are a list, expected one entry a task",
        ),
        ('{"results": {}}', "not a result file of lm-evaluation-harness: its 'results' are empty"),
        ('{"results": null}', "not a result file of lm-evaluation-harness: its 'results' are null, expected one entry"),
        ('{"results": {"piqa": {"acc": 0.5}}}', "it does not say which model was evaluated"),
        (
            '{"results": {"piqa": {"acc": 0.5}}, "config": [], "model_name": 7}',
            "it does not say which model was evaluated",
        ),
    ],
)
def test_files_that_are_no_results(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "r.json", content)
    found = harness_fault(path)
    assert found.startswith(f"{path}: {message}")
    assert "; " in found


def test_a_task_that_is_no_object(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", new("m", {"piqa": [0.5], "copa": (0.6, 100)}))
    assert harness_fault(path) == f"{path}: task 'piqa': found a list, expected metrics by name; evaluate again"


def test_missing_places(tmp_path: Path) -> None:
    assert harness_fault(tmp_path / "no") == f"{tmp_path / 'no'}: there is no such file or folder; check the path"
    assert harness_fault(tmp_path) == f"{tmp_path}: there is no .json file in this folder; check the path"


def test_a_byte_order_mark_is_no_harm_and_other_encodings_are_told(tmp_path: Path) -> None:
    text = json.dumps(new("модель/ø", {"piqa": (0.7, 1838)}), ensure_ascii=False)
    path = tmp_path / "r.json"
    path.write_text(text, encoding="utf-8-sig")
    assert bf.read_harness(path)["model"].tolist() == ["модель/ø"]
    path.write_text(text, encoding="utf-16")
    assert harness_fault(path) == f"{path}: not a text file in UTF-8; save it as UTF-8, or evaluate again"


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        ("NaN", "found NaN, expected an accuracy from 0 to 1; evaluate again, or leave"),
        ("Infinity", "found Infinity, expected an accuracy from 0 to 1; evaluate again, or leave"),
        ("null", "found null, expected an accuracy"),
        ("true", "found true, expected an accuracy"),
        ('"N/A"', 'found "N/A", expected an accuracy'),
        ("[0.5]", "found [0.5], expected an accuracy"),
        ("1" + "0" * 400, "found 1000000000000000000000000000000000000000, expected an accuracy"),
        (
            "62.5",
            "found 62.5, accuracy goes from 0 to 1 and this looks like percent; divide by 100 if it is percent, or",
        ),
        ("-0.1", "found -0.1, accuracy goes from 0 to 1; correct it, or leave the task out by naming the others"),
        ("163.2", "found 163.2, accuracy goes from 0 to 1; correct it, or"),
    ],
)
def test_accuracies_that_are_none(tmp_path: Path, accuracy: str, message: str) -> None:
    content = json.dumps(new("m", {"piqa": {"acc,none": 0.123456}, "copa": (0.6, 100)})).replace("0.123456", accuracy)
    path = write(tmp_path / "r.json", content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert harness_fault(path).startswith(f"model 'm', task 'piqa' (acc,none in {path}): {message}")


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    write(
        tmp_path / "a.json",
        new("a", {"piqa": {"acc,none": 70.0}, "x": (0.4, 100), "gsm8k": {STRICT: 0.1, FLEXIBLE: 0.1}}),
    )
    write(tmp_path / "b.json", '{"results"')
    csv = write(tmp_path / "models.csv", "model\nb\n")
    with pytest.raises(bf.DataError) as caught:
        # a chance for a task of the broken file is no mistake
        bf.read_harness(tmp_path, models=csv, chance={"tasks_of_b": 0.5})
    assert sorted(one.kind for one in caught.value.faults) == [
        "no_metric",
        "percent_accuracy",
        "unknown_chance",
        "unknown_model",
        "unreadable",
    ]
    assert str(caught.value).startswith(f"{tmp_path} has 5 faults:")
    assert all(one.remedy for one in caught.value.faults)


def test_many_alike_faults_are_shortened(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", new("m", {f"t{i}": (0.4, 100) for i in range(25)}))
    with pytest.raises(bf.DataError, match="and 20 more rows like these"):
        bf.read_harness(path)


ODD = ["a b", "x/y", "p:q", "it's", '"q"', "ä, ö [é]", "日本語", "{n}", "-", "[bold]x[/]", "a=b", "N/A", "1e5"]


def test_odd_names_survive(tmp_path: Path) -> None:
    scores = {task: (0.5, 100) for task in ODD} | {"  padded ": (0.5, 100)}
    for i, model in enumerate(ODD):
        write(tmp_path / f"{i}.json", new(model, scores))
    models = pd.DataFrame({"model": ODD, "family": ODD, "flops": np.geomspace(1e18, 1e21, len(ODD))})
    table = bf.read_harness(tmp_path, models=models, chance=0.25)
    assert set(table["task"]) == {*ODD, "padded"}
    runs = bf.Runs.from_frame(table, inputs=["flops"], outputs=["accuracy"], groups=["family", "task"])
    assert sorted(runs.levels("family")) == sorted(ODD)
    assert set(runs.levels("task")) == {*ODD, "padded"}
    wide = pd.DataFrame({"model": ODD, "family": ODD, "flops": models["flops"]} | {task: 0.5 for task in ODD})
    long = bf.read_wide(wide, ODD, chance=0.25, n_items=10)
    assert long["task"].tolist() == ODD * len(ODD)
    for task in ODD:
        assert f"chance level of task '{task}' is unknown" in wide_fault(wide, [task])
