"""Commands that need a fit, and the things people type wrong."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import Result

import bayesfit as bf
from bayesfit.track_record import Drifted
from tests.cli.terminal import run

# one real fit serves them all
pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture(scope="module")
def fitted(folder: Path, runs_file: Path) -> tuple[Path, Result]:
    """Return a real fit by the command line, and what the command said."""
    path = folder / "fit.nc"
    # with the floor held, two coefficients are left, which few draws settle
    options = ("--fix", "E=0.9", "--draws", 500, "--tune", 500, "--chains", 2, "--seed", 1)
    return path, run("fit", runs_file, "--law", "cerebras_c", "--by", "family", *options, "--out", path)


@pytest.fixture(scope="module")
def fit_file(fitted: tuple[Path, Result]) -> Path:
    return fitted[0]


@pytest.fixture(scope="module")
def bad_fit(fit_file: Path) -> bf.Fit:
    """Return the fit with one chain moved away from the other."""
    fit = bf.load(fit_file)
    tree = {name: fit.idata[name].to_dataset() for name in ("posterior", "latent", "sample_stats")}
    moved = tree["posterior"]["alpha"] + 5.0 * tree["posterior"]["chain"]
    order = tree["posterior"]["alpha"].dims
    tree["posterior"] = tree["posterior"].assign(alpha=moved.transpose(*order))
    return replace(fit, idata=xr.DataTree.from_dict(tree))


@pytest.fixture(scope="module")
def bad_file(folder: Path, bad_fit: bf.Fit) -> Path:
    return bad_fit.save(folder / "bad.nc")


def test_fit_prints_checks_and_coefficients_and_saves(fitted: tuple[Path, Result], runs_file: Path) -> None:
    path, said = fitted
    fit = bf.load(path)
    assert fit.check().passed
    assert fit.pooling.by == ("family",)
    assert fit.law.fixed == {"E": 0.9}
    assert len(fit.runs) == 30
    text = " ".join(said.stdout.split())  # lines are broken where a long path says so
    for part in ("R-hat", "divergences", "alpha_population", "alpha[family_2]", f"Saved in {path}", "seed 1"):
        assert part in text
    row = next(line for line in said.stdout.splitlines() if line.startswith("alpha_population"))
    median, low, high = (float(cell) for cell in row.split()[1:4])
    exact = fit.summary(0.9).loc["alpha_population"]
    assert [median, low, high] == pytest.approx([exact["median"], exact["q5"], exact["q95"]], rel=1e-3)
    assert f"bayesfit forecast {path} --set flops=" in said.stdout


def test_what_fit_suggests_works(fitted: tuple[Path, Result]) -> None:
    typed = re.search(r"bayesfit (forecast .*)", fitted[1].stdout)
    assert typed is not None
    assert "90% interval" in run(*typed[1].split()).stdout


def test_fit_options_reach_the_fit(
    fit_file: Path, runs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def pretend(runs: bf.Runs, law: bf.Law, **arguments: Any) -> bf.Fit:
        print("something that a library prints")
        asked.update(arguments, runs=runs, law=law)
        return bf.load(fit_file)

    monkeypatch.setattr(importlib.import_module("bayesfit.fitting"), "fit", pretend)
    out = tmp_path / "other.nc"
    said = run(
        *("fit", runs_file, "--law", "loss = E + a*(flops/ref.flops)**-b", "--by", "family", "--out", out, "--json"),
        *("--prior", "E=LogNormal(0, 1)", "--prior", "a=LogNormal(0, 1)", "--prior", "b = Normal(log(0.3), 0.1)"),
        *("--fix", "E=0", "--pool", "a=complete", "--pool", "b.family=none", "--noise", "laplace", "--seed", 7),
        *("--draws", 11, "--tune", 12, "--chains", 3, "--cores", 1),
    )
    assert json.loads(said.stdout)["saved"] == str(out)
    assert "something that a library prints" in said.stderr
    assert asked["law"].parameters["b"].prior.text == "Normal(log(0.3), 0.1)"
    assert list(asked["law"].inputs) == ["flops"]
    assert asked["fixed"] == {"E": 0.0}
    assert asked["pooling"] == {"a": "complete", "b": {"family": "none"}}
    assert (asked["noise"], asked["seed"], asked["by"]) == ("laplace", 7, ("family",))
    assert [asked[name] for name in ("draws", "tune", "chains", "cores")] == [11, 12, 3, 1]
    assert asked["progress"] is False


@pytest.fixture
def record_file(tmp_path: Path) -> Path:
    """Return the record of one study, which drifted far."""
    study = Drifted(
        name="ladder",
        paper="our lab",
        law="power",
        along="flops",
        of="log",
        median=0.01,
        sd=1.5,
        quantiles=(0.1, 0.2, 0.3),
    )
    return bf.TrackRecord(id="own", studies=(study,)).save(tmp_path / "own.toml")


@pytest.mark.parametrize("structure", ["auto", "drift"])
def test_fit_takes_a_record_and_leaves_studies_out(
    fit_file: Path, runs_file: Path, record_file: Path, structure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def pretend(runs: bf.Runs, law: bf.Law, **arguments: Any) -> bf.Fit:
        asked.update(arguments)
        return bf.load(fit_file)

    monkeypatch.setattr(importlib.import_module("bayesfit.fitting"), "fit", pretend)
    told = ("--record", record_file, "--without", "ladder", "--without", "our lab", "--structure", structure)
    said = run("fit", runs_file, "--law", "cerebras_c", *told, "--out", record_file.with_suffix(".nc"))
    assert asked["structure"] == bf.Structure(kind=structure, record=record_file, without=["ladder", "our lab"])
    # the fit that is shown has no drift
    assert "--record had no say: --structure auto trusts this law on these runs" in said.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--record", "OWN", "--structure", "none"), "--record is of how far laws drift, and --structure none trusts"),
        (("--without", "ladder", "--structure", "none"), "--without is of how far laws drift, and --structure none"),
        (("--record", "nowhere.toml"), "there is no track record 'nowhere.toml'"),
        (("--record", "OWN", "--without", "lader"), "has no study or paper 'lader' (did you mean 'ladder'?)"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "backtest"])
def test_a_record_that_cannot_be_asked_is_told_first(
    runs_file: Path, record_file: Path, command: str, options: tuple[str, ...], message: str
) -> None:
    given = [record_file if word == "OWN" else word for word in options]
    said = run(command, runs_file, "--law", "cerebras_c", *given, code=2)
    assert message in " ".join(said.stderr.split())
    assert "Fitting" not in said.stdout + said.stderr


def test_fit_json_is_one_document(fit_file: Path, runs_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("bayesfit.fitting"), "fit", lambda *_, **__: bf.load(fit_file))
    said = run("fit", runs_file, "--law", "cerebras_c", "--by", "family", "--json", "--quiet")
    told = json.loads(said.stdout)
    assert said.stderr == ""
    assert told["passed"] is True
    assert {check["name"] for check in told["checks"]} >= {"R-hat", "divergences"}
    assert told["summary"]["alpha_population"]["median"] > 0
    assert told["provenance"]["seed"] == 1


def test_a_fit_that_fails_its_checks_is_saved_and_told(
    bad_fit: bf.Fit, runs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("bayesfit.fitting"), "fit", lambda *_, **__: bad_fit)
    said = run("fit", runs_file, "--law", "cerebras_c", "--out", tmp_path / "bad.nc", code=1)
    assert "FAIL" in said.stdout
    assert "Next" not in said.stdout
    assert "the fit fails its checks: R-hat" in said.stderr
    assert "--allow-unconverged" in said.stderr
    assert not bf.load(tmp_path / "bad.nc").check().passed
    told = json.loads(run("fit", runs_file, "--law", "cerebras_c", "--json", code=1).stdout)
    assert told["passed"] is False


def test_forecast_prints_a_table(fit_file: Path) -> None:
    fit = bf.load(fit_file)
    said = run("forecast", fit_file, "--set", "flops=1e22,2e22", "--set", "family=family_1", "--prob", 0.8)
    expected = fit.forecast({"flops": [1e22, 2e22], "family": "family_1"}).table(0.8)
    rows = [line.split() for line in said.stdout.splitlines() if "family_1" in line]
    assert len(rows) == 2
    for row, (_, exact) in zip(rows, expected.iterrows(), strict=True):
        assert [float(cell) for cell in row[2:5]] == pytest.approx(list(exact[["median", "lower", "upper"]]), rel=1e-3)
    told = json.loads(run("forecast", fit_file, "--set", "flops=1e22", "--set", "family=other", "--json").stdout)
    assert told["forecasts"][0]["new_level"] == "family"
    assert told["output"] == "loss"


def test_a_forecast_says_how_such_bands_did(fit_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flops = bf.load(fit_file).runs.values("flops").max()
    scenario = ("--set", f"flops={3 * flops:g}", "--set", "family=family_1")
    said = run("forecast", fit_file, *scenario).stdout
    assert "public studies: bands of 50, 80, 90, 95% held" in said
    assert "these runs: not asked" in said
    asked = []

    def hidden(fit: bf.Fit, **told: Any) -> bf.Backtest:
        asked.append(told)
        table = pd.DataFrame({"origin": 1.0, "run": [0, 1], "decades": [0.3, 0.49], "converged": True})
        for level in (50, 80, 90, 95):
            table[f"inside_{level}"] = [level == 95, True]
        about = {"law": fit.law.id, "output": "loss", "bands": "plain law", "data": fit.runs.sha256}
        return bf.Backtest(scale="flops", on_log=True, table=table, **about)

    monkeypatch.setattr(bf.Fit, "backtest", hidden)
    said = run("forecast", fit_file, *scenario, "--backtest").stdout
    assert "these runs: bands of 50, 80, 90, 95% held 50, 50, 50, 100% of 2 hidden runs" in " ".join(said.split())
    assert [told["output"] for told in asked] == ["loss"]
    told = json.loads(run("forecast", fit_file, *scenario, "--without", "Gadre et al. 2024", "--json").stdout)
    public = told["certificate"][1]
    assert public["evidence"] == "public studies"
    assert public["inside_90"] > 0
    assert "no study or paper 'me'" in run("forecast", fit_file, *scenario, "--without", "me", code=2).stderr
    # forecasts that are written and not shown have one too
    said = run("forecast", fit_file, *scenario, "--backtest", "--out", "there.csv").stdout
    assert "these runs: bands of 50, 80, 90, 95% held 50, 50, 50, 100% of 2 hidden runs" in " ".join(said.split())


def test_a_narrow_screen_turns_the_table(fit_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (40, 80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        said = run("risk", fit_file, "--limit", 2, "--set", "flops=1e22", "--set", "family=family_1")
        assert max(len(line) for line in said.stdout.splitlines()) <= width
        for name in ("prob_miss", "shortfall", "q95", "family_1", "1e+22"):
            assert name in said.stdout.replace("_\n", "_")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["flops"], "--set takes NAME=VALUE"),
        (["flopz=1e22", "family=family_1"], "did you mean 'flops'"),
        (["flops=lots", "family=family_1"], "--set flops: found 'lots', expected a number"),
        (["flops=-1", "family=family_1"], "must be positive"),
        (["flops=70,000,000,000", "family=family_1"], "without thousands separators"),
        (["flops=1e22"], "add --set family=..."),
        (["flops=1e22", "flops=1e23", "family=family_1"], "--set flops is given twice"),
    ],
)
def test_a_bad_scenario_is_refused(fit_file: Path, typed: list[str], message: str) -> None:
    options = [part for text in typed for part in ("--set", text)]
    for command in (["forecast", fit_file], ["risk", fit_file, "--limit", 2], ["plot", fit_file]):
        refused = run(*command, *options, code=2)
        assert message in refused.stderr
        assert refused.stdout == ""


def test_output_and_prob_are_checked(fit_file: Path) -> None:
    scenario = ("--set", "flops=1e22", "--set", "family=family_1")
    assert "no output 'lost'" in run("forecast", fit_file, *scenario, "--output", "lost", code=2).stderr
    assert "finite" in run("risk", fit_file, *scenario, "--limit", "nan", code=2).stderr


def test_far_forecasts_warn_in_one_line(fit_file: Path) -> None:
    said = run("forecast", fit_file, "--set", "flops=1e26", "--set", "family=family_1", "--json")
    assert re.fullmatch(r"warning: .*decades beyond.*\n", said.stderr)
    json.loads(said.stdout)


def test_far_streamed_forecasts_warn_too(fit_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "far.csv"
    path.write_text("flops,family\n1e21,family_1\n1e26,family_1\n")
    said = run("forecast", fit_file, "--scenarios", path, "--out", tmp_path / "out.csv")
    assert re.fullmatch(r"warning: .*decades beyond.*\n", said.stderr)


def test_streamed_forecasts_equal_direct_ones(fit_file: Path, tmp_path: Path) -> None:
    from bayesfit.forecast import forecast_tables

    n = 20_000
    levels = np.where(np.arange(n) > 15_000, "never seen", "family_1")
    table = pd.DataFrame(
        {"name": [f"run {i}" for i in range(n)], "flops": np.geomspace(1e20, 1e22, n), "family": levels}
    )
    path, out = tmp_path / "scenarios.csv", tmp_path / "forecasts.csv"
    table.to_csv(path, index=False)
    said = run("forecast", fit_file, "--scenarios", path, "--out", out)
    assert "20,000 forecasts of loss" in said.stdout
    text = " ".join(said.stdout.split())
    # all lie less than a quarter decade beyond the runs, of a known family or not
    assert "Of the farthest at each distance." in text
    assert "no evidence for a family never seen" in text
    assert text.count("public studies: bands of 50, 80, 90, 95% held") == 1
    streamed = pd.read_csv(out)
    fit = bf.load(fit_file)
    direct = pd.concat(list(forecast_tables(fit, table, block=1700)))
    first = fit.forecast(table.iloc[:300]).table()
    for name in ("median", "lower", "upper", "decades_beyond"):
        np.testing.assert_allclose(streamed[name], direct[name], rtol=1e-12)
        np.testing.assert_allclose(streamed[name][:300], first[name], rtol=1e-12)
    assert list(streamed["name"]) == list(table["name"])
    assert (streamed["new_level"].fillna("") == np.where(levels == "never seen", "family", "")).all()
    assert sorted(tmp_path.iterdir()) == [out, path]
    # too many to print
    assert "add --out" in run("forecast", fit_file, "--scenarios", path, code=2).stderr


def test_few_scenarios_are_printed_and_a_fault_leaves_no_file(fit_file: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "scenarios.csv", tmp_path / "forecasts.csv"
    path.write_text("flops,family\n1e22,family_1\n2e22,family_2\n")
    assert "family_2" in run("forecast", fit_file, "--scenarios", path).stdout
    told = json.loads(run("forecast", fit_file, "--scenarios", path, "--out", out, "--json").stdout)
    assert told["rows"] == 2
    assert {row["evidence"] for row in told["certificate"]} == {"these runs", "public studies"}
    out.write_text("as before")
    rows = ["flops,family", *["1e22,family_1"] * 2500, "1e22;family_1,family_1"]
    path.write_text("\n".join(rows) + "\n")
    failed = run("forecast", fit_file, "--scenarios", path, "--out", out, code=1)
    assert "row 2501, column 'flops'" in failed.stderr
    assert out.read_text() == "as before"
    assert sorted(tmp_path.iterdir()) == [out, path]
    assert "no such file" in run("forecast", fit_file, "--scenarios", "nowhere.csv", code=1).stderr
    path.write_text("")
    assert "the file is empty" in run("forecast", fit_file, "--scenarios", path, "--out", out, code=1).stderr


def test_unconverged_fits_are_refused_unless_allowed(bad_file: Path) -> None:
    scenario = ("--set", "flops=1e22", "--set", "family=family_1")
    for command in (["forecast", bad_file], ["risk", bad_file, "--limit", 2]):
        refused = run(*command, *scenario, code=1)
        assert "fails its checks" in refused.stderr
        assert "--allow-unconverged" in refused.stderr
        assert refused.stdout == ""
        allowed = run(*command, *scenario, "--allow-unconverged")
        assert "converged" in allowed.stdout
        assert "False" in allowed.stdout
        assert allowed.stderr.startswith("warning: ")
        assert allowed.stderr.count("\n") == 1


def test_risk(fit_file: Path) -> None:
    options = ("--limit", 1.9, "--set", "flops=1e21,1e22", "--set", "family=family_1")
    from bayesfit.risk import assess_risk

    expected = assess_risk(bf.load(fit_file).forecast({"flops": [1e21, 1e22], "family": "family_1"}), limit=1.9)
    told = json.loads(run("risk", fit_file, *options, "--pairs", "--json").stdout)
    assert [row["prob_miss"] for row in told["risks"]] == list(expected["prob_miss"])
    assert told["prob_better"][0][0] is None
    assert told["prob_better"][0][1] + told["prob_better"][1][0] == pytest.approx(1)
    said = run("risk", fit_file, *options, "--pairs").stdout
    assert "loss above 1.9" in said
    assert "beats" in said
    assert "loss below 1.9" in run("risk", fit_file, *options, "--worse", "below").stdout
    # never missed in any draw: no shortfall, which JSON cannot call NaN
    never = json.loads(run("risk", fit_file, "--limit", 99, *options[2:], "--json").stdout)
    assert never["risks"][0]["shortfall"] is None


@pytest.mark.parametrize("kind", ["band", "residuals", "prior-posterior", "pair"])
def test_plot(kind: str, fit_file: Path, tmp_path: Path) -> None:
    scenario = ("--set", "flops=1e22", "--set", "family=family_1") if kind == "band" else ()
    said = run("plot", fit_file, "--kind", kind, *scenario)
    assert f"{kind}.png" in said.stdout
    assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1
    if kind != "band":
        assert "is for --kind band" in run("plot", fit_file, "--kind", kind, "--set", "flops=1e22", code=2).stderr


def test_damaged_and_foreign_files(fit_file: Path, tmp_path: Path) -> None:
    options = ("--set", "flops=1e22", "--set", "family=family_1")
    cut, text = tmp_path / "cut.nc", tmp_path / "text.nc"
    whole = fit_file.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_text("hello")
    for path, message in ((cut, "damaged or cut short"), (text, "not a saved fit"), ("none.nc", "there is no file")):
        for command in (["forecast", path, *options], ["risk", path, "--limit", 2, *options], ["plot", path]):
            failed = run(*command, code=1)
            assert message in failed.stderr
            assert failed.stdout == ""


def test_a_full_disk_is_an_error_like_others(fit_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    failed = run("simulate", "cerebras_c", "--out", tmp_path / "x.csv", code=1)
    assert "No space left on device" in failed.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def shown(folder: Path) -> tuple[Path, Result]:
    out = folder / "demo"
    return out, run("demo", "--out", out)


def test_demo(shown: tuple[Path, Result]) -> None:
    out, said = shown
    assert sorted(path.name for path in out.iterdir()) == ["band.png", "fit.nc", "residuals.png"]
    for part in ("25 of up to 7e9", "R-hat", "alpha_population", "No GPT-NeoX was fitted", "90% band", "Wrote"):
        assert part in " ".join(said.stdout.split())
    for model in ("Cerebras-GPT-13B", "Pythia-12B", "Pythia-deduped-12B", "GPT-NeoX-20B"):
        assert re.search(rf"{model} .* (yes|no) *\n", said.stdout)
    fit = bf.load(out / "fit.nc")
    assert fit.runs.values("params").max() < 7e9
    assert fit.check().passed


def test_what_the_demo_suggests_works(shown: tuple[Path, Result]) -> None:
    typed = re.findall(r"^  bayesfit (?:forecast|risk|plot|laws).*$", shown[1].stdout, re.MULTILINE)
    assert len(typed) == 4
    for line in typed:
        run(*line.split()[1:])


def test_a_demo_that_fails_its_checks_says_so(bad_fit: bf.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = importlib.import_module("bayesfit.demo")
    monkeypatch.setattr(demo, "run_demo", lambda *_, **__: False)
    failed = run("demo", "--out", tmp_path / "demo", code=1)
    assert "fails its checks" in failed.stderr
