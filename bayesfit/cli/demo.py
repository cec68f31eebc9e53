"""`bayesfit demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bayesfit.cli.options import Quiet


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Folder to write the fit and the figures in.")
    ] = Path("demo"),
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=4, help="Draws kept, per chain.")] = 2000,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Seed; the same seed gives the same result.")
    ] = 1,
    quiet: Quiet = False,
) -> None:
    """Fit built-in open models up to 7B, and forecast the larger ones beside what they scored."""
    from bayesfit.cli.screen import Screen, tell_error
    from bayesfit.demo import run_demo

    if not run_demo(out, draws=draws, seed=seed, screen=Screen(quiet=quiet)):
        tell_error("the demo's fit fails its checks, so its forecasts are not to be believed")
        raise typer.Exit(1)
