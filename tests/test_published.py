"""Published studies, reproduced or beaten. Every test runs NUTS on real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import datasets
from tests.test_fit import ONCE


@pytest.fixture(scope="module")
def chinchilla_runs(data_dir: Path) -> bf.Runs:
    """Return the 240 runs that Epoch fits: without the five of highest loss."""
    table = pd.read_csv(data_dir / "chinchilla_epoch.csv")
    return bf.Runs.from_frame(table[table["in_published_fit"] == 1], inputs=["params", "tokens"])


@pytest.fixture(scope="module")
def gadre_runs(data_dir: Path) -> bf.Runs:
    return bf.Runs.from_csv(
        data_dir / "gadre_runs.csv", loss="loss_c4_val", inputs=["params", "tokens", "flops"], groups=["dataset"]
    )


def width(forecast: bf.Forecast) -> np.ndarray:
    band = forecast.interval(0.9)
    return (band["upper"] - band["lower"]).to_numpy()


def holds(forecast: bf.Forecast, truth: np.ndarray) -> np.ndarray:
    band = forecast.interval(0.9)
    return ((band["lower"] <= truth) & (truth <= band["upper"])).to_numpy()


def test_chinchilla_medians_lie_inside_epochs_intervals(chinchilla_runs: bf.Runs) -> None:
    assert len(chinchilla_runs) == 240
    found = bf.fit(chinchilla_runs, "chinchilla", seed=1, progress=False, structure=None)
    assert found.check().passed
    assert int(found.idata["sample_stats"]["diverging"].sum()) == 0
    table = found.summary()
    for name, (low, high) in bf.law("chinchilla").published["epoch_2024"].intervals.items():
        assert low < table.loc[name, "median"] < high, name


def test_laplace_mode_is_epochs_optimum_within_a_standard_error(chinchilla_runs: bf.Runs) -> None:
    found = bf.fit(
        chinchilla_runs,
        "chinchilla",
        noise="laplace",
        draws=200,
        tune=400,
        seed=1,
        progress=False,
        sampler=ONCE,
        structure=None,
    )
    mode, published = found.mode(), bf.law("chinchilla").published["epoch_2024"]
    for name, se in published.se.items():
        assert mode[name] == pytest.approx(published.values[name], abs=se), name


def test_cerebras_covers_its_largest_model() -> None:
    runs = datasets.open_models()
    family = runs.select(np.array(runs.table["family"]) == "Cerebras-GPT")
    small = family.select(family.values("params") < 1e10)
    held_out = family.select(family.values("params") > 1e10)
    assert (len(small), len(held_out)) == (6, 1)
    found = bf.fit(small, "cerebras_c", seed=1, progress=False, structure=None)
    assert holds(found.forecast(held_out.table[["flops"]]), held_out.values("loss")).all()


def test_mup_width_covers_the_three_largest() -> None:
    runs = datasets.mup_width()
    first = np.arange(10) < 7
    found = bf.fit(runs.select(first), "mup_width", seed=1, progress=False, structure=None)
    held_out = runs.select(~first)
    assert holds(found.forecast(held_out.table[["params"]]), held_out.values("loss")).all()


def test_diloco_floor_beats_no_floor_on_the_held_out_sizes() -> None:
    runs = datasets.diloco()
    small, large = runs.select(runs.values("params") < 3e9), runs.select(runs.values("params") > 3e9)
    truth, error = large.values("loss"), {}
    for label, fixed in (("floor", None), ("no floor", {"E": 0.0})):
        found = bf.fit(small, "diloco", by=["method"], fixed=fixed, seed=1, progress=False, structure=None)
        median = found.forecast(large.table[["params", "replicas", "method"]]).quantiles([0.5])[0.5]
        error[label] = np.abs(median.to_numpy() / truth - 1)
    assert len(truth) == 4
    assert (error["floor"] < error["no floor"]).all()
    assert error["floor"].max() < 0.012
    assert error["no floor"].max() > 0.03


def test_three_corpora_pool_without_divergences_and_no_wider_than_apart(gadre_runs: bf.Runs) -> None:
    small = gadre_runs.select(gadre_runs.values("flops") < 1e20)
    large = gadre_runs.select(gadre_runs.values("params") > 6e9)
    scenarios = large.table[["params", "tokens", "flops", "dataset"]]
    pooled = bf.fit(small, "chinchilla", by=["dataset"], seed=1, progress=False, structure=None)
    assert pooled.check().passed
    assert int(pooled.idata["sample_stats"].attrs["divergences"]) == 0
    together = width(pooled.forecast(scenarios))
    apart = []
    for corpus in small.levels("dataset"):
        one = small.select(np.array(small.table["dataset"]) == corpus)
        alone = bf.fit(one, "chinchilla", seed=1, progress=False, structure=None)
        apart += [*width(alone.forecast(scenarios[scenarios["dataset"] == corpus]))]
    assert together.mean() <= np.mean(apart)


def test_a_corpus_of_four_runs_borrows_strength(gadre_runs: bf.Runs) -> None:
    """RefinedWeb cut to four runs spread over its compute, as if it were a new corpus."""
    small = gadre_runs.select(gadre_runs.values("flops") < 1e20)
    corpus = np.array(small.table["dataset"]) == "RefinedWeb"
    by_compute = np.flatnonzero(corpus)[np.argsort(small.values("flops")[corpus])]
    kept = by_compute[np.linspace(0, len(by_compute) - 1, 4).astype(int)]
    few = np.isin(np.arange(len(small)), kept)
    large = gadre_runs.select(
        (gadre_runs.values("params") > 6e9) & (np.array(gadre_runs.table["dataset"]) == "RefinedWeb")
    )
    scenario = large.table[["params", "tokens", "flops", "dataset"]]
    pooled = bf.fit(small.select(few | ~corpus), "chinchilla", by=["dataset"], seed=1, progress=False, structure=None)
    alone = bf.fit(small.select(few), "chinchilla", seed=1, progress=False, allow=["few_runs"], structure=None)
    assert alone.check().passed
    together = pooled.forecast(scenario)
    assert holds(together, large.values("loss")).all()
    apart = alone.forecast(scenario)
    assert width(together)[0] <= 0.5 * width(apart)[0]
