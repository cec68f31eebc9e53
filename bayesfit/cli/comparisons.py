"""`bayesfit compare`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesfit.cli.options import (
    Allow,
    By,
    Chance,
    Column,
    Derive,
    HiddenAlong,
    Horizon,
    Json,
    Loss,
    LossSe,
    Metric,
    Models,
    NItems,
    NoiseKind,
    Priors,
    Quiet,
    RunsFile,
    Seed,
    StructureKind,
    StructureOption,
    Tasks,
)
from bayesfit.cli.screen import Screen
from bayesfit.errors import SpecError

if TYPE_CHECKING:
    from bayesfit.comparison import Comparison

_INSIDE = ("elpd_diff", "dse", "p_loo", "high_k", "refitted", "loo_weight")
_BEYOND = ("log_score", "crps", "interval_score", "error", "inside_90", "rolling_weight")


def compare(
    file: RunsFile,
    laws: Annotated[
        list[str],
        typer.Option(
            "--laws",
            metavar="LAWS",
            help="Laws to compare, with commas between: ids, cards (.toml), formulas such as 'loss = E + a*flops**-b'.",
        ),
    ],
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
    noise: Annotated[
        NoiseKind | None, typer.Option("--noise", metavar="KIND", help="Noise of every law, instead of their own.")
    ] = None,
    structure: StructureOption = StructureKind.none,
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="NAME", help="Output to compare; unless told the one that all laws have."),
    ] = None,
    leave_out: Annotated[
        str,
        typer.Option(
            "--leave-out",
            metavar="UNIT",
            help="What leave-one-out leaves out: run, or a column whose levels go as a whole, such as family.",
        ),
    ] = "run",
    scale: HiddenAlong = None,
    origins: Annotated[
        int, typer.Option("--origins", metavar="N", min=0, help="Cuts beyond which runs are hidden; 0 for none.")
    ] = 3,
    horizon: Horizon = 1.0,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=4, help="Draws kept, per chain.")] = 2000,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Laws worked on at once; all processors unless told."),
    ] = None,
    seed: Seed = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also draw both scores, .png, .pdf or .svg.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare laws on one table: by leave-one-out inside the data, by hidden larger runs beyond them."""
    from bayesfit.cli.files import check_figure, draw
    from bayesfit.cli.reading import named, names, read_evals, read_laws, read_runs
    from bayesfit.cli.tables import describe

    if out is not None:
        check_figure(out)
    screen = Screen(json=json, quiet=quiet)
    groups = names(by or ())
    kept = names([leave_out]) if leave_out != "run" else ()
    words: list[Any] = [word.value for word in allow or ()]
    table = read_evals(file, models=models, tasks=tasks or (), metric=metric or (), chance=chance or ())
    found = read_laws(laws, named(prior or (), "--prior", "'alpha=LogNormal(log(0.3), 0.6)'"), file, table)
    if len(found) < 2:
        raise SpecError("give at least two laws to compare, --laws chinchilla,kaplan_nd; `bayesfit laws` lists them")
    runs = read_runs(
        file,
        table=table,
        laws=list(found.values()),
        by=tuple(dict.fromkeys((*groups, *kept))),
        column=column or (),
        derive=derive or (),
        loss=loss,
        loss_se=loss_se,
        n_items=n_items,
        allow=words,
    )
    describe(screen, runs)
    screen.say()
    screen.say(
        f"Fitting {len(found)} laws{f' by {", ".join(groups)}' if groups else ''}, and again without larger runs."
    )
    start = time.monotonic()
    from bayesfit.backtesting import Folds
    from bayesfit.comparison import compare_laws
    from bayesfit.needs import Needs, require

    for law in found.values():
        fitted = law.closed(runs.inputs)
        require(runs, Needs.of(fitted.with_noise(noise.value) if noise else fitted, groups), words)
    _, comparison = compare_laws(
        runs,
        found,
        output=output,
        leave_out=leave_out,
        rolling=origins > 0,
        folds=Folds(scale=scale, origins=max(origins, 1), horizon=horizon),
        workers=workers,
        seed=seed,
        draws=draws,
        by=groups,
        noise=noise.value if noise else None,
        structure=structure.structure,
        allow=words,
    )
    if json:
        screen.document(_document(comparison))
    else:
        show(screen, comparison)
        screen.say()
        screen.say(f"Done after {time.monotonic() - start:.0f} s.")
    if out is not None:
        from bayesfit.plots import plot_compare

        draw(out, lambda: plot_compare(comparison))
        screen.say(f"Both scores are drawn in {out}.")


def show(screen: Screen, comparison: Comparison) -> None:
    """Write both tables of a comparison, and what they say."""
    table = comparison.table
    unit = comparison.left_out
    screen.result(f"\nInside the data: one {unit} left out", "bold")
    screen.frame(table.sort_values("elpd", ascending=False)[list(_INSIDE)], "law")
    screen.say("elpd_diff and dse: log predictive density below the best, and its standard error", "dim")
    if comparison.backtests:
        backtest = next(iter(comparison.backtests.values()))
        cuts = len(backtest.origins)
        screen.result(
            f"\nBeyond the data: larger runs hidden, {cuts} cut{'s' * (cuts > 1)} in {backtest.scale}", "bold"
        )
        screen.frame(table[list(_BEYOND)], "law")
        unit = "log" if backtest.on_log else "unit of the output"
        screen.say(f"means over hidden runs; crps, interval score and error on the {unit}: lower is better", "dim")
    screen.result(f"\n{comparison.verdict}")


def _document(comparison: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = {
        "verdict": comparison.verdict,
        "left_out": comparison.left_out,
        "output": comparison.output,
        "laws": {str(name): row.to_dict() for name, row in comparison.table.iterrows()},
    }
    if comparison.backtests:
        found["origins"] = {
            name: backtest.origins.reset_index().to_dict("records") for name, backtest in comparison.backtests.items()
        }
        odds = comparison.prob_better()
        found["prob_better"] = {str(a): {b: p for b, p in row.items() if a != b} for a, row in odds.iterrows()}
    return found
