"""Hiding the largest runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import backtesting
from bayesfit.backtesting import Folds, fewest_runs, refit


def runs_over(flops: np.ndarray) -> bf.Runs:
    return bf.Runs.from_frame(pd.DataFrame({"flops": flops, "loss": 2 + (flops / flops.min()) ** -0.1}))


def test_each_origin_fits_what_is_cheaper_and_scores_the_next_decade() -> None:
    runs = runs_over(np.geomspace(1e18, 1e22, 41))
    axis, origins = Folds().cut(runs, n_parameters=3)
    assert axis == "flops"
    assert [round(np.log10(origin.cut), 1) for origin in origins] == [20.0, 20.5, 21.0]
    for origin in origins:
        flops = runs.values("flops")
        assert flops[origin.train].max() == pytest.approx(origin.cut)
        assert flops[origin.test].min() > origin.cut
        assert flops[origin.test].max() == pytest.approx(10 * origin.cut)
        assert not (origin.train & origin.test).any()
    assert origins[-1].test.sum() == 10


def test_origins_stop_where_too_few_runs_are_left() -> None:
    runs = runs_over(np.concatenate([np.geomspace(1e20, 2e20, 7), np.geomspace(1e21, 1e22, 20)]))
    _, origins = Folds(origins=5).cut(runs, n_parameters=3)
    assert min(origin.train.sum() for origin in origins) >= fewest_runs(3) == 6
    assert fewest_runs(9) == 14
    with pytest.raises(bf.SpecError, match=r"leave nothing to hide: at least 14 runs must remain"):
        Folds().cut(runs_over(np.geomspace(1e20, 1e22, 15)), n_parameters=9)


def test_a_narrow_study_hides_its_last_third() -> None:
    _, origins = Folds(origins=1).cut(runs_over(np.geomspace(1e20, 10**20.9, 31)), n_parameters=2)
    assert np.log10(origins[0].cut) == pytest.approx(20.6, abs=0.031)


def test_the_axis_is_compute_or_the_widest_input_or_what_was_asked() -> None:
    table = pd.DataFrame(
        {"params": np.geomspace(1e7, 1e9, 30), "tokens": np.geomspace(1e10, 1e13, 30), "loss": np.linspace(3, 2, 30)}
    )
    both = bf.Runs.from_frame(table)
    assert Folds().axis(both)[0] == "flops"
    assert Folds(scale="params").axis(both)[0] == "params"
    narrow = bf.Runs.from_frame(table.assign(lr=np.linspace(1e-4, 2e-4, 30)), inputs=["lr", "tokens"])
    assert Folds().axis(narrow)[0] == "tokens"
    with pytest.raises(bf.SpecError, match=r"found 'param' \(did you mean 'params'\?\)"):
        Folds(scale="param").axis(both)
    with pytest.raises(bf.SpecError, match="must be positive"):
        Folds(horizon=0)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"origins": 2.5}, "origins must be a whole number of cuts and horizon .*, found 2.5 and 1.0; write Folds"),
        ({"origins": True}, "origins must be a whole number of cuts"),
        ({"horizon": "1"}, "horizon a number of decades, found 3 and '1'; write Folds"),
        ({"origins": 0}, "origins and horizon must be positive, found 0"),
        ({"horizon": np.nan}, "must be positive, found 3 and nan"),
        ({"fewest": 0}, "fewest must be a whole number of runs of at least 1, found 0; None takes"),
        ({"fewest": 6.5}, "fewest must be a whole number of runs of at least 1, found 6.5"),
        ({"scale": 5}, "scale must be the name of an input, or None for compute, found 5"),
    ],
)
def test_folds_that_cannot_be_are_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        Folds(**told)


@pytest.mark.parametrize("folds", [3, 0, Folds, {"origins": 3}])
def test_what_is_no_folds_is_refused(folds: Any) -> None:
    with pytest.raises(
        bf.SpecError, match=r"folds must be a bayesfit.Folds, such as folds=bf.Folds\(origins=3\), found"
    ):
        bf.backtest(runs_over(np.geomspace(1e18, 1e22, 41)), "cerebras_c", folds=folds)


def test_folds_take_numbers_of_numpy() -> None:
    told = Folds(origins=np.int64(2), horizon=np.float32(1), fewest=np.int64(6))
    assert len(told.cut(runs_over(np.geomspace(1e18, 1e22, 41)), n_parameters=3)[1]) == 2


def test_a_true_law_covers_its_hidden_runs() -> None:
    runs = bf.simulate("cerebras_c", seed=4, n=60).runs
    found = bf.backtest(runs, "cerebras_c", draws=500, seed=1, structure=None)
    assert found.converged
    assert len(found.origins) == 3
    assert found.summary["inside_90"] >= 0.75
    assert found.summary["runs"] == len(found.table) == found.origins["runs"].sum()
    assert (found.table["decades"] > 0).all()
    for origin, rows in found.table.groupby("origin"):
        hidden = runs.values("flops")[rows["run"]]
        assert (hidden > origin).all()
        np.testing.assert_array_equal(runs.values("loss")[rows["run"]], rows["observed"])


@pytest.fixture
def scores() -> pd.DataFrame:
    """Four hidden runs of two origins, two of them far out and outside every interval."""
    return pd.DataFrame(
        {
            "origin": [1.0, 1.0, 2.0, 2.0],
            "run": [0, 1, 1, 2],
            "decades": [0.1, 1.0, 0.2, 3.0],
            "log_score": 0.0,
            "crps": [1.0, 2.0, 3.0, 4.0],
            "interval_score": 1.0,
            "error": [0.1, 0.2, -0.1, -0.3],
            "pit": [0.5, 1.0, 0.45, 0.0],
            **{f"inside_{level}": [True, False, True, False] for level in (50, 80, 90, 95)},
            "converged": True,
        }
    )


def hidden(table: pd.DataFrame) -> bf.Backtest:
    return bf.Backtest(law="l", output="loss", scale="flops", on_log=True, bands="plain law", data="0", table=table)


def test_scores_against_distance(scores: pd.DataFrame) -> None:
    found = hidden(scores).by_distance((0.0, 0.25, 1.0))
    assert found[["from", "to"]].to_numpy().tolist() == [[0.0, 0.25], [0.25, 1.0], [1.0, np.inf]]
    assert found["runs"].tolist() == [2, 1, 1]
    assert found["inside_90"].tolist() == [1.0, 0.0, 0.0]
    assert found["crps"].tolist() == [2.0, 2.0, 4.0]
    with pytest.raises(bf.SpecError, match="edges must rise"):
        hidden(scores).by_distance((1.0, 0.0))


def test_probabilities_below_what_was_seen(scores: pd.DataFrame) -> None:
    found = hidden(scores).pit_histogram(4)
    assert found["runs"].tolist() == [1, 1, 1, 1]
    assert found["expected"].tolist() == [1.0] * 4
    assert found["to"].tolist() == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("edges", ["a", "12", ("a", "b"), (), 0.5, None, (0.0, np.nan)])
def test_edges_that_are_no_numbers_are_refused(scores: pd.DataFrame, edges: Any) -> None:
    with pytest.raises(bf.SpecError, match=r"edges must rise, found .*; give where classes begin, in decades"):
        hidden(scores).by_distance(edges)


def test_edges_may_be_an_array(scores: pd.DataFrame) -> None:
    assert len(hidden(scores).by_distance(np.array([0.0, 0.25, 1.0]))) == 3


@pytest.mark.parametrize("bins", [0, -1, 2.5, "10", True])
def test_bins_that_cannot_be_are_refused(scores: pd.DataFrame, bins: Any) -> None:
    with pytest.raises(bf.SpecError, match="bins must be a whole number of at least 1, found"):
        hidden(scores).pit_histogram(bins)


def test_the_verdict_counts_a_run_that_two_cuts_hide_once(scores: pd.DataFrame) -> None:
    def verdict(table: pd.DataFrame) -> str:
        return hidden(table).verdict

    assert verdict(scores).startswith("90% bands held 2 of 4 forecasts of 3 hidden runs")
    many = pd.concat([scores.assign(run=scores["run"] + 3 * place) for place in range(10)])
    assert "too narrow" in verdict(many)
    # ten times the same runs say no more than once
    assert "as far as 3 runs can tell" in verdict(pd.concat([scores] * 10))
    assert "wider than they need be" in verdict(many.assign(inside_90=True))
    # what a fit's checks say comes after what the bands do
    doubt = "; some of these fits fail their checks"
    assert "some of these fits fail their checks" in verdict(scores.assign(converged=False))
    said = verdict(pd.concat([scores] * 10).assign(converged=False))
    assert said.endswith(f"3 hidden runs, as far as 3 runs can tell{doubt}")
    assert verdict(many.assign(inside_90=True, converged=False)).endswith(f"wider than they need be here{doubt}")
    assert f"too narrow{doubt}. Take a wider kind" in verdict(many.assign(converged=False))


def test_a_backtest_that_was_cut_short_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = bf.simulate("cerebras_c", seed=4, n=40).runs
    settings = {"folds": Folds(origins=2), "draws": 200, "tune": 300, "seed": 1, "resume": tmp_path}
    first = bf.backtest(runs, "cerebras_c", **settings, structure=None)
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == len(first.origins) == 2
    kept[0].unlink()
    asked = []

    def counted(*given: Any, **told: Any) -> Any:
        asked.append(given)
        return refit(*given, **told)

    monkeypatch.setattr(backtesting, "refit", counted)
    again = bf.backtest(runs, "cerebras_c", **settings, structure=None)
    assert len(asked) == 1
    pd.testing.assert_frame_equal(again.table, first.table)
    # another seed is other work
    bf.backtest(runs, "cerebras_c", **{**settings, "seed": 2}, structure=None)
    assert len(asked) == 3


@pytest.fixture
def pretended(scores: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> list[bf.Runs]:
    """Let refits and their scores cost nothing; return the runs of each refit."""
    asked: list[bf.Runs] = []

    class Sampled:
        def check(self) -> Sampled:
            return self

        passed = True

    def sampled(runs: bf.Runs, law: bf.Law, **settings: Any) -> Sampled:
        asked.append(runs)
        return Sampled()

    def score(fit: Sampled, runs: bf.Runs, output: str, *, seed: int) -> pd.DataFrame:
        rows = [scores.drop(columns=["origin", "run", "converged"]).iloc[:1]] * len(runs)
        return pd.concat(rows, ignore_index=True).assign(observed=runs.values(output), median=3.0)

    monkeypatch.setattr(backtesting, "refit", sampled)
    monkeypatch.setattr(backtesting, "score", score)
    return asked


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1 cut short PAR1", None])
def test_kept_scores_that_cannot_be_read_are_told_and_made_again(
    content: bytes | None, tmp_path: Path, pretended: list[bf.Runs]
) -> None:
    runs = runs_over(np.geomspace(1e18, 1e22, 41))
    settings = {"folds": Folds(origins=2), "structure": None, "resume": tmp_path / "new" / "kept"}
    first = bf.backtest(runs, "cerebras_c", **settings)
    broken, whole = sorted((tmp_path / "new" / "kept").iterdir())
    if content is None:
        pd.DataFrame({"origin": [1.0]}).to_parquet(broken)
    else:
        broken.write_bytes(content)
    with pytest.warns(bf.BayesfitWarning, match=f"{broken.name} does not hold the scores .*scored again"):
        again = bf.backtest(runs, "cerebras_c", **settings)
    assert len(pretended) == 3
    pd.testing.assert_frame_equal(again.table, first.table)
    # and now it is whole
    bf.backtest(runs, "cerebras_c", **settings)
    assert len(pretended) == 3
    assert sorted((tmp_path / "new" / "kept").iterdir()) == [broken, whole]


def test_what_cannot_be_a_folder_is_refused_before_anything_is_fitted(tmp_path: Path, pretended: list[bf.Runs]) -> None:
    (tmp_path / "file").write_text("mine")
    runs = runs_over(np.geomspace(1e18, 1e22, 41))
    for place, message in (
        (tmp_path / "file", "resume must be a folder to keep scores in, and .*file is a file; name another"),
        (tmp_path / "file" / "below", "below cannot be made .*; name another"),
        (3, "resume must be the path of a folder, found 3"),
    ):
        with pytest.raises(bf.SpecError, match=message):
            bf.backtest(runs, "cerebras_c", structure=None, resume=place)  # type: ignore[arg-type]  # wrong on purpose
    assert not pretended
    assert (tmp_path / "file").read_text() == "mine"


def test_origins_worked_on_at_once_give_the_same_scores() -> None:
    runs = bf.simulate("cerebras_c", seed=4, n=40).runs
    alone, beside = (
        bf.backtest(
            runs, "cerebras_c", folds=Folds(origins=2), draws=200, tune=300, seed=1, workers=workers, structure=None
        )
        for workers in (1, 2)
    )
    pd.testing.assert_frame_equal(alone.table, beside.table)
