"""`bayesfit check-data` and `bayesfit simulate`: tables of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesfit.cli.options import (
    Allow,
    By,
    Chance,
    Column,
    Derive,
    Json,
    Loss,
    LossSe,
    Metric,
    Models,
    NItems,
    Priors,
    RunsFile,
    Seed,
    Tasks,
)
from bayesfit.cli.screen import Screen, shown
from bayesfit.errors import DataError, Fault

if TYPE_CHECKING:
    from bayesfit.card import Law
    from bayesfit.runs import Runs

_LEVELS_SHOWN = 12


def check_data(
    file: RunsFile,
    law: Annotated[
        str | None,
        typer.Option("--law", metavar="LAW", help="Check for this law too: an id, a card (.toml), or a formula."),
    ] = None,
    prior: Priors = None,
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
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            metavar="NAME",
            help="What was observed, without --law; unless told 'loss', of tasks 'accuracy'.",
        ),
    ] = None,
    allow: Allow = None,
    json: Json = False,
) -> None:
    """Read a table of runs; say how it is understood and every fault it has."""
    from bayesfit.cli.reading import columns_of, named, names, read_evals, read_law, read_runs
    from bayesfit.needs import Needs, faults_for

    screen = Screen(json=json)
    groups, found = names(by or ()), None
    runs: Runs | None = None
    faults: tuple[Fault, ...] = ()
    try:
        table = read_evals(file, models=models, tasks=tasks or (), metric=metric or (), chance=chance or ())
        if law is not None:
            typed = named(prior or (), "--prior", "'alpha=LogNormal(log(0.3), 0.6)'")
            found = read_law(law, typed, columns_of(file, table) if "=" in law else ())
        runs = read_runs(
            file,
            table=table,
            laws=[] if found is None else [found],
            by=groups,
            column=column or (),
            derive=derive or (),
            loss=loss,
            loss_se=loss_se,
            n_items=n_items,
            allow=[word.value for word in allow or ()],
            outputs=names(output or ()) or ("accuracy" if table is not None and "accuracy" in table else "loss",),
        )
    except DataError as error:
        faults = error.faults
    if runs is not None and found is not None:
        found = found.closed(runs.inputs)
        faults = tuple(faults_for(runs, Needs.of(found, groups), [word.value for word in allow or ()]))
    if json:
        screen.document(
            {"file": str(file), "ok": not faults, **_understood(runs), "faults": [_told(f) for f in faults]}
        )
    elif runs is not None:
        describe(screen, runs)
    if faults:
        if json:
            raise typer.Exit(1)
        raise DataError(faults, str(file) if found is None or runs is None else f"{file}, for {found.id},")
    screen.say()
    screen.say("No faults." if found is None else f"No faults; {_enough(runs, found)}.", "green")


def describe(screen: Screen, runs: Runs) -> None:
    """Write how a table was understood."""
    screen.say(f"{runs.name}: {_count(len(runs), 'run')}", "bold")
    rows = []
    for name in (*runs.inputs, *runs.outputs, *(role for role in ("loss_se", "n_items") if role in runs.table)):
        values = runs.values(name)
        what = "input" if name in runs.inputs else "output" if name in runs.outputs else "measured"
        rows.append((name, what, shown(values.min()), shown(values.max()), len(set(values))))
    compute = runs.compute
    if compute is not None and "flops" not in runs.inputs:
        rows.append(("6*params*tokens", "compute", shown(compute.min()), shown(compute.max()), len(set(compute))))
    screen.table(("column", "", "from", "to", "values"), rows, right=("from", "to", "values"))
    for group in runs.groups:
        counts = runs.table[group].value_counts(sort=False)
        listed = [f"{level} {count}" for level, count in list(counts.items())[:_LEVELS_SHOWN]]
        more = f", and {len(counts) - _LEVELS_SHOWN} more" if len(counts) > _LEVELS_SHOWN else ""
        screen.say(f"{group}: {_count(len(counts), 'level')}: {', '.join(listed)}{more}")


def simulate(
    law: Annotated[str, typer.Argument(metavar="LAW", help="The law: an id, an alias, or the path of a card.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="CSV file to write.")],
    n: Annotated[
        int | None, typer.Option("--n", metavar="N", min=1, help="Number of runs, in each level of a group.")
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option("--sigma", metavar="X", min=0.0, help="Noise scale; 0.01 is about 1% for noise on the log."),
    ] = None,
    published: Annotated[
        str | None, typer.Option("--published", metavar="ID", help="Use these published coefficients of the law.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", metavar="NAME=NUMBER", help="True value, such as alpha=0.3; repeatable."),
    ] = None,
    range_: Annotated[
        list[str] | None,
        typer.Option(
            "--range", metavar="INPUT=LOW:HIGH", help="Range of an input, such as params=1e8:1e10; repeatable."
        ),
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="Add a group of this name, such as family.")
    ] = None,
    levels: Annotated[int, typer.Option("--levels", metavar="N", min=1, help="Number of levels of the group.")] = 5,
    spread: Annotated[
        float,
        typer.Option("--spread", metavar="X", min=0.0, help="How far the levels' parameters lie apart (on the log)."),
    ] = 0.1,
    seed: Seed = None,
) -> None:
    """Simulate runs from a law, to try a design or a fit against a known truth."""
    from bayesfit.catalog import law as find
    from bayesfit.cli.files import check_place, whole
    from bayesfit.cli.reading import numbers, ranges
    from bayesfit.errors import SpecError
    from bayesfit.simulation import simulate as simulated

    check_place(out)
    screen = Screen()
    found = find(law)
    values = numbers(parameter or (), "--parameter", "alpha=0.3")
    if values and published is not None:
        raise SpecError("--parameter and --published exclude one another; choose one")
    _known_coefficients(found, values)
    made = simulated(
        found,
        dict(ranges(range_ or ())) or None,
        parameters=values or None,
        published=published,
        n=n,
        sigma=sigma,
        group=group,
        levels=levels if group is not None else 1,
        spread=spread,
        seed=seed,
    )
    with whole(out) as temporary:
        made.runs.to_frame().to_csv(temporary, index=False)
    screen.say(f"{_count(len(made.runs), 'run')} of {found.id} in {out}", "bold")
    screen.say("The truth:")
    names = [] if group is None else list(made.runs.levels(group))
    rows = []
    for name, value in made.truth.items():
        many = hasattr(value, "__len__")
        rows.append((name, "all", shown(float(value))) if not many else (name, names[0], shown(float(value[0]))))
        rows += (
            [("", level, shown(float(one))) for level, one in zip(names[1:], value[1:], strict=True)] if many else []
        )
    columns = ("parameter", group or "", "value")
    if group is None:
        screen.table(("parameter", "value"), [(row[0], row[2]) for row in rows], right=("value",))
    else:
        screen.table(columns, rows, right=("value",))
    screen.say()
    screen.say("Fit it:")
    screen.command(f"bayesfit fit {out} --law {law}" + (f" --by {group}" if group else ""))


def _known_coefficients(law: Law, values: dict[str, float]) -> None:
    from bayesfit.errors import SpecError, nearest

    known = (*law.parameters, *law.derived)
    for name in values:
        if name not in known:
            raise SpecError(f"{law.id} has no parameter '{name}'{nearest(name, known)}; it has {', '.join(known)}")


def _understood(runs: Runs | None) -> dict[str, Any]:
    if runs is None:
        return {"runs": None, "inputs": {}, "outputs": {}, "groups": {}, "compute": None}

    def ends(values: Any) -> dict[str, float]:
        return {"min": float(values.min()), "max": float(values.max())}

    return {
        "runs": len(runs),
        "inputs": {name: ends(runs.values(name)) for name in runs.inputs},
        "outputs": {name: ends(runs.values(name)) for name in runs.outputs},
        "groups": {
            group: {str(level): int(count) for level, count in runs.table[group].value_counts(sort=False).items()}
            for group in runs.groups
        },
        "compute": None if runs.compute is None else ends(runs.compute),
        "sha256": runs.sha256,
    }


def _told(fault: Fault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "row": fault.row,
        "column": fault.column,
        "value": fault.value,
        "message": fault.message,
        "remedy": fault.remedy,
    }


def _enough(runs: Runs | None, law: Law) -> str:
    parameters = _count(len(law.free), "parameter")
    return f"{parameters} of {law.id} for {_count(0 if runs is None else len(runs), 'run')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
