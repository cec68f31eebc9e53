"""The command line: every command once, and the things people type wrong."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner, Result

import bayesfit as bf
from bayesfit.cli import app
from bayesfit.cli.reading import pooling, ranges
from bayesfit.errors import SpecError

# one real fit serves them all
pytestmark = pytest.mark.xdist_group("cli")

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("demo", "laws", "check-data", "simulate", "fit", "compare", "forecast", "risk", "plot")
HEAVY = ("pandas", "pymc", "pytensor", "arviz", "arviz_stats", "xarray", "scipy", "matplotlib", "nutpie")


def run(*arguments: object, code: int = 0) -> Result:
    """Run a command in this process; standard output and error are kept apart."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="bayesfit")
    assert result.exit_code == code, f"exit {result.exit_code}\n{result.stdout}\n{result.stderr}\n{result.exception!r}"
    assert "Traceback" not in result.stderr
    return result


def squeezed(text: str) -> str:
    """Return a text without line breaks and frames, which depend on the width."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def python(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python on this checkout with warnings as errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", *(str(argument) for argument in arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def runs_file(folder: Path) -> Path:
    path = folder / "runs.csv"
    made = run("simulate", "cerebras_c", "--out", path, "--n", 10, "--group", "family", "--levels", 3, "--seed", 2)
    assert "30 runs of cerebras_c" in made.stdout
    return path


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


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep default file names out of the checkout, and the width of the terminal out of the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)


# help, version, imports


def test_version_and_help_of_everything() -> None:
    assert run("--version").stdout == f"bayesfit {bf.__version__}\n"
    shown = run("--help").stdout
    for command in COMMANDS:
        assert command in shown
    assert "completion" not in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    found = typer.main.get_command(app).commands[command]
    monkeypatch.setenv("COLUMNS", "200")
    shown = squeezed(run(command, "--help").stdout)
    assert squeezed(found.help or "")
    for parameter in found.params:
        assert getattr(parameter, "help", None), f"{command} {parameter.name} says nothing"
        for name in parameter.opts if parameter.param_type_name == "option" else ():
            assert name in shown


@pytest.mark.parametrize("arguments", [["--help"], ["laws"], ["laws", "chinchilla"], ["fit", "--help"]])
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom bayesfit.cli import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"loaded = sorted(set(sys.modules) & set({HEAVY!r}))\nassert not loaded, loaded\n"
    )
    done = python("-c", program)
    assert done.returncode == 0, done.stderr


def test_module_runs_as_a_program_and_ends_quietly_in_a_closed_pipe() -> None:
    done = python("-m", "bayesfit.cli", "laws", "chinchila")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean 'chinchilla'" in done.stderr


# laws


def test_laws_lists_searches_and_shows() -> None:
    listed = run("laws").stdout
    assert all(law.id in listed for law in bf.laws())
    # in a pipe each law keeps to one line
    assert sum(line.startswith("chinchilla ") for line in listed.splitlines()) == 1
    assert "chinchilla" not in run("laws", "--search", "replicas diloco").stdout
    whole = run("laws", "chinchilla").stdout
    for part in ("loss = E + a*(params/ref.params)**-alpha", "LogNormal(log(0.3), 0.6)", "482.01", "0.0154", "1.92084"):
        assert part in whole
    assert "read in the source" in whole
    assert run("laws", "additive_nd").stdout.startswith("chinchilla:")


def test_laws_for_programs_and_papers(tmp_path: Path) -> None:
    assert {entry["id"] for entry in json.loads(run("laws", "--json").stdout)} == {law.id for law in bf.laws()}
    whole = json.loads(run("laws", "chinchilla", "--json").stdout)
    assert whole["kind"] == "loss"
    assert whole["published"]["epoch_2024"]["values"]["E"] == 1.81686
    assert run("laws", "chinchilla", "--latex").stdout.strip() == bf.law("chinchilla").latex
    card = tmp_path / "own.toml"
    card.write_text(run("laws", "chinchilla", "--toml").stdout)
    assert bf.law(card).equations == bf.law("chinchilla").equations
    assert "own" in run("laws", card).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["laws", "chinchila"], "did you mean 'chinchilla'"),
        (["laws", "nowhere.toml"], "there is no card at nowhere.toml"),
        (["laws", "--latex"], "is for one law"),
        (["laws", "chinchilla", "--latex", "--json"], "exclude one another"),
        (["laws", "chinchilla", "--search", "loss"], "leave out NAME"),
        (["laws", "--search", "quantum"], "no law matches 'quantum'"),
        (["lawz"], "No such command 'lawz'"),
        (["laws", "--serch", "x"], "No such option: --serch"),
        (["fit"], "Missing argument 'FILE'"),
        (["fit", "runs.csv"], "Missing option '--law'"),
        (["fit", "runs.csv", "--law", "chinchila"], "did you mean 'chinchilla'"),
        (["fit", "runs.csv", "--law", "chinchilla", "--draws", "many"], "Invalid value for '--draws'"),
        (["fit", "runs.csv", "--law", "chinchilla", "--noise", "gauss"], "Invalid value for '--noise'"),
        (["fit", "runs.csv", "--law", "chinchilla", "--fix", "E"], "--fix takes NAME=VALUE"),
        (["fit", "runs.csv", "--law", "chinchilla", "--fix", "E=zero"], "--fix E: found 'zero'"),
        (["fit", "runs.csv", "--law", "chinchilla", "--prior", "E=Gamma(1, 2)"], "unknown prior 'Gamma'"),
        (["fit", "runs.csv", "--law", "chinchilla", "--prior", "EE=Normal(0, 1)"], "no parameter 'EE'"),
        (["fit", "runs.csv", "--law", "chinchilla", "--prior", "E=1", "--prior", "E=2"], "is given twice"),
        (["fit", "runs.csv", "--law", "chinchilla", "--pool", "E=none", "--pool", "E.family=none"], "keep one"),
        (["fit", "runs.csv", "--law", "chinchilla", "--out", "no/where/fit.nc"], "there is no folder"),
        (["fit", "runs.csv", "--law", "chinchilla", "--out", "."], "is a folder"),
        (["simulate", "chinchilla", "--out", "x.csv", "--parameter", "alhpa=1"], "did you mean 'alpha'"),
        (["simulate", "chinchilla", "--out", "x.csv", "--range", "params=1e8"], "expected LOW:HIGH"),
        (["simulate", "chinchilla", "--out", "x.csv", "--range", "size=1:2"], "no input 'size'"),
        (["simulate", "chinchilla", "--out", "x.csv", "--published", "epoch"], "no published coefficients 'epoch'"),
        (["plot", "fit.nc", "--out", "band.bmp"], "must end in .png"),
        (["plot", "fit.nc", "--kind", "bands"], "Invalid value for '--kind'"),
        (["forecast", "fit.nc"], "say what to forecast"),
        (["forecast", "fit.nc", "--set", "flops=1e22", "--prob", "90"], "between 0 and 1"),
        (["risk", "fit.nc", "--set", "flops=1e22"], "Missing option '--limit'"),
        (["demo", "--draws", "0"], "Invalid value for '--draws'"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    refused = run(*arguments, code=2)
    assert refused.stdout == ""
    assert message in squeezed(refused.stderr)


# tables


def test_check_data_says_what_was_understood(runs_file: Path) -> None:
    said = run("check-data", runs_file, "--by", "family", "--law", "cerebras_c").stdout
    assert "30 runs" in said
    assert "family: 3 levels: family_0 10, family_1 10, family_2 10" in said
    assert "No faults; 3 parameters of cerebras_c for 30 runs." in said
    told = json.loads(run("check-data", runs_file, "--by", "family", "--json").stdout)
    table = pd.read_csv(runs_file)
    assert told["ok"] is True
    assert told["runs"] == 30
    assert told["inputs"]["flops"] == {"min": table["flops"].min(), "max": table["flops"].max()}
    assert told["groups"] == {"family": {"family_0": 10, "family_1": 10, "family_2": 10}}


def test_check_data_reads_columns_under_other_names(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"N": ["70M", "1B", "7B"], "D": ["1.4B", "20B", "140B"], "val": [3.5, 2.6, 2.2], "m": ["a"] * 3}
    )
    path = tmp_path / "runs.parquet"
    table.to_parquet(path)
    options = (
        "--column",
        "params=N",
        "--column",
        "tokens=D",
        "--column",
        "family=m",
        "--by",
        "family",
        "--loss",
        "val",
    )
    told = json.loads(run("check-data", path, *options, "--json").stdout)
    assert told["inputs"]["params"] == {"min": 7e7, "max": 7e9}
    assert told["compute"]["max"] == pytest.approx(6 * 7e9 * 140e9)
    derived = ("--derive", "flops = 6*params*tokens", "--law", "cerebras_c")
    assert "flops" in run("check-data", path, *options, *derived, "--allow", "one_group").stdout
    # a formula's inputs are columns too
    formula = ("--law", "loss = E + a*(N/ref.N)**-b", "--loss", "val")
    priors = [f"--prior={name}=LogNormal(0, 1)" for name in "Eab"]
    assert "N" in run("check-data", path, *formula, *priors).stdout


def test_check_data_names_every_fault(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("flops,loss\n1e20,2.5\nnone,2.4\n-3,99\n")
    failed = run("check-data", path, code=1)
    for part in ("3 faults", "row 2, column 'flops'", "row 3, column 'flops'", "row 3, column 'loss'"):
        assert part in failed.stderr
    told = run("check-data", path, "--json", code=1)
    assert told.stderr == ""
    faults = json.loads(told.stdout)["faults"]
    assert {fault["row"] for fault in faults} == {2, 3}
    assert all(fault["remedy"] for fault in faults)


def test_faults_for_a_law_come_with_their_remedy(tmp_path: Path, runs_file: Path) -> None:
    failed = run("check-data", runs_file, "--law", "chinchilla", code=1)
    assert "the law needs the input 'params'" in failed.stderr
    assert "30 runs" in failed.stdout
    few = tmp_path / "few.csv"
    few.write_text("flops,loss\n1e20,2.5\n1e21,2.3\n")
    assert "2 runs cannot determine 3 parameters" in run("check-data", few, "--law", "cerebras_c", code=1).stderr
    assert "No faults" in run("check-data", few, "--law", "cerebras_c", "--allow", "few_runs").stdout
    assert "2 runs cannot determine" in run("fit", few, "--law", "cerebras_c", code=1).stderr
    unknown = run("check-data", runs_file, "--law", "cerebras_c", "--column", "flopz=flops", code=2)
    assert "did you mean 'flops'" in unknown.stderr


def test_missing_empty_and_strange_tables(tmp_path: Path) -> None:
    assert "there is no such file" in run("check-data", "nowhere.csv", code=1).stderr
    assert "there is no such file" in run("fit", "nowhere.parquet", "--law", "cerebras_c", code=1).stderr
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert "the file is empty" in run("check-data", empty, code=1).stderr
    text = tmp_path / "text.parquet"
    text.write_text("flops,loss\n1e20,2.5\n")
    assert "not a readable Parquet file" in run("check-data", text, code=1).stderr


def test_own_warnings_take_one_line_on_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("flops,loss\n1e20,2.5\n1e20,2.5\n1e21,2.4\n")
    said = run("check-data", path)
    assert said.stderr.startswith("warning: ")
    assert said.stderr.count("\n") == 1
    assert "warning:" not in said.stdout


def test_simulate_writes_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "made.csv"
    said = run(
        *("simulate", "chinchilla", "--out", path, "--n", 12, "--sigma", 0, "--published", "epoch_2024", "--seed", 1),
        *("--range", "params=100M:1B", "--range", "tokens=1e9,2e9,4e9"),
    )
    table = pd.read_csv(path)
    assert len(table) == 12
    assert table["params"].between(1e8, 1e9).all()
    assert set(table["tokens"]) <= {1e9, 2e9, 4e9}
    expected = 1.81686 + 482.01 * table["params"] ** -0.34781 + 2085.43 * table["tokens"] ** -0.36585
    np.testing.assert_allclose(table["loss"], expected, rtol=1e-4)
    assert "0.3478" in said.stdout
    assert list(tmp_path.iterdir()) == [path]


# fits


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


def test_a_formula_needs_priors(runs_file: Path) -> None:
    refused = run("fit", runs_file, "--law", "loss = E + a*flopz**-b", "--prior", "E=LogNormal(0, 1)", code=2)
    assert "no prior for a, b, flopz" in refused.stderr
    assert "the table has family, flops, loss" in refused.stderr
    refused = run("fit", runs_file, "--law", "loss = E + __import__('os')", code=2)
    assert "^" in refused.stderr


def test_ctrl_c_ends_a_fit_without_a_file(runs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            pytest.fail("a sampler that catches KeyboardInterrupt would go on")

    monkeypatch.setattr(importlib.import_module("bayesfit.fitting"), "fit", interrupted)
    before = signal.getsignal(signal.SIGINT)
    said = run("fit", runs_file, "--law", "cerebras_c", code=130)
    assert said.stderr.splitlines()[-1] == "error: interrupted"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_ctrl_c_reaches_a_sampler_at_work(runs_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bayesfit.cli", "fit", str(runs_file), "--law", "cerebras_c", "--draws", "1000000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(25)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


# forecasts


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
        assert "are for --kind band" in run("plot", fit_file, "--kind", kind, "--set", "flops=1e22", code=2).stderr


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


# errors


def test_debug_shows_the_traceback() -> None:
    result = CliRunner().invoke(app, ["--debug", "laws", "chinchila"])
    assert isinstance(result.exception, SpecError)
    done = python("-m", "bayesfit.cli", "--debug", "laws", "chinchila")
    assert "Traceback" in done.stderr


def test_an_unexpected_error_is_not_hidden() -> None:
    program = (
        "import sys, bayesfit.catalog, bayesfit.cli\n"
        "def broken(name): raise ZeroDivisionError('division by zero')\n"
        "bayesfit.catalog.law = broken\n"
        "bayesfit.cli.main()\n"
    )
    done = python("-c", program, "laws", "chinchilla")
    assert done.returncode == 1
    assert "unexpected ZeroDivisionError: division by zero" in done.stderr
    assert "--debug" in done.stderr
    assert "Traceback" not in done.stderr
    done = python("-c", program, "--debug", "laws", "chinchilla")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_full_disk_is_an_error_like_others(fit_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    failed = run("simulate", "cerebras_c", "--out", tmp_path / "x.csv", code=1)
    assert "No space left on device" in failed.stderr
    assert list(tmp_path.iterdir()) == []


def test_readers_of_typed_text() -> None:
    assert pooling(["E.task=none", "E.family=partial", "a=complete"]) == {
        "E": {"task": "none", "family": "partial"},
        "a": "complete",
    }
    assert ranges(["params=1e8:10B", "replicas=1,2,4"]) == {"params": (1e8, 1e10), "replicas": (1.0, 2.0, 4.0)}
    for text in ("params=1:2:3", "params=1,2", "params=5:1", "params=-1:1", "params=a:b"):
        with pytest.raises(SpecError, match="--range params"):
            ranges([text])


# the demonstration


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


def test_a_missing_input_is_told_with_the_other_faults(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("params,toks,loss\n1B,20B,2.9\n2B,40B,oops\n")
    text = squeezed(run("check-data", table, "--law", "chinchilla", code=1).stderr)
    assert "found 'oops'" in text
    assert "the law needs the input 'tokens' (did you mean 'toks'?)" in text


# compare

LINE = "loss = height - slope*log(flops/ref.flops)"
LINE_PRIORS = ("--prior", "height=LogNormal(log(median.loss), 0.3)", "--prior", "slope=LogNormal(log(0.1), 0.7)")


def test_laws_are_compared_by_name_and_formula(tmp_path: Path) -> None:
    runs_file = tmp_path / "runs.csv"
    run("simulate", "cerebras_c", "--out", runs_file, "--n", 40, "--seed", 4)
    laws = ("--laws", f"cerebras_c,{LINE}", *LINE_PRIORS)
    options = ("--origins", 1, "--draws", 300, "--workers", 1, "--seed", 1)
    result = run("compare", runs_file, *laws, *options, "--out", tmp_path / "compare.png")
    text = squeezed(result.stdout)
    assert "Inside the data: one run left out" in text
    assert "Beyond the data: larger runs hidden, 1 cut in flops" in text
    assert "Within the data (one run left out), cerebras_c is best" in text
    assert LINE in text
    assert (tmp_path / "compare.png").stat().st_size > 20_000
    document = json.loads(run("compare", runs_file, *laws, *options, "--json").stdout)
    assert document["laws"]["cerebras_c"]["elpd_diff"] == 0
    assert document["verdict"].startswith("Within the data")
    assert set(document["prob_better"]) == {"cerebras_c", LINE}
    assert document["origins"]["cerebras_c"][0]["runs"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--laws", "cerebras_c"), "give at least two laws"),
        (("--laws", "cerebras_c,cerebras"), "did you mean 'cerebras_c'"),
        (("--laws", "cerebras_c,cerebras_c"), "named twice"),
        (("--laws", f"cerebras_c,{LINE}"), "no prior for height"),
        (("--laws", "cerebras_c,kaplan_c", "--prior", "gamma=Normal(0, 1)"), "none of these laws has such a parameter"),
        (("--laws", "cerebras_c,kaplan_c", "--out", "compare.gif"), "--out must end in .png"),
        (("--laws", "cerebras_c,kaplan_c", "--leave-out", "lab"), "there is no column 'lab'"),
        (("--laws", "cerebras_c,chinchilla"), "needs the input 'params'"),
    ],
)
def test_wrong_comparisons_are_told_before_anything_is_fitted(
    runs_file: Path, options: tuple[str, ...], message: str
) -> None:
    started = time.monotonic()
    result = CliRunner().invoke(app, ["compare", str(runs_file), *options])
    assert result.exit_code in (1, 2)
    assert message in squeezed(result.stderr)
    assert time.monotonic() - started < 20
