"""The demonstration: open models up to 7B fitted, the larger ones forecast and compared with what they scored."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bayesfit.cli.fits import sampling, show_fit
from bayesfit.cli.reading import suggestion
from bayesfit.cli.screen import Screen, brief
from bayesfit.cli.tables import describe
from bayesfit.errors import ConvergenceWarning

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bayesfit.fitting import Fit
    from bayesfit.forecast import Forecast
    from bayesfit.runs import Runs

#: Models up to this many parameters are fitted; the larger are held out.
LARGEST = 7e9
#: The law of the demonstration and the group whose levels share priors.
LAW, GROUP = "cerebras_c", "family"
PROB = 0.9


def run_demo(out: Path, *, draws: int = 2000, seed: int = 1, screen: Screen | None = None) -> bool:
    """Run the demonstration and say what it does.

    Parameters
    ----------
    out
        Folder for ``fit.nc``, ``band.png`` and ``residuals.png``; made if need be.
    draws
        Draws kept, per chain.
    seed
        Seed of the sampler.
    screen
        Where to write.

    Returns
    -------
    bool
        Whether the fit passes its checks.
    """
    screen = screen or Screen()
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    screen.say("1. Read the runs", "bold")
    from bayesfit import datasets

    runs = datasets.open_models()
    held = runs.values("params") > LARGEST
    small, large = runs.select(~held), runs.select(held)
    small, large = _without_model(small), large
    screen.say(
        f"{len(runs)} open language models with their loss on the Pile (Cerebras-GPT paper, arXiv:2304.03208). "
        f"The {len(small)} of up to {brief(LARGEST)} parameters are fitted; the {len(large)} larger ones are held out."
    )
    describe(screen, small)
    screen.say("\n2. Fit", "bold")
    with sampling(screen):
        from bayesfit.catalog import law
        from bayesfit.fitting import fit

        found = law(LAW)
        screen.say(f"Law {found.id}, by {GROUP}: {found.text}")
        screen.say("Each family has coefficients of its own, drawn from one population. Sampling takes half a minute.")
        done = fit(small, found, by=[GROUP], draws=draws, seed=seed, progress=screen.live)
        passed = done.check().passed
    path = done.save(out / "fit.nc")
    show_fit(screen, done)
    screen.result("\n3. Forecast the models held out, and compare", "bold")
    with warnings.catch_warnings():
        # the checks were shown above, and the demo ends by saying that they fail
        warnings.simplefilter("ignore", ConvergenceWarning)
        forecast = done.forecast(large.table[["family", "flops"]], allow_unconverged=True)
    table, inside = _compared(forecast, large)
    screen.frame(table)
    screen.result(f"{inside} of {len(large)} lie inside their {100 * PROB:g}% band.")
    outside = [name for name, word in zip(table["model"], table["inside"], strict=True) if word == "no"]
    if outside:
        screen.say(
            f"Outside: {', '.join(outside)}. A band assumes that the law holds at the larger size and that families "
            f"resemble one another; these were trained on different token budgets."
        )
    for name in sorted({*large.levels(GROUP)} - {*small.levels(GROUP)}):
        screen.say(f"No {name} was fitted: it is drawn from the population of families, so its band is wide.")
    figures = _figures(done, forecast, large, out)
    written = ", ".join(str(part) for part in (path, *figures))
    screen.result(f"\nWrote {written} in {time.monotonic() - start:.0f} s (seed {seed}).")
    if passed:
        screen.say("\nNext:", "bold")
        screen.command(f"bayesfit forecast {path} {suggestion(done)}")
        screen.command(f"bayesfit risk {path} --limit 1.6 {suggestion(done)}")
        screen.command(f"bayesfit plot {path} --kind prior-posterior --out {out / 'priors.png'}")
        screen.command("bayesfit laws")
        screen.command("bayesfit check-data YOUR_RUNS.csv --law chinchilla --by family")
    return passed


def _without_model(runs: Runs) -> Runs:
    """Return the runs without the column that names each model, which is not a group to pool over."""
    from dataclasses import replace

    return replace(runs, groups=(GROUP,), table=runs.table.drop(columns="model"))


def _compared(forecast: Forecast, large: Runs) -> tuple[pd.DataFrame, int]:
    """Return forecasts beside true values, and how many lie inside their band."""
    import pandas as pd

    true = large.values("loss")
    ends = forecast.interval(PROB)
    lower, upper = ends["lower"].to_numpy(), ends["upper"].to_numpy()
    inside: np.ndarray = (lower <= true) & (true <= upper)
    table = pd.DataFrame(
        {
            "model": list(large.table["model"]),
            "flops": large.values("flops"),
            "forecast": forecast.quantiles([0.5])[0.5].to_numpy(),
            "lower": lower,
            "upper": upper,
            "true": true,
            "inside": ["yes" if one else "no" for one in inside],
        }
    )
    return table, int(inside.sum())


def _figures(fit: Fit, forecast: Forecast, truth: Runs, out: Path) -> list[Path]:
    import matplotlib

    # files are written, also on a machine whose settings ask for windows
    matplotlib.use("Agg")
    from bayesfit.cli.files import whole
    from bayesfit.plots import plot_band, plot_residuals

    figures = {"band.png": plot_band(fit, forecast=forecast, truth=truth), "residuals.png": plot_residuals(fit)}
    for name, figure in figures.items():
        with whole(out / name) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    return [out / name for name in figures]
