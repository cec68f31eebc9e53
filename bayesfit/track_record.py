"""How far laws have been seen to drift in past studies, and what that says of a study to come."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from bayesfit.errors import SpecError, nearest
from bayesfit.knots import owner_of
from bayesfit.noise import Noise
from bayesfit.pooling import spread_name

if TYPE_CHECKING:
    from bayesfit.fitting import Fit

#: What a record speaks of: the scale of a path on the log or on the log-odds of an output.
Of = Literal["log", "logit"]

#: Before any study: median, standard deviation of its logarithm, and half-normal scale of how far studies lie apart.
_BEFORE: Mapping[Of, tuple[float, float, float]] = {
    "log": (0.01, 1.5, 1.0),
    "logit": (0.1, 1.5, 1.0),
}
#: Places at which a study's posterior is kept.
_PLACES = tuple(round(0.025 * place, 3) for place in range(1, 40))
_KEYS = ("id", "summary", "studies")
_STUDY = ("name", "paper", "law", "along", "of", "median", "sd", "quantiles")
_GRID = 81
#: The record that comes with the package.
PUBLIC = "public_drift"


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """How far a law drifted off the runs of one study.

    Parameters
    ----------
    name, paper
        The study and what it was published in; studies of one paper count as one together.
    law, along
        The law that was fitted, and the axis of its path: scales are per decade of it.
    of
        Whether it is the scale of a path on the ``"log"`` or on the ``"logit"`` of an output.
    median, sd
        The lognormal prior of it under which the study was fitted: median, and standard deviation of the log.
    quantiles
        Quantiles of its posterior at equal steps of probability, those of a record from .025 to .975.
    """

    name: str
    paper: str
    law: str
    along: str
    of: Of
    median: float
    sd: float
    quantiles: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.of not in get_args(Of):
            raise SpecError(f"study {self.name}: of must be one of {', '.join(get_args(Of))}, found '{self.of}'")
        if len(self.quantiles) < 3 or not all(0 < value < np.inf for value in (*self.quantiles, self.median, self.sd)):
            raise SpecError(f"study {self.name}: its numbers must be positive and finite, three quantiles or more")


@dataclass(frozen=True, kw_only=True)
class TrackRecord:
    """Studies, and how far laws drifted in each.

    Parameters
    ----------
    id, summary
        A name, and words for people.
    studies
        The studies.
    """

    id: str
    studies: tuple[Drifted, ...]
    summary: str = ""

    def __post_init__(self) -> None:
        # a card's summary may run over lines; one that is written and read back is the same
        object.__setattr__(self, "summary", _one_line(self.summary))

    def prior(self, of: Of, without: Sequence[str] = ()) -> tuple[float, float]:
        """Return the lognormal prior for a study to come: its median and the standard deviation of its log.

        Parameters
        ----------
        of
            Of a path on the log, or on the log-odds.
        without
            Names of studies or papers to leave out: what you forecast must not be its own evidence.

        Raises
        ------
        SpecError
            For a name that is not in the record.

        Notes
        -----
        Studies are lognormal about a common median. What a study says of median and spread is the mean,
        over its posterior, of that density over the prior it was fitted with; papers count alike. The result is the
        prediction for one study more, uncertainty of median and spread included.
        """
        known = {study.name for study in self.studies} | {study.paper for study in self.studies}
        for name in without:
            if name not in known:
                raise SpecError(
                    f"track record {self.id} has no study or paper '{name}'{nearest(name, known)}; it has "
                    f"{', '.join(sorted(known))}"
                )
        kept = [one for one in self.studies if one.of == of and not {one.name, one.paper} & {*without}]
        median, sd, furthest = _BEFORE[of]
        middle = np.log(median) + sd * np.linspace(-3.0, 3.0, _GRID)[:, None]
        apart = furthest * np.linspace(0.05, 3.0, _GRID)
        density = -0.5 * ((middle - np.log(median)) / sd) ** 2 - 0.5 * (apart / furthest) ** 2
        for study in kept:
            corpora = sum(one.paper == study.paper for one in kept)
            density = density + _evidence(study, middle[..., None], apart[:, None]) / corpora
        weight = np.exp(density - density.max())
        weight /= weight.sum()
        mean = float((weight * middle).sum())
        variance = float((weight * (apart**2 + (middle - mean) ** 2)).sum())
        return float(np.exp(mean)), float(np.sqrt(variance))

    @property
    def papers(self) -> tuple[str, ...]:
        """The papers, each once."""
        return tuple(dict.fromkeys(study.paper for study in self.studies))

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> TrackRecord:
        """Read the table of a card.

        Raises
        ------
        SpecError
            For an unknown or missing key, or numbers that cannot be.
        """
        _check_keys(table, _KEYS, ("id", "studies"), "a track record")
        try:
            rows = [{key: _read(key, value) for key, value in study.items()} for study in table["studies"]]
        except (AttributeError, TypeError, ValueError) as error:
            raise SpecError(f"the track record's studies cannot be read: {error}") from None
        for row in rows:
            _check_keys(row, _STUDY, _STUDY, "a study of a track record")
        studies = tuple(Drifted(**row) for row in rows)
        found = cls(id=str(table["id"]), summary=str(table.get("summary", "")), studies=studies)
        found.require_studies()
        return found

    def to_mapping(self) -> dict[str, Any]:
        """Return what `from_mapping` reads."""
        studies = [{key: getattr(study, key) for key in _STUDY} for study in self.studies]
        return {"id": self.id, "summary": self.summary, "studies": studies}

    def require_studies(self) -> None:
        """Refuse a record without studies: it would say what is said before any study, in the name of a record."""
        if not self.studies:
            raise SpecError(
                f"track record {self.id} has no studies, and needs one or more: learn it from fits of past studies, "
                "bayesfit.learn_drift({'name': fit}), or leave record out for that of public studies"
            )

    def save(self, path: str | Path) -> Path:
        """Save as a TOML file, which `bayesfit.Structure` takes as its `record`.

        Parameters
        ----------
        path
            Where to; it must end in ``.toml``. A file of this name is replaced.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        SpecError
            For a record without studies, another ending, or a folder that is not there.
        """
        import tomli_w

        self.require_studies()
        path = Path(path)
        if path.suffix != ".toml":
            raise SpecError(f"a track record is read from a .toml file, found {path.name}; name it {path.stem}.toml")
        if not path.parent.is_dir():
            raise SpecError(f"there is no folder {path.parent} to save {path.name} in; make it first")
        if path.is_dir():
            raise SpecError(f"{path} is a folder; name a file in it")
        path.write_text(tomli_w.dumps(self.to_mapping()), encoding="utf-8")
        return path


def track_record(name: str | Path | TrackRecord) -> TrackRecord:
    """Return a track record by name, from the folder ``models/priors``, or from a file of your own by path.

    Raises
    ------
    SpecError
        If there is none of that name, its text cannot be used, or it has no studies.
    """
    from bayesfit.catalog import prior_card

    if isinstance(name, TrackRecord):
        name.require_studies()
        return name
    file, table = prior_card(name, "track record", "quantiles")
    try:
        return TrackRecord.from_mapping(table)
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from None


def learn_drift(
    fits: Mapping[str, Fit], *, papers: Mapping[str, str] | None = None, id: str = "own", summary: str = ""
) -> TrackRecord:
    """Learn how far laws drift from fits of past studies.

    Parameters
    ----------
    fits
        A fit of each study, by name: all its runs, and ``structure=bf.Structure(scale=0.01, scale_sd=1.5)`` or
        another wide prior, so that the study speaks for itself.
    papers
        What each was published in, where several are of one source; by default each stands alone.
    id, summary
        For the result, which `bayesfit.Structure` takes as its `record`; `TrackRecord.save` keeps it.

    Returns
    -------
    TrackRecord
        One entry a study, output and path: that of all runs, and those of a group's levels, which share a scale.

    Raises
    ------
    SpecError
        If there are no fits, or one has no path, or fails its checks.
    """
    _check_fits(fits)
    studies: list[Drifted] = []
    for name, fit in fits.items():
        if not fit.law.drifts:
            raise SpecError(f"the fit of {name} has no error of its law; fit it with structure=bf.Structure(...)")
        if not fit.check().passed:
            raise SpecError(f"the fit of {name} fails its checks; mend it, or leave the study out\n{fit.check()}")
        for plan in fit.plans:
            if plan.knots is None:
                continue
            output = plan.name.rpartition("_drift")[0]
            unit = path_unit(fit.law.outputs[output].noise, fit.runs.values(output))
            for group in plan.shared:
                values = fit.posterior[spread_name(plan.name, group)] / unit
                of_output = [] if len(fit.law.outputs) == 1 else [output]
                of_group = [f"each {owner_of(group)}'s own"] if owner_of(group) else []
                studies.append(
                    Drifted(
                        name=", ".join([name, *of_output, *of_group]),
                        paper=(papers or {}).get(name, name),
                        law=fit.law.id,
                        along=plan.knots.along,
                        of=drifts_on(fit.law.outputs[output].noise),
                        median=plan.spread / unit,
                        sd=plan.spread_sd,
                        quantiles=tuple(float(f"{value:.4g}") for value in np.quantile(values, _PLACES)),
                    )
                )
    return TrackRecord(id=id, summary=summary, studies=tuple(studies))


def _check_fits(fits: Mapping[str, Fit]) -> None:
    """Refuse what is no fit of a study by its name."""
    from bayesfit.fitting import Fit

    what = "bayesfit.learn_drift takes fits of past studies by name, such as {'2024': fit_2024}"
    if not isinstance(fits, Mapping):
        raise SpecError(f"{what}; found {reprlib.repr(fits)}")
    if not fits:
        raise SpecError(f"{what}; found none. Without a study of your own, leave record out for that of public studies")
    for name, fit in fits.items():
        if not isinstance(fit, Fit):
            raise SpecError(f"{what}; found {reprlib.repr(fit)} for '{name}': give what bayesfit.fit returns")


def drifts_on(noise: Noise) -> Of:
    """Return whether the path of an output with this noise is on its log-odds or, as a factor, on its log."""
    share = noise.counted and noise.kind != "negative_binomial"
    return "logit" if share or noise.on == "logit" else "log"


def path_unit(noise: Noise, observed: np.ndarray) -> float:
    """Return what a path of one unit adds to an output with this noise: one, or the output's own size.

    A path is on the scale on which noise acts. On the log and the log-odds a scale means the same for any output; on
    the output itself it is in the output's unit, and a hundredth means one of the runs' median absolute value.
    """
    if noise.on != "identity" or noise.counted:
        return 1.0
    return float(np.nanmedian(np.abs(observed)))


def _evidence(study: Drifted, middle: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Return the log likelihood of a study for a population of scales (last axis: places of its posterior)."""
    logs = np.log(study.quantiles)
    fitted = -0.5 * ((logs - np.log(study.median)) / study.sd) ** 2 - np.log(study.sd)
    assumed = -0.5 * ((logs - middle) / apart) ** 2 - np.log(apart)
    found: np.ndarray = np.log(np.exp(assumed - fitted).mean(axis=-1) + np.finfo(float).tiny)
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _read(key: str, value: Any) -> Any:
    if key == "quantiles":
        return tuple(map(float, value))
    return float(value) if key in ("median", "sd") else str(value)


def _check_keys(table: Mapping[str, Any], known: Sequence[str], needed: Sequence[str], what: str) -> None:
    for key in table:
        if key not in known:
            raise SpecError(f"unknown key '{key}' in {what}{nearest(key, known)}; known: {', '.join(known)}")
    for key in needed:
        if key not in table:
            raise SpecError(f"{what} needs '{key}'")
