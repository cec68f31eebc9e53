"""Find laws: the cards that come with the package, and cards of your own by path."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

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
    """Return the files of laws; what was learnt from studies has a folder of its own."""
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


def prior_card(name: str | Path, what: str, key: str) -> tuple[str, dict[str, Any]]:
    """Return the file name and the table of what was learnt from studies: of ``models/priors``, or a file by path.

    Parameters
    ----------
    name
        Its name, or the path of a ``.toml`` file.
    what, key
        What it is, in words, and a key that only such tables have.

    Raises
    ------
    SpecError
        If there is none of that name, or its text is not TOML.
    """
    folder = models_folder() / "priors"
    path = Path(name) if str(name).endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        # populations and track records share the folder
        texts = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.toml"))}
        known = [stem for stem, text in texts.items() if key in text]
        raise SpecError(
            f"there is no {what} '{name}'{nearest(str(name), known)}; known: {', '.join(known) or 'none'}, or the "
            f"path of a .toml file"
        )
    try:
        return path.name, tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path.name} is not valid TOML: {error}") from None


def search(words: str) -> Iterator[Law]:
    """Yield the laws whose names, title, summary, references or papers served hold every word."""
    wanted = words.lower().split()
    for entry in laws():
        parts = (entry.id, *entry.aliases, entry.title, entry.summary, *entry.reference, *entry.serves)
        text = " ".join((*parts, *(published.source for published in entry.published.values()))).lower()
        if all(word in text for word in wanted):
            yield entry
