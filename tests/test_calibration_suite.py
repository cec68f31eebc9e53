"""The calibration suite: splits, rivals and how scores are put together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import datasets
from tests.benchmarks.calibration import (
    ALONE,
    BANDS,
    DEFAULT,
    HERE,
    METHODS,
    OURS,
    OUTPUTS,
    PLAIN,
    RIVALS,
    by_distance,
    by_split,
    compared,
    digest,
    figures,
    image_curves,
    keep,
    kinds,
    pooled,
    rivals,
    simulated,
    summarised,
    with_usual,
)
from tests.benchmarks.calibration.suite import FEWEST, Split, Study, corpora, splits, suite


@pytest.fixture(scope="module")
def study() -> Study:
    """Return forty simulated runs of Hoffmann's law."""
    table = simulated.simulated(0.003, 0).table[["params", "tokens", "loss"]]
    scale = 6 * table["params"].to_numpy() * table["tokens"].to_numpy()
    return Study(name="simulated", paper="none", table=table, scale=scale)


def test_small_runs_are_fitted_and_larger_ones_held_out(study: Study) -> None:
    found = list(splits({"simulated": study}))
    assert [split.part for split in found] == [10, 30]
    for split in found:
        assert len(split.train) >= FEWEST
        assert len(split.train) + len(split.test) == len(study.table)
        assert study.scale[split.small].max() <= study.scale.max() / split.part < study.scale[~split.small].min()
        assert (split.decades > 0).all()


def test_public_studies_are_read(data_dir: Path) -> None:
    known = suite(data_dir)
    found = {(split.study.name, split.part): (len(split.train), len(split.test)) for split in splits(known)}
    # from the tables' own descriptions
    assert found["farseer", 10] == (381, 26)
    assert found["loss_to_loss_starcoder", 10] == (84, 1)
    assert found["olmo", 10] == (30, 2)
    # thirtieth and tenth are the same runs there
    assert ("olmo", 30) not in found
    assert not any(name in ("steplaw", "mup_width") for name, _ in found)
    assert len({known[name].paper for name, _ in found}) == 11
    together = {(split.study.name, split.part): split for split in splits(corpora(known))}
    assert {paper for paper, _ in together} == {"Gadre et al. 2024", "Brandfonbrener et al. 2024"}
    for (paper, part), split in together.items():
        apart = [count for (name, cut), count in found.items() if known[name].paper == paper and cut == part]
        assert (len(split.train), len(split.test)) == tuple(map(sum, zip(*apart, strict=True)))
        assert len(split.train.levels("corpus")) == len(apart)


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_forecast_what_a_true_law_gives(study: Study, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "RESAMPLES", 100)
    split = Split(study=study, part=10)
    drawn = rivals.by_group(RIVALS[name], split)
    assert drawn.shape[1] == len(split.test)
    truth = np.log(simulated.loss(split.test.values("params"), split.test.values("tokens")))
    assert np.abs(np.median(drawn, axis=0) - truth).mean() < 0.02
    low, high = np.quantile(drawn, [0.01, 0.99], axis=0)
    assert (high - low > 0.002).all()


def test_groups_are_fitted_each_alone(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "RESAMPLES", 60)
    both = pd.concat([study.table.assign(family="a"), study.table.assign(family="b", loss=2 * study.table["loss"])])
    twice = Study(
        name="two", paper="none", table=both.reset_index(drop=True), scale=np.tile(study.scale, 2), by=("family",)
    )
    split = Split(study=twice, part=10)
    middle = np.median(rivals.by_group(rivals.huber, split), axis=0)
    of_a = split.test.table["family"].to_numpy() == "a"
    np.testing.assert_allclose(middle[~of_a] - middle[of_a], np.log(2), atol=0.01)


def rows() -> pd.DataFrame:
    """Return scores of two methods on two papers, one of which has two corpora."""
    found = []
    for method, factor in ((OURS, 0.5), ("rival", 1.0)):
        for paper, name, count in (("p", "p1", 1), ("p", "p2", 3), ("q", "q", 10)):
            inside = method == OURS or name == "q"
            row = {"study": name, "paper": paper, "part": 10, "method": method, "decades": 0.3, "pit": 0.5}
            row |= {f"inside_{level}": inside for level in (50, 80, 90, 95)}
            row |= {"interval_score": factor, "crps": factor if name == "q" else 1.0, "error": 0.0}
            found += [{**row, "passed_checks": True, "seconds": 1.0}] * count
    return pd.DataFrame(found)


def test_papers_count_alike() -> None:
    summary = pooled(by_split(rows())).set_index("method")
    assert summary.loc[OURS, "inside_95"] == 1.0
    # one paper inside, the other not
    assert summary.loc["rival", "inside_95"] == pytest.approx(0.5)
    assert summary.loc["rival", "least_95"] == 0.0
    assert summary.loc["best rival", "interval_ratio"] == pytest.approx(0.5)
    # half in one paper and as good in the other
    assert summary.loc["best rival", "crps_ratio"] == pytest.approx(np.sqrt(0.5))
    weight = figures.weighted(rows()).query("method == 'rival'").groupby("study")["weight"].sum()
    assert weight.to_dict() == pytest.approx({"p1": 0.25, "p2": 0.25, "q": 0.5})


def test_defaults_are_ours_where_laws_drift_and_the_plain_law_elsewhere(study: Study) -> None:
    table = by_split(rows()).replace({"method": {"rival": PLAIN}})
    # forty runs of Hoffmann's law drift by default, ten are too few
    few = replace(study, name="q", table=study.table.iloc[::4].reset_index(drop=True), scale=study.scale[::4])
    known = [Split(study=replace(study, name=name), part=10) for name in ("p1", "p2")]
    table = with_usual(table, [*known, Split(study=few, part=10)])
    usual = table[table["usual"]].set_index("study")["method"]
    assert usual.to_dict() == {"p1": OURS, "p2": OURS, "q": PLAIN}
    summary = summarised(table).set_index("method")
    # half the score of the plain law in one paper, and itself in the other
    assert summary.loc["best rival of default", "interval_ratio"] == pytest.approx(np.sqrt(0.5))
    assert summary.loc["best rival", "interval_ratio"] == pytest.approx(0.5)
    assert summary.loc[DEFAULT, "inside_95"] == 1.0
    assert summary.loc[DEFAULT, "interval_ratio"] == pytest.approx(np.sqrt(0.5))


def test_each_kind_is_held_against_the_rivals_alone() -> None:
    table = by_split(rows()).replace({"method": {"rival": "wild bootstrap"}})
    table = pd.concat([table, table[table["method"] == OURS].assign(method="own errors", interval_score=1e-9)])
    found = compared(table).set_index("kind")
    assert set(found.index) == {OURS, "own errors"}
    whole = pooled(by_split(rows())).set_index("method")
    assert found.loc[OURS, "interval_ratio"] == whole.loc["best rival", "interval_ratio"]
    assert found.loc["own errors", "interval_ratio"] < 1e-6
    assert (found["inside_95"] == 1.0).all()


def test_draws_spread_by_the_errors_of_the_study_itself(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(study=study, part=10)
    flat = np.zeros((4000, len(split.test)))
    monkeypatch.setattr(kinds, "fitted", lambda *_, **__: (flat, {"passed_checks": True}))
    missed = SimpleNamespace(table=pd.DataFrame({"error": [0.03, -0.04], "decades": [1.0, 1.0]}))
    monkeypatch.setattr(bf, "backtest", lambda *_, **__: missed)
    drawn, told = kinds.own_errors(split)
    assert told["passed_checks"]
    np.testing.assert_allclose(drawn.std(axis=0), np.sqrt(0.00125) * split.decades, rtol=0.05)
    # runs that lie farther are missed together
    assert np.corrcoef(drawn[:, 0], drawn[:, -1])[0, 1] == pytest.approx(1.0)


def test_simulated_bands_are_counted_against_the_truth() -> None:
    truth = float(simulated.loss(*simulated.target().to_numpy().T)[0])
    one = {"case": 0, "low": truth - 0.1, "median": truth * 1.01, "high": truth + 0.1, "passed_checks": True}
    table = pd.DataFrame([one, {**one, "low": truth + 0.05}, {**one, "case": 1}, {**one, "case": 2}])
    found = simulated.summary(table).iloc[0]
    assert found["coverage_95"] == 0.5
    assert found["width"] == pytest.approx((0.2 + 0.05) / 2)
    assert found["error"] == pytest.approx(0.01)


def test_structure_is_learnt_without_the_paper_it_forecasts() -> None:
    from tests.benchmarks import honest

    assert honest("Li et al. 2025, Farseer").without == ("Li et al. 2025, Farseer",)
    assert honest("nobody").without == ()
    assert honest("Li et al. 2025, Farseer").path_prior("log") != bf.Structure().path_prior("log")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Return the committed scores of splits."""
    return pd.read_csv(HERE / "table.csv")


@pytest.fixture(scope="module")
def accuracies() -> pd.DataFrame:
    """Return the committed scores of splits by tasks."""
    return pd.read_csv(HERE / "accuracies.csv")


@pytest.fixture(scope="module")
def summary() -> pd.DataFrame:
    """Return the committed summary, by method."""
    return pd.read_csv(HERE / "summary.csv").set_index("method")


def test_the_committed_summary_is_that_of_the_table(table: pd.DataFrame, summary: pd.DataFrame) -> None:
    # both were rounded
    pd.testing.assert_frame_equal(summarised(table).set_index("method"), summary, rtol=2e-3)
    counts = table.groupby(["study", "part"])["method"].agg(lambda names: [*names])
    assert all(sorted(names) == sorted(METHODS) for names in counts)


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_record_of_certificates_is_of_the_same_runs(
    table: pd.DataFrame, accuracies: pd.DataFrame, output: str
) -> None:
    record = datasets.calibration().query("output == @output")
    # fits that fail their checks are no evidence for forecasts, which only others give
    scored = table if output == "loss" else accuracies
    ours = scored[scored["method"].isin([PLAIN, ALONE, OURS]) & scored["passed_checks"]]
    assert {*record["study"]} == {*ours["study"]}
    for keys, rows in ours.groupby(["study", "method"]):
        mine = record[(record["study"] == keys[0]) & (record["bands"] == keys[1])]
        assert mine["runs"].sum() == rows["runs"].sum()
        share = np.average(mine["inside_90"], weights=mine["runs"])
        assert share == pytest.approx(np.average(rows["inside_90"], weights=rows["runs"]), abs=1e-3)


@pytest.mark.parametrize(("level", "least", "most"), [(50, 0.4, 0.6), (80, 0.7, 0.9), (95, 0.88, 0.99)])
@pytest.mark.parametrize("passed", [False, True])
def test_bands_of_accuracies_hold_what_they_promise(
    accuracies: pd.DataFrame, level: int, least: float, most: float, passed: bool
) -> None:
    """Larger models' scores on tasks, all fits and those that pass; a law that is trusted holds a tenth less."""
    chosen = accuracies[accuracies["passed_checks"] | (not passed)]
    shares = chosen.groupby(["method", "paper", "study"])[f"inside_{level}"].mean()
    pooled_shares = shares.groupby(["method", "paper"]).mean().groupby("method").mean()
    assert least <= pooled_shares[ALONE] <= most
    assert pooled_shares[PLAIN] < pooled_shares[ALONE] - 0.1
    assert chosen[chosen["method"] == ALONE]["paper"].nunique() == 4


def test_a_model_is_one_run_however_many_tasks_it_is_scored_on() -> None:
    flops = np.geomspace(1e18, 1e21, 20)
    one = pd.DataFrame({"flops": flops, "chance": 0.25, "accuracy": np.linspace(0.3, 0.6, 20)})
    table = pd.concat([one.assign(task=task) for task in "abcd"], ignore_index=True)
    study = Study(
        name="s",
        paper="p",
        table=table,
        scale=table["flops"].to_numpy(),
        law="log_acc_power",
        output="accuracy",
        inputs=("flops", "chance"),
        by=("task",),
    )
    # 13 models lie below a tenth of the largest, 10 below a thirtieth
    (split,) = splits({"s": study})
    assert (len(split.train), len(split.test)) == (52, 28)
    assert study.drawn(np.array([0.5, 0.9])) == pytest.approx([0.0, np.log(9)])
    assert replace(study, output="loss").drawn(np.array([1.0, np.e])) == pytest.approx([0.0, 1.0])


def test_how_bands_did_is_told_by_distance() -> None:
    many = pd.concat([rows().assign(decades=far) for far in (0.1, 0.2, 1.5)])
    found = by_distance(many.replace({"method": {"rival": PLAIN}}))
    mine = found[(found["study"] == "p2") & (found["bands"] == OURS)].set_index("from")
    assert mine["runs"].to_dict() == {0.0: 6, 1.0: 3}
    assert mine["to"].to_dict() == {0.0: 0.25, 1.0: 2.0}
    assert mine["farthest"].to_dict() == {0.0: 0.2, 1.0: 1.5}
    assert mine["inside_90"].tolist() == [1.0, 1.0]
    assert found[(found["study"] == "p2") & (found["bands"] == PLAIN)]["inside_90"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("level", "least", "most"), [(50, 0.4, 0.6), (80, 0.7, 0.9), (95, 0.88, 0.99)])
def test_bands_hold_what_they_promise(summary: pd.DataFrame, level: int, least: float, most: float) -> None:
    assert least <= summary.loc[OURS, f"inside_{level}"] <= most


@pytest.mark.parametrize(("level", "least", "most"), [(50, 0.4, 0.6), (80, 0.7, 0.9), (95, 0.88, 0.99)])
@pytest.mark.parametrize("default", [False, True])
def test_bands_that_a_user_would_get_hold_what_they_promise(
    table: pd.DataFrame, level: int, least: float, most: float, default: bool
) -> None:
    """Fits that fail their checks, one in twelve of ours, give no forecast; the others must hold by themselves."""
    passed = table[(table["usual"] if default else table["method"] == OURS) & table["passed_checks"]]
    shares = passed.groupby(["paper", "study"])[f"inside_{level}"].mean().groupby("paper").mean()
    # no fit of DiLoCo's few runs passes with drift, and by default one does
    assert len(shares) == 10 + default
    assert least <= shares.mean() <= most


def test_defaults_score_no_worse_than_the_best_rival_of_each_study(summary: pd.DataFrame) -> None:
    best = summary.loc["best rival of default"]
    assert best["interval_ratio"] < 0.95
    assert best["crps_ratio"] < 1.0


def test_bands_hold_more_than_those_of_any_rival_and_score_better(summary: pd.DataFrame) -> None:
    for name in (PLAIN, *RIVALS):
        assert summary.loc[OURS, "inside_95"] > summary.loc[name, "inside_95"] + 0.1
        assert summary.loc[name, "interval_ratio"] < 0.7
        assert summary.loc[name, "crps_ratio"] < 0.9


@pytest.mark.xfail(strict=True, reason="image curves: of one, 95% bands hold 8% of the points, 60% wanted")
def test_no_study_is_missed(summary: pd.DataFrame) -> None:
    assert summary.loc[OURS, "least_95"] >= 0.6


def test_no_study_of_language_models_is_missed(table: pd.DataFrame) -> None:
    mine = table[(table["method"] == OURS) & ~table["study"].str.startswith("image")]
    assert mine.groupby("study")["inside_95"].mean().min() >= 0.6


@pytest.mark.xfail(strict=True, reason="1.04 and 1.08 of the best of four rivals, .7 and .9 wanted")
@pytest.mark.parametrize(("score", "most"), [("interval_ratio", 0.7), ("crps_ratio", 0.9)])
def test_bands_beat_the_best_rival_of_each_study(summary: pd.DataFrame, score: str, most: float) -> None:
    assert summary.loc["best rival", score] <= most


def test_no_other_kind_does_better() -> None:
    """Of the kinds that were compared on studies of one law, drift alone comes near the best rival of each study."""
    found = pd.read_csv(HERE / "kinds.csv").set_index("kind")
    assert {*found.index} == {*BANDS} - {*RIVALS}
    assert found["interval_ratio"].idxmin() == found["crps_ratio"].idxmin() == OURS
    assert found.loc[OURS, "failed_checks"] == 0


def test_corpora_that_drift_as_families_hold_more_of_what_was_hidden() -> None:
    """Why families drift unless told otherwise: trusted, six corpora held little of what was hidden."""
    found = pd.read_csv(HERE / "corpora.csv").set_index(["paper", "part", "method"]).sort_index()
    assert found["passed_checks"].all()
    assert len(found) == 8
    held = found["inside_95"].unstack("method")
    assert (held.loc["Brandfonbrener et al. 2024", OURS] > held.loc["Brandfonbrener et al. 2024", PLAIN] + 0.4).all()
    score = found["interval_score"].unstack("method")
    assert (score.loc["Brandfonbrener et al. 2024", OURS] < score.loc["Brandfonbrener et al. 2024", PLAIN]).all()
    # where the law held its drift costs width, and 95% bands hold most all the same
    assert (held.loc["Gadre et al. 2024", OURS] > 0.8).all()


@pytest.fixture(scope="module")
def narrow() -> pd.DataFrame:
    """Return the committed check of simulated studies whose law is right, by case."""
    return pd.read_csv(simulated.TABLE).set_index("case")


def test_where_the_law_is_right_its_band_holds(narrow: pd.DataFrame) -> None:
    assert (narrow["sets"] == 60).all()
    assert (narrow["failed_checks"] == 0).all()
    assert (narrow["coverage_95"] >= narrow["coverage_wanted"]).all()


@pytest.mark.parametrize(
    "case",
    [
        "law trusted, 1% noise",
        pytest.param("drift, 1% noise", marks=pytest.mark.xfail(strict=True, reason="0.475 wide, 0.45 wanted")),
        "drift, 0.2% noise",
    ],
)
def test_and_it_is_narrow(narrow: pd.DataFrame, case: str) -> None:
    assert narrow.loc[case, "width"] <= narrow.loc[case, "width_wanted"]


@pytest.mark.xfail(strict=True, reason="1.65% in the mean over the 60 sets, 1.6% wanted")
def test_and_its_median_is_near(narrow: pd.DataFrame) -> None:
    assert narrow.loc["law trusted, 1% noise", "error"] < 0.016


@pytest.fixture(scope="module")
def by_curve() -> pd.DataFrame:
    """Return the committed scores of forecasts of learning curves, by method."""
    return pd.read_csv(image_curves.TABLE).set_index("method")


def test_every_curve_was_forecast_by_every_law(by_curve: pd.DataFrame) -> None:
    ours = by_curve[~by_curve["published"]]
    drifting = [f"{law}, drift" for law in image_curves.LAWS]
    assert [*ours.index] == [image_curves.PLAIN, *drifting, image_curves.TOGETHER]
    assert (by_curve["curves"] == 72).all()
    # all of a curve's fits must pass for their average to
    assert ours.loc[image_curves.TOGETHER, "failed_checks"] >= ours.loc[drifting, "failed_checks"].max()
    printed = by_curve.loc[[*image_curves.PUBLISHED], ["rmsle", "log_likelihood", "msce"]]
    np.testing.assert_allclose(printed, [*image_curves.PUBLISHED.values()])


@pytest.mark.parametrize(
    ("rival", "score", "sign"),
    [
        ("MCMC, M4", "rmsle", 1),
        ("MCMC, M4", "log_likelihood", -1),
        pytest.param(
            *("MCMC, M4", "msce", 1), marks=pytest.mark.xfail(strict=True, reason="0.0531, less than 0.0381 wanted")
        ),
        ("MCMC, BNSL", "rmsle", 1),
        ("MCMC, BNSL", "log_likelihood", -1),
        ("MCMC, BNSL", "msce", 1),
    ],
)
def test_curves_are_forecast_better_than_by_the_published_sampler(
    by_curve: pd.DataFrame, rival: str, score: str, sign: int
) -> None:
    assert sign * by_curve.loc[image_curves.TOGETHER, score] < sign * by_curve.loc[rival, score]


def test_curves_are_scored_as_the_paper_defines_it() -> None:
    rng = np.random.default_rng(0)
    truth = np.full(400, 0.3)
    right = np.broadcast_to(0.3 + 0.01 * rng.standard_normal(4000)[:, None], (4000, 400))
    found = image_curves.scores(right, truth)
    assert found["rmsle"] < 0.01
    # all inside at every level: the mean of (1 - level)^2
    assert found["msce"] == pytest.approx(np.mean((1 - np.array(image_curves.LEVELS)) ** 2))
    off = image_curves.scores(right * np.e, truth)
    assert off["rmsle"] == pytest.approx(1.0, abs=0.01)
    assert off["msce"] == pytest.approx(np.mean(np.array(image_curves.LEVELS) ** 2))


def test_scores_of_a_curve_are_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_curves, "KEPT", tmp_path)
    # nothing in it could be fitted
    curve = image_curves.Curve(name="pets", table=pd.DataFrame())
    row = pd.DataFrame([{"curve": "pets", "method": "m4", "rmsle": 0.03, "log_likelihood": 3.2, "msce": 0.04}])
    keep(row.assign(passed_checks=True), curve.kept)
    assert [file.suffix for file in tmp_path.iterdir()] == [".csv"]
    found = image_curves.summary(image_curves.scored(curve)).loc["m4"]
    assert found[["rmsle", "log_likelihood", "msce", "failed_checks"]].tolist() == [0.03, 3.2, 0.04, 0]


def test_kept_scores_outlive_words_about_the_code(tmp_path: Path) -> None:
    first, reworded, changed = (tmp_path / f"{name}.py" for name in ("first", "reworded", "changed"))
    first.write_text("def f(x):\n    return x + 1\n", encoding="utf-8")
    reworded.write_text('"""One more."""\n\ndef f(x):\n    """Add one."""\n    return x + 1  # one\n', encoding="utf-8")
    changed.write_text("def f(x):\n    return x + 2\n", encoding="utf-8")
    assert digest(first, ours=False) == digest(reworded, ours=False) != digest(changed, ours=False)
