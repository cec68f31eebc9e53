"""Track records: what studies say of how far laws drift, and what of it a study to come is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tomli_w

import bayesfit as bf
from bayesfit.track_record import PUBLIC, Drifted, TrackRecord, drifts_on, track_record
from tests.benchmarks.drift import renewed


def study(name: str, median: float, sd: float = 0.1, *, paper: str = "", of: str = "log") -> Drifted:
    """Return a study whose posterior of the scale is lognormal, under a prior so wide that it says nothing."""
    places = np.array([-1.96, -1.28, -0.67, 0.0, 0.67, 1.28, 1.96])
    return Drifted(
        name=name,
        paper=paper or name,
        law="chinchilla",
        along="params*tokens",
        of=of,
        median=0.01,
        sd=30.0,
        quantiles=tuple(median * np.exp(sd * places)),
    )


def record(*studies: Drifted) -> TrackRecord:
    return TrackRecord(id="own", studies=studies)


def test_many_precise_studies_give_their_own_mean_and_spread() -> None:
    logs = np.random.default_rng(0).normal(np.log(0.02), 0.6, size=60)
    found = record(*[study(f"s{place}", float(np.exp(value)), 0.02) for place, value in enumerate(logs)])
    median, sd = found.prior("log")
    assert np.log(median) == pytest.approx(logs.mean(), abs=0.02)
    assert sd == pytest.approx(logs.std(), rel=0.08)


def test_a_study_to_come_is_less_certain_after_fewer_studies() -> None:
    logs = np.log(0.02) + 0.5 * np.array([-1.0, 0.0, 1.0])
    few = record(*[study(f"s{place}", float(np.exp(value))) for place, value in enumerate(logs)])
    many = record(*[study(f"s{place}", float(np.exp(value))) for place, value in enumerate(np.tile(logs, 10))])
    assert few.prior("log")[1] > many.prior("log")[1] > 0.3
    # nothing is known of log-odds
    assert few.prior("logit") == pytest.approx(record().prior("logit"))
    assert record().prior("log")[1] > 1.2


def test_studies_of_a_paper_count_as_one() -> None:
    one = study("a", 0.05)
    others = [study(name, 0.005) for name in "bc"]
    alone = record(one, *others).prior("log")[0]
    crowd = record(*[study(f"a{place}", 0.05, paper="a") for place in range(20)], *others).prior("log")[0]
    independent = record(*[study(f"a{place}", 0.05) for place in range(20)], *others).prior("log")[0]
    assert crowd == pytest.approx(alone, rel=0.02)
    assert independent > 1.5 * alone


def test_what_is_left_out_says_nothing() -> None:
    high, low = study("high", 0.1, paper="p"), [study(name, 0.01) for name in "bcd"]
    without = record(high, *low).prior("log", without=("p",))
    assert without == pytest.approx(record(*low).prior("log"))
    assert record(high, *low).prior("log", without=("high",)) == pytest.approx(without)
    with pytest.raises(bf.SpecError, match=r"has no study or paper 'hihg' \(did you mean 'high'"):
        record(high, *low).prior("log", without=("hihg",))


def test_the_prior_of_the_fit_is_taken_off_again() -> None:
    """A study that says nothing has its own prior for a posterior; it must not count."""
    places = np.array([-1.96, -1.28, -0.67, 0.0, 0.67, 1.28, 1.96])
    silent = Drifted(
        name="silent",
        paper="silent",
        law="chinchilla",
        along="flops",
        of="log",
        median=0.01,
        sd=0.5,
        quantiles=tuple(0.01 * np.exp(0.5 * places)),
    )
    few = [study(name, 0.03) for name in "abc"]
    assert record(*few, silent).prior("log")[0] == pytest.approx(record(*few).prior("log")[0], rel=0.1)


def test_a_record_is_read_back_from_its_file(tmp_path: Path) -> None:
    own = record(study("a", 0.05), study("b", 0.2, of="logit"))
    path = tmp_path / "own.toml"
    path.write_text(tomli_w.dumps(own.to_mapping()))
    assert track_record(path) == own
    structure = bf.Structure(record=path)
    assert structure.path_prior("log") == pytest.approx(own.prior("log"))
    assert structure.path_prior("logit") == pytest.approx(own.prior("logit"))
    assert bf.Structure(scale=0.3).path_prior("log") == (0.3, 0.8)
    # one name need not stand in a list
    without = bf.Structure(record=path, without="a").path_prior("log")
    assert without == pytest.approx(bf.Structure(record=path, without=["a"]).path_prior("log"))
    assert without != pytest.approx(own.prior("log"))


def test_a_record_is_saved_as_what_a_structure_reads(tmp_path: Path) -> None:
    studies = (study("a", 0.05), study("b, each 'task\\s' own", 1 / 3, of="logit"))
    own = TrackRecord(id="our_lab", studies=studies, summary="Ladders of\n  our own.")
    path = own.save(tmp_path / "our_lab.toml")
    assert track_record(path) == own == track_record(str(path))
    assert bf.Structure(record=path).path_prior("logit") == own.prior("logit")
    # a file of that name is replaced
    record(studies[0]).save(path)
    assert track_record(path) == record(studies[0])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("own.nc", "read from a .toml file, found own.nc; name it own.toml"),
        ("nowhere/own.toml", "there is no folder .*nowhere to save own.toml in"),
        ("folder.toml", "is a folder; name a file in it"),
    ],
)
def test_a_record_is_saved_where_it_can_be_read(tmp_path: Path, place: str, message: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(bf.SpecError, match=message):
        record(study("a", 0.05)).save(tmp_path / place)


def test_an_empty_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bf.SpecError, match="track record own has no studies, and needs one or more: learn it"):
        record().save(tmp_path / "own.toml")
    assert not [*tmp_path.iterdir()]
    with pytest.raises(bf.SpecError, match="has no studies"):
        bf.Structure(record=record()).path_prior("log")


@pytest.mark.parametrize(
    ("fits", "message"),
    [
        ({}, "takes fits of past studies by name, .*; found none"),
        ({"y": 5}, "found 5 for 'y': give what bayesfit.fit returns"),
        ([1], r"such as {'2024': fit_2024}; found \[1\]"),
    ],
)
def test_what_is_no_fit_teaches_nothing(fits: object, message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        bf.learn_drift(fits)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"studies": []}, "own.toml: track record own has no studies"),
        ({"studie": []}, "unknown key 'studie' in a track record .did you mean 'studies'"),
        ({"studies": [{"name": "a"}]}, "a study of a track record needs 'paper'"),
        ({"studies": 3}, "studies cannot be read"),
        ({"studies": [{"name": "a", "median": "wide"}]}, "could not convert string to float: 'wide'"),
    ],
)
def test_bad_records_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(tomli_w.dumps({**record().to_mapping(), **change}))
    with pytest.raises(bf.SpecError, match=message):
        track_record(path)


def test_a_record_that_is_not_there() -> None:
    with pytest.raises(bf.SpecError, match="no track record 'publik'; known: public_drift"):
        bf.Structure(record="publik").path_prior("log")
    with pytest.raises(bf.SpecError, match="its numbers must be positive and finite"):
        study("a", -1.0)
    with pytest.raises(bf.SpecError, match="its numbers must be positive and finite"):
        study("a", np.inf)
    with pytest.raises(bf.SpecError, match="of must be one of log, logit, found 'raw'"):
        study("a", 0.1, of="raw")


def test_the_public_record_names_its_studies() -> None:
    public = track_record(PUBLIC)
    assert len({one.paper for one in public.studies}) >= 8
    median, sd = public.prior("log")
    # a law's exponent drifts by a hundredth or so over a decade
    assert 0.002 < median < 0.05
    assert 0.3 < sd < 1.5
    # accuracies of four papers, each by the path of its tasks together and by each task's own
    of_tasks = [one for one in public.studies if one.of == "logit"]
    assert len({one.paper for one in of_tasks}) == 4
    assert sum(one.name.endswith("each task's own") for one in of_tasks) == len(of_tasks) / 2
    median, sd = public.prior("logit")
    assert 0.02 < median < 0.3
    assert 0.3 < sd < 1.5


def test_studies_that_are_learnt_anew_take_the_place_of_their_entries() -> None:
    first, own, other = study("a", 0.01), study("a, each task's own", 0.02), study("b", 0.03)
    again = record(study("a", 0.04), study("a, each task's own", 0.05))
    assert renewed([other, first, own], {}, ["a", "b"]) == (first, own, other)
    assert renewed([first, own, other], {"a": again}, ["a", "b"]) == (*again.studies, other)
    # one that fails its checks says nothing any more
    assert renewed([first, own, other], {"a": None}, ["a", "b"]) == (other,)
    # names begin alike and are not the same
    assert renewed([first, own, other], {"ab": None}, ["ab", "b"]) == (other,)


def test_tries_drift_on_their_log_and_counts_of_right_answers_on_their_log_odds() -> None:
    assert drifts_on(bf.Noise(kind="negative_binomial")) == "log"
    assert drifts_on(bf.Noise(kind="beta_binomial")) == "logit"
    assert drifts_on(bf.Noise(on="logit")) == "logit"
    assert drifts_on(bf.Noise(kind="normal", on="identity")) == "log"


def test_fits_without_a_path_teach_nothing(plain_fit: bf.Fit) -> None:
    with pytest.raises(bf.SpecError, match="the fit of mine has no error of its law"):
        bf.learn_drift({"mine": plain_fit})
