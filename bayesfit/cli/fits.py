"""`bayesfit fit` and `bayesfit plot`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from enum import StrEnum
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
    FitFile,
    Json,
    LawText,
    Loss,
    LossSe,
    Metric,
    Models,
    NItems,
    NoiseOption,
    OutputName,
    Pool,
    Priors,
    Quiet,
    Record,
    RunsFile,
    Seed,
    Set,
    StructureKind,
    StructureOption,
    Tasks,
    Tune,
    Unconverged,
    Without,
    tell_unused,
)
from bayesfit.cli.screen import Screen, checks, tell_error
from bayesfit.errors import SpecError

if TYPE_CHECKING:
    from bayesfit.fitting import Fit

_ROWS_SHOWN = 60


class PlotKind(StrEnum):
    """Kinds of figure."""

    band = "band"
    parts = "parts"
    residuals = "residuals"
    prior_posterior = "prior-posterior"
    pair = "pair"
    tasks = "tasks"
    steps = "steps"
    efficiency = "efficiency"


def fit(
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
    fix: Annotated[
        list[str] | None,
        typer.Option("--fix", metavar="NAME=NUMBER", help="Hold a parameter at a value, such as E=0; repeatable."),
    ] = None,
    pool: Pool = None,
    checkpoints: Checkpoints = "",
    structure: StructureOption = StructureKind.auto,
    record: Record = None,
    without: Without = None,
    population: Annotated[
        str | None,
        typer.Option(
            "--population",
            metavar="NAME",
            help="What many studies say of the parameters together: a name such as public_chinchilla, or a .toml file.",
        ),
    ] = None,
    noise: NoiseOption = None,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=4, help="Draws kept, per chain.")] = 2000,
    tune: Tune = 1000,
    chains: Annotated[
        int, typer.Option("--chains", metavar="N", min=1, help="Chains; the checks need at least 2.")
    ] = 4,
    cores: Annotated[
        int | None, typer.Option("--cores", metavar="N", min=1, help="Chains run at once; all processors unless told.")
    ] = None,
    seed: Seed = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to save the fit in.")] = Path("fit.nc"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a law to a table of runs, check the fit, and save it."""
    from bayesfit.cli.files import check_place
    from bayesfit.cli.reading import (
        columns_of,
        named,
        names,
        numbers,
        pooling,
        read_evals,
        read_law,
        read_runs,
        suggestion,
    )
    from bayesfit.cli.tables import describe

    check_place(out)
    screen = Screen(json=json, quiet=quiet)
    may_drift = structure.by_record(record, without or ())
    groups = names(by or ())
    how, fixed = pooling(pool or ()), numbers(fix or (), "--fix", "E=0")
    priors = named(prior or (), "--prior", "'alpha=LogNormal(log(0.3), 0.6)'")
    words: list[Any] = [word.value for word in allow or ()]
    table = read_evals(file, models=models, tasks=tasks or (), metric=metric or (), chance=chance or ())
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
    describe(screen, runs)
    screen.say()
    screen.say(f"Fitting {found.id}{f' by {", ".join(groups)}' if groups else ''}:")
    for line in found.text.splitlines():
        screen.say(f"  {line}")
    start = time.monotonic()
    with sampling(screen):
        from bayesfit.fitting import fit as fitted

        done = fitted(
            runs,
            found,
            by=groups,
            pooling=how,
            checkpoints=checkpoints,
            structure=may_drift,
            population=population,
            noise=noise.value if noise else None,
            fixed=fixed,
            draws=draws,
            tune=tune,
            chains=chains,
            cores=cores,
            seed=seed,
            progress=screen.live,
            allow=words,
        )
        report = done.check()
    seconds = time.monotonic() - start
    done.save(out)
    if not done.law.drifts:
        tell_unused(record, without or ())
    if json:
        screen.document({**fit_document(done), "seconds": round(seconds, 1), "saved": str(out)})
    else:
        show_fit(screen, done)
        screen.result(f"\nSaved in {out} after {seconds:.0f} s (seed {done.seed}).")
    if not report.passed:
        failed = ", ".join(result.name for result in report.failures)
        tell_error(
            f"the fit fails its checks: {failed}. It is saved in {out} all the same; forecasts from it need "
            f"--allow-unconverged"
        )
        raise typer.Exit(1)
    screen.say()
    screen.say("Next:")
    screen.command(f"bayesfit forecast {out} {suggestion(done)}")
    screen.command(f"bayesfit plot {out} --out band.png")


def plot(
    file: FitFile,
    kind: Annotated[
        PlotKind,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="What to draw: band; parts, what its width is made of; residuals; prior-posterior; pair; tasks, a "
            "panel a task; steps, task loss and accuracy side by side; efficiency, what compute families need.",
        ),
    ] = PlotKind.band,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File to write, .png, .pdf or .svg; KIND.png unless told."),
    ] = None,
    set_: Set = None,
    to: Annotated[
        float | None, typer.Option("--to", metavar="X", help="Draw the band out to this value of its horizontal axis.")
    ] = None,
    output: OutputName = None,
    allow_unconverged: Unconverged = False,
) -> None:
    """Draw a fit: its band, residuals, priors and posteriors, pairs of parameters, or its tasks and families."""
    from bayesfit.cli.files import check_figure, whole
    from bayesfit.cli.reading import scenario
    from bayesfit.store import load

    place = out or Path(f"{kind.value}.png")
    check_figure(place)
    if set_ and kind not in (PlotKind.band, PlotKind.tasks):
        raise SpecError(f"--set is for --kind band and tasks, not {kind.value}")
    if to is not None and kind not in (PlotKind.band, PlotKind.parts, PlotKind.tasks, PlotKind.steps):
        raise SpecError(f"--to is for --kind band, parts, tasks and steps, not {kind.value}")
    loaded = load(file)
    import matplotlib

    # a file is written, also on a machine whose settings ask for windows
    matplotlib.use("Agg")
    from bayesfit import plots
    from bayesfit.forecast import forecast

    if kind in (PlotKind.band, PlotKind.tasks):
        made = None
        if set_:
            made = forecast(loaded, scenario(set_, loaded), output=output, allow_unconverged=allow_unconverged)
        draw = plots.plot_tasks if kind is PlotKind.tasks else plots.plot_band
        figure = draw(loaded, output=output, to=to, forecast=made)
    elif kind is PlotKind.parts:
        figure = plots.plot_parts(loaded, output=output, to=to)
    elif kind is PlotKind.steps:
        figure = plots.plot_steps(loaded, to=to)
    elif kind is PlotKind.efficiency:
        figure = plots.plot_efficiency(loaded, output=output)
    elif kind is PlotKind.residuals:
        figure = plots.plot_residuals(loaded)
    elif kind is PlotKind.prior_posterior:
        figure = plots.plot_prior_posterior(loaded)
    else:
        figure = plots.plot_pair(loaded)
    with whole(place) as temporary:
        figure.savefig(temporary, format=place.suffix[1:].lower())
    Screen().say(f"{kind.value} of {file} in {place}")


def show_fit(screen: Screen, fit: Fit) -> None:
    """Write the checks and the coefficients of a fit."""
    screen.result("\nChecks", "bold")
    screen.checks(fit.check())
    screen.result("\nCoefficients with 90% credible intervals", "bold")
    table = fit.summary(0.9)[["median", "q5", "q95", "sd"]]
    # where a path bends is told by plots and --json
    paths = tuple(f"{name}[" for name, part in fit.law.parameters.items() if part.role == "structure")
    table = table[[not name.startswith(paths) for name in table.index]] if paths else table
    # populations first, then levels: what is shared is what one reads for
    shared = table[[not name.endswith("]") for name in table.index]]
    levels = table[[name.endswith("]") for name in table.index]]
    screen.frame(shared, "parameter")
    if len(levels):
        screen.result("")
        screen.frame(levels.iloc[:_ROWS_SHOWN], "parameter")
    if len(levels) > _ROWS_SHOWN:
        screen.result(f"and {len(levels) - _ROWS_SHOWN} more rows, which --json prints")
    axes = dict.fromkeys(part.along for part in fit.law.parameters.values() if part.role == "structure")
    if axes:
        screen.result(
            f"The law may drift along {', '.join(axes)}, and forecasts allow for it. --structure none trusts it, and "
            "has the coefficients that papers give."
        )


def fit_document(fit: Fit) -> dict[str, Any]:
    """Return what the JSON document says of a fit."""
    report = fit.check()
    return {
        "law": fit.law.id,
        "formula": fit.law.text,
        "runs": len(fit.runs),
        "by": list(fit.pooling.by),
        "passed": report.passed,
        "checks": checks(report),
        "prob": 0.9,
        "summary": fit.summary(0.9).to_dict(orient="index"),
        "provenance": fit.provenance,
    }


class _Interrupted(BaseException):
    """Ctrl-C while sampling."""


@contextmanager
def sampling(screen: Screen) -> Iterator[None]:
    """Sample with progress on standard error, and stop at Ctrl-C.

    The sampler takes a KeyboardInterrupt for a wish to keep the draws it has so far and goes on as
    if nothing had happened; an interrupt of another kind makes it drop them and stop.
    """

    def stop(signum: int, frame: Any) -> None:
        raise _Interrupted

    import sys

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, stop) if main else None
    try:
        with redirect_stdout(sys.stderr):
            yield
    except _Interrupted:
        raise KeyboardInterrupt from None
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
