"""`bayesfit backtest`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesfit.cli.options import (
    Allow,
    By,
    Chance,
    Checkpoints,
    Column,
    Derive,
    HiddenAlong,
    Horizon,
    Json,
    LawText,
    Loss,
    LossSe,
    Metric,
    Models,
    NItems,
    NoiseOption,
    Pool,
    Priors,
    Quiet,
    Record,
    RunsFile,
    Seed,
    StructureKind,
    StructureOption,
    Tasks,
    Tune,
    Without,
    tell_unused,
)
from bayesfit.cli.screen import Screen

if TYPE_CHECKING:
    from bayesfit.backtesting import Backtest

_SHOWN = ("runs", "inside_50", "inside_80", "inside_90", "inside_95", "interval_score", "crps", "log_score", "error")


def backtest(
    file: RunsFile,
    law: LawText,
    by: By = None,
    column: Column = None,
    derive: Derive = None,
    loss: Loss = None,
    loss_se: LossSe = None,
    n_items: NItems = None,
    models: Models = None,
    tasks: Tasks = None,
    metric: Metric = None,
    chance: Chance = None,
    allow: Allow = None,
    prior: Priors = None,
    pool: Pool = None,
    checkpoints: Checkpoints = "",
    structure: StructureOption = StructureKind.auto,
    record: Record = None,
    without: Without = None,
    noise: NoiseOption = None,
    scale: HiddenAlong = None,
    origins: Annotated[
        int, typer.Option("--origins", metavar="N", min=1, help="Cuts beyond which runs are hidden, at most.")
    ] = 3,
    horizon: Horizon = 1.0,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=4, help="Draws kept, per chain.")] = 500,
    tune: Tune = 500,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Cuts worked on at once; all processors unless told."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FOLDER", help="Keep each cut's scores here, and go on from those found."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also draw calibration, .png, .pdf or .svg.")
    ] = None,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hide the largest runs, forecast them from the others, and say how often the bands held."""
    from bayesfit.backtesting import Folds, resume_folder
    from bayesfit.backtesting import backtest as hide
    from bayesfit.cli.files import check_figure, draw
    from bayesfit.cli.reading import columns_of, named, names, pooling, read_evals, read_law, read_runs
    from bayesfit.cli.tables import describe

    if out is not None:
        check_figure(out)
    folds = Folds(scale=scale, origins=origins, horizon=horizon)
    screen = Screen(json=json, quiet=quiet)
    may_drift = structure.by_record(record, without or ())
    groups, how = names(by or ()), pooling(pool or ())
    words: list[Any] = [word.value for word in allow or ()]
    table = read_evals(file, models=models, tasks=tasks or (), metric=metric or (), chance=chance or ())
    priors = named(prior or (), "--prior", "'alpha=LogNormal(log(0.3), 0.6)'")
    found = read_law(law, priors, columns_of(file, table) if "=" in law else ())
    runs = read_runs(
        file,
        table=table,
        laws=[found],
        by=[*groups, checkpoints] if checkpoints else groups,
        column=column or (),
        derive=derive or (),
        loss=loss,
        loss_se=loss_se,
        n_items=n_items,
        allow=words,
    )
    found = found.closed(runs.inputs)
    if noise is not None:
        found = found.with_noise(noise.value)
    # what cannot be hidden or kept is told before the word that fits begin
    folds.cut(runs, found.n_parameters)
    if resume is not None:
        resume_folder(resume)
    describe(screen, runs)
    screen.say()
    screen.say(f"Fitting {found.id} to small runs, up to {origins} times.")
    start = time.monotonic()
    done = hide(
        runs,
        found,
        by=groups,
        pooling=how,
        checkpoints=checkpoints,
        structure=may_drift,
        folds=folds,
        draws=draws,
        tune=tune,
        seed=seed or 0,
        workers=workers,
        resume=resume,
    )
    if done.bands == "plain law":
        tell_unused(record, without or ())
    if json:
        screen.document(_document(done))
    else:
        show(screen, done)
        screen.say()
        screen.say(f"Done after {time.monotonic() - start:.0f} s.")
    if out is not None:
        from bayesfit.plots import plot_calibration

        draw(out, lambda: plot_calibration(done))
        screen.say(f"Calibration is drawn in {out}.")


def show(screen: Screen, done: Backtest) -> None:
    """Write how the bands did, by cut and by distance."""
    screen.result(f"\nBy cut in {done.scale}: runs above it were hidden", "bold")
    screen.frame(done.origins[list(_SHOWN)].rename(index=lambda cut: f"{cut:.3g}"), done.scale)
    screen.result("\nBy decades beyond the fitted runs", "bold")
    distances = done.by_distance()
    words = [f"{low:g} to {high:g}" for low, high in zip(distances["from"], distances["to"], strict=True)]
    screen.frame(distances.assign(decades=words).set_index("decades")[list(_SHOWN)], "decades")
    unit = "log" if done.on_log else "unit of the output"
    screen.say(
        f"inside_90: share that 90% bands held; crps, interval_score and error on the {unit}. Higher is better for "
        "log_score, lower for crps and interval_score, and nearer to 0 for error",
        "dim",
    )
    screen.result(f"\n{done.verdict}")


def _document(done: Backtest) -> dict[str, Any]:
    return {
        "law": done.law,
        "output": done.output,
        "scale": done.scale,
        "verdict": done.verdict,
        "summary": done.summary.to_dict(),
        "origins": done.origins.reset_index().to_dict("records"),
        "by_distance": done.by_distance().to_dict("records"),
        "pit": done.pit_histogram().to_dict("records"),
        "converged": done.converged,
    }
