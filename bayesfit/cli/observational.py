"""`bayesfit capabilities`: a task from the benchmarks of models that exist."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesfit.cli.options import Json, Prob, Quiet, Seed
from bayesfit.cli.screen import Screen, checks, records, tell_error
from bayesfit.errors import SpecError, nearest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bayesfit.capability import Capabilities


class MethodKind(StrEnum):
    """How benchmarks are condensed."""

    components = "components"
    factor = "factor"


def capabilities(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Table of models, one a row, and their scores: .csv or .parquet.")
    ],
    benchmarks: Annotated[
        list[str],
        typer.Option("--benchmarks", metavar="NAMES", help="Columns that describe the models, such as MMLU,ARC-C."),
    ],
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="The column to predict where its cells are empty.")
    ],
    chance: Annotated[
        list[str] | None,
        typer.Option("--chance", metavar="TASK=NUMBER", help="Score of guessing, of tasks not known; repeatable."),
    ] = None,
    n_items: Annotated[
        list[str] | None,
        typer.Option("--n-items", metavar="TASK=NUMBER", help="Number of evaluation items, if known; repeatable."),
    ] = None,
    family: Annotated[str, typer.Option("--family", metavar="COLUMN", help="Column of families.")] = "family",
    model: Annotated[str, typer.Option("--model", metavar="COLUMN", help="Column of names.")] = "model",
    flops: Annotated[
        str | None,
        typer.Option("--flops", metavar="COLUMN", help="Column of training compute; 'flops' if there is one."),
    ] = None,
    hide_above: Annotated[
        float | None,
        typer.Option(
            "--hide-above",
            metavar="FLOP",
            help="Hide the target of models of more compute, or of unknown one, to see how well it is predicted.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="FAMILY", help="Also say how much compute each family needs to match it."),
    ] = None,
    method: Annotated[
        MethodKind,
        typer.Option(
            "--method", metavar="KIND", help="components, principal ones taken as known; or factor, one joint model."
        ),
    ] = MethodKind.components,
    factors: Annotated[int, typer.Option("--factors", metavar="N", min=1, help="Number of factors.")] = 3,
    prob: Prob = 0.9,
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=4, help="Draws kept, per chain.")] = 2000,
    tune: Annotated[int, typer.Option("--tune", metavar="N", min=1, help="Warm-up draws, per chain.")] = 1000,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Also write the predictions, .csv.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict a task from other benchmarks, for models whose training nobody can repeat."""
    from bayesfit.cli.files import check_place, whole
    from bayesfit.cli.fits import sampling
    from bayesfit.cli.reading import names, numbers
    from bayesfit.evals import read_table

    if out is not None:
        check_place(out)
    if not 0 < prob < 1:
        raise SpecError(f"--prob must lie between 0 and 1, found {prob:g}")
    screen = Screen(json=json, quiet=quiet)
    table = read_table(file)
    compute = flops if flops is not None or "flops" not in table else "flops"
    if reference is not None and compute is None:
        raise SpecError("--reference compares compute: name its column with --flops")
    if reference is not None and family in table and reference not in set(table[family].astype(str)):
        raise SpecError(
            f"--reference: no family '{reference}'{nearest(reference, table[family].astype(str))} in {file}"
        )
    screen.say(f"{file.name}: {len(table)} models; {target} from {', '.join(names(benchmarks))}", "bold")
    with sampling(screen):
        from bayesfit.capability import capabilities as fitted

        done = fitted(
            table,
            benchmarks=names(benchmarks),
            target=target,
            chance=numbers(chance or (), "--chance", "exam=0.25"),
            n_items=numbers(n_items or (), "--n-items", "exam=1000"),
            family=family,
            model=model,
            flops=compute,
            factors=factors,
            method=method.value,
            hold_out=None if hide_above is None else _large(table, compute, hide_above),
            draws=draws,
            tune=tune,
            seed=seed,
            progress=screen.live,
        )
        report = done.check()
    screen.result("\nChecks", "bold")
    screen.checks(report)
    document: dict[str, Any] = {
        "target": target,
        "passed": report.passed,
        "checks": checks(report),
        "provenance": done.provenance,
    }
    if not report.passed:
        if json:
            screen.document(document)
        failed = ", ".join(result.name for result in report.failures)
        tell_error(f"the fit fails its checks: {failed}. It gives no predictions; try more --tune and --draws")
        raise typer.Exit(1)
    found = done.interval(prob)
    ratios = None if reference is None else done.equivalent_compute(reference=reference, prob=prob)
    if out is not None:
        with whole(out) as temporary:
            found.to_csv(temporary)
    if json:
        document |= {"prob": prob, "predictions": records(found.reset_index())}
        document |= {"equivalent_compute": None if ratios is None else records(ratios)}
        screen.document(document)
        return
    _show(screen, done, found, ratios, prob)
    if out is not None:
        screen.say(f"\nPredictions are in {out}.")


def _large(table: pd.DataFrame, compute: str | None, limit: float) -> np.ndarray:
    """Return which models have more compute than a limit, or unknown compute."""
    from bayesfit.cells import read_numbers

    if compute is None:
        raise SpecError("--hide-above needs the models' compute: name its column with --flops")
    if compute not in table:
        raise SpecError(f"--flops: no column '{compute}'{nearest(compute, map(str, table.columns))}")
    # cells that are no numbers are told with all other faults
    values, _ = read_numbers(table[compute], compute)
    hidden: np.ndarray = ~(values <= limit)
    return hidden


def _show(screen: Screen, done: Capabilities, found: pd.DataFrame, ratios: pd.DataFrame | None, prob: float) -> None:
    """Write predictions, how those did whose outcome was hidden, and families' compute."""
    target = done.table.target
    if len(found):
        screen.result(f"\n{target} of models whose score the fit did not see, {100 * prob:g}% intervals", "bold")
        screen.frame(found, "model")
        seen = found.dropna(subset=["observed"])
        if len(seen):
            inside = int(((seen["lower"] <= seen["observed"]) & (seen["observed"] <= seen["upper"])).sum())
            error = (seen["median"] - seen["observed"]).abs().mean()
            screen.result(f"{inside} of {len(seen)} hidden scores lie inside; mean absolute error {error:.3f}")
    else:
        screen.say(f"\nEvery model has a score of {target}: leave cells empty, or use --hide-above, to predict some.")
    if ratios is not None:
        screen.result("\nCompute to match the reference, as a multiple of its own", "bold")
        screen.frame(ratios.set_index("family"), "family")
