"""Files that commands write: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bayesfit.errors import SpecError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIGURES = (".png", ".pdf", ".svg")


def check_place(path: Path, option: str = "--out") -> None:
    """Refuse a place that cannot be written to, before the work is done rather than after.

    Raises
    ------
    SpecError
        If there is no such folder, or `path` is one.
    """
    if not path.parent.is_dir():
        raise SpecError(f"{option}: there is no folder {path.parent} to put {path.name} in; make it first")
    if path.is_dir():
        raise SpecError(f"{option}: {path} is a folder; name a file in it")


def check_figure(path: Path) -> None:
    """Refuse a place that no figure can be written to.

    Raises
    ------
    SpecError
        For an ending that is none of a figure's, or as `check_place`.
    """
    if path.suffix.lower() not in _FIGURES:
        raise SpecError(f"--out must end in {', '.join(_FIGURES)}, found {path.name}")
    check_place(path)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, and rename it when all is written.

    A kill at any moment leaves the old file or the new one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def draw(path: Path, figure: Callable[[], Figure]) -> None:
    """Draw a figure and write it, also on a machine whose settings ask for windows."""
    import matplotlib

    matplotlib.use("Agg")
    with whole(path) as temporary:
        figure().savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
