"""What a law needs of runs: all that is missing comes in one error, and says what allows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from bayesfit.errors import DataError, SpecError
from bayesfit.needs import Needs, faults_for, require
from bayesfit.runs import Allow, Runs
from tests.tables import LAW, frame, made


def kinds(runs: Runs, allow: tuple[Allow, ...] = (), **changes: Any) -> list[str]:
    return [fault.kind for fault in faults_for(runs, Needs(**{**LAW, **changes}), allow)]


def test_sound_runs_have_no_faults() -> None:
    runs = made()
    assert kinds(runs, groups=["family"]) == []
    require(runs, Needs(inputs=["params", "tokens"], outputs=["loss"], groups=["family"], n_parameters=4))


def test_all_that_a_law_lacks_comes_in_one_error() -> None:
    runs = Runs.from_frame(frame(family="a", tokens=1e9), groups=["family"])
    with pytest.raises(DataError, match="sweep has 6 faults") as caught:
        require(
            Runs.from_dataset(runs.to_dataset().assign_attrs(name="sweep")),
            Needs(
                inputs=["params", "tokens", "width"],
                outputs=["loss", "accuracy"],
                groups=["family", "task"],
                n_parameters=5,
            ),
        )
    assert [fault.kind for fault in caught.value.faults] == [
        *("missing_column", "missing_column", "one_group", "group_missing", "few_runs", "collinear"),
    ]


@pytest.mark.parametrize("word", ["one_group", "few_runs", "collinear"])
def test_a_word_allows_its_own_fault_alone(word: Allow) -> None:
    runs = Runs.from_frame(frame(family="a", tokens=1e9), groups=["family"])
    found = kinds(runs, groups=["family"], n_parameters=5)
    assert sorted(found) == ["collinear", "few_runs", "one_group"]
    assert kinds(runs, groups=["family"], n_parameters=5, allow=(word,)) == [kind for kind in found if kind != word]
    assert word in get_args(Allow)


def test_an_unknown_word_is_refused_here_too() -> None:
    with pytest.raises(SpecError, match=r"cannot allow 'colinear' \(did you mean 'collinear'\?\)"):
        faults_for(made(), Needs(**LAW), ["colinear"])  # type: ignore[list-item]  # wrong on purpose


def test_a_column_read_for_another_part_is_pointed_out() -> None:
    runs = made(outputs=["loss"], inputs=["params"])
    (fault,) = faults_for(runs, Needs(inputs=["params", "loss"], outputs=["loss"], n_parameters=1))
    assert fault.remedy == "name it when reading the table, inputs=[..., 'loss']"


def grid(**columns: str) -> Runs:
    """Return 30 runs of params and tokens that vary freely, and columns computed from them."""
    rng = np.random.default_rng(4)
    df = pd.DataFrame({"params": 10 ** rng.uniform(7, 10, 30), "tokens": 10 ** rng.uniform(9, 12, 30)})
    df = df.assign(loss=rng.uniform(2, 3, 30), noise=rng.lognormal(0, 1, 30), tiny=rng.lognormal(0, 1e-5, 30))
    return Runs.from_frame(df, derive=columns, allow=["units"])


@pytest.mark.parametrize(
    ("columns", "relation"),
    [
        (
            {"flops": "6*params*tokens"},
            "params, tokens, flops cannot be told apart: log flops = 1.79 + log params + log tok",
        ),
        ({"ratio": "tokens/params"}, "params, tokens, ratio cannot be told apart: log ratio = log tokens - log para"),
        ({"width": "sqrt(params)/10"}, "params, width cannot be told apart: log width = 0.5 log params - 2.3 in every"),
        ({"flops": "6*params*tokens*tiny"}, "log flops = 1.79 + log params + log tokens in every run"),
        ({"batch": "noise", "flops": "6*params*tokens"}, "params, tokens, flops cannot be told apart"),
    ],
)
def test_inputs_that_determine_each_other(columns: dict[str, str], relation: str) -> None:
    runs = grid(**columns)
    (fault,) = faults_for(runs, Needs(inputs=runs.inputs, outputs=["loss"], n_parameters=5))
    assert fault.kind == "collinear"
    assert relation in fault.message


def test_every_relation_is_told() -> None:
    runs = grid(flops="6*params*tokens", width="sqrt(params)", depth="noise")
    needs = Needs(inputs=runs.inputs, outputs=["loss"], n_parameters=5)
    assert [fault.message.split(" cannot")[0] for fault in faults_for(runs, needs)] == [
        "params, width",
        "params, tokens, flops",
    ]


@pytest.mark.parametrize(("spread", "found"), [(1e-2, 0), (1e-5, 1)])
def test_inputs_a_little_apart_are_apart(spread: float, found: int) -> None:
    logs = np.linspace(16, 23, 40)
    off = spread * np.random.default_rng(0).standard_normal(40)
    df = pd.DataFrame({"params": np.exp(logs), "tokens": 20 * np.exp(logs + off), "loss": 3.0})
    assert len(faults_for(Runs.from_frame(df), Needs(**LAW))) == found


def test_two_runs_cannot_tell_three_inputs_apart() -> None:
    runs = grid(batch="noise").select(np.arange(30) < 2)
    assert kinds(runs, inputs=runs.inputs, n_parameters=2) == ["collinear", "collinear"]


def test_an_accuracy_of_zero_as_input_is_no_trouble() -> None:
    runs = Runs.from_frame(frame(accuracy=[0, 0.1, 0.2, 0.3]), inputs=["params", "accuracy"])
    assert kinds(runs, inputs=["params", "accuracy"]) == []


def test_published_tables_are_read(data_dir: Path) -> None:
    runs = Runs.from_csv(data_dir / "chinchilla_epoch.csv")
    assert len(runs) == 245
    assert kinds(runs, n_parameters=5) == []
    assert kinds(runs, inputs=["params", "tokens", "flops"], n_parameters=5) == ["collinear"]
    with pytest.raises(DataError) as caught:
        Runs.from_csv(data_dir / "steplaw_dense.csv", inputs=["params", "tokens"])
    assert "columns={'params': 'params_nonembed'}" in str(caught.value)
