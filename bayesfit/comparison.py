"""Compare law forms on the same runs: inside the data by leave-one-out, beyond them by rolling origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesfit.backtesting import Backtest, Folds, backtest, fewest_runs
from bayesfit.errors import SpecError
from bayesfit.loo import MOST_REFITS, LeaveOneOut, leave_one_out
from bayesfit.parallel import run_jobs

if TYPE_CHECKING:
    from bayesfit.card import Law
    from bayesfit.fitting import Fit
    from bayesfit.runs import Runs

#: Resamples of the Bayesian bootstrap behind `Comparison.prob_better`.
_RESAMPLES = 4000
#: Probability from which one law is said to forecast better than another.
_CLEARLY = 0.9
#: Share of hidden runs on one side of a law's medians from which it is said to miss one way.
_ONE_SIDED = 0.8


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How several laws score on the same runs.

    Parameters
    ----------
    table
        One row a law, best by rolling origin first (by LOO where there is no rolling origin). From
        leave-one-out: ``elpd`` with ``se``, ``elpd_diff`` to the best with ``dse``, ``p_loo``,
        ``high_k`` (runs whose Pareto k is above 0.7), ``refitted`` (how many of these were left out by
        an exact refit) and ``loo_weight``, the stacking weight. From rolling origin, means over hidden
        runs: ``log_score``, ``crps``, ``interval_score``, ``error``, ``inside_90`` and
        ``rolling_weight``. ``fit_converged`` tells whether the diagnostics of the
        fit to all runs hold, ``converged`` whether those of its refits to fewer runs hold too.
    left_out
        What was left out: ``run``, or a group.
    output
        The output compared.
    pointwise
        Leave-one-out log densities, one row a run (or level), one column a law.
    backtests
        Rolling-origin scores of each law; empty if they were not asked for.
    """

    table: pd.DataFrame
    left_out: str
    output: str
    pointwise: pd.DataFrame
    backtests: Mapping[str, Backtest]

    @property
    def hidden(self) -> pd.DataFrame:
        """Rolling-origin log scores: one row a hidden run and origin, with its distance, one column a law."""
        if not self.backtests:
            raise SpecError("this comparison has no rolling-origin scores; compare(..., folds=Folds())")
        first = next(iter(self.backtests.values())).table
        keys = first[["origin", "run"]].assign(decades=_farthest(self.backtests))
        return pd.concat([keys, _log_scores(self.backtests)], axis=1)

    def prob_better(self, distance: float | None = None, *, within: float = 0.5, seed: int = 0) -> pd.DataFrame:
        """Return the probability that one law forecasts hidden runs better than another.

        Parameters
        ----------
        distance
            Score only runs about this many decades beyond the fitted ones; all hidden runs if None.
        within
            How far from `distance` they may be, in decades.
        seed
            Seed of the Bayesian bootstrap, which resamples runs; several forecasts of one run count as one.

        Returns
        -------
        pandas.DataFrame
            Row law beats column law in the mean log score; NaN on the diagonal.

        Raises
        ------
        SpecError
            If no hidden run lies at that distance.
        """
        rows = self.hidden
        if distance is not None:
            near = (rows["decades"] - distance).abs() <= within
            if not near.any():
                raise SpecError(
                    f"no hidden run lies {distance:g} decades beyond the fitted ones; they lie "
                    f"{rows['decades'].min():.2f} to {rows['decades'].max():.2f} beyond. Give a longer horizon"
                )
            rows = rows[near]
        laws = list(self.backtests)
        by_run = rows.groupby("run")[laws].mean().to_numpy()
        weights = np.random.default_rng(seed).dirichlet(np.ones(len(by_run)), _RESAMPLES)
        with np.errstate(invalid="ignore"):
            means = weights @ np.nan_to_num(by_run, neginf=-1e9)
        wins = [
            [np.nan if a == b else float((means[:, a] > means[:, b]).mean()) for b in range(len(laws))]
            for a in range(len(laws))
        ]
        return pd.DataFrame(wins, index=laws, columns=laws)

    @property
    def verdict(self) -> str:
        """What the scores say, in sentences."""
        said = [self._inside()]
        if self.backtests:
            said += [self._beyond(), self._together(), self._all_miss()]
        doubtful = [name for name, row in self.table.iterrows() if row["high_k"] > row["refitted"]]
        if doubtful:
            said.append(
                f"Leave-one-out is not to be trusted for {', '.join(map(str, doubtful))}: importance sampling fails "
                f"for some runs (Pareto k above 0.7), too many to refit."
            )
        failing = [str(name) for name, row in self.table.iterrows() if not row["fit_converged"]]
        if failing:
            said.append(f"Fits of {', '.join(failing)} fail their checks; their scores mean little.")
        rough = [str(name) for name, row in self.table.iterrows() if row["fit_converged"] and not row["converged"]]
        if rough:
            said.append(
                f"Fitted to fewer runs, {', '.join(rough)} did not pass every check (`backtests` tells where): scores "
                f"beyond the data are rough."
            )
        return " ".join(filter(None, said))

    def _inside(self) -> str:
        ranked = self.table.sort_values("elpd", ascending=False)
        best, others = ranked.index[0], ranked.iloc[1:]
        ties = [str(name) for name, row in others.iterrows() if -row["elpd_diff"] <= 2 * row["dse"]]
        unit = "run" if self.left_out == "run" else self.left_out
        if not len(others):
            return ""
        if ties:
            return (
                f"Within the data (one {unit} left out), {best} is best, and {', '.join(ties)} cannot be told from it."
            )
        return f"Within the data (one {unit} left out), {best} is best, clearly."

    def _beyond(self) -> str:
        best = str(self.table["log_score"].idxmax())
        hidden = self.hidden
        runs, far = hidden["run"].nunique(), hidden["decades"].max()
        odds = self.prob_better()
        others = {name: float(p) for name, p in odds.loc[best].to_dict().items() if name != best}
        start = f"Beyond them ({runs} larger runs hidden, up to {far:.1f} decades away), {best} forecasts best"
        ties = [f"{name} ({p:.2f})" for name, p in others.items() if p < _CLEARLY]
        if ties:
            return f"{start}, but cannot be told from {', '.join(ties)}; in brackets the probability that it is better."
        least = min(others.values(), default=1.0)
        # what is at least 0.95 is not 0.9475
        shown = f"at least {np.floor(100 * least) / 100:.2f}" if least < 0.995 else "over 0.99"
        return f"{start}, better than each of the others with a probability of {shown}." if len(others) else ""

    def _together(self) -> str:
        inside, beyond = str(self.table["elpd"].idxmax()), str(self.table["log_score"].idxmax())
        if inside == beyond:
            return ""
        if float(self.prob_better().loc[beyond].to_dict()[inside]) < _CLEARLY:
            return f"Hidden runs do not decide between {inside} and {beyond}; average over both, or make larger runs."
        return (
            f"The two disagree: {inside} describes the runs that were made best, {beyond} forecasts larger ones best. "
            f"For a forecast beyond the data, go by {beyond}."
        )

    def _all_miss(self) -> str:
        """Say if every law errs to the same side nearly everywhere, by more than its bands allow."""
        errors, inside = self.table["error"], self.table["inside_90"]
        above = np.array([(rolled.table["error"] > 0).mean() for rolled in self.backtests.values()])
        one_sided = (above >= _ONE_SIDED).all() or (above <= 1 - _ONE_SIDED).all()
        held = f"{100 * inside.min():.0f}% to {100 * inside.max():.0f}%"
        if not (inside < 0.7).all():
            return ""
        if not one_sided:
            return f"Every form is too sure of itself: 90% bands hold only {held} of the hidden runs."
        low, high = np.abs(errors).min(), np.abs(errors).max()
        where = "high" if errors.iloc[0] > 0 else "low"
        size = (
            f"{100 * low:.1f}% to {100 * high:.1f}%"
            if next(iter(self.backtests.values())).on_log
            else f"{low:.3g} to {high:.3g}"
        )
        return (
            f"Every form misses the same way: medians lie {size} too {where}, and 90% bands hold only {held} of the "
            f"hidden runs. No choice among these forms mends that."
        )


def compare(
    fits: Mapping[str, Fit],
    *,
    output: str | None = None,
    leave_out: str = "run",
    folds: Folds | None = None,
    rolling: bool = True,
    refits: int = MOST_REFITS,
    workers: int | None = None,
) -> Comparison:
    """Compare fits of several laws to the same runs.

    Parameters
    ----------
    fits
        Fits by name.
    output
        The output to compare, where the laws have several.
    leave_out
        ``"run"``, or a group of the runs such as ``"family"`` whose levels are left out whole:
        checkpoints of one training run, say, are not independent.
    folds
        How larger runs are hidden; see `bayesfit.Folds`.
    rolling
        Whether to score forecasts of hidden runs at all.
    refits
        Runs that importance sampling cannot leave out are refitted exactly, up to this many a law.
    workers
        Processes at once; as many as processors by default.

    Returns
    -------
    Comparison
        Print its `verdict` and `table`.

    Raises
    ------
    SpecError
        If the fits are not of the same runs, or some count items and others do not.
    """
    if not fits:
        raise SpecError("there is nothing to compare: give at least one fit, {'chinchilla': fit}")
    name = _common_output([fit.law for fit in fits.values()], output)
    _same_data(fits, name)
    folds = _same_folds(folds, [fit.law for fit in fits.values()])
    jobs = [
        _Job(fit=fit, output=name, leave_out=leave_out, folds=folds, rolling=rolling, refits=refits)
        for fit in fits.values()
    ]
    return _assemble(dict(zip(fits, run_jobs(_score, jobs, workers=workers), strict=True)), leave_out, name)


def compare_laws(
    runs: Runs,
    laws: Mapping[str, Law | str] | Sequence[str],
    *,
    output: str | None = None,
    leave_out: str = "run",
    folds: Folds | None = None,
    rolling: bool = True,
    refits: int = MOST_REFITS,
    workers: int | None = None,
    seed: int | None = None,
    **settings: Any,
) -> tuple[dict[str, Fit], Comparison]:
    """Fit several laws to the same runs, side by side, and compare them.

    Parameters
    ----------
    runs
        The runs.
    laws
        Laws by name, or names of laws.
    output, leave_out, folds, rolling, refits, workers
        As in `compare`.
    seed
        Seed of every fit; drawn at random if None.
    settings
        Further arguments of `bayesfit.fit`, the same for all: ``by``, ``pooling``, ``noise``, ``draws``; and
        ``structure``, none unless given: a path would make up for what a law gets wrong.

    Returns
    -------
    tuple
        The fits by name, and their comparison.

    Raises
    ------
    SpecError
        If there is no law, or by ``structure="auto"`` some of the laws would drift and others not.
    """
    import secrets

    from bayesfit.catalog import law as find
    from bayesfit.runs import check_runs

    check_runs(runs)
    named = laws if isinstance(laws, Mapping) else {name: name for name in laws}
    found = {name: find(law) for name, law in named.items()}
    if not found:
        raise SpecError("there is nothing to compare: give at least one law")
    name = _common_output([law.closed(runs.inputs) for law in found.values()], output)
    settings = {"structure": None, **settings}
    _same_structure(found, runs, settings)
    seed = secrets.randbelow(2**32) if seed is None else seed
    folds = _same_folds(folds, list(found.values()))
    jobs = [
        _Job(
            runs=runs,
            law=law,
            settings={**settings, "seed": seed},
            output=name,
            leave_out=leave_out,
            folds=folds,
            rolling=rolling,
            refits=refits,
        )
        for law in found.values()
    ]
    scored = dict(zip(found, run_jobs(_score, jobs, workers=workers), strict=True))
    fits = {name: result.fit for name, result in scored.items()}
    _same_data(fits, name)
    return fits, _assemble(scored, leave_out, name)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One law's share of a comparison: a fit, or what to make one from."""

    output: str | None
    leave_out: str
    folds: Folds
    rolling: bool
    refits: int
    fit: Fit | None = None
    runs: Runs | None = None
    law: Law | None = None
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class _Scored:
    fit: Fit
    loo: LeaveOneOut
    rolled: Backtest | None


def _score(job: _Job) -> _Scored:
    """Do one law's share: everything that needs its compiled model, in one process."""
    fit = job.fit
    if fit is None:
        from bayesfit.fitting import fit as fresh

        assert job.runs is not None
        assert job.law is not None
        fit = fresh(job.runs, job.law, **{"progress": False, **(job.settings or {})})
    output = fit.law.pick_output(job.output)
    by = None if job.leave_out == "run" else job.leave_out
    loo = leave_one_out(fit, output, by=by, refits=job.refits)
    rolled = None
    if job.rolling:
        rolled = backtest(
            fit.runs,
            fit.law,
            by=fit.pooling.by,
            pooling=fit.pooling.how,
            checkpoints=fit.pooling.checkpoints,
            # the law has what it was fitted with
            structure=None,
            folds=job.folds,
            output=output,
            seed=fit.seed,
        )
    return _Scored(fit=fit, loo=loo, rolled=rolled)


def _assemble(scored: Mapping[str, _Scored], leave_out: str, output: str) -> Comparison:
    import arviz as az

    columns = ["elpd", "se", "elpd_diff", "dse", "p", "weight"]
    found = az.compare({name: one.loo.elpd for name, one in scored.items()}, round_to="none")[columns]
    table = found.rename(columns={"p": "p_loo", "weight": "loo_weight"})
    table.insert(5, "high_k", pd.Series({name: one.loo.high_k for name, one in scored.items()}))
    table.insert(6, "refitted", pd.Series({name: one.loo.refitted for name, one in scored.items()}))
    backtests = {name: one.rolled for name, one in scored.items() if one.rolled is not None}
    fitted = pd.Series({name: one.fit.check().passed for name, one in scored.items()})
    refitted = pd.Series({name: one.rolled is None or one.rolled.converged for name, one in scored.items()})
    if backtests:
        means = pd.DataFrame({name: rolled.summary for name, rolled in backtests.items()}).T
        for column in ("log_score", "crps", "interval_score", "error", "inside_90"):
            table[column] = means[column].astype(float)
        table["rolling_weight"] = pd.Series(stacking_weights(_log_scores(backtests)))
        table = table.sort_values("log_score", ascending=False)
    table["fit_converged"], table["converged"] = fitted, fitted & refitted
    pointwise = pd.DataFrame({name: np.ravel(one.loo.elpd.elpd_i.values) for name, one in scored.items()})
    return Comparison(table=table, left_out=leave_out, output=output, pointwise=pointwise, backtests=backtests)


def stacking_weights(log_scores: pd.DataFrame) -> dict[str, float]:
    """Return the weights with which a mixture of the laws scores best.

    Parameters
    ----------
    log_scores
        Log predictive densities of held-out runs, one column a law.

    Notes
    -----
    The optimum is found by expectation-maximisation, which cannot leave the simplex.
    Yao, Vehtari, Simpson, Gelman 2018, arXiv:1704.02030.
    """
    scores = log_scores.to_numpy(float)
    scores = np.where(np.isfinite(scores), scores, -1e9)
    density = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = np.full(density.shape[1], 1 / density.shape[1])
    for _ in range(10_000):
        shares = density * weights
        moved = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(moved - weights).max() < 1e-10:
            break
        weights = moved
    return dict(zip(log_scores.columns, weights.tolist(), strict=True))


def _log_scores(backtests: Mapping[str, Backtest]) -> pd.DataFrame:
    return pd.DataFrame({name: rolled.table["log_score"] for name, rolled in backtests.items()})


def _farthest(backtests: Mapping[str, Backtest]) -> np.ndarray:
    """Return how far each hidden run lies beyond the fitted ones, in whatever any law reads."""
    farthest: np.ndarray = np.max([rolled.table["decades"].to_numpy() for rolled in backtests.values()], axis=0)
    return farthest


def _common_output(laws: Sequence[Law], output: str | None) -> str:
    """Return the output named, or the one that all laws have."""
    picked = {law.pick_output(output) for law in laws}
    if len(picked) == 1:
        return picked.pop()
    # each law's own; not one that was named, which every law has or refuses
    common = [name for name in laws[0].outputs if all(name in law.outputs for law in laws)]
    if len(common) == 1:
        return common[0]
    said = "; ".join(f"{law.id} of {', '.join(law.outputs)}" for law in laws)
    remedy = f"say which to compare, output='{common[-1]}'" if common else "no output is of all of them"
    raise SpecError(f"the laws predict different outputs ({said}); {remedy}")


def _same_folds(folds: Folds | None, laws: Sequence[Law]) -> Folds:
    """Return folds that hide the same runs from every law: the one of most parameters decides."""
    folds = folds or Folds()
    if folds.fewest is not None:
        return folds
    return replace(folds, fewest=fewest_runs(max(law.n_parameters for law in laws)))


def _same_structure(laws: Mapping[str, Law], runs: Runs, settings: Mapping[str, Any]) -> None:
    """Refuse a choice by each law: a path makes up for what a law gets wrong, which one without is scored for."""
    structure = settings["structure"]
    if getattr(structure, "kind", structure) != "auto":
        return
    from bayesfit.discrepancy import with_structure

    noise, by, checkpoints = (settings.get(name) for name in ("noise", "by", "checkpoints"))
    drifts = {}
    for name, law in laws.items():
        asked = law.closed(runs.inputs).with_noise(noise) if noise else law.closed(runs.inputs)
        drifts[name] = bool(with_structure(asked, structure, runs, by or (), checkpoints or "").drifts)
    if len({*drifts.values()}) > 1:
        may, may_not = (", ".join(name for name in drifts if drifts[name] is told) for told in (True, False))
        raise SpecError(
            f"structure 'auto' lets {may} drift and trusts {may_not}, and scores of the two do not compare the forms; "
            f"say structure='drift' for all of them, or None"
        )


def _same_data(fits: Mapping[str, Fit], output: str) -> None:
    """Refuse fits whose scores could not be compared."""
    for (first, a), (second, b) in pairwise(fits.items()):
        if not np.array_equal(a.runs.values(output), b.runs.values(output), equal_nan=True):
            raise SpecError(
                f"{first} and {second} were fitted to different values of {output} ({len(a.runs)} and {len(b.runs)} "
                f"runs); scores compare laws on the same runs, in the same order and unit"
            )
        shared = [name for name in a.runs.table if name in b.runs.table and name != output]
        for name in shared:
            if not a.runs.table[name].equals(b.runs.table[name]):
                raise SpecError(f"{first} and {second} were fitted to runs with a different column '{name}'")
        noises = a.law.outputs[output].noise, b.law.outputs[output].noise
        if noises[0].counted != noises[1].counted:
            counts, other = (first, second) if noises[0].counted else (second, first)
            raise SpecError(
                f"{counts} counts items and {other} does not: a probability of a count and a density cannot be "
                f"compared. Fit both with the same kind of noise, noise='binomial'"
            )
