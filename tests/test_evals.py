"""Result files of lm-evaluation-harness as one long table, and every message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import datasets
from tests.harness_files import BLOOM, error_of, harness_fault, new, old, write

TASKS = {"hellaswag": (0.44, 10042), "piqa": (0.7, 1838)}
STRICT, FLEXIBLE = "exact_match,strict-match", "exact_match,flexible-extract"


def test_a_file_of_version_0_3_tells_its_items_by_the_standard_error(tmp_path: Path) -> None:
    scores = {task: (accuracy, error) for task, (accuracy, error, _) in BLOOM.items()}
    path = write(tmp_path / "bloom.json", old("bigscience/bloom-560m", scores))
    with pytest.warns(bf.DataWarning) as told:
        table = bf.read_harness(path)
    # these are right, and small models score below chance there
    assert [str(one.message).split("'")[1] for one in told] == ["openbookqa", "prost"]
    assert list(table) == ["model", "task", "accuracy", "accuracy_se", "n_items", "chance", "shots"]
    assert table["n_items"].tolist() == [items for _, _, items in BLOOM.values()]
    assert table["accuracy"].tolist() == [accuracy for accuracy, _, _ in BLOOM.values()]
    assert table["accuracy_se"].tolist() == [error for _, error, _ in BLOOM.values()]
    assert set(table["model"]) == {"bigscience/bloom-560m"}
    assert table["shots"].tolist() == [0] * len(BLOOM)
    known = datasets.tasks().set_index("task")
    assert table["n_items"].tolist() == known.loc[list(BLOOM), "n_items"].tolist()
    assert table["chance"].tolist() == known.loc[list(BLOOM), "chance"].tolist()


def test_a_file_of_today_says_items_shots_choices_and_params(tmp_path: Path) -> None:
    content = new("fla-hub/rwkv7-0.1B-g1", {**TASKS, "my_task": (0.4, 200)}, shots=5)
    content["configs"]["my_task"]["doc_to_choice"] = ["a", "b", "c"]
    content["n-samples"]["piqa"] = {"original": 1838, "effective": 100}
    path = write(tmp_path / "results_2025-03-11T00-18-59.369059.json", content)
    table = bf.read_harness(str(path))
    assert table["task"].tolist() == ["hellaswag", "piqa", "my_task"]
    assert table["n_items"].tolist() == [10042, 100, 200]
    assert table["chance"].tolist() == [0.25, 0.5, 1 / 3]
    assert table["shots"].tolist() == [5, 5, 5]
    assert table["params"].tolist() == [191034624.0] * 3
    assert table["accuracy_se"].tolist() == pytest.approx(
        [error_of(0.44, 10042), error_of(0.7, 1838), error_of(0.4, 200)]
    )
    runs = bf.Runs.from_frame(table, outputs=["accuracy"], groups=["task"], n_items="n_items")
    assert runs.inputs == ("params",)
    assert runs.levels("task") == ("hellaswag", "piqa", "my_task")


def test_a_folder_is_searched_for_results_and_both_generations_go_together(tmp_path: Path) -> None:
    write(tmp_path / "old" / "results.json", old("a", {"piqa": BLOOM["piqa"][:2]}))
    write(tmp_path / "new" / "b__b" / "results_2025.json", new("b/b", TASKS))
    write(tmp_path / "new" / "b__b" / "config.json", {"no": "results"})
    (tmp_path / "all_results.json").mkdir()
    (tmp_path / "results_of_c.json").mkdir()
    table = bf.read_harness(tmp_path)
    assert table[["model", "task"]].to_numpy().tolist() == [["b/b", "hellaswag"], ["b/b", "piqa"], ["a", "piqa"]]
    assert np.isnan(table["params"].tolist()[2])
    listed = bf.read_harness([tmp_path / "old", tmp_path / "new" / "b__b" / "results_2025.json"])
    assert sorted(listed["model"]) == sorted(table["model"])
    # without a file called results, every .json is one
    write(tmp_path / "plain" / "one.json", new("c", TASKS))
    assert bf.read_harness(tmp_path / "plain")["model"].unique().tolist() == ["c"]


def test_the_same_results_twice_are_one_row_and_others_are_a_fault(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", new("m", TASKS))
    second = write(tmp_path / "b.json", new("m", TASKS))
    assert len(bf.read_harness([first, second, first])) == 2
    write(second, new("m", {"piqa": (0.71, 1838)}, shots=5))
    message = harness_fault([first, second])
    assert message == (
        f"model 'm', task 'piqa': results that differ: 0.7 ({first}, 0 shots, 1838 items), 0.71 ({second}, 5 shots, "
        f"1838 items); keep one of the files, or name the models apart, read_harness({{'NAME': 'FILE', ...}})"
    )
    named = bf.read_harness({"m, zero-shot": first, "m, five-shot": second})
    assert named["model"].unique().tolist() == ["m, zero-shot", "m, five-shot"]


def test_revisions_of_one_model_are_told_apart_by_name(tmp_path: Path) -> None:
    for step in ("step1000", "step3000", "main"):
        content = old("EleutherAI/pythia-1.4b", {"piqa": BLOOM["piqa"][:2]})
        content["config"]["model_args"] += f",revision={step}"
        write(tmp_path / f"{step}.json", content)
    assert bf.read_harness(tmp_path)["model"].tolist() == [
        "EleutherAI/pythia-1.4b@main",
        "EleutherAI/pythia-1.4b@step1000",
        "EleutherAI/pythia-1.4b@step3000",
    ]
    assert bf.read_harness(tmp_path / "step1000.json")["model"].tolist() == ["EleutherAI/pythia-1.4b"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("pretrained=base,peft=tuned,dtype=float16", "tuned"),
        ({"pretrained": "google/gemma-2b", "dtype": "bfloat16", "gpu_memory_utilization": 0.7}, "google/gemma-2b"),
        ("model=gpt-4o-mini,base_url=http://x/v1?a=b", "gpt-4o-mini"),
        ("engine=davinci", "davinci"),
    ],
)
def test_the_model_is_named_by_its_arguments_where_the_file_has_no_name(
    tmp_path: Path, arguments: object, name: str
) -> None:
    content = new("", TASKS)
    content["config"]["model_args"] = arguments
    assert set(bf.read_harness(write(tmp_path / "r.json", content))["model"]) == {name}


def test_groups_are_left_out_unless_named(tmp_path: Path) -> None:
    # as in results/Qwen__Qwen2.5-1.5B of the harness's repository
    content = new(
        "Qwen/Qwen2.5-1.5B",
        {
            "mmlu": {"acc,none": 0.5961401509756445, "acc_stderr,none": 0.003908188894751123, "sample_len": 14042},
            "mmlu_stem": {"acc,none": 0.525848398350777, "acc_stderr,none": 0.00863379321638393, "alias": " - stem"},
            "mmlu_anatomy": {"alias": "  - anatomy", "acc,none": 72 / 135, "acc_stderr,none": error_of(72 / 135, 135)},
            "leaderboard": {" ": " ", "alias": "leaderboard"},
        },
    )
    content["groups"] = {name: content["results"][name] for name in ("mmlu", "mmlu_stem")}
    content["group_subtasks"] = {
        "mmlu": ["mmlu_stem"],
        "mmlu_stem": ["mmlu_anatomy"],
        "mmlu_anatomy": [],
        "leaderboard": ["mmlu"],
    }
    content["n-samples"] = {"mmlu_anatomy": {"original": 135, "effective": 135}}
    path = write(tmp_path / "r.json", content)
    assert bf.read_harness(path)[["task", "n_items", "chance"]].to_numpy().tolist() == [["mmlu_anatomy", 135, 0.25]]
    table = bf.read_harness(path, tasks=["mmlu"])
    assert table["task"].tolist() == ["mmlu"]
    assert table["n_items"].isna().all()
    assert table["chance"].tolist() == [0.25]
    del content["results"]["mmlu_anatomy"]
    assert harness_fault(write(path, content)) == (
        "the files hold groups of tasks only, averages over tasks: mmlu, mmlu_stem, leaderboard; "
        "name those wanted, tasks=['mmlu']"
    )


def test_the_metric_asked_for_is_taken_where_a_task_has_it(tmp_path: Path) -> None:
    both = {"acc,none": 0.44, "acc_stderr,none": 0.1, "acc_norm,none": 0.56, "acc_norm_stderr,none": 0.2}
    path = write(tmp_path / "r.json", new("m", {"hellaswag": both, "boolq": (0.6, 3270)}))
    with pytest.warns(bf.DataWarning, match="the number of items is not known"):
        table = bf.read_harness(path, metric="acc_norm")
    assert table["accuracy"].tolist() == [0.56, 0.6]
    assert table["accuracy_se"].tolist() == [0.2, pytest.approx(error_of(0.6, 3270))]
    assert bf.read_harness(path, n_items=10042)["accuracy"].tolist() == [0.44, 0.6]
    assert harness_fault(path, metric="acc_nrom") == (
        "no task has the metric 'acc_nrom' (did you mean 'acc_norm'?); they have acc, acc,none, acc_norm, "
        "acc_norm,none; correct its name"
    )


def test_filters_are_chosen_among_by_name(tmp_path: Path) -> None:
    gsm8k = {"alias": "gsm8k", STRICT: 0.11, "exact_match_stderr,strict-match": "N/A", FLEXIBLE: 0.12}
    path = write(tmp_path / "r.json", new("m", {"gsm8k": gsm8k, "piqa": (0.7, 1838)}))
    expected = (
        f"task 'gsm8k' has no acc and no single other metric, but {STRICT}, {FLEXIBLE} ({path}); say which is its "
        f"accuracy, metric='NAME' (--metric NAME), or leave the task out by naming the others, tasks=[...] (--tasks)"
    )
    assert harness_fault(path) == expected
    assert harness_fault(path, metric="exact_match") == expected
    assert bf.read_harness(path, tasks=["piqa"])["task"].tolist() == ["piqa"]
    table = bf.read_harness(path, metric=STRICT, n_items={"gsm8k": 1319})
    assert table["accuracy"].tolist() == [0.11, 0.7]
    assert np.isnan(table["accuracy_se"].tolist()[0])
    assert table["n_items"].tolist() == [1319, 1838]
    assert table["chance"].tolist() == [0.0, 0.5]


def test_what_gets_better_as_it_falls_is_no_accuracy(tmp_path: Path) -> None:
    lambada = {
        "ppl": 1683.4353973763111,
        "ppl_stderr": 70.1,
        "acc": 0.0673394139336309,
        "acc_stderr": 0.003491471899052776,
    }
    scores = {"lambada_openai": lambada, "wikitext": {"word_perplexity": 20.0, "byte_perplexity": 1.7}}
    path = write(tmp_path / "r.json", old("m", scores))
    assert (
        "task 'wikitext' has no acc and no single other metric, but word_perplexity, byte_perplexity"
        in harness_fault(path)
    )
    table = bf.read_harness(path, tasks=["lambada_openai"])
    assert table[["accuracy", "n_items", "chance"]].to_numpy().tolist() == [[0.0673394139336309, 5153, 0.0]]
    content = new("m", {"t": {"wer,none": 0.3}})
    content["higher_is_better"]["t"] = {"wer": False}
    assert "task 't' has no acc and no single other metric, but wer,none" in harness_fault(write(path, content))


def test_an_only_metric_is_taken_and_told_unless_it_is_a_share_by_its_name(tmp_path: Path) -> None:
    only = {"humaneval": {"pass@1,create_test": 0.2, "pass@1_stderr,create_test": error_of(0.2, 165)}}
    assert len(bf.read_harness(write(tmp_path / "r.json", new("m", only)))) == 1
    path = write(tmp_path / "r.json", old("m", {"cola": {"mcc": 0.1, "mcc_stderr": 0.03}}))
    arguments: dict[str, Any] = {"chance": 0.0, "n_items": {"cola": 1043}}
    with pytest.warns(bf.DataWarning, match="'cola' has no acc; mcc is taken for its accuracy, the only metric it has"):
        bf.read_harness(path, **arguments)
    assert bf.read_harness(path, metric="mcc", **arguments)["accuracy"].tolist() == [0.1]


def test_one_task_is_measured_alike_for_all_models(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", new("a", {"hellaswag": {"acc_norm,none": 0.5}}))
    second = write(tmp_path / "b.json", old("b", {"hellaswag": BLOOM["hellaswag"][:2]}))
    assert harness_fault([first, second], n_items=10042) == (
        "task 'hellaswag' is measured by acc_norm for model 'a' and acc for model 'b'; say which all models have, "
        "metric='NAME' (--metric NAME), or leave the task out by naming the others, tasks=[...] (--tasks)"
    )


@pytest.mark.parametrize(
    ("accuracy", "error"),
    [
        (0.0, 0.0),
        (1.0, 0.0),
        (0.3156, 0.0046),  # printed digits
        (0.5961401509756445, 0.003908188894751123),  # pooled over the subjects of mmlu
        (0.41, 0.0149),
        (0.3, float("nan")),
        (0.3, None),
        (0.3, "N/A"),
        (0.3, -0.01),
        (0.3, float("inf")),
        (0.3, 1e-200),
        (0.3, 1e-155),
    ],
)
def test_items_that_the_standard_error_does_not_tell_are_missing(
    tmp_path: Path, accuracy: float, error: object
) -> None:
    path = write(tmp_path / "r.json", old("m", {"gsm8k": {"acc": accuracy, "acc_stderr": error}}))
    with pytest.warns(bf.DataWarning) as told:
        table = bf.read_harness(path)
    assert table["n_items"].isna().all()
    assert [str(warning.message) for warning in told] == [
        f"{path}: the number of items is not known for model 'm', task 'gsm8k' (acc in {path}); fits to counts need "
        f"it: give n_items={{'gsm8k': 1000}}"
    ]
    assert bf.read_harness(path, n_items={"gsm8k": 1319})["n_items"].tolist() == [1319]


def test_items_may_stand_with_the_scores(tmp_path: Path) -> None:
    scores = {"piqa": {"name": "piqa", "alias": "piqa", "sample_len": 1838, "acc,none": 1.0, "acc_stderr,none": 0.0}}
    assert bf.read_harness(write(tmp_path / "r.json", new("m", scores)))["n_items"].tolist() == [1838]


@pytest.mark.parametrize("count", [0, -1, 2.5, "many", True, [1]])
def test_numbers_of_items_are_whole(tmp_path: Path, count: object) -> None:
    content = new("m", TASKS)
    content["n-samples"]["piqa"]["effective"] = count
    path = write(tmp_path / "r.json", content)
    assert harness_fault(path) == (
        f"{path}: task 'piqa': found {count!r} items, expected a whole number, 1 or more; correct \"n-samples\", or "
        f"evaluate again"
    )


def test_an_unknown_chance_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", new("m", {"x": (0.4, 100), "bbh": (0.3, 6511), "piqa": (0.7, 1838)}))
    with pytest.raises(bf.DataError) as caught:
        bf.read_harness(path)
    assert [str(one) for one in caught.value.faults] == [
        "chance level of task 'x' is unknown; give chance={'x': 0.25} (one over the number of choices; 0 where "
        "answers are written freely), --chance 'x=0.25'",
        "chance level of task 'bbh' is unknown (its 27 tasks differ in choices, and some are answered freely); give "
        "chance={'bbh': 0.25} (one over the number of choices; 0 where answers are written freely), "
        "--chance 'bbh=0.25'",
    ]
    table = bf.read_harness(path, chance={"x": 0.2, "bbh": 0.1, "piqa": 0.25})
    assert table["chance"].tolist() == [0.2, 0.1, 0.25]
    assert bf.read_harness(path, chance=0.3)["chance"].tolist() == [0.3, 0.3, 0.3]


def test_files_that_list_other_choices_are_a_fault(tmp_path: Path) -> None:
    for model, choices in (("a", ["x", "y"]), ("b", ["x", "y", "z"]), ("c", "{{choices}}")):
        content = new(model, {"piqa": (0.7, 1838)})
        content["configs"]["piqa"]["doc_to_choice"] = choices
        write(tmp_path / f"{model}.json", content)
    assert "chance level of task 'piqa' is unknown (files list 2, 3 choices)" in harness_fault(tmp_path)
    assert bf.read_harness([tmp_path / "b.json", tmp_path / "c.json"])["chance"].tolist() == [1 / 3, 1 / 3]
    # answers written freely may still be a letter out of four: nothing is concluded
    content = new("d", {"my_task": (0.5, 10)})
    content["configs"]["my_task"] |= {"doc_to_choice": ["A", "B"], "output_type": "generate_until"}
    assert "chance level of task 'my_task' is unknown" in harness_fault(write(tmp_path / "d.json", content))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"chance": {"piqua": 0.5}},
            "chance is given for 'piqua', no task (did you mean 'piqa'?); there are hellaswag, piqa",
        ),
        ({"chance": 25}, "chance of 'hellaswag' must lie from 0 to below 1, 0.25 for four choices; found 25"),
        (
            {"chance": {"piqa": "0.5"}},
            "chance of 'piqa' must lie from 0 to below 1, 0.25 for four choices; found '0.5'",
        ),
        ({"chance": {"piqa": float("nan")}}, "found nan"),
        ({"chance": False}, "found False"),
        ({"n_items": {"piqa": 0}}, "n_items of 'piqa' must be a whole number, 1 or more; found 0"),
        ({"n_items": 12.5}, "n_items of 'hellaswag' must be a whole number, 1 or more; found 12.5"),
        ({"n_items": float("inf")}, "found inf"),
        ({"tasks": "piqa"}, "tasks must be a list, found the text 'piqa'; write tasks=['piqa']"),
        ({"tasks": []}, "tasks must be different names, such as tasks=['hellaswag', 'piqa']; found []"),
        ({"tasks": ["piqa", "piqa "]}, "tasks must be different names"),
        ({"models": 3}, "expected a table or the path of one, found int"),
    ],
)
def test_arguments_that_cannot_be_used(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "r.json", new("m", TASKS))
    with pytest.raises(bf.SpecError) as caught:
        bf.read_harness(path, **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("paths", [[], {}, [3], {"m": None}])
def test_paths_are_paths(paths: Any) -> None:
    with pytest.raises(bf.SpecError, match="expected the path of a result file or of a folder of them, found"):
        bf.read_harness(paths)


def test_a_task_that_no_file_has(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", new("m", TASKS))
    assert harness_fault(path, tasks=["piqa", "helaswag"]) == (
        "no file has task 'helaswag' (did you mean 'hellaswag'?); they have hellaswag, piqa; correct its name, or "
        "leave it out of tasks"
    )


def test_accuracies_far_below_chance_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", new("m", {"piqa": (0.4, 1838), "copa": (0.4, 100)}))
    with pytest.warns(bf.DataWarning) as told:
        bf.read_harness(path)
    # on copa 0.4 is two standard errors below
    assert [str(warning.message) for warning in told] == [
        f"{path}: accuracy on 'piqa' lies far below its chance level 0.5 for m 0.4; chance is probably set wrong, or "
        f"answers are inverted, unless items were chosen to mislead (ARC challenge)"
    ]
    assert Path(told[0].filename) == Path(__file__)
    bf.read_harness(path, chance=0.25)


def test_models_are_joined_by_name(tmp_path: Path) -> None:
    write(tmp_path / "a.json", new(" org/a ", TASKS))
    write(tmp_path / "b.json", new("b", TASKS))
    csv = tmp_path / "models.csv"
    csv.write_text("model,params,tokens,family\norg/a ,70M,300B,Fam A\nb,1.4B,300B,'b'\nc,7B,1T,c\n")
    table = bf.read_harness([tmp_path / "a.json", tmp_path / "b.json"], models=csv)
    assert table["params"].tolist() == ["70M", "70M", "1.4B", "1.4B"]
    assert list(table)[-3:] == ["params", "tokens", "family"]
    assert table["n_items"].dtype == "Int64"
    frame = pd.DataFrame({"model": ["b", "org/a"], "tokens": [3e11, 1e12]}, index=[7, 9])
    assert bf.read_harness(tmp_path / "a.json", models=frame)["tokens"].tolist() == [1e12, 1e12]
    frame.to_parquet(tmp_path / "models.parquet")
    table = bf.read_harness(tmp_path / "b.json", models=tmp_path / "models.parquet")
    assert table[["params", "tokens"]].to_numpy().tolist() == [[191034624.0, 3e11]] * 2
    runs = bf.Runs.from_frame(
        bf.read_harness([tmp_path / "a.json", tmp_path / "b.json"], models=csv),
        inputs=["params", "tokens", "chance"],
        outputs=["accuracy"],
        groups=["family", "task"],
        support={"chance": "share"},
    )
    assert runs.levels("family") == ("Fam A", "'b'")
    assert runs.values("params").tolist() == [7e7, 7e7, 1.4e9, 1.4e9]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "model,params\norg/pythia-160,1B\n",
            "model 'org/pythia-160m' has results and is not in {csv} (did you mean 'org/pythia-160'?); add a row for "
            "it, or write its name as the results do",
        ),
        (
            "model,params\norg/pythia-160m,1B\nb,2B\norg/pythia-160m,1B\n",
            "{csv}: model 'org/pythia-160m' is there more than once, in rows 1, 3; keep one row a model",
        ),
        (
            "model,params\norg/pythia-160m,1B\n,2B\n",
            "{csv}: the name of the model is empty, in rows 2; name the model, or leave the row out",
        ),
        (
            "name,params\norg/pythia-160m,1B\n",
            "column 'model': {csv} has no single column 'model'; it has name, params; call the column that names the "
            "models 'model'",
        ),
        (
            "model,accuracy\norg/pythia-160m,1\n",
            "column 'accuracy': {csv} has a column 'accuracy', and so have the results; rename it, or leave it out",
        ),
        ("", "{csv}: the file is empty; give a header and one row a run"),
    ],
)
def test_models_that_cannot_be_joined(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "r.json", new("org/pythia-160m", TASKS))
    csv = write(tmp_path / "models.csv", content)
    assert harness_fault(path, models=csv) == message.format(csv=csv)


def test_a_missing_or_broken_table_of_models(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", new("m", TASKS))
    assert harness_fault(path, models=tmp_path / "no.csv") == (
        f"{tmp_path / 'no.csv'}: there is no such file; check the path"
    )
    broken = write(tmp_path / "models.parquet", "model,params\n")
    assert f"{broken}: not a readable Parquet file (" in harness_fault(path, models=broken)
    with pytest.raises(bf.SpecError, match="one row of column names"):
        bf.read_harness(path, models=pd.DataFrame({("a", "b"): [1]}))
