"""What people read: texts, tables and messages; and the one JSON document that programs read."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from bayesfit.diagnostics import Diagnostics

#: Whole numbers below this are written out, as counts of runs are; larger ones are mostly sizes.
_SHORT = 100_000


class Screen:
    """Where a command writes.

    Parameters
    ----------
    json
        Whether standard output is for one JSON document; texts then go to standard error and
        tables, which the document repeats, nowhere.
    quiet
        Whether to leave out what is not a result.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json, self.quiet = json, quiet
        self.console = Console(stderr=json, highlight=False)

    @property
    def live(self) -> bool:
        """Whether to show progress: on a terminal, unless quiet."""
        return not self.quiet and sys.stderr.isatty()

    def say(self, text: str = "", style: str = "") -> None:
        """Write what is going on; kept back when quiet."""
        if not self.quiet:
            self.console.print(Text(text, style=style))

    def result(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Write a result; the JSON document has it otherwise."""
        if self.json:
            return
        if indent:
            self.console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))
        else:
            self.console.print(Text(text, style=style))

    def command(self, text: str) -> None:
        """Write a command to type, in one piece however narrow the screen, so that it can be copied."""
        if not self.quiet:
            self.console.print(Text(f"  {text}", style="cyan"), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = ()) -> None:
        """Write a table of texts; columns in `right` are aligned to the right and never folded."""
        if not self.json:
            self._print(_table(columns, list(rows), set(right)))

    def frame(self, frame: pd.DataFrame, index: str | None = None) -> None:
        """Write a table of numbers and names; `index` heads its labels, which are left out without it.

        On a narrow screen the heads are broken over lines; if that does not help, rows become columns.
        """
        if self.json:
            return
        columns = [str(name) for name in frame.columns]
        right = {str(name) for name in frame.columns if frame[name].dtype.kind in "fiu"}
        rows = [[shown(value) for value in row] for row in frame.itertuples(index=False)]
        if index is not None:
            rows = [[str(label), *row] for label, row in zip(frame.index, rows, strict=True)]
            columns = [index, *columns]
        broken = {name: name.replace("_", "_\n") for name in columns}
        # labels are the heads then
        turned = [[name, *(row[i] for row in rows)] for i, name in enumerate(columns) if index is None or i]
        heads = ["", *(str(label) for label in frame.index)]
        for table in (
            _table(columns, rows, right, whole=True),
            _table([broken[name] for name in columns], rows, {broken[name] for name in right}, whole=True),
            _table(heads, turned, set(heads[1:]), whole=True),
        ):
            if self._needs(table) <= self.console.width:
                self.console.print(table)
                return
        self._print(_table(columns, rows, right, whole=True))

    def _print(self, table: Table) -> None:
        # in a pipe every row keeps to its line, for grep; so does a table that no screen can hold
        piped = not self.console.is_terminal and "COLUMNS" not in os.environ
        folds = any(not column.no_wrap for column in table.columns)
        if piped or not folds:
            wide = Console(stderr=self.json, highlight=False, width=max(self._needs(table), self.console.width))
            wide.print(table, crop=False, soft_wrap=False)
        else:
            self.console.print(table)

    def _needs(self, table: Table) -> int:
        return self.console.measure(table, options=self.console.options.update(max_width=10_000)).maximum

    def checks(self, report: Diagnostics) -> None:
        """Write the checks of a fit, and what to do about those that do not hold."""
        rows = []
        for result in report.results:
            word = Text("ok", style="green") if result.passed else Text("FAIL", style="bold red")
            rows.append((word, result.name, result.found, result.needed))
        self.table(("", "check", "found", "needed"), rows)
        for result in report.failures:
            self.result(f"{result.name}: {result.advice}", "red")

    def document(self, content: Any) -> None:
        """Write the JSON document."""
        print(json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False))


def checks(report: Diagnostics) -> list[dict[str, Any]]:
    """Return what a JSON document says of the checks of a fit."""
    return [
        {"name": r.name, "passed": r.passed, "found": r.found, "needed": r.needed, "advice": r.advice}
        for r in report.results
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], right: set[str], *, whole: bool = False) -> Table:
    """Return a table; `whole` keeps every cell in one piece."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name in columns:
        numeric = name in right
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(Text(name), justify=justify, no_wrap=numeric or whole, overflow="fold", vertical="top")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return table


def shown(value: Any) -> str:
    """Return a cell: numbers with 4 significant digits, whole numbers as they are while they are short."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return str(value)
    if math.isnan(value):
        return "-"
    if isinstance(value, Integral) and abs(int(value)) < _SHORT:
        return str(value)
    # results keep their zeros (1.600), so that columns line up; counts do not (7e+10)
    text = f"{value:#.4g}" if 1e-3 <= abs(value) < 1e3 else f"{value:.4g}"
    return text.rstrip(".")


def brief(value: float) -> str:
    """Return a number with 4 significant digits, for a sentence."""
    return f"{value:.4g}".replace("e+0", "e").replace("e+", "e")


def plain(content: Any) -> Any:
    """Return what JSON can hold: NaN and infinities as null, numpy's numbers as Python's."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, str | None | bool):
        return content
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if hasattr(content, "tolist"):
        return plain(content.tolist())
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    return content if isinstance(content, int) else str(content)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table as a list of rows for the JSON document."""
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def tell_error(message: str) -> None:
    """Write an error to standard error."""
    _tell("error", "bold red", message)


def tell_warning(message: str) -> None:
    """Write a warning to standard error, as one line."""
    _tell("warning", "yellow", message)


def _tell(word: str, style: str, message: str) -> None:
    text = Text.assemble((f"{word}: ", style), message)
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)
