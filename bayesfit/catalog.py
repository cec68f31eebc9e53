"""Find laws: the cards that come with the package, and cards of your own by path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from bayesfit.card import Law
from bayesfit.card_file import read_card
from bayesfit.errors import SpecError, nearest


def models_folder() -> Path:
    """Return the folder of cards: inside an installed package, or beside it in a checkout.

    Raises
    ------
    SpecError
        If neither holds any card.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "models", here.parent / "models"):
        if any(folder.glob("*/*.toml")):
            return folder
    raise SpecError(f"no model cards in {here / 'models'} or beside the package; reinstall bayesfit")


def _cards() -> list[Path]:
    """Return the files of laws; populations of their parameters have a folder of their own."""
    return sorted(path for path in models_folder().glob("*/*.toml") if path.parent.name != "priors")


@cache
def laws() -> tuple[Law, ...]:
    """Return every law of the catalogue, by kind and then by name."""
    return tuple(_read(path) for path in _cards())


def law(name: str | Path | Law) -> Law:
    """Return a law by its id or alias, or from a card of your own by path.

    Parameters
    ----------
    name
        ``"chinchilla"``, an alias such as ``"additive_nd"``, or the path of a ``.toml`` file; a law is
        returned as it is.

    Raises
    ------
    SpecError
        If there is no such law; the nearest name is suggested.
    """
    if isinstance(name, Law):
        return name
    if str(name).endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise SpecError(f"there is no card at {path}")
        return read_card(path.read_text(encoding="utf-8"), kind="own", origin=str(path))
    # ids are file names, so one law costs one file; aliases cost them all
    for path in _cards():
        if path.stem == str(name):
            return _read(path)
    for entry in laws():
        if name in entry.aliases:
            return entry
    known = [known_name for entry in laws() for known_name in (entry.id, *entry.aliases)]
    raise SpecError(f"there is no law '{name}'{nearest(str(name), known)}; `bayesfit laws` lists them")


@cache
def _read(path: Path) -> Law:
    entry = read_card(path.read_text(encoding="utf-8"), origin=f"models/{path.parent.name}/{path.name}")
    if entry.id != path.stem:
        raise SpecError(f"{path.name} holds the law '{entry.id}'; the file must carry its name")
    return replace(entry, kind=path.parent.name)


def search(words: str) -> Iterator[Law]:
    """Yield the laws whose names, title, summary, references or papers served hold every word."""
    wanted = words.lower().split()
    for entry in laws():
        parts = (entry.id, *entry.aliases, entry.title, entry.summary, *entry.reference, *entry.serves)
        text = " ".join((*parts, *(published.source for published in entry.published.values()))).lower()
        if all(word in text for word in wanted):
            yield entry
