"""The calibration suite: splits, rivals and how scores are put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from tests.benchmarks.calibration import OURS, RIVALS, by_split, figures, pooled, rivals, simulated
from tests.benchmarks.calibration.suite import FEWEST, Split, Study, splits, suite


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
