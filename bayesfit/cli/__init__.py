"""The command line.

Exit codes: 0 done; 1 the work failed (faults in the data, checks that do not hold, a file that cannot
be used); 2 it was asked for in a way that cannot be understood; 130 interrupted.
"""

from __future__ import annotations

import re
import sys
import warnings
from types import TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bayesfit.cli.backtests import backtest
from bayesfit.cli.comparisons import compare
from bayesfit.cli.demo import demo
from bayesfit.cli.fits import fit, plot
from bayesfit.cli.forecasts import forecast, risk
from bayesfit.cli.laws import laws
from bayesfit.cli.observational import capabilities
from bayesfit.cli.screen import tell_error, tell_warning
from bayesfit.cli.tables import check_data, simulate
from bayesfit.errors import BayesfitError, BayesfitWarning, SpecError

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


class _Commands(TyperGroup):
    """The commands; what goes wrong in one becomes a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        debug = bool(ctx.params.get("debug"))
        with warnings.catch_warnings():
            warnings.simplefilter("always", BayesfitWarning)
            _show_own_warnings()
            try:
                return super().invoke(ctx)
            except BrokenPipeError:
                # the reader of our output went away (`| head`); typer ends quietly
                raise
            except (BayesfitError, OSError) as error:
                if debug:
                    raise
                tell_error(str(error))
                raise typer.Exit(MISUSED if isinstance(error, SpecError) else FAILED) from None
            except KeyboardInterrupt:
                if debug:
                    raise
                tell_error("interrupted")
                raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]bayesfit demo[/bold]; each command has its own [bold]--help[/bold].",
)


def _version(asked: bool) -> None:
    if asked:
        from bayesfit import __version__

        print(f"bayesfit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Print the version and leave."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", metavar="", help="Show where an error came from (the traceback).")
    ] = False,
) -> None:
    """Fit scaling laws to small runs, and forecast large ones with honest bands."""
    if debug:
        sys.excepthook = sys.__excepthook__


app.command("demo")(demo)
app.command("laws")(laws)
app.command("check-data")(check_data)
app.command("simulate")(simulate)
app.command("fit")(fit)
app.command("compare")(compare)
app.command("backtest")(backtest)
app.command("capabilities")(capabilities)
app.command("forecast")(forecast)
app.command("risk")(risk)
app.command("plot")(plot)


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.excepthook = _unexpected
    # called itself, the app would put its own hook in place of ours
    typer.main.get_command(app)(prog_name="bayesfit")


def _show_own_warnings() -> None:
    """Print our own warnings as one line; `warnings.catch_warnings` puts the usual way back."""
    usual = warnings.showwarning

    def show(message: Any, category: Any, filename: Any, lineno: Any, file: Any = None, line: Any = None) -> None:
        if issubclass(category, BayesfitWarning):
            text = re.sub(r"(\W)\n\s*", r"\1 ", str(message))
            tell_warning(re.sub(r"\n\s*", "; ", text))
        else:
            usual(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def _unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what Python would show with a traceback, for an error that is a fault of this package."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        tell_error(
            f"unexpected {kind.__name__}: {error}\nThis is a fault of bayesfit. `bayesfit --debug ...` shows where "
            f"it comes from; please report that."
        )
