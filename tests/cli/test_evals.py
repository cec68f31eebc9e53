"""Evaluation results on the command line: files of the harness, wide tables, and what is known of the models."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit.cli.reading import read_evals
from tests.cli.terminal import run, squeezed
from tests.harness_files import new, old, write

SIZES = (7e7, 1.6e8, 4e8, 1e9, 2.8e9, 7e9)
TASKS = {"hellaswag": (0.25, 10042), "piqa": (0.5, 1838)}
LAW = ("--law", "log_acc_power")
BY = ("--by", "family,task")


def accuracy(task: str, flops: float) -> float:
    chance, n = TASKS[task]
    return float(np.round(n * (chance + (1 - chance) * np.exp(-0.8 * (flops / 1e20) ** -0.12))) / n)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a folder of result files of two families, of both generations of the harness, and models.csv beside it."""
    rows = ["model,params,tokens,flops,family"]
    for family, size in ((family, size) for family in ("fam, A", "b/c") for size in SIZES):
        name, flops = f"{family}-{size:g}", 120 * size**2
        rows.append(f'"{name}",{size:g},{20 * size:g},{flops:g},"{family}"')
        scores = {task: (accuracy(task, flops), n) for task, (_, n) in TASKS.items()}
        folder = tmp_path / "results" / name.replace("/", "__")
        if family == "b/c":
            write(folder / "results_2025-03-11.json", new(name, scores))
        else:
            found = {task: (one, float((one * (1 - one) / (n - 1)) ** 0.5)) for task, (one, n) in scores.items()}
            # the old format has no place for a comma in a name
            write(folder / "results.json", old("", found, model_name=name))
    write(tmp_path / "models.csv", "\n".join(rows) + "\n")
    return tmp_path / "results"


@pytest.fixture
def wide(results: Path) -> Path:
    """Return a table with one row a model and one column a task."""
    table = pd.read_csv(results.parent / "models.csv")
    for task in TASKS:
        table[task] = [accuracy(task, flops) for flops in table["flops"]]
    table.loc[0, "piqa"] = np.nan
    table.to_csv(results.parent / "wide.csv", index=False)
    return results.parent / "wide.csv"


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what a fit is asked for, and stop there."""
    asked: dict[str, Any] = {}

    def pretend(runs: bf.Runs, law: bf.Law, **arguments: Any) -> bf.Fit:
        asked.update(arguments, runs=runs, law=law)
        raise bf.SpecError("enough")

    monkeypatch.setattr(importlib.import_module("bayesfit.fitting"), "fit", pretend)
    return asked


def test_a_folder_of_results_and_a_table_of_models_are_fitted(results: Path, fitted: dict[str, Any]) -> None:
    said = run("fit", results, "--models", results.parent / "models.csv", *LAW, *BY, code=2)
    assert said.stderr == "error: enough\n"
    for part in ("24 runs", "hellaswag 12, piqa 12", "b/c 12, fam, A 12", "Fitting log_acc_power by family, task:"):
        assert part in squeezed(said.stdout)
    runs = fitted["runs"]
    assert runs.inputs == ("flops", "chance")
    assert runs.outputs == ("accuracy",)
    assert runs.groups == ("family", "task")
    assert sorted(set(runs.values("flops"))) == pytest.approx([120 * size**2 for size in SIZES])
    assert dict(zip(runs.table["task"], runs.values("chance"), strict=True)) == {"hellaswag": 0.25, "piqa": 0.5}
    assert dict(zip(runs.table["task"], runs.values("n_items"), strict=True)) == {"hellaswag": 10042, "piqa": 1838}
    assert runs.name == str(results)


def test_one_file_is_fitted_to_what_it_says_itself(tmp_path: Path, fitted: dict[str, Any]) -> None:
    path = write(tmp_path / "evals.json", new("m", TASKS | {"piqa": (0.7, 1838), "hellaswag": (0.4, 10042)}))
    law = ("--law", "accuracy = chance + (1 - chance)*exp(-a*(params/ref.params)**-b)", "--by", "task")
    priors = ("--prior", "a=LogNormal(0, 1)", "--prior", "b=LogNormal(log(0.1), 1)")
    run("fit", path, *law, *priors, "--noise", "binomial", code=2)
    assert set(fitted["runs"].inputs) == {"chance", "params"}
    assert fitted["runs"].values("params").tolist() == [191034624.0, 191034624.0]
    assert fitted["runs"].n_items.tolist() == [10042, 1838]
    assert fitted["noise"] == "binomial"


def test_metrics_tasks_and_chance_are_chosen(tmp_path: Path, fitted: dict[str, Any]) -> None:
    both = {"acc,none": 0.4, "acc_norm,none": 0.5, "acc_norm_stderr,none": (0.25 / 99) ** 0.5}
    scores = {"mine": both, "gsm8k": {"exact_match,strict-match": 0.1, "exact_match,flexible-extract": 0.2}}
    path = write(tmp_path / "evals.json", new("m", {**scores, "wikitext": {"word_perplexity,none": 20.0}}))
    models = write(tmp_path / "models.csv", "model,flops\nm,1e20\n")
    options = ("--metric", "acc_norm", "--metric", "exact_match,strict-match", "--tasks", "mine,gsm8k")
    said = run("fit", path, "--models", models, *options, "--chance", "mine=0.2", *LAW, "--by", "task", code=2)
    runs = fitted["runs"]
    assert runs.values("accuracy").tolist() == [0.5, 0.1]
    assert runs.values("chance").tolist() == [0.2, 0.0]
    # not known for both, so that it is not read
    assert runs.n_items is None
    assert "warning: " in said.stderr
    assert "the number of items is not known for model 'm', task 'gsm8k'" in squeezed(said.stderr)


def test_a_wide_table_is_fitted(wide: Path, fitted: dict[str, Any]) -> None:
    run("fit", wide, "--tasks", "hellaswag,piqa", *LAW, *BY, code=2)
    runs = fitted["runs"]
    assert len(runs) == 23
    assert runs.levels("task") == ("hellaswag", "piqa")
    assert runs.n_items is not None
    run("fit", wide, "--tasks", "sciq=hellaswag", "--tasks", "mine=piqa", "--chance", "mine=0.5", *LAW, *BY, code=2)
    assert fitted["runs"].levels("task") == ("sciq", "mine")
    assert fitted["runs"].n_items is None
    assert len(fitted["runs"]) == 23


def test_results_are_checked_as_they_are_fitted(wide: Path) -> None:
    said = run("check-data", wide, "--tasks", "hellaswag,piqa", *LAW, *BY).stdout
    assert "task: 2 levels: hellaswag 12, piqa 11" in said
    assert "No faults" in said
    # without a law, accuracies are what was observed
    alone = run("check-data", wide, "--tasks", "hellaswag").stdout
    assert re.search(r"accuracy +output", alone)
    wrong = run("check-data", wide, "--tasks", "piqua=piqa", code=1)
    assert "--chance 'piqua=0.25'" in squeezed(wrong.stderr)


def test_a_long_table_is_fitted_with_the_chance_of_known_tasks(wide: Path, fitted: dict[str, Any]) -> None:
    table = bf.read_wide(wide, ["hellaswag", "piqa"]).drop(columns="chance")
    path = wide.parent / "long.csv"
    table.to_csv(path, index=False)
    run("fit", path, *LAW, *BY, code=2)
    runs = fitted["runs"]
    assert dict(zip(runs.table["task"], runs.values("chance"), strict=True)) == {"hellaswag": 0.25, "piqa": 0.5}
    assert runs.name == str(path)
    table.replace({"piqa": "exam"}).to_csv(path, index=False)
    said = run("check-data", path, *LAW, *BY, code=1)
    assert "the law needs the input 'chance'" in squeezed(said.stderr)
    assert "--chance TASK=NUMBER" in squeezed(said.stderr)
    run("fit", path, *LAW, *BY, "--chance", "exam=0.4", code=2)
    runs = fitted["runs"]
    assert dict(zip(runs.table["task"], runs.values("chance"), strict=True)) == {"hellaswag": 0.25, "exam": 0.4}
    # the law that counts items finds their column by itself, or says that there is none
    two = ("--law", "log_acc_power", "--noise", "binomial")
    table.to_csv(path, index=False)
    run("fit", path, *two, *BY, code=2)
    assert fitted["noise"] == "binomial"
    steps = ("--law", "task_two_step", *BY, "--derive", "task_loss = params**-0.1", "--allow", "collinear")
    run("fit", path, *steps, code=2)
    assert fitted["runs"].n_items is not None
    table.drop(columns="n_items").to_csv(path, index=False)
    assert "counts items and needs their number" in squeezed(run("check-data", path, *steps, code=1).stderr)
    # one fault of a cell does not hide what else is wrong
    table.assign(accuracy="x").to_csv(path, index=False)
    assert "found 'x'" in squeezed(run("fit", path, *LAW, *BY, code=1).stderr)


def test_models_are_joined_to_tables_too(wide: Path, fitted: dict[str, Any]) -> None:
    table = pd.read_csv(wide)
    names = wide.with_name("names.csv")
    table[["model", "hellaswag", "piqa"]].to_csv(names, index=False)
    models = wide.with_name("models.csv")
    run("fit", names, "--models", models, "--tasks", "hellaswag,piqa", *LAW, *BY, code=2)
    assert len(fitted["runs"]) == 23
    long = wide.with_name("long.csv")
    bf.read_wide(names, ["hellaswag"]).to_csv(long, index=False)
    run("fit", long, "--models", models, *LAW, "--by", "family", code=2)
    assert fitted["runs"].levels("family") == ("fam, A", "b/c")
    # a table that has it all is read as ever
    assert fitted["runs"].n_items is None


def test_comparisons_take_results_too(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def pretend(runs: bf.Runs, laws: Any, **arguments: Any) -> None:
        asked.update(arguments, runs=runs, laws=laws)
        raise bf.SpecError("enough")

    monkeypatch.setattr(importlib.import_module("bayesfit.comparison"), "compare_laws", pretend)
    line = "accuracy = chance + (1 - chance)*exp(-k*(params/ref.params)**-m)"
    priors = ("--prior", "k=LogNormal(0, 1)", "--prior", "m=LogNormal(log(0.1), 1)")
    models = ("--models", results.parent / "models.csv")
    run("compare", results, *models, "--laws", f"log_acc_power,{line}", *priors, *BY, code=2)
    assert list(asked["laws"]) == ["log_acc_power", line]
    assert len(asked["runs"]) == 24
    assert set(asked["runs"].inputs) == {"flops", "chance", "params"}


def test_check_data_reads_results(results: Path, tmp_path: Path) -> None:
    told = json.loads(run("check-data", results, "--output", "accuracy", "--by", "task", "--json", code=1).stdout)
    # files of version 0.3 do not say params
    assert {fault["column"] for fault in told["faults"]} == {"params"}
    path = write(tmp_path / "new.json", new("m", {"piqa": (0.7, 1838)}))
    said = run("check-data", path, "--output", "accuracy").stdout
    assert "1 run" in said
    formula = ("--law", "accuracy = a*params**b", "--prior", "a=LogNormal(0, 1)", "--prior", "b=LogNormal(0, 1)")
    assert "params" in run("check-data", path, *formula, "--allow", "few_runs").stdout
    broken = write(tmp_path / "broken.json", '{"results": ')
    told = json.loads(run("check-data", broken, "--json", code=1).stdout)
    assert told["faults"][0]["message"].startswith(f"{broken}: not readable as JSON")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["results", "--models", "no.csv"], 1, "no.csv: there is no such file; check the path"),
        (["no.json"], 1, "no.json: there is no such file or folder; check the path"),
        (["results", "--tasks", "piqua"], 1, "no file has task 'piqua' (did you mean 'piqa'?)"),
        (["results", "--metric", "acc_nrom"], 1, "no task has the metric 'acc_nrom'"),
        (["results", "--chance", "piqua=0.5"], 2, "chance is given for 'piqua', no task (did you mean 'piqa'?)"),
        (["results", "--chance", "piqa"], 2, "--chance takes NAME=VALUE, such as --chance my_task=0.25; found 'piqa'"),
        (["results", "--chance", "piqa=half"], 2, "--chance piqa: found 'half', expected a number"),
        (
            ["wide.csv", "--metric", "acc"],
            2,
            "--metric is for result files of lm-evaluation-harness (.json, or a folder)",
        ),
        (["wide.csv", "--chance", "piqa=0.5"], 2, "--chance needs tasks: a column 'task' of a table"),
        (["wide.csv", "--tasks", "piqa,piqa=hellaswag"], 2, "--tasks names 'piqa' twice; keep one"),
        (["wide.csv", "--tasks", "piqua=piqa"], 1, "--chance 'piqua=0.25'"),
        (["wide.csv", "--tasks", "piqua"], 1, "there is no column 'piqua' (did you mean 'piqa'?)"),
        (["wide.csv", "--tasks", "piqa", "--models", "models.csv"], 1, "models.csv has a column 'params', and so have"),
        (["no.csv", "--tasks", "piqa"], 1, "no.csv has 1 fault: - there is no such file; check the path"),
    ],
)
def test_what_cannot_be_used_is_told(
    wide: Path, fitted: dict[str, Any], arguments: list[str], code: int, message: str
) -> None:
    # the folder of the test is the one that the command runs in
    refused = run("fit", *arguments, *LAW, code=code)
    assert message in squeezed(refused.stderr)
    assert not fitted or code == 2


def test_a_task_with_a_comma_is_a_column_named_whole(tmp_path: Path) -> None:
    path = tmp_path / "evals.csv"
    path.write_text('model,"a, b",c=d,piqa\nm,0.5,0.5,0.7\n')
    table = read_evals(path, tasks=["a, b", "sciq=c=d,piqa"], chance=["a, b=0.25"])
    assert table is not None
    assert table[["task", "chance"]].to_numpy().tolist() == [["a, b", 0.25], ["sciq", 0.25], ["piqa", 0.5]]
