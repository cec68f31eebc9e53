"""`bayesfit forecast` and `bayesfit risk`."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from bayesfit.cli.options import FitFile, Json, OutputName, Prob, Quiet, Set, Unconverged, Worse
from bayesfit.cli.screen import Screen, records
from bayesfit.errors import DataError, Fault, SpecError

if TYPE_CHECKING:
    import pandas as pd

    from bayesfit.fitting import Fit

#: Scenarios that a terminal can show.
_SHOWN = 200
_CHUNK = 2000

ScenarioFile = Annotated[
    Path | None,
    typer.Option("--scenarios", metavar="FILE", help="CSV file of runs to forecast, one a row, of any length."),
]


def forecast(
    file: FitFile,
    set_: Set = None,
    scenarios: ScenarioFile = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="CSV file to write the forecasts to.")
    ] = None,
    prob: Prob = 0.9,
    output: OutputName = None,
    backtest: Annotated[
        bool,
        typer.Option(
            "--backtest", metavar="", help="Also hide the fit's own largest runs and refit, to see what its bands hold."
        ),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="PAPER", help="A public study or paper whose evidence must not count. May be repeated."
        ),
    ] = None,
    allow_unconverged: Unconverged = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Forecast larger runs from a saved fit, and say how such bands did before."""
    from bayesfit.certificate import certify
    from bayesfit.cli.files import check_place
    from bayesfit.cli.reading import scenario
    from bayesfit.discrepancy import bands_of
    from bayesfit.forecast import forecast as forecast_one
    from bayesfit.store import load

    screen = Screen(json=json, quiet=quiet)
    _one_of(set_, scenarios)
    if not 0 < prob < 1:
        raise SpecError(f"--prob must lie between 0 and 1, found {prob:g}")
    if out is not None:
        check_place(out)
    if scenarios is not None and out is None and not json:
        _few_enough(scenarios)
    fit = load(file)
    name = fit.law.pick_output(output, unobserved=True)
    unit = fit.law.outputs[name].unit if name in fit.law.outputs else ""
    head = {"fit": str(file), "law": fit.law.id, "output": name, "prob": prob}
    if scenarios is None:
        made = forecast_one(fit, scenario(set_ or (), fit), output=output, allow_unconverged=allow_unconverged)
        tables: Iterator[pd.DataFrame] = iter([made.table(prob)])
    else:
        tables = _streamed(screen, fit, scenarios, prob, output, allow_unconverged)
    import pandas as pd

    written, table = (None, pd.concat(list(tables))) if out is None else _write(tables, out)
    proof = certify(
        table,
        output=name,
        bands=bands_of(fit.law, name),
        converged=fit.check().passed,
        backtest=fit.backtest(output=name, workers=None) if backtest else None,
        without=without or (),
    )
    if out is not None:
        if json:
            screen.document({**head, "saved": str(out), "rows": written, "certificate": records(proof.table)})
        else:
            screen.say(f"{written:,} forecasts of {name} in {out}, with {100 * prob:g}% intervals")
            screen.result(f"\nOf the farthest at each distance. {proof}")
        return
    if json:
        about = {"unit": unit, "forecasts": records(table), "certificate": records(proof.table)}
        screen.document({**head, **about})
        return
    screen.say(f"{name}{f' in {unit}' * bool(unit)}, {100 * prob:g}% interval from {file}", "bold")
    screen.frame(table)
    screen.say(_beyond(fit, table["decades_beyond"].to_numpy()), "dim")
    screen.result(f"\n{proof}")


def risk(
    file: FitFile,
    limit: Annotated[float, typer.Option("--limit", metavar="X", help="The score that must not be passed.")],
    set_: Set = None,
    scenarios: ScenarioFile = None,
    worse: Annotated[
        Worse | None,
        typer.Option(
            "--worse",
            metavar="SIDE",
            help="Which side of the limit is a miss, above or below; unless told, below for accuracies and other "
            "shares of success, above for losses.",
        ),
    ] = None,
    pairs: Annotated[
        bool,
        typer.Option("--pairs", "--versus", metavar="", help="Also print how probably each run beats each other one."),
    ] = False,
    output: OutputName = None,
    allow_unconverged: Unconverged = False,
    json: Json = False,
) -> None:
    """Say how probably a run misses a limit, and by how much then."""
    import pandas as pd

    from bayesfit.cli.reading import scenario
    from bayesfit.forecast import forecast as forecast_one
    from bayesfit.risk import assess_risk, prob_better, worse_side
    from bayesfit.runs import read_csv
    from bayesfit.store import load

    screen = Screen(json=json)
    _one_of(set_, scenarios)
    if not math.isfinite(limit):
        raise SpecError(f"--limit must be a finite number, found {limit}")
    fit = load(file)
    asked = scenario(set_ or (), fit) if scenarios is None else read_csv(scenarios)
    made = forecast_one(fit, asked, output=output, allow_unconverged=allow_unconverged)
    side = worse_side(made) if worse is None else worse.value
    table = assess_risk(made, limit=limit, worse=side)
    better = prob_better(made, better="below" if side == "above" else "above") if pairs else None
    if json:
        content = {"fit": str(file), "output": made.output, "limit": limit, "worse": side}
        content["risks"] = records(table)
        if better is not None:
            content["prob_better"] = better.to_numpy()
        screen.document(content)
        return
    screen.say(f"{made.output} {side} {limit:g} is a miss, from {file}", "bold")
    if better is not None:
        table.index = better.index = better.columns = pd.RangeIndex(1, len(table) + 1)
    screen.frame(table, None if better is None else "run")
    screen.say(
        "prob_miss: how probably; shortfall: by how much on average when it happens; mean_beyond: the mean score then",
        "dim",
    )
    if better is not None:
        screen.result("\nProbability that the run of a row beats the run of a column", "bold")
        screen.frame(better, "run")


def _streamed(
    screen: Screen, fit: Fit, path: Path, prob: float, output: str | None, allow_unconverged: bool
) -> Iterator[pd.DataFrame]:
    """Yield forecasts of a file's scenarios, with a progress bar over its bytes."""
    from rich.console import Console
    from rich.progress import Progress

    from bayesfit.forecast import forecast_tables

    _existing(path)
    with (
        path.open("rb") as source,
        closing(_chunks(source, path)) as chunks,
        Progress(console=Console(stderr=True), disable=not screen.live) as bar,
    ):
        task = bar.add_task(f"forecasting {path.name}", total=path.stat().st_size)
        tables = forecast_tables(fit, chunks, prob=prob, output=output, allow_unconverged=allow_unconverged)
        for table in tables:
            bar.update(task, completed=source.tell())
            if fit.pooling.by and "new_level" not in table:
                # every block has the same columns, whether or not it has a level never seen
                table.insert(list(table.columns).index("decades_beyond") + 1, "new_level", "")
            yield table


def _chunks(source: BinaryIO, path: Path) -> Generator[pd.DataFrame]:
    import pandas as pd

    try:
        yield from pd.read_csv(source, dtype=str, keep_default_na=False, encoding="utf-8-sig", chunksize=_CHUNK)
    except pd.errors.EmptyDataError:
        raise _unreadable(path, "the file is empty", "give a header and one scenario a row") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise _unreadable(path, f"not a readable CSV file ({reason})", "save it as UTF-8 text with commas") from None


def _write(tables: Iterator[pd.DataFrame], out: Path) -> tuple[int, pd.DataFrame]:
    """Write tables one after the other; return the number of rows, and the farthest of each class of distance."""
    import pandas as pd

    from bayesfit.cli.files import whole

    rows, farthest = 0, pd.DataFrame()
    with whole(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as sink:
        for table in tables:
            table.to_csv(sink, index=False, header=rows == 0)
            # labels are rows of the file, each once
            places = range(rows, rows + len(table))
            farthest = _farthest(pd.concat([farthest, table.set_axis(places)]))
            rows += len(table)
    return rows, farthest


def _farthest(table: pd.DataFrame) -> pd.DataFrame:
    """Return the row that lies farthest out in each class of distance, levels never seen apart."""
    from bayesfit.scores import distance_class

    unseen = table.get("new_level", "")
    groups = table.assign(place=distance_class(table["decades_beyond"]), unseen=unseen).groupby(["place", "unseen"])
    return table.loc[groups["decades_beyond"].idxmax()]


def _few_enough(path: Path) -> None:
    _existing(path)
    with path.open("rb") as source:
        rows = sum(1 for _ in source) - 1
    if rows > _SHOWN:
        raise SpecError(f"{path} has about {rows:,} scenarios, too many to print; add --out FORECASTS.csv (or --json)")


def _one_of(set_: list[str] | None, scenarios: Path | None) -> None:
    if bool(set_) == (scenarios is not None):
        raise SpecError("say what to forecast: --set NAME=VALUE for each input and group, or --scenarios FILE.csv")


def _existing(path: Path) -> None:
    if not path.is_file():
        raise _unreadable(path, "there is no such file", "check the path", "missing_file")


def _unreadable(path: Path, message: str, remedy: str, kind: str = "unreadable") -> DataError:
    return DataError([Fault(kind=kind, message=message, remedy=remedy)], str(path))


def _beyond(fit: Fit, decades: object) -> str:
    import numpy as np

    from bayesfit.discrepancy import assumed

    far = float(np.max(np.asarray(decades, dtype=float), initial=0.0))
    if far == 0:
        return "Inside the range of the fitted runs."
    return f"decades_beyond: powers of ten beyond the fitted runs, {far:.2g} at most; {assumed(fit.law)}."
