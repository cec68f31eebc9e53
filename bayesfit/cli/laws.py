"""`bayesfit laws`: what is in the catalogue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from bayesfit.cli.screen import Screen, brief
from bayesfit.errors import SpecError
from bayesfit.expression import SUMMARIES

if TYPE_CHECKING:
    from bayesfit.card import Check, Law, Published

#: How far published numbers were verified, in words.
_VERIFIED = {
    "read": "form and numbers read in the source",
    "form read": "form read in the source, some numbers from memory",
    "abstract": "from the abstract only",
    "memory": "from memory, not verified",
}
#: The scales on which outputs scatter, in words.
_SCALES = {"log": "the log", "logit": "the log-odds", "identity": "it"}


def laws(
    name: Annotated[
        str | None, typer.Argument(metavar="LAW", help="Show this law in full: an id, an alias, or the path of a card.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search", metavar="WORDS", help="List only laws whose names, title or references hold these words."
        ),
    ] = None,
    latex: Annotated[
        bool, typer.Option("--latex", metavar="", help="Print the law's equations in LaTeX, nothing else.")
    ] = False,
    toml: Annotated[
        bool, typer.Option("--toml", metavar="", help="Print the law's card, to copy and change, nothing else.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON document.")] = False,
) -> None:
    """List the laws, or show one in full."""
    from bayesfit.catalog import law as find
    from bayesfit.catalog import laws as everything
    from bayesfit.catalog import search as matching

    screen = Screen(json=json)
    if name is None:
        if latex or toml:
            raise SpecError(f"{'--latex' if latex else '--toml'} is for one law: bayesfit laws NAME --latex")
        found = tuple(matching(search)) if search is not None else everything()
        if json:
            screen.document([_listed(law) for law in found])
        elif found:
            _list(screen, found, papers=search is not None)
        else:
            raise SpecError(f"no law matches '{search}'; `bayesfit laws` lists them all")
        return
    if search is not None:
        raise SpecError("--search lists laws; leave out NAME")
    if latex + toml + json > 1:
        raise SpecError("--latex, --toml and --json exclude one another; choose one")
    law = find(name)
    if latex:
        print(law.latex)
    elif toml:
        print(_card(law, name), end="")
    elif json:
        screen.document(_whole(law))
    else:
        _show(screen, law, name)


def _list(screen: Screen, found: tuple[Law, ...], *, papers: bool) -> None:
    """Write a line a law, under its kind, so that titles have room; what was searched for is often a paper."""
    rows: list[tuple[str | Text, ...]] = []
    for kind in dict.fromkeys(law.kind for law in found):
        rows.append((Text(kind, style="bold"), "", ""))
        rows += [(f"  {law.id}", law.title, _paper(law)) for law in found if law.kind == kind]
    columns = ("law", "what it is", "paper") if papers else ("law", "what it is")
    screen.table(columns, [row[: len(columns)] for row in rows])
    screen.say()
    screen.say("One in full, with its inputs, priors and papers:")
    screen.command(f"bayesfit laws {found[0].id}")


def _paper(law: Law) -> str:
    """Return authors and year of the first reference."""
    if not law.reference:
        return ""
    short = re.match(r"(.*?) (\d{4})\b", law.reference[0])
    if short is None:
        return law.reference[0]
    authors = short[1].split(", ")
    return f"{authors[0] + ' et al.' if len(authors) > 2 else short[1]} {short[2]}"


def _listed(law: Law) -> dict[str, Any]:
    return {
        "id": law.id,
        "title": law.title,
        "kind": law.kind,
        "aliases": law.aliases,
        "inputs": list(law.inputs),
        "outputs": list(law.outputs),
        "parameters": list(law.parameters),
        "formula": law.text,
        "verified": law.verified,
        "reference": law.reference,
        "serves": law.serves,
    }


def _whole(law: Law) -> dict[str, Any]:
    import tomllib

    from bayesfit.card_file import card_toml

    return {"kind": law.kind, "latex": law.latex, **tomllib.loads(card_toml(law))}


def _card(law: Law, name: str) -> str:
    """Return the card as its author wrote it, comments and all."""
    from pathlib import Path

    from bayesfit.catalog import models_folder

    own = name.endswith(".toml")
    path = Path(name) if own else models_folder() / law.kind / f"{law.id}.toml"
    return path.read_text(encoding="utf-8")


def _show(screen: Screen, law: Law, name: str) -> None:
    def heading(text: str) -> None:
        screen.result(f"\n{text}", "bold")

    screen.result(f"{law.id}: {law.title}", "bold")
    also = f"; also called {', '.join(law.aliases)}" if law.aliases else ""
    screen.result(f"{law.kind}{also}", "dim")
    if law.summary:
        screen.result("\n" + " ".join(law.summary.split()))
    heading("Formula")
    for line in law.text.splitlines():
        screen.result(line, indent=2)
    if any(f"{summary}." in law.text for summary in SUMMARIES):
        screen.result("  ref.x is the geometric mean of x over the fitted runs", "dim")
    heading("Inputs and outputs")
    rows = [(name, "input", part.unit, part.about, "") for name, part in law.inputs.items()]
    for name_, output in law.outputs.items():
        noise = f"{output.noise.kind} on {_SCALES[output.noise.on]}"
        if output.noise.counted:
            noise = f"{output.noise.kind} of {output.noise.trials}"
        rows.append((name_, "output", output.unit, output.about, noise))
    screen.table(("name", "", "unit", "about", "noise"), rows)
    heading("Parameters")
    parameters = []
    for key, parameter in law.parameters.items():
        prior = f"fixed at {law.fixed[key]:.4g}" if key in law.fixed else parameter.prior.text
        about = parameter.about + ("" if parameter.varies else " (the same in every group)")
        parameters.append((key, parameter.role, prior, parameter.unit, about))
    screen.table(("name", "role", "prior", "unit", "about"), parameters)
    if law.derived:
        heading("Derived")
        derived = [(key, part.formula.text, part.unit, part.about) for key, part in law.derived.items()]
        screen.table(("name", "formula", "unit", "about"), derived)
    for key, published in law.published.items():
        heading(f"Published: {key}")
        _published(screen, published)
    if law.checks:
        heading("Checks")
        for check in law.checks:
            screen.result(_check(check), indent=2)
    limits = [f"{trend} in {key}" for key, trend in law.limits.monotone.items()]
    limits += [
        f"{word} {text}" for word, text in (("floor", law.limits.floor), ("ceiling", law.limits.ceiling)) if text
    ]
    if limits:
        heading("Limits")
        screen.result(f"  {'; '.join(limits)}")
    if law.verified:
        heading("Verified")
        screen.result(f"the formula: {_VERIFIED[law.verified]}", indent=2)
    for title, papers in (("References", law.reference), ("Serves", law.serves)):
        if papers:
            heading(title)
            for paper in papers:
                screen.result(paper, indent=2)
    screen.say()
    screen.say("Fit it:")
    screen.command(f"bayesfit fit RUNS.csv --law {name}")


def _published(screen: Screen, published: Published) -> None:
    screen.result(published.source)
    screen.result(f"verified: {_VERIFIED[published.verified]}", "dim")
    rows = []
    for key, value in published.values.items():
        ends = published.intervals.get(key)
        # as many digits as the paper printed
        interval = f"{ends[0]:.6g} to {ends[1]:.6g}" if ends else ""
        rows.append((key, f"{value:.6g}", interval, f"{published.se[key]:.6g}" if key in published.se else ""))
    columns = ["coefficient", "value", f"{100 * published.prob:g}% interval", "se"]
    kept = [i for i in range(4) if i < 2 or any(row[i] for row in rows)]
    screen.table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], right=("value", "se"))


def _check(check: Check) -> str:
    whose = check.published or ", ".join(f"{key} {brief(value)}" for key, value in check.parameters.items())
    at = ", ".join(f"{key} {brief(value)}" for key, value in check.inputs.items())
    gives = ", ".join(f"{key} {text}" for key, text in check.expect.items())
    return f"{whose}{f', at {at}' if at else ''}: {gives}"
