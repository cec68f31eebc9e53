"""What a forecast says of the bands it gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import datasets
from bayesfit.certificate import OWN, PUBLIC, _at
from bayesfit.scores import DISTANCES


@pytest.fixture(scope="module")
def far(plain_fit: bf.Fit) -> bf.Forecast:
    """Return forecasts of runs not far out, farther, and twelve decades out."""
    params, tokens = (plain_fit.runs.values(name).max() for name in ("params", "tokens"))
    beyond = 10 ** np.array([0.1, 0.5, 6.0])
    with pytest.warns(bf.ExtrapolationWarning, match=r"1\d\.\d decades beyond"):
        return plain_fit.forecast(pd.DataFrame({"params": params * beyond, "tokens": tokens * beyond}))


def hidden(forecast: bf.Forecast, **other: str) -> bf.Backtest:
    """Return a backtest in which 90% bands held one of two runs at the distance of each of the first two scenarios."""
    about = {"law": forecast.law, "output": "loss", "bands": forecast.bands, "data": forecast.data} | other
    distances = np.repeat(np.minimum(forecast.distance[:2] + 0.01, 1.99), 2)
    table = pd.DataFrame({"origin": 1.0, "run": [0, 1, 2, 3], "decades": distances, "converged": True})
    for level in (50, 80, 90, 95):
        table[f"inside_{level}"] = [True, False] * 2
    return bf.Backtest(scale="flops", on_log=True, table=table, **about)


def test_evidence_is_that_of_the_distance(far: bf.Forecast) -> None:
    table = far.certificate(hidden(far)).table
    assert table["evidence"].tolist() == [OWN, PUBLIC] * 3
    assert (table["from"] <= table["decades_beyond"]).all()
    assert (table["decades_beyond"] <= table["to"]).all()
    own = table[table["evidence"] == OWN].reset_index(drop=True)
    assert own["runs"].tolist()[:2] == [2, 2]
    assert own["inside_90"].tolist()[:2] == [0.5, 0.5]
    record = datasets.calibration().query("bands == 'plain law' and output == 'loss'")
    for _, row in table[(table["evidence"] == PUBLIC) & (table["runs"] > 0)].iterrows():
        here = record[record["from"] == row["from"]]
        assert row["runs"] == here["runs"].sum()
        by_paper = [
            np.mean([part["inside_90"].mean() for _, part in of_it.groupby("study")])
            for _, of_it in here.groupby("paper")
        ]
        assert row["inside_90"] == pytest.approx(np.mean(by_paper))


def test_where_there_is_no_evidence_it_says_so(far: bf.Forecast) -> None:
    proof = far.certificate()
    last = proof.table[proof.table["decades_beyond"] > 10]
    assert last["runs"].tolist() == [0, 0]
    assert last["inside_90"].isna().all()
    said = str(proof)
    assert "no evidence at this distance (hidden runs lay up to" in said
    assert "these runs: not asked; fit.backtest() or --backtest asks them" in said
    assert "More than 2 decades beyond the fitted runs" in said
    assert "no evidence at this distance" in str(far.certificate(hidden(far)))


def test_a_paper_can_be_left_out(far: bf.Forecast) -> None:
    def runs(without: str | list[str]) -> int:
        table = far.certificate(without=without).table
        return int(table.loc[table["evidence"] == PUBLIC, "runs"].sum())

    record = datasets.calibration()
    paper = "Gadre et al. 2024"
    assert runs([]) > runs(paper) > 0
    assert runs(paper) == runs(sorted(record.loc[record["paper"] == paper, "study"].unique()))
    with pytest.raises(bf.SpecError, match=r"no study or paper 'Gadre' \(did you mean"):
        far.certificate(without="Gadre")


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("law is kaplan", {"law": "kaplan"}),
        ("kind of bands is drift", {"bands": "drift"}),
        ("runs .* is 0000", {"data": "0000"}),
        ("output is steps", {"output": "steps"}),
    ],
)
def test_a_backtest_of_something_else_is_no_evidence(far: bf.Forecast, what: str, other: dict[str, str]) -> None:
    with pytest.raises(bf.SpecError, match=f"no evidence on this forecast: its {what}"):
        far.certificate(hidden(far, **other))


def test_a_family_never_seen_has_no_evidence(family_fit: bf.Fit) -> None:
    flops = 2 * family_fit.runs.values("flops").max()
    known = family_fit.runs.levels("family")[0]
    proof = family_fit.forecast({"flops": flops, "family": [known, "new"]}).certificate()
    assert (proof.table["runs"] > 0).tolist() == [False, True, False, False]
    assert "public studies: no evidence for a family never seen" in str(proof)


def test_the_far_end_of_a_class_has_its_evidence() -> None:
    """A decade out, which commands suggest, lies between the farthest run of one class and the nearest of the next."""
    record = datasets.calibration().query("bands == 'drift' and output == 'loss'")
    ends = record.groupby("from")["farthest"].max()
    for far, class_of in ((0.99999, 0.5), (ends.max() - 0.001, ends.idxmax())):
        found = _at(record, DISTANCES.index(class_of), far, "")
        assert found["runs"] == record.loc[record["from"] == class_of, "runs"].sum()
    beyond = _at(record, DISTANCES.index(ends.idxmax()), ends.max() + 0.004, "")
    assert beyond["runs"] == 0
    assert f"up to {ends.max():.3g} decades out" in beyond["note"]
    # a class without runs between others that have some
    between = _at(record[record["from"] != 0.5], DISTANCES.index(0.5), 0.7, "")
    assert between["note"] == "no evidence at this distance (no run was hidden there)"


def test_accuracies_have_their_own_evidence(far: bf.Forecast) -> None:
    """What bands of losses held says nothing of accuracies, and neither of anything else."""
    from dataclasses import replace

    record = datasets.calibration().query("bands == 'plain law' and output == 'accuracy'")
    table = replace(far, output="accuracy").certificate().table
    public = table[table["evidence"] == PUBLIC]
    for _, row in public[public["runs"] > 0].iterrows():
        assert row["runs"] == record.loc[record["from"] == row["from"], "runs"].sum()
    assert (public["runs"] > 0).any()
    said = str(replace(far, output="steps").certificate())
    assert "no evidence: the public record is of accuracy and loss, not of steps" in said


def test_a_fit_that_fails_its_checks_is_told(far: bf.Forecast) -> None:
    from dataclasses import replace

    assert "fails its checks" in str(replace(far, converged=False).certificate())
    assert "fails its checks" not in str(far.certificate())


def test_the_public_record_is_whole() -> None:
    record = datasets.calibration()
    assert set(record["bands"]) == {"plain law", "path alone", "drift"}
    assert set(record["from"]) <= set(DISTANCES)
    assert record[record["bands"] == "drift"]["paper"].nunique() == 10
    for name in ("inside_50", "inside_80", "inside_90", "inside_95"):
        assert record[name].between(0, 1).all()
    assert (record["farthest"] <= record["to"]).all()


def test_a_fit_hides_its_own_runs() -> None:
    runs = bf.simulate("cerebras_c", seed=4, n=40).runs
    fit = bf.fit(runs, "cerebras_c", draws=300, tune=500, seed=1, progress=False, structure=None)
    done = fit.backtest(folds=bf.Folds(origins=1), draws=200)
    proof = fit.forecast({"flops": 3 * runs.values("flops").max()}).certificate(done)
    own = proof.table.iloc[0]
    assert own["evidence"] == OWN
    assert own["runs"] == done.table.query("0.25 < decades <= 0.5")["run"].nunique() > 0
