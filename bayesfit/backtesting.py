"""Hide the largest runs, refit, and score the forecasts of them: rolling-origin evaluation."""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesfit.errors import BayesfitWarning, SpecError, nearest
from bayesfit.parallel import run_jobs
from bayesfit.scores import DISTANCES, LEVELS, distance_class, score, scored_on_log

if TYPE_CHECKING:
    from bayesfit.card import Law
    from bayesfit.discrepancy import Auto, Bands, Kind, Structure
    from bayesfit.fitting import Fit
    from bayesfit.runs import Allow, Runs

#: Fewest runs that a law is fitted to, for each of its parameters, and at all.
_RUNS_PER_PARAMETER = 1.5
_FEWEST_RUNS = 6
#: Runs times parameters up to which a refit is sampled again where its checks fail.
_QUICK = 600
#: Probability below which a share of runs inside bands is not taken for chance.
_CHANCE = 0.05
#: Columns that a file of kept scores has to have, of those of `Backtest.table`.
_AVERAGED = (
    "log_score",
    "crps",
    "interval_score",
    "error",
    "decades",
    *(f"inside_{100 * level:.0f}" for level in LEVELS),
)
_SCORES = ("origin", "run", "observed", "median", "pit", "converged", *_AVERAGED)
#: What reading a damaged parquet file raises, depending on which byte is wrong.
_DAMAGE = (LookupError, OSError, RuntimeError, TypeError, ValueError)
#: What folds may lack that a whole study has: they are small on purpose.
_ALLOWED: tuple[Allow, ...] = ("few_runs", "one_group", "collinear")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One cut: runs up to it are fitted, those beyond it up to the horizon are scored.

    Parameters
    ----------
    cut, end
        Largest value of the scale axis that is fitted, and that is scored.
    train, test
        Which runs these are, one truth value a run.
    """

    cut: float
    end: float
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """Scores of forecasts of hidden runs.

    Parameters
    ----------
    law
        Name of the law.
    output
        The output that was scored.
    scale
        The axis along which runs were hidden, such as ``flops``.
    on_log
        Whether errors, CRPS and interval scores are on the log of the output.
    bands
        What the bands allow for; see `bayesfit.discrepancy.Bands`.
    data
        Hash of the runs.
    table
        One row a hidden run and origin: ``origin`` (largest value of the axis fitted), ``run`` (its place
        in the table of runs), the columns of `bayesfit.scores.score`, and ``converged``.
    """

    law: str
    output: str
    scale: str
    on_log: bool
    bands: Bands
    data: str
    table: pd.DataFrame

    @property
    def origins(self) -> pd.DataFrame:
        """Mean scores by origin: one row a cut, with the number of runs scored."""
        return self._means(self.table.groupby("origin", sort=True))

    @property
    def summary(self) -> pd.Series:
        """Mean scores over all hidden runs and origins, the share inside each interval, and the mean error."""
        return self._means(self.table.groupby(lambda _: "all")).iloc[0].rename(self.law)

    @property
    def verdict(self) -> str:
        """What the share of hidden runs inside 90% intervals says, in words."""
        from scipy.stats import binom

        held, forecasts, runs = self.table["inside_90"], len(self.table), self.table["run"].nunique()
        found = f"90% bands held {int(held.sum())} of {forecasts} forecasts of {runs} hidden runs"
        doubt = "" if self.converged else "; some of these fits fail their checks"
        # a run that several cuts hide is one run
        inside = round(float(held.mean()) * runs)
        if binom.cdf(inside, runs, 0.9) < _CHANCE:
            advice = "Take a wider kind, or another law, before a larger run rests on them"
            return f"{found}: too narrow{doubt}. {advice}"
        if binom.sf(inside - 1, runs, 0.9) < _CHANCE:
            return f"{found}: wider than they need be here{doubt}"
        return f"{found}, as far as {runs} runs can tell{doubt}"

    def by_distance(self, edges: Sequence[float] = DISTANCES) -> pd.DataFrame:
        """Return mean scores by how far hidden runs lie beyond the fitted ones.

        Parameters
        ----------
        edges
            Where classes of distance begin, in decades; the last has no end.

        Returns
        -------
        pandas.DataFrame
            One row a class that holds a run, by its ``from`` and ``to``, with the columns of `origins`.
        """
        if not _rise(edges):
            raise SpecError(
                f"edges must rise, found {reprlib.repr(edges)}; give where classes begin, in decades, such as "
                "(0.0, 0.5, 1.0)"
            )
        ends = [*edges, np.inf]
        place = distance_class(self.table["decades"], edges)
        means = self._means(self.table.groupby(place, sort=True))
        found = [int(number) for number in means.index]
        means.insert(0, "from", [ends[number] for number in found])
        means.insert(1, "to", [ends[number + 1] for number in found])
        return means.reset_index(drop=True)

    def pit_histogram(self, bins: int = 10) -> pd.DataFrame:
        """Return how often hidden runs fell into each of equally probable parts of their forecasts.

        Parameters
        ----------
        bins
            Number of parts.

        Returns
        -------
        pandas.DataFrame
            Columns ``from``, ``to`` (probability below), ``runs``, and ``expected``, the number in each where bands
            hold what they promise. Many in the outer parts: bands too narrow; in one of them: forecasts off one way.
        """
        if not (_is_whole(bins) and bins >= 1):
            raise SpecError(f"bins must be a whole number of at least 1, found {bins!r}; 10 is usual")
        counts, ends = np.histogram(self.table["pit"], bins=bins, range=(0.0, 1.0))
        columns = {"from": ends[:-1], "to": ends[1:], "runs": counts, "expected": len(self.table) / bins}
        return pd.DataFrame(columns)

    @property
    def converged(self) -> bool:
        """Whether every fold's diagnostics hold."""
        return bool(self.table["converged"].all())

    def _means(self, groups: Any) -> pd.DataFrame:
        means: pd.DataFrame = groups[[*_AVERAGED]].mean()
        means.insert(0, "runs", groups.size())
        means["converged"] = groups["converged"].all()
        return means


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _rise(edges: object) -> bool:
    """Return whether these are numbers, each larger than the one before."""
    if isinstance(edges, str) or not isinstance(edges, Collection) or not len(edges):
        return False
    numbers = [*edges]
    return all(isinstance(edge, Real) and edge == edge for edge in numbers) and sorted({*numbers}) == numbers


def fewest_runs(n_parameters: int) -> int:
    """Return how many runs a law of so many parameters is fitted to at least."""
    return max(_FEWEST_RUNS, int(np.ceil(_RUNS_PER_PARAMETER * n_parameters)))


@dataclass(frozen=True, kw_only=True)
class Folds:
    """How runs are hidden.

    Parameters
    ----------
    scale
        The axis: an input of the runs, or ``flops`` where it follows from params and tokens. Compute by
        default, or the input of widest range.
    origins
        Number of cuts, at most.
    horizon
        Decades beyond each cut that are scored.
    fewest
        Fewest runs that are fitted; by default one and a half for each parameter of the law, and 6.
    """

    scale: str | None = None
    origins: int = 3
    horizon: float = 1.0
    fewest: int | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not isinstance(self.scale, str):
            raise SpecError(f"scale must be the name of an input, or None for compute, found {self.scale!r}")
        if not (_is_whole(self.origins) and isinstance(self.horizon, Real)):
            raise SpecError(
                f"origins must be a whole number of cuts and horizon a number of decades, found {self.origins!r} and "
                f"{self.horizon!r}; write Folds(origins=3, horizon=1.0)"
            )
        if self.fewest is not None and not (_is_whole(self.fewest) and self.fewest >= 1):
            raise SpecError(
                f"fewest must be a whole number of runs of at least 1, found {self.fewest!r}; None takes what "
                "the law's parameters need"
            )
        if self.origins < 1 or not self.horizon > 0:
            raise SpecError(f"origins and horizon must be positive, found {self.origins} and {self.horizon}")

    def axis(self, runs: Runs) -> tuple[str, np.ndarray]:
        """Return the name and values of the scale axis."""
        positive = [name for name in runs.inputs if (runs.values(name) > 0).all()]
        compute = runs.compute
        if self.scale is None and compute is not None:
            return "flops", compute
        if self.scale == "flops" and compute is not None:
            return "flops", compute
        if self.scale is not None and self.scale not in positive:
            raise SpecError(
                f"the scale must be a positive input, found '{self.scale}'{nearest(self.scale, positive)}; the runs "
                f"have {', '.join(positive) or 'none'}"
            )
        if not positive:
            raise SpecError("these runs have no positive input along which larger runs could be hidden")
        name = self.scale or max(positive, key=lambda name: np.ptp(np.log(runs.values(name))))
        return name, runs.values(name)

    def cut(self, runs: Runs, n_parameters: int) -> tuple[str, list[Origin]]:
        """Return the axis and the origins, farthest back first.

        The last origin hides the last horizon; each earlier one lies half a horizon further back, as
        long as enough runs are left to fit.

        Raises
        ------
        SpecError
            If the runs are too few or too alike for a single origin.
        """
        name, values = self.axis(runs)
        logs = np.log10(values)
        # runs of narrow range hide their last third
        horizon = min(self.horizon, np.ptp(logs) / 3)
        needed = fewest_runs(n_parameters) if self.fewest is None else self.fewest
        found: list[Origin] = []
        slack = 1e-9
        for step in range(2 * self.origins):
            cut = logs.max() - horizon * (1 + step / 2)
            train = logs <= cut + slack
            test = ~train & (logs <= cut + horizon + slack)
            if train.sum() < needed:
                break
            if test.any() and not (found and (train == found[-1].train).all()):
                edge = float(10 ** logs[train].max())
                found.append(Origin(cut=edge, end=float(10 ** logs[test].max()), train=train, test=test))
            if len(found) == self.origins:
                break
        if not found:
            raise SpecError(
                f"{len(runs)} runs over {np.ptp(logs):.1f} decades of {name} leave nothing to hide: at least {needed} "
                f"runs must remain below the last {horizon:.2g} decades. Add smaller runs, or give a shorter horizon"
            )
        return name, found[::-1]


def refit(
    runs: Runs,
    law: Law,
    *,
    by: Sequence[str] = (),
    pooling: Mapping[str, Any] | None = None,
    checkpoints: str = "",
    draws: int = 500,
    tune: int = 500,
    chains: int = 4,
    cores: int | None = None,
    seed: int = 0,
) -> Fit:
    """Fit a law to part of a study, with fewer draws than a fit of one's own.

    Many parameters on many runs are sampled once, whatever their checks say, since another attempt takes
    minutes. All else is sampled as carefully as any fit. Whether a refit converged is told beside its scores.
    """
    from bayesfit.fitting import fit

    return fit(
        runs,
        law,
        by=by,
        pooling=pooling,
        checkpoints=checkpoints,
        # the law of a study comes with a path or without
        structure=None,
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        seed=seed,
        progress=False,
        sampler=None if len(runs) * len(law.free) <= _QUICK else {"attempts": 1},
        allow=_ALLOWED,
    )


def backtest(
    runs: Runs,
    law: Law | str,
    *,
    by: Sequence[str] = (),
    pooling: Mapping[str, Any] | None = None,
    checkpoints: str = "",
    structure: Structure | Kind | Auto | None = "auto",
    folds: Folds | None = None,
    output: str | None = None,
    draws: int = 500,
    tune: int = 500,
    chains: int = 4,
    cores: int | None = None,
    seed: int = 0,
    workers: int | None = 1,
    resume: Path | str | None = None,
) -> Backtest:
    """Fit a law to the cheapest runs and score its forecasts of the next larger ones, at several origins.

    Parameters
    ----------
    runs
        All runs.
    law
        A law or its name.
    by, pooling, checkpoints, structure, draws, tune, chains, cores, seed
        As in `bayesfit.fit`.
    folds
        How runs are hidden; see `Folds`.
    output
        The output to score, where the law has several.
    workers
        Origins worked on at once; None for one a processor.
    resume
        A folder that keeps the scores of each origin, so that work that was cut short is taken up again. They are
        kept by everything they depend on: runs, law, settings and the version of bayesfit. A file of them that
        cannot be read is told in a warning, and its origin scored again.

    Returns
    -------
    Backtest
        Scores by run and origin. Folds whose diagnostics fail are scored and marked.

    Raises
    ------
    SpecError
        If the runs leave nothing to hide, or `resume` cannot be a folder.
    """
    from bayesfit.catalog import law as find
    from bayesfit.discrepancy import bands_of, with_structure
    from bayesfit.runs import check_runs

    check_runs(runs)
    if folds is not None and not isinstance(folds, Folds):
        raise SpecError(f"folds must be a bayesfit.Folds, such as folds=bf.Folds(origins=3), found {folds!r}")
    law = find(law)
    if law.dims:
        law = law.closed(runs.inputs)
    law = with_structure(law, structure, runs, by, checkpoints)
    name = law.pick_output(output)
    axis, origins = (folds or Folds()).cut(runs, law.n_parameters)
    settings = {
        "by": [*by],
        "pooling": dict(pooling or {}),
        "checkpoints": checkpoints,
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "seed": seed,
    }
    folder = None if resume is None else resume_folder(resume)
    jobs = [
        _Fold(runs=runs, law=law, output=name, origin=origin, settings=settings, cores=cores, folder=folder)
        for origin in origins
    ]
    # files are read here, since a process of its own could not tell the user of a broken one
    kept = [_read_scores(job.kept) for job in jobs]
    made = iter(
        run_jobs(_scored, [job for job, scores in zip(jobs, kept, strict=True) if scores is None], workers=workers)
    )
    table = pd.concat([next(made) if scores is None else scores for scores in kept], ignore_index=True)
    return Backtest(
        law=law.id,
        output=name,
        scale=axis,
        on_log=scored_on_log(law, runs, name),
        bands=bands_of(law, name),
        data=runs.sha256,
        table=table,
    )


def resume_folder(resume: Path | str) -> Path:
    """Return the folder that keeps scores, made where there is none: before anything is fitted, rather than after.

    Raises
    ------
    SpecError
        If it is a file, or cannot be made.
    """
    if not isinstance(resume, str | Path):
        raise SpecError(f"resume must be the path of a folder, found {resume!r}")
    folder = Path(resume)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "is a file" if folder.exists() else f"cannot be made ({error.strerror})"
        raise SpecError(f"resume must be a folder to keep scores in, and {folder} {reason}; name another") from None
    return folder


@dataclass(frozen=True, kw_only=True)
class _Fold:
    """One origin to fit and score; `folder` is where its scores are kept."""

    runs: Runs
    law: Law
    output: str
    origin: Origin
    settings: Mapping[str, Any]
    cores: int | None
    folder: Path | None

    @property
    def kept(self) -> Path | None:
        """The file of its scores, named by all that they depend on."""
        if self.folder is None:
            return None
        from bayesfit import __version__
        from bayesfit.card_file import card_toml

        which = self.origin.train.tobytes() + self.origin.test.tobytes()
        told = json.dumps(
            [self.runs.sha256, card_toml(self.law), self.output, self.settings, __version__], default=repr
        )
        return self.folder / f"{hashlib.sha256(told.encode() + which).hexdigest()[:24]}.parquet"


def _read_scores(kept: Path | None) -> pd.DataFrame | None:
    """Return the scores that a file keeps; nothing where there is none, or none that can be read."""
    if kept is None or not kept.is_file():
        return None
    try:
        scores = pd.read_parquet(kept)
        reason = "" if {*_SCORES} <= {*scores} else f"it lacks {', '.join(sorted({*_SCORES} - {*scores}))}"
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
    if not reason:
        return scores
    warnings.warn(
        f"{kept} does not hold the scores that were kept in it ({reason}); this cut is scored again, and the file "
        "replaced",
        BayesfitWarning,
        skip_file_prefixes=(str(Path(__file__).parent),),
    )
    return None


def _scored(fold: _Fold) -> pd.DataFrame:
    """Return the scores of one origin's hidden runs, and keep them."""
    kept, origin, runs = fold.kept, fold.origin, fold.runs
    found = refit(runs.select(origin.train), fold.law, cores=fold.cores, **fold.settings)
    scored = score(found, runs.select(origin.test), fold.output, seed=fold.settings["seed"])
    scored.insert(0, "origin", origin.cut)
    scored.insert(1, "run", np.flatnonzero(origin.test & ~np.isnan(runs.values(fold.output))))
    scored["converged"] = found.check().passed
    if kept is not None:
        scratch = kept.with_suffix(f".{os.getpid()}")
        scored.to_parquet(scratch)
        scratch.replace(kept)
    return scored
