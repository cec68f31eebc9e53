"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bayesfit.errors import SpecError

if TYPE_CHECKING:
    from bayesfit.discrepancy import Structure


class Allowed(StrEnum):
    """Faults of a table that can be meant."""

    units = "units"
    one_group = "one_group"
    few_runs = "few_runs"
    collinear = "collinear"


class StructureKind(StrEnum):
    """How a law may be wrong."""

    auto = "auto"
    drift = "drift"
    none = "none"

    @property
    def structure(self) -> Literal["auto", "drift"] | None:
        """As `bayesfit.fit` has it."""
        return {"auto": "auto", "drift": "drift", "none": None}[self.value]

    def by_record(self, record: Path | None, without: Sequence[str]) -> Structure | Literal["auto", "drift"] | None:
        """As `bayesfit.fit` has it, with what --record and --without say of how far laws drift.

        Raises
        ------
        SpecError
            If the law is not to drift, or there is no such record, or no such study in it.
        """
        if record is None and not without:
            return self.structure
        if self.structure is None:
            raise SpecError(
                f"{'--without' if record is None else '--record'} is of how far laws drift, and --structure none "
                "trusts the law, which then does not; leave it out, or say --structure drift"
            )
        from bayesfit.discrepancy import Structure
        from bayesfit.track_record import PUBLIC

        told = Structure(kind=self.structure, record=record or PUBLIC, without=without)
        # what cannot be read is told before the runs are, and also where "auto" then asks no record
        told.path_prior("log")
        return told


class NoiseKind(StrEnum):
    """Kinds of noise."""

    student_t = "student_t"
    laplace = "laplace"
    normal = "normal"
    frontier = "frontier"
    binomial = "binomial"
    beta_binomial = "beta_binomial"
    negative_binomial = "negative_binomial"


class Worse(StrEnum):
    """The wrong side of a limit."""

    above = "above"
    below = "below"


RunsFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Table of runs, one a row: .csv or .parquet; or results of lm-evaluation-harness: .json, or a folder.",
    ),
]
FitFile = Annotated[Path, typer.Argument(metavar="FILE", help="A saved fit (.nc), from `bayesfit fit`.")]
LawText = Annotated[
    str,
    typer.Option(
        "--law",
        metavar="LAW",
        help="The law: an id, a card (.toml), or a formula such as 'loss = E + a*flops**-b'.",
    ),
]
Priors = Annotated[
    list[str] | None,
    typer.Option(
        "--prior",
        metavar="NAME=PRIOR",
        help="A prior, such as 'alpha=LogNormal(log(0.3), 0.6)'; a formula's parameters need one each; repeatable.",
    ),
]
HiddenAlong = Annotated[
    str | None,
    typer.Option("--scale", metavar="INPUT", help="Axis along which larger runs are hidden; compute unless told."),
]
Horizon = Annotated[
    float, typer.Option("--horizon", metavar="DECADES", help="How far beyond each cut runs are scored.")
]
StructureOption = Annotated[
    StructureKind,
    typer.Option(
        "--structure",
        metavar="KIND",
        help="How the law may be wrong: drift, an error of its own that widens beyond the runs; none, which trusts it; "
        "auto, drift for losses and accuracies by compute, parameters or tokens, from twelve runs (of each level) on.",
    ),
]
Record = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="Where the law drifts: your own record of how far laws do, a .toml file that TrackRecord.save wrote; that "
        "of public studies unless told.",
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="STUDY",
        help="Where the law drifts: a study or paper of the record whose evidence must not count. May be repeated.",
    ),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="GROUPS",
        help="Columns whose levels share priors, such as family,task; family:task is their interaction.",
    ),
]
Pool = Annotated[
    list[str] | None,
    typer.Option(
        "--pool",
        metavar="NAME=HOW",
        help="How a parameter varies over groups: complete, partial, correlated or none, such as alpha=complete, "
        "E.task=none; effects=correlated for all.",
    ),
]
Checkpoints = Annotated[
    str,
    typer.Option(
        "--checkpoints",
        metavar="COLUMN",
        help="The column that names the training run, where rows are checkpoints: each run has a shift of its own.",
    ),
]
NoiseOption = Annotated[
    NoiseKind | None,
    typer.Option(
        "--noise",
        metavar="KIND",
        help="Other noise than the law's: student_t, laplace, normal, frontier (runs lie above the law); or a count: "
        "binomial, beta_binomial, negative_binomial.",
    ),
]
Column = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="ROLE=COLUMN", help="Which column is what, such as params=n_params; repeatable."),
]
Derive = Annotated[
    list[str] | None,
    typer.Option(
        "--derive", metavar="NAME=FORMULA", help="Compute an input, such as 'flops = 6*params*tokens'; repeatable."
    ),
]
Loss = Annotated[
    str | None, typer.Option("--loss", metavar="COLUMN", help="Column of the loss, where it is not 'loss'.")
]
LossSe = Annotated[
    str | None, typer.Option("--loss-se", metavar="COLUMN", help="Column of the loss's measured standard error.")
]
NItems = Annotated[
    str | None, typer.Option("--n-items", metavar="COLUMN", help="Column of the number of evaluation items.")
]
Models = Annotated[
    Path | None,
    typer.Option(
        "--models", metavar="FILE", help="Table with a column 'model', whose params, tokens, family, ... are joined."
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="NAMES",
        help="Columns that are tasks, such as hellaswag,piqa or piqa=COLUMN; of result files, the tasks wanted.",
    ),
]
Metric = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="Metric of result files to prefer to acc; repeatable."),
]
Chance = Annotated[
    list[str] | None,
    typer.Option("--chance", metavar="TASK=NUMBER", help="Accuracy of guessing on a task; repeatable."),
]
Allow = Annotated[
    list[Allowed] | None,
    typer.Option(
        "--allow",
        metavar="FAULT",
        help="Take a fault of the table as meant: units, one_group, few_runs or collinear; repeatable.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="An input or group of the run to forecast; params=7B,70B makes two runs."
    ),
]
Unconverged = Annotated[
    bool,
    typer.Option("--allow-unconverged", metavar="", help="Go on though the fit fails its checks; results are marked."),
]
OutputName = Annotated[
    str | None,
    typer.Option(
        "--output", metavar="NAME", help="Output to forecast, for a law with several; unless told the accuracy."
    ),
]
Prob = Annotated[float, typer.Option("--prob", metavar="P", help="Probability of the intervals.")]
Tune = Annotated[int, typer.Option("--tune", metavar="N", min=1, help="Warm-up draws, per chain.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed; the same seed gives the same result.")]
Json = Annotated[
    bool, typer.Option("--json", metavar="", help="Print one JSON document on standard output, nothing else.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Print results only: no progress, no hints.")]


def tell_unused(record: Path | None, without: Sequence[str]) -> None:
    """Say that --record and --without had no say, for a law that "auto" trusts."""
    if record is None and not without:
        return
    from bayesfit.cli.screen import tell_warning

    tell_warning(
        f"{'--without' if record is None else '--record'} had no say: --structure auto trusts this law on these runs; "
        "--structure drift lets it drift"
    )
