"""Every error and warning of the package, in one place.

A message says what was found, what was expected and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class BayesfitError(Exception):
    """Base of every error that the package raises on purpose."""


class SpecError(BayesfitError, ValueError):
    """A law, card, prior, pooling or argument that cannot be used as written."""


class FormulaError(SpecError):
    """A formula that the formula language refuses; names the offending part.

    Parameters
    ----------
    reason
        What is wrong and what is allowed instead.
    text
        The formula as it was given; the offending part is underlined in the message.
    start, end
        Character range of the offending part in `text`.
    """

    def __init__(self, reason: str, text: str = "", start: int = 0, end: int = 0) -> None:
        self.reason = reason
        super().__init__(reason + _underlined(text, start, end) if text else reason)


class DataError(BayesfitError, ValueError):
    """One or more faults in a table; `faults` holds them all.

    Parameters
    ----------
    faults
        Every fault found, not only the first.
    source
        Where the table came from, for the first line of the message.
    """

    def __init__(self, faults: Sequence[Fault], source: str = "the table") -> None:
        self.faults = tuple(faults)
        self.source = source
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{source} has {count}:", *(f"  - {fault}" for fault in faults)]))


class NotConvergedError(BayesfitError, RuntimeError):
    """A fit whose diagnostics fail was asked for a forecast."""


class StoredFitError(BayesfitError, ValueError):
    """A file that is not a readable, whole and untampered fit of this package."""


class BayesfitWarning(UserWarning):
    """Base of every warning that the package gives."""


class DataWarning(BayesfitWarning):
    """Something in the table that is allowed and probably not meant."""


class ExtrapolationWarning(BayesfitWarning):
    """A forecast far beyond the fitted runs."""


class ConvergenceWarning(BayesfitWarning):
    """A result taken from a fit whose diagnostics fail."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong with a table of runs.

    Parameters
    ----------
    message
        What was found and what was expected.
    remedy
        What the user can do about it.
    column, row, value
        Where it is, where it has a place: `row` is the 1-based data row (the header not
        counted) and `value` the cell as read.
    kind
        A short fixed word for the kind of fault, for programs (``"missing_column"``).
    """

    kind: str
    message: str
    remedy: str
    column: str | None = None
    row: int | None = None
    value: str | None = None

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (
                f"row {self.row}" if self.row is not None else "",
                f"column '{self.column}'" if self.column is not None else "",
            )
            if part
        )
        return f"{place}: {self.message}; {self.remedy}" if place else f"{self.message}; {self.remedy}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest known name, or an empty string."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _underlined(text: str, start: int, end: int) -> str:
    """Return the line that holds ``text[start:end]`` with that part underlined."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line = text[line_start : line_end if line_end >= 0 else len(text)]
    left, width = start - line_start, 76
    cut = max(0, left - width // 2)
    shown = line[cut : cut + width]
    length = max(1, min(end, line_start + len(line)) - start)
    mark = "^" * min(length, max(1, width - (left - cut)))
    return f"\n    {shown}\n    {' ' * (left - cut)}{mark}"
