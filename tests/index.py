"""The table of all cards in models/README.md; ``python -m tests.index`` writes it anew."""

from __future__ import annotations

import re

from bayesfit.catalog import laws, models_folder

CARDS = [models_folder() / card.kind / f"{card.id}.toml" for card in laws()]
README = models_folder() / "README.md"
MARKER = "<!-- index -->"


def index() -> str:
    """Return the table of all cards for models/README.md."""
    lines = ["| id | title | paper | kind |", "| --- | --- | --- | --- |"]
    for card in laws():
        where = f"{card.kind}/{card.id}.toml"
        lines.append(f"| [`{card.id}`]({where}) | {card.title} | {paper(card.reference[0])} | {card.kind} |")
    return "\n".join(lines)


def paper(reference: str) -> str:
    """Return "Authors year", linked where the reference has an arXiv number."""
    match = re.match(r"(.+? \d{4}),", reference)
    short = match[1] if match else reference
    number = re.search(r"arXiv:(\d{4}\.\d{4,5})", reference)
    return f"[{short}](https://arxiv.org/abs/{number[1]})" if number else short


if __name__ == "__main__":
    before, _, after = README.read_text(encoding="utf-8").split(MARKER)
    README.write_text(f"{before}{MARKER}\n{index()}\n{MARKER}{after}", encoding="utf-8")
