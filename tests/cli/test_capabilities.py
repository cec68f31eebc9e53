"""A task from other benchmarks, in the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.terminal import run, squeezed
from tests.test_capabilities import BENCHMARKS, CHANCE, simulated

pytestmark = pytest.mark.xdist_group("capabilities")

LEVELS = [word for name, level in CHANCE.items() for word in ("--chance", f"{name}={level}")]
ASKED = ("--benchmarks", ",".join(BENCHMARKS), "--target", "exam")
QUICK = ("--factors", "2", "--draws", "700", "--seed", "1")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capabilities") / "scores.csv"
    found = simulated(1).table
    found.loc[[3, 9], "exam"] = np.nan
    found.to_csv(path, index=False)
    return path


def test_hidden_and_missing_scores_are_predicted(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "exam.csv"
    told = run(
        "capabilities",
        table,
        *ASKED,
        *LEVELS,
        *QUICK,
        *("--hide-above", "1e23", "--reference", "elm", "--out", out, "--json"),
    )
    document = json.loads(told.stdout)
    assert document["passed"]
    assert document["provenance"]["seed"] == 1
    rows = pd.DataFrame(document["predictions"]).set_index("model")
    models = pd.read_csv(table).set_index("model")
    wanted = models.index[~(models["flops"] <= 1e23) | models["exam"].isna()]
    assert list(rows.index) == list(wanted)
    assert rows.loc[["m3", "m9"], "observed"].isna().all()
    known = rows.dropna(subset=["observed"])
    np.testing.assert_allclose(known["observed"], models.loc[known.index, "exam"])
    # of 17, 90% bands of a calibrated forecast hold 12 or fewer once in a hundred times
    assert ((known["lower"] <= known["observed"]) & (known["observed"] <= known["upper"])).sum() >= 13
    ratios = pd.DataFrame(document["equivalent_compute"]).set_index("family")
    assert ratios.loc["elm", "median"] == 1
    assert len(ratios) == models["family"].nunique()
    saved = pd.read_csv(out, index_col="model")
    np.testing.assert_allclose(saved["median"], rows["median"])


def test_what_is_shown(table: Path) -> None:
    told = run("capabilities", table, *ASKED, *LEVELS, *QUICK, "--hide-above", "1e23")
    text = squeezed(told.stdout)
    assert "hidden scores lie inside; mean absolute error 0.0" in text
    assert "90% intervals" in text
    assert "match the reference" not in text


def test_checks_that_fail_give_no_predictions(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "exam.csv"
    settings = ("--factors", "2", "--draws", "10", "--tune", "10", "--seed", "1", "--out", out)
    told = run("capabilities", table, *ASKED, *LEVELS, *settings, code=1)
    assert "fails its checks" in told.stderr
    assert "intervals" not in told.stdout
    told = run("capabilities", table, *ASKED, *LEVELS, *settings, "--json", code=1)
    document = json.loads(told.stdout)
    assert not document["passed"]
    assert [check["advice"] for check in document["checks"] if not check["passed"]]
    assert "predictions" not in document
    assert not out.exists()


def test_known_tasks_need_no_chance(table: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "known.csv"
    names = dict(zip([*BENCHMARKS, "exam"], ["MMLU", "HellaSwag", "HumanEval", "BoolQ", "ARC-C", "bbh"], strict=True))
    pd.read_csv(table).rename(columns=names).to_csv(renamed, index=False)
    asked = ("--benchmarks", "MMLU,HellaSwag,HumanEval,BoolQ,ARC-C", "--target", "bbh")
    # tasks of bbh differ in choices
    told = run("capabilities", renamed, *asked, code=2)
    assert "no chance given for 'bbh'" in squeezed(told.stderr)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--target", "exan"), "no target 'exan' in the table (did you mean 'exam'?)"),
        (("--chance", "code=0"), "no chance given for 'knowledge'"),
        (("--chance", "cod=0"), "chance names 'cod', which is neither a benchmark nor the target (did you mean 'code'"),
        (("--hide-above", "1e23", "--flops", "flps"), "no column 'flps' (did you mean 'flops'?)"),
        (("--reference", "elmo"), "no family 'elmo' (did you mean 'elm'?)"),
        (("--prob", "90"), "--prob must lie between 0 and 1, found 90"),
        (("--method", "pca"), "'pca' is not one of 'components', 'factor'"),
        (("--factors", "5"), "factors must be a whole number from 1 to one less than the 5 benchmarks, found 5"),
    ],
)
def test_wrong_words_are_told(table: Path, changes: tuple[str, ...], message: str) -> None:
    levels = () if "--chance" in changes else LEVELS
    told = run("capabilities", table, *ASKED, *levels, *changes, code=2)
    assert message in squeezed(told.stderr)


def test_compute_is_optional_until_it_is_asked_for(table: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.csv"
    pd.read_csv(table).drop(columns="flops").to_csv(bare, index=False)
    for words in (("--reference", "elm"), ("--hide-above", "1e23")):
        told = run("capabilities", bare, *ASKED, *LEVELS, *words, code=2)
        assert "name its column with --flops" in squeezed(told.stderr)
