"""Commands from help to comparisons, and the things people type wrong."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import bayesfit as bf
from bayesfit.cli import app
from bayesfit.cli.reading import pooling, ranges
from bayesfit.cli.screen import Screen
from bayesfit.errors import SpecError
from tests.cli.terminal import ROOT, python, run, squeezed

COMMANDS = ("demo", "laws", "check-data", "simulate", "fit", "compare", "forecast", "risk", "plot")
HEAVY = ("pandas", "pymc", "pytensor", "arviz", "arviz_stats", "xarray", "scipy", "matplotlib", "nutpie")
LINE = "loss = height - slope*log(flops/ref.flops)"
LINE_PRIORS = ("--prior", "height=LogNormal(log(median.loss), 0.3)", "--prior", "slope=LogNormal(log(0.1), 0.7)")


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
    done = python("-m", "bayesfit", "laws", "chinchila")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean 'chinchilla'" in done.stderr


def test_laws_lists_searches_and_shows() -> None:
    listed = run("laws").stdout
    assert all(law.id in listed for law in bf.laws())
    # in a pipe each law keeps to one line
    assert sum(line.startswith("  chinchilla ") for line in listed.splitlines()) == 1
    assert "chinchilla" not in run("laws", "--search", "replicas diloco").stdout
    whole = run("laws", "chinchilla").stdout
    for part in ("loss = E + a*(params/ref.params)**-alpha", "LogNormal(log(0.3), 0.6)", "482.01", "0.0154", "1.92084"):
        assert part in whole
    assert "read in the source" in whole
    assert run("laws", "additive_nd").stdout.startswith("chinchilla:")


def test_the_list_of_laws_has_a_line_a_law_under_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    lines = run("laws").stdout.splitlines()
    for law in bf.laws():
        (line,) = [line for line in lines if line.startswith(f"  {law.id} ")]
        assert line.split(maxsplit=1)[1].strip() == law.title
    headings = [line.strip() for line in lines if line[:1].isalpha()]
    assert {law.kind for law in bf.laws()} <= {*headings}
    assert "Hoffmann et al. 2022" in run("laws", "--search", "chinchilla").stdout


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
    command = [sys.executable, "-m", "bayesfit", "fit", str(runs_file), "--law", "cerebras_c", "--draws", "1000000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(25)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback() -> None:
    result = CliRunner().invoke(app, ["--debug", "laws", "chinchila"])
    assert isinstance(result.exception, SpecError)
    done = python("-m", "bayesfit", "--debug", "laws", "chinchila")
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


def test_readers_of_typed_text() -> None:
    assert pooling(["E.task=none", "E.family=partial", "a=complete"]) == {
        "E": {"task": "none", "family": "partial"},
        "a": "complete",
    }
    assert ranges(["params=1e8:10B", "replicas=1,2,4"]) == {"params": (1e8, 1e10), "replicas": (1.0, 2.0, 4.0)}
    for text in ("params=1:2:3", "params=1,2", "params=5:1", "params=-1:1", "params=a:b"):
        with pytest.raises(SpecError, match="--range params"):
            ranges([text])


def test_a_missing_input_is_told_with_the_other_faults(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("params,toks,loss\n1B,20B,2.9\n2B,40B,oops\n")
    text = squeezed(run("check-data", table, "--law", "chinchilla", code=1).stderr)
    assert "found 'oops'" in text
    assert "the law needs the input 'tokens' (did you mean 'toks'?)" in text


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


def test_counts_are_whole_numbers_and_scores_keep_their_zeros(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"inside_90": [1.0, 0.5], "params": [70_000_000_000, 10**6]}
    table = pd.DataFrame({"runs": [6, 11], "high_k": [1, 0], **scores})
    Screen().frame(table)
    assert [line.split() for line in capsys.readouterr().out.splitlines()[-2:]] == [
        ["6", "1", "1.000", "7e+10"],
        ["11", "0", "0.5000", "1e+06"],
    ]


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
