"""Model cards: the TOML text of a `Law`, read and written."""

from __future__ import annotations

import math
import reprlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any

from bayesfit.card import (
    STANDARD_INPUTS,
    Check,
    Derived,
    Input,
    Law,
    Limits,
    Output,
    Parameter,
    Published,
    Recovery,
)
from bayesfit.errors import SpecError, nearest
from bayesfit.expression import parse_equations, parse_expression
from bayesfit.noise import Noise
from bayesfit.population import Population
from bayesfit.priors import Prior

#: The card's tables, in the order in which they are written; the plain keys come first.
_TABLES = (
    *("inputs", "outputs", "parameters", "fixed", "derived", "from_paper"),
    *("levels", "published", "limits", "recovery", "population"),
)
_TYPES = {
    **dict.fromkeys(("id", "title", "summary", "kind", "verified", "equations"), "str"),
    **dict.fromkeys(("aliases", "reference", "serves"), "tuple[str, ...]"),
    "checks": "list",
    **dict.fromkeys(_TABLES, "Mapping"),
}
_NEEDED = ("id", "equations", "outputs", "parameters")
#: What a field's annotation asks of the card.
_ASKS: Mapping[str, tuple[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("str", "Role", "Verified", "Kind", "Scale", "Support", "Prior", "Expression"), ("a text", str)),
    "bool": ("true or false", bool),
    "int": ("a whole number", int),
    **dict.fromkeys(("float", "float | None"), ("a number", (int, float))),
    **dict.fromkeys(("Mapping", "Noise"), ("a table", dict)),
    **dict.fromkeys(("tuple", "list"), ("a list", list)),
}


def read_card(text: str, *, kind: str = "", origin: str = "the card") -> Law:
    """Read a law from the text of its card.

    Parameters
    ----------
    text
        TOML.
    kind
        What kind of law it is, where the card does not say; the catalogue gives the folder's name.
    origin
        Where the text came from, for messages.

    Raises
    ------
    SpecError
        For text that is not TOML, an unknown or missing key, or a law that does not fit together.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SpecError(f"{origin} is not valid TOML: {error}") from None
    try:
        return _law(table, kind)
    except SpecError as error:
        raise SpecError(f"{origin}: {error}") from None


def card_toml(law: Law) -> str:
    """Write a law as the text of a card; `read_card` gives the same law back."""
    import tomli_w

    table: dict[str, Any] = {
        "id": law.id,
        "title": law.title,
        "summary": law.summary,
        "kind": law.kind,
        "verified": law.verified,
        "aliases": list(law.aliases),
        "reference": list(law.reference),
        "serves": list(law.serves),
        "equations": law.text + "\n",
        "inputs": {name: _told(part) for name, part in law.inputs.items()},
        "outputs": {
            name: {**_told(part, but=("noise",)), "noise": part.noise.to_mapping()}
            for name, part in law.outputs.items()
        },
        "parameters": {
            name: {"prior": part.prior.text, **_told(part, but=("prior",))} for name, part in law.parameters.items()
        },
        "fixed": dict(law.fixed),
        "derived": {
            name: {"formula": part.formula.text, **_told(part, but=("formula",))} for name, part in law.derived.items()
        },
        "from_paper": {name: formula.text for name, formula in law.from_paper.items()},
        "levels": {dim: list(names) for dim, names in law.levels.items()},
        "published": {name: _told(part) for name, part in law.published.items()},
        "limits": _told(law.limits),
        "recovery": _told(law.recovery) if law.recovery else {},
        "population": law.population.to_mapping() if law.population else {},
        "checks": [_told(check) for check in law.checks],
    }
    told = {key: value for key, value in table.items() if key in _NEEDED or value not in ("", [], {})}
    return tomli_w.dumps(told, multiline_strings=True)


def _told(part: Any, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a part, ready for TOML; empty ones only where leaving them out would fill them in."""
    filled = {entry.name for entry in fields(part) if entry.default not in ("", MISSING)}
    if isinstance(part, Input):
        filled = {"about", "unit", "symbol", "support"}
    return {
        key: value
        for key, value in asdict(part).items()
        if key not in but and value is not None and (key in filled or value not in ("", {}, ()))
    }


def _law(table: Mapping[str, Any], kind: str) -> Law:
    _only(table, _TYPES, "a card")
    for key in _NEEDED:
        if key not in table:
            raise SpecError(f"missing key '{key}'")
    recovery = table.get("recovery")
    return Law(
        id=table["id"],
        title=table.get("title", ""),
        summary=table.get("summary", ""),
        kind=table.get("kind", kind),
        aliases=tuple(table.get("aliases", ())),
        reference=tuple(table.get("reference", ())),
        verified=table.get("verified", ""),
        serves=tuple(table.get("serves", ())),
        equations=parse_equations(table["equations"]),
        inputs=_each(table, "inputs", _input),
        outputs=_each(table, "outputs", _output),
        parameters=_each(table, "parameters", _parameter),
        fixed=_floats(table.get("fixed", {}), "fixed"),
        derived=_each(table, "derived", _derived),
        from_paper={name: parse_expression(text) for name, text in _texts(table, "from_paper", "a card").items()},
        levels={dim: _words(names, f"levels.{dim}") for dim, names in table.get("levels", {}).items()},
        published=_each(table, "published", _published),
        checks=tuple(_check(entry) for entry in table.get("checks", ())),
        limits=_limits(table.get("limits", {})),
        recovery=None if recovery is None else _recovery(recovery),
        population=Population.from_mapping(table["population"]) if "population" in table else None,
    )


def _each[T](table: Mapping[str, Any], key: str, read: Callable[[str, Mapping[str, Any]], T]) -> dict[str, T]:
    return {name: read(name, entry) for name, entry in table.get(key, {}).items()}


def _input(name: str, entry: Mapping[str, Any]) -> Input:
    standard = asdict(STANDARD_INPUTS[name]) if name in STANDARD_INPUTS else {}
    return Input(**{**standard, **_only(entry, _types(Input), f"inputs.{name}")})


def _output(name: str, entry: Mapping[str, Any]) -> Output:
    told = _only(entry, _types(Output), f"outputs.{name}")
    noise = _only(told.get("noise", {}), _types(Noise), f"outputs.{name}.noise")
    return Output(**{**told, "noise": Noise.from_mapping(noise)})


def _parameter(name: str, entry: Mapping[str, Any]) -> Parameter:
    told = _only(entry, _types(Parameter), f"parameters.{name}")
    if "prior" not in told:
        raise SpecError(f'parameters.{name} needs a prior, such as prior = "LogNormal(log(0.3), 0.6)"')
    return Parameter(**{**told, "prior": Prior.parse(told["prior"])})


def _derived(name: str, entry: Mapping[str, Any]) -> Derived:
    told = _only(entry, _types(Derived), f"derived.{name}")
    if "formula" not in told:
        raise SpecError(f"derived.{name} needs a formula")
    return Derived(**{**told, "formula": parse_expression(told["formula"])})


def _published(name: str, entry: Mapping[str, Any]) -> Published:
    where = f"published.{name}"
    told = _only(entry, _types(Published), where)
    for key in ("source", "values", "verified"):
        if key not in told:
            raise SpecError(f"{where} needs '{key}'")
    intervals = {}
    for key, ends in told.get("intervals", {}).items():
        interval = _numbers(ends, f"{where}.intervals.{key}")
        if len(interval) != 2:
            raise SpecError(f"{where}.intervals.{key} must be [low, high], found {reprlib.repr(ends)}")
        intervals[key] = (interval[0], interval[1])
    values, se = _floats(told["values"], f"{where}.values"), _floats(told.get("se", {}), f"{where}.se")
    return Published(**{**told, "values": values, "intervals": intervals, "se": se})


def _check(entry: Mapping[str, Any]) -> Check:
    told = _only(entry, _types(Check), "checks")
    if not told.get("expect") or not all(isinstance(value, str) for value in told["expect"].values()):
        raise SpecError('a check needs expect = { loss = "1.92084" }, a text with the digits that hold')
    numbers = {name: _floats(told.get(name, {}), f"checks.{name}") for name in ("inputs", "parameters")}
    return Check(**{**told, **numbers})


def _limits(entry: Mapping[str, Any]) -> Limits:
    told = _only(entry, _types(Limits), "limits")
    return Limits(**{**told, "monotone": _texts(told, "monotone", "limits")})


def _recovery(entry: Mapping[str, Any]) -> Recovery:
    told = _only(entry, _types(Recovery), "recovery")
    for key in ("truth", "inputs"):
        if key not in told:
            raise SpecError(f"recovery needs '{key}'")
    inputs = {name: _numbers(values, f"recovery.inputs.{name}") for name, values in told["inputs"].items()}
    return Recovery(**{**told, "truth": _floats(told["truth"], "recovery.truth"), "inputs": inputs})


def _floats(values: Mapping[str, Any], where: str) -> dict[str, float]:
    for name, value in values.items():
        _ask(value, "float", f"{where}.{name}")
    return {name: float(value) for name, value in values.items()}


def _numbers(values: Any, where: str) -> tuple[float, ...]:
    _ask(values, "list", where)
    for value in values:
        _ask(value, "float", f"an entry of {where}")
    return tuple(float(value) for value in values)


def _words(texts: Any, where: str) -> tuple[str, ...]:
    _ask(texts, "tuple[str, ...]", where)
    return tuple(texts)


def _texts(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, str]:
    """Return a table of texts within a table."""
    texts: Mapping[str, str] = table.get(key, {})
    for name, text in texts.items():
        _ask(text, "str", f"{key}.{name} in {where}")
    return texts


def _types(part: type) -> dict[str, str]:
    """Return the keys of a part with their annotations, which this package keeps as texts."""
    return {entry.name: str(entry.type) for entry in fields(part)}


def _only(entry: Mapping[str, Any], known: Mapping[str, str], where: str) -> dict[str, Any]:
    """Return a copy of a table of the card, refusing keys that nobody reads and values of another type."""
    _ask(entry, "Mapping", where)
    for key, value in entry.items():
        if key not in known:
            raise SpecError(f"unknown key '{key}' in {where}{nearest(key, known)}; known: {', '.join(known)}")
        _ask(value, known[key], f"'{key}' in {where}")
    return dict(entry)


def _ask(value: Any, annotation: str, where: str) -> None:
    """Refuse a value of the wrong type."""
    wanted, types = _ASKS[annotation.partition("[")[0]]
    right = isinstance(value, types) and (types is bool or not isinstance(value, bool))
    if not right or (isinstance(value, float) and not math.isfinite(value)):
        raise SpecError(f"{where} must be {wanted}, found {reprlib.repr(value)}")
    if annotation == "tuple[str, ...]" and isinstance(value, list):
        for text in value:
            _ask(text, "str", f"an entry of {where}")
