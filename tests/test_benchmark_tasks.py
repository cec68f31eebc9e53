"""Forecasts of task accuracies: the committed table holds what is asked of them, and scores are what they say."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks import tasks
from tests.benchmarks.tasks import clip, gadre, gemstones, olmo, open_models

MODULES = {name: import_module(module) for name, module in tasks.short_names().items()}
#: What an honest 90% interval holds, and no idle one.
HONEST = (0.80, 0.97)


def rows(study: str, what: str = "") -> pd.DataFrame:
    """Return the committed rows of a study whose text begins so; there must be some."""
    found = tasks.rows_of(tasks.saved(), study)
    found = found[found["what"].str.startswith(what)]
    assert len(found), f"no row of {study} begins with '{what}'; run make benchmark-tasks"
    return found


def test_scores_are_mean_errors_and_shares_held() -> None:
    band = pd.DataFrame({"median": [0.5, 0.4, 0.2], "lower": [0.4, 0.3, 0.1], "upper": [0.6, 0.45, 0.3]})
    # off by 0.1 (on the edge, which counts as held), 0.1 and 0.05
    scores = tasks.Scores(study="A", band=band, observed=np.array([0.6, 0.5, 0.25]), passed=True)
    scores.add("all", published=0.2)
    scores.add("the last two", np.array([False, True, True]), relative=True)
    found = scores.table(seconds=3.4)
    assert list(found.columns) == tasks.COLUMNS
    assert found["ours"].tolist() == pytest.approx([0.25 / 3, (0.1 / 0.5 + 0.05 / 0.25) / 2])
    assert found["coverage_90"].tolist() == pytest.approx([2 / 3, 0.5])
    assert found["n"].tolist() == [3, 2]
    assert found["published"].iloc[0] == 0.2
    assert np.isnan(found["published"].iloc[1])
    assert found["passed_checks"].tolist() == [True, True]
    assert found["seconds"].tolist() == [3, 3]


def test_bands_leave_a_twentieth_on_either_side() -> None:
    draws = np.column_stack([np.arange(101.0), np.arange(100.0, -1.0, -1.0) / 100])
    found = tasks.bands_of(draws)
    assert list(found.columns) == ["median", "lower", "upper"]
    assert found.to_numpy() == pytest.approx(np.array([[50, 5, 95], [0.5, 0.05, 0.95]]))


def test_rows_of_a_study_are_exchanged_in_their_place() -> None:
    def table(*studies: str, ours: float = 0.0) -> pd.DataFrame:
        filled = dict.fromkeys(tasks.COLUMNS, ours)
        return pd.DataFrame([{**filled, "study": study, "what": "w"} for study in studies])

    before = table("A 2024", "B 2023, x", "B 2023, y", "C 2022")
    after = tasks.replaced(before, "B 2023", table("B 2023, z", ours=1.0))
    assert after["study"].tolist() == ["A 2024", "B 2023, z", "C 2022"]
    assert after["ours"].tolist() == [0.0, 1.0, 0.0]
    assert tasks.replaced(before, "D 2021", table("D 2021"))["study"].tolist()[-1] == "D 2021"
    assert tasks.replaced(before.iloc[:0], "D 2021", table("D 2021"))["study"].tolist() == ["D 2021"]


def test_power_laws_of_each_task_and_set() -> None:
    train = pd.DataFrame({"family": ["x", "x", "x", "y"], "task": "t", "macs": [1e18, 1e19, 1e20, 1e18]})
    train["error"] = 0.5 * (train["macs"] / 1e18) ** -0.1
    test = pd.DataFrame({"family": ["x", "y"], "task": "t", "macs": [1e21, 1e21]})
    found = clip.power_laws(train, test)
    assert found[0] == pytest.approx(0.5 * 1000**-0.1)
    assert np.isnan(found[1])


def test_open_models_beyond_their_family() -> None:
    table = pd.DataFrame(
        {
            "family": ["a", "a", "b", "b", "new"],
            "task": "t",
            "params": [1e8, 1e9, 1e9, 1e10, 1e10],
            "flops": [1e18, 1e20, 1e21, np.e * 1e21, 1e23],
            "chance": 0.25,
            "accuracy": [0.3, 0.5, 0.4, 0.6, 0.7],
        }
    )
    train, test = open_models.split(table, 2e9)
    assert train["beyond"].tolist() == [0, 0, 0]
    # the largest of its own family, and of all where a family is new
    assert test["beyond"].tolist() == pytest.approx([1, np.log(100)])
    assert test["floor"].tolist() == pytest.approx([0.97 * 0.3] * 2)


@pytest.mark.parametrize("name", MODULES)
def test_every_study_has_its_rows(name: str) -> None:
    found = rows(MODULES[name].STUDY)
    assert list(found.columns) == tasks.COLUMNS
    assert found[["ours", "coverage_90", "n", "seconds"]].notna().all(axis=None)
    assert found["passed_checks"].all(), found.loc[~found["passed_checks"], "what"].tolist()
    assert found["coverage_90"].between(0, 1).all()


@pytest.mark.parametrize("name", MODULES)
def test_no_study_takes_ten_minutes_of_one_processor(name: str) -> None:
    assert (rows(MODULES[name].STUDY)["seconds"] < 600).all()


def test_over_trained_models_beat_the_published_recipe() -> None:
    """RedPajama, whose figures the paper prints: 3.6% for the 1.4B model trained 32 times longer."""
    row = rows(gadre.STUDY, "relative error of 17 tasks' mean error, RedPajama, 1.4B").iloc[0]
    assert row["ours"] <= row["published"]


def test_the_largest_model_of_redpajama_is_forecast_within_a_hundredth() -> None:
    """The paper's 0.05% is a chance hit: its own recipe is 2.9% off on RefinedWeb."""
    row = rows(gadre.STUDY, "relative error of 17 tasks' mean error, RedPajama, 6.9B").iloc[0]
    assert row["ours"] <= 0.01


def all_six() -> pd.Series:
    row = rows(gadre.STUDY, "relative error of 17 tasks' mean error, all six").iloc[0]
    assert row["n"] == 6
    return row


def test_intervals_of_overtrained_and_large_models_hold() -> None:
    # of six, five or six
    assert all_six()["coverage_90"] > 0.8


@pytest.mark.xfail(strict=True, reason="off by 5.2% of the error on average, the published recipe by 3.7%")
def test_three_corpora_at_once_beat_three_fits() -> None:
    row = all_six()
    assert row["ours"] <= row["published"]


def test_clip_errors_are_no_larger_than_power_laws_leave_them() -> None:
    row = rows(clip.STUDY, "mean absolute error on 41 tasks, two largest models of LAION's three sets").iloc[0]
    assert row["n"] == 3 * 2 * 41
    assert row["ours"] <= row["published"]


@pytest.mark.parametrize(
    ("study", "what", "count"),
    [
        pytest.param(
            clip.STUDY,
            "mean absolute error on 41 tasks, two largest models of all four sets",
            328,
            id="clip",
        ),
        pytest.param(
            open_models.STUDY,
            "mean absolute error of accuracy, seven tasks, all ten models",
            70,
            id="open_models",
            marks=pytest.mark.xfail(strict=True, reason="90% intervals hold 68 of 70, 97.1%; at most 97% wanted"),
        ),
        pytest.param(
            gemstones.STUDY,
            "mean absolute error of accuracy, nine tasks",
            1350,
            id="gemstones",
        ),
    ],
)
def test_intervals_hold_what_they_promise(study: str, what: str, count: int) -> None:
    row = rows(study, what).iloc[0]
    assert row["n"] == count
    assert HONEST[0] <= row["coverage_90"] <= HONEST[1]


def test_intervals_of_clip_models_on_laion_hold_what_they_promise() -> None:
    row = rows(clip.STUDY, "mean absolute error on 41 tasks, two largest models of LAION's three sets").iloc[0]
    assert HONEST[0] <= row["coverage_90"] <= HONEST[1]


@pytest.mark.parametrize("size", olmo.PUBLISHED)
def test_ladder_errors_are_no_larger_than_published(size: str) -> None:
    row = rows(olmo.STUDY, f"absolute error of accuracy on eight tasks, {size}").iloc[0]
    assert row["n"] == len(olmo.TASKS)
    assert row["ours"] <= row["published"]


def test_ladder_intervals_hold_thirteen_of_sixteen() -> None:
    row = rows(olmo.STUDY, "absolute error of accuracy, 7B and 13B").iloc[0]
    assert round(row["coverage_90"] * row["n"]) >= 13


@pytest.mark.xfail(strict=True, reason="90% intervals hold 38 of 48, 80% wanted; without drift they held 39")
def test_ladder_intervals_hold_the_unused_runs() -> None:
    row = rows(olmo.STUDY, "absolute error of accuracy, unused 3B runs").iloc[0]
    assert row["n"] == 48
    assert HONEST[0] <= row["coverage_90"] <= HONEST[1]
