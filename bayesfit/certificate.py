"""What a forecast's bands have been worth: how bands of this kind did at this distance before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesfit import datasets
from bayesfit.errors import SpecError, nearest
from bayesfit.scores import DISTANCES, LEVELS, distance_class

if TYPE_CHECKING:
    from bayesfit.backtesting import Backtest
    from bayesfit.discrepancy import Bands
    from bayesfit.forecast import Forecast

OWN, PUBLIC = "these runs", "public studies"
_KINDS: dict[Bands, str] = {
    "plain law": "the law is trusted",
    "path alone": "the law may drift, without an exponent on its terms",
    "drift": "the law may drift",
}
_INSIDE = [f"inside_{100 * level:.0f}" for level in LEVELS]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Evidence on the bands of a forecast; print it to read it.

    Parameters
    ----------
    bands
        What the bands allow for: see `bayesfit.discrepancy.Bands`.
    converged
        Whether the checks of the fit held.
    table
        Two rows a scenario, by ``evidence``: the fit's own runs, hidden and forecast, and public studies.
        ``decades_beyond`` of the scenario; ``from``, ``to``, the class of distance it falls in; ``studies`` (papers
        of public ones) and ``runs`` that were hidden at that distance; ``inside_50`` and so on, the share of them
        that bands held (papers count alike); ``note``, why there is no evidence.
    """

    bands: Bands
    converged: bool
    table: pd.DataFrame

    def __str__(self) -> str:
        lines = [f"How such bands did at this distance ({_KINDS[self.bands]})"]
        if not self.converged:
            lines.append("The fit fails its checks: what others did says nothing of this forecast.")
        for _, rows in self.table.groupby("from", sort=True):
            count = rows["scenario"].nunique()
            span = _span(*rows[["from", "to"]].iloc[0])
            lines.append(f"{span} beyond the fitted runs{'' if count == 1 else f', {count} scenarios'}")
            for evidence, of_it in rows.groupby("evidence", sort=False):
                said = dict.fromkeys(_words(row) for _, row in of_it.iterrows())
                lines += [f"  {evidence}: {words}" for words in said]
        return "\n".join(lines)


def certify(
    table: pd.DataFrame,
    *,
    output: str,
    bands: Bands,
    converged: bool,
    backtest: Backtest | None = None,
    without: str | Sequence[str] = (),
) -> Certificate:
    """Say how bands did at the distance of each forecast; see `bayesfit.Forecast.certificate`.

    Parameters
    ----------
    table
        Forecasts, as `bayesfit.Forecast.table` gives them.
    output, bands, converged
        As in `bayesfit.Forecast`.
    backtest, without
        As in `bayesfit.Forecast.certificate`.
    """
    public = _public(output, bands, (without,) if isinstance(without, str) else tuple(without))
    distances = table["decades_beyond"].to_numpy(float)
    unseen = [*table["new_level"]] if "new_level" in table else [""] * len(table)
    rows = []
    for scenario, far, place, new in zip(table.index, distances, distance_class(distances), unseen, strict=True):
        about = {
            "scenario": scenario,
            "decades_beyond": far,
            "from": DISTANCES[place],
            "to": [*DISTANCES[1:], np.inf][place],
        }
        for evidence, found in ((OWN, _own(backtest, place, far, new)), (PUBLIC, _at(public, place, far, new))):
            rows.append({**about, "evidence": evidence, **found})
    return Certificate(bands=bands, converged=converged, table=pd.DataFrame(rows).astype({"studies": int, "runs": int}))


def ensure_same(forecast: Forecast, backtest: Backtest) -> None:
    """Refuse a backtest that is no evidence on a forecast."""
    pairs = {
        "law": (backtest.law, forecast.law),
        "output": (backtest.output, forecast.output),
        "kind of bands": (backtest.bands, forecast.bands),
        "runs (by their hash)": (backtest.data[:12], forecast.data[:12]),
    }
    for what, (theirs, mine) in pairs.items():
        if theirs != mine:
            raise SpecError(
                f"the backtest is no evidence on this forecast: its {what} is {theirs}, the forecast's {mine}; "
                f"fit.backtest() makes one of the same fit"
            )


def _public(output: str, bands: Bands, without: tuple[str, ...]) -> pd.DataFrame | str:
    """Return what public studies showed of such bands, or why nothing."""
    record = datasets.calibration()
    known = {*record["study"], *record["paper"]}
    for name in without:
        if name not in known:
            raise SpecError(
                f"the public record of bands has no study or paper '{name}'{nearest(name, known)}; it has "
                f"{', '.join(sorted(known))}"
            )
    known = {*record["output"]}
    if output not in known:
        return f"no evidence: the public record is of {' and '.join(sorted(known))}, not of {output}"
    left_out = record["study"].isin(without) | record["paper"].isin(without)
    return record[(record["output"] == output) & (record["bands"] == bands) & ~left_out]


def _at(record: pd.DataFrame | str, place: int, far: float, new: str) -> dict[str, Any]:
    """Return how bands did in public studies in a class of distance."""
    if isinstance(record, str):
        return _nothing(record)
    if new:
        return _nothing(f"no evidence for a {new} never seen")
    here = record[record["from"] == DISTANCES[place]]
    # a run at the far end of a class lies farther than those that were hidden in it, and nearer than others
    if here.empty or far > record["farthest"].max():
        return _nothing(_too_far(record["farthest"].max(), far))
    # runs of a study count alike, then studies of a paper, then papers
    shares = here.groupby(["paper", "study"])[_INSIDE].mean().groupby("paper").mean().mean()
    return {"studies": here["paper"].nunique(), "runs": here["runs"].sum(), **shares, "note": ""}


def _own(backtest: Backtest | None, place: int, far: float, new: str) -> dict[str, Any]:
    """Return how bands did on the fit's own hidden runs in a class of distance."""
    if backtest is None:
        return _nothing("not asked; fit.backtest() or --backtest asks them")
    if new:
        return _nothing(f"no evidence for a {new} never seen")
    hidden = backtest.table["decades"]
    here = backtest.table[distance_class(hidden) == place]
    if here.empty or far > hidden.max():
        return _nothing(_too_far(hidden.max(), far))
    note = "" if here["converged"].all() else "some of these fits fail their checks"
    return {"studies": 1, "runs": here["run"].nunique(), **here[_INSIDE].mean(), "note": note}


def _too_far(farthest: float, far: float) -> str:
    """Return why there is no evidence at a distance."""
    if far > farthest:
        return f"no evidence at this distance (hidden runs lay up to {farthest:.3g} decades out)"
    return "no evidence at this distance (no run was hidden there)"


def _nothing(note: str) -> dict[str, Any]:
    return {"studies": 0, "runs": 0, **dict.fromkeys(_INSIDE, np.nan), "note": note}


def _words(row: pd.Series) -> str:
    if not row["runs"]:
        return str(row["note"])
    promised = ", ".join(f"{100 * level:.0f}" for level in LEVELS)
    held = ", ".join(f"{100 * share:.0f}" for share in row[_INSIDE])
    papers = f" of {row['studies']} paper{'s' * (row['studies'] != 1)}" if row["evidence"] == PUBLIC else ""
    of = f"{row['runs']} hidden run{'s' * (row['runs'] != 1)}{papers}"
    return "; ".join(_nonempty(f"bands of {promised}% held {held}% of {of}", row["note"]))


def _nonempty(*texts: str) -> Iterator[str]:
    return (text for text in texts if text)


def _span(low: float, high: float) -> str:
    if low == 0:
        return f"Up to {high:g} decades"
    return f"{low:g} to {high:g} decades" if np.isfinite(high) else f"More than {low:g} decades"
