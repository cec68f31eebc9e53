"""Hide the largest runs, refit, and score the forecasts of them: rolling-origin evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesfit.errors import SpecError, nearest

if TYPE_CHECKING:
    from bayesfit.card import Law
    from bayesfit.discrepancy import Kind, Structure
    from bayesfit.fitting import Fit
    from bayesfit.runs import Allow, Runs

#: Fewest runs that a law is fitted to, for each of its parameters, and at all.
_RUNS_PER_PARAMETER = 1.5
_FEWEST_RUNS = 6
#: Runs times parameters up to which a refit is sampled again where its checks fail.
_QUICK = 600
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
    table
        One row a hidden run and origin: ``origin`` (largest value of the axis fitted), ``run`` (its place
        in the table of runs), the columns of `bayesfit.scores.score`, and ``converged``.
    """

    law: str
    output: str
    scale: str
    on_log: bool
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
    def converged(self) -> bool:
        """Whether every fold's diagnostics hold."""
        return bool(self.table["converged"].all())

    def _means(self, groups: Any) -> pd.DataFrame:
        from bayesfit.scores import LEVELS

        columns = ["log_score", "crps", "interval_score", "error", "decades"]
        inside = [f"inside_{100 * level:.0f}" for level in LEVELS]
        means: pd.DataFrame = groups[columns + inside].mean()
        means.insert(0, "runs", groups.size())
        means["converged"] = groups["converged"].all()
        return means


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

    Many parameters on many runs are sampled once, whatever their checks say: another attempt takes
    minutes, and scores, which are means over runs, gain little by it. All else is sampled as carefully as
    any fit. Whether a refit converged is told beside its scores.
    """
    from bayesfit.fitting import fit

    return fit(
        runs,
        law,
        by=by,
        pooling=pooling,
        checkpoints=checkpoints,
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
    structure: Structure | Kind | None = None,
    folds: Folds | None = None,
    output: str | None = None,
    draws: int = 500,
    tune: int = 500,
    chains: int = 4,
    cores: int | None = None,
    seed: int = 0,
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

    Returns
    -------
    Backtest
        Scores by run and origin. Folds whose diagnostics fail are scored and marked.

    Raises
    ------
    SpecError
        If the runs leave nothing to hide.
    """
    from bayesfit.catalog import law as find
    from bayesfit.discrepancy import with_structure
    from bayesfit.scores import score, scored_on_log

    law = find(law)
    if law.dims:
        law = law.closed(runs.inputs)
    if structure is not None:
        law = with_structure(law, structure, runs)
    name = law.pick_output(output)
    axis, origins = (folds or Folds()).cut(runs, law.n_parameters)
    rows = []
    for origin in origins:
        found = refit(
            runs.select(origin.train),
            law,
            by=by,
            pooling=pooling,
            checkpoints=checkpoints,
            draws=draws,
            tune=tune,
            chains=chains,
            cores=cores,
            seed=seed,
        )
        scored = score(found, runs.select(origin.test), name, seed=seed)
        scored.insert(0, "origin", origin.cut)
        scored.insert(1, "run", np.flatnonzero(origin.test & ~np.isnan(runs.values(name))))
        scored["converged"] = found.check().passed
        rows.append(scored)
    table = pd.concat(rows, ignore_index=True)
    return Backtest(law=law.id, output=name, scale=axis, on_log=scored_on_log(law, runs, name), table=table)
