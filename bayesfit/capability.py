"""Observational scaling laws: predict a task from the benchmarks of models that exist."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from bayesfit.errors import SpecError, nearest

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayesfit.benchmark_table import BenchmarkTable
    from bayesfit.diagnostics import Diagnostics

Method = Literal["factor", "components"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Capabilities:
    """Capability factors of models, and a target task that is linear in them on the log-odds scale.

    Parameters
    ----------
    table
        The checked table, with the outcomes that were held out.
    method
        ``"factor"`` or ``"components"``.
    idata
        Draws: groups ``posterior``, ``sample_stats``; for components also ``constant_data`` with their
        scores and weights. ArviZ reads it.
    provenance
        Data hash, versions, seed and time.
    """

    table: BenchmarkTable
    method: Method
    idata: xr.DataTree
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def posterior(self) -> xr.Dataset:
        """Draws of every parameter by name, dims (chain, draw) and model, family, benchmark or factor."""
        return self.idata["posterior"].to_dataset()

    @property
    def scores(self) -> xr.DataArray:
        """Each model's factors, dims (chain, draw, model, factor); without draws for components.

        Factors have a standard deviation of about 1 over the models. Their rotation and sign are the same in
        every draw: the first rises with the benchmarks as a whole, the others with the one that tells most
        of them.
        """
        return self._benchmarks["scores"]

    @property
    def loadings(self) -> xr.DataArray:
        """Each benchmark's log-odds per unit of each factor, dims (chain, draw, benchmark, factor).

        For components: their weights, in scores of the benchmarks per unit, without draws.
        """
        return self._benchmarks["loadings"]

    @property
    def index(self) -> xr.DataArray:
        """Each model's capability index, dims (chain, draw, model).

        The target's log-odds above chance as its factors say, without the shift of its family.
        """
        return self.posterior["index"]

    @property
    def _benchmarks(self) -> xr.Dataset:
        return self.idata["constant_data"].to_dataset() if self.method == "components" else self.posterior

    @cached_property
    def _diagnostics(self) -> Diagnostics:
        from bayesfit.capability_sampling import diagnose_draws

        return diagnose_draws(self.idata)

    def check(self) -> Diagnostics:
        """Return the checks of the draws: whether chains agree, in every factor of every model too.

        Print it to read it; ``.passed`` tells whether all hold. Predictions need them to hold.
        """
        return self._diagnostics

    def predict(self, models: Iterable[str] | None = None, *, allow_unconverged: bool = False) -> xr.DataArray:
        """Predict the target's score.

        Parameters
        ----------
        models
            Names of models of the table; by default those whose outcome the fit did not see. A new model
            takes part as a row of the table whose target is empty.
        allow_unconverged
            Predict from draws whose checks fail.

        Returns
        -------
        xarray.DataArray
            Draws of what each model would score, noise included, dims (chain, draw, model). For models whose
            outcome the fit saw: of what another measurement would give.

        Raises
        ------
        NotConvergedError
            If the checks fail and `allow_unconverged` is not given.
        SpecError
            For a model that is not in the table.
        """
        self._ensure_converged(allow_unconverged)
        places = self.table.places(models)
        mean = self.posterior["target_mean"].transpose("chain", "draw", "model")
        # noise of every model, so that a model's does not hang on which others are asked for
        noise = np.random.default_rng([int(self.provenance["seed"]), 1]).standard_normal(mean.shape)
        drawn = (mean + self.posterior["target_scale"] * noise).clip(0.0, 1.0)
        return drawn.isel(model=places).rename(self.table.target)

    def interval(
        self, prob: float = 0.9, models: Iterable[str] | None = None, *, allow_unconverged: bool = False
    ) -> pd.DataFrame:
        """Return the equal-tailed predictive interval of each model.

        Parameters
        ----------
        prob
            Its probability.
        models, allow_unconverged
            As in `predict`.

        Returns
        -------
        pandas.DataFrame
            Index: model. Columns: ``median``, ``mean``, ``lower``, ``upper``, and ``observed``, the outcome
            that was held out (NaN where nobody measured it).
        """
        import pandas as pd

        if not 0 < prob < 1:
            raise SpecError(f"prob must lie between 0 and 1, found {prob}")
        models = None if models is None else [models] if isinstance(models, str) else list(models)
        drawn = self.predict(models, allow_unconverged=allow_unconverged)
        flat = drawn.values.reshape(-1, drawn.sizes["model"])
        low, middle, high = np.quantile(flat, [(1 - prob) / 2, 0.5, (1 + prob) / 2], axis=0)
        columns = {"median": middle, "mean": flat.mean(axis=0), "lower": low, "upper": high}
        return pd.DataFrame(
            columns | {"observed": self.table.outcome[self.table.places(models)]},
            index=pd.Index(drawn["model"].values, name="model"),
        )

    def equivalent_compute(
        self,
        family: str | Sequence[str] | None = None,
        *,
        reference: str,
        at: float | None = None,
        prob: float = 0.9,
        allow_unconverged: bool = False,
    ) -> pd.DataFrame:
        """Return how much compute families need to match a reference family's capability index.

        Parameters
        ----------
        family
            One or several families; all by default.
        reference
            The family to match.
        at
            Compute of the reference in FLOP; by default the middle of its models' on the log scale (of the
            table's, if none is known).
        prob
            Probability of the equal-tailed intervals.
        allow_unconverged
            Answer from draws whose checks fail.

        Returns
        -------
        pandas.DataFrame
            One row a family, the least compute first: ``family``, and ``median``, ``lower`` and ``upper`` of the
            ratio of its compute to the reference's. 2 means twice the compute. Infinite where the family's index
            does not rise with compute.

        Raises
        ------
        SpecError
            For a family that is not in the table, or a table without compute.
        NotConvergedError
            If the checks fail and `allow_unconverged` is not given.

        Notes
        -----
        Families' lines are compared, not single models, by the index without the families' shift on the target.
        What makes a family need less compute is not told: data, distillation, or a model that it was started
        from.
        """
        from bayesfit.cells import listed
        from bayesfit.equivalence import Equivalents

        self._ensure_converged(allow_unconverged)
        table = self.table
        if not np.isfinite(table.ref_flops):
            raise SpecError("no model's compute is known, so none can be compared: name its column in flops")
        names = table.families if family is None else (family,) if isinstance(family, str) else tuple(family)
        for name in (reference, *names):
            if name not in table.families:
                raise SpecError(
                    f"no family '{name}'{nearest(name, table.families)}; the table has {listed(table.families)}"
                )
        if at is None:
            own = table.flops[(table.family_of_model == table.families.index(reference)) & np.isfinite(table.flops)]
            at = float(10 ** np.log10(own).mean()) if own.size else table.ref_flops
        if not (np.isfinite(at) and at > 0):
            raise SpecError(f"at must be a positive number of FLOP, found {at!r}")
        weights, decades = self.posterior["weights"], np.log10(at / table.ref_flops)
        level, slope = ((self.posterior[name] * weights).sum("factor") for name in ("level", "slope"))
        wanted = level.sel(family=reference, drop=True) + slope.sel(family=reference, drop=True) * decades
        with np.errstate(all="ignore"):
            ratio = 10.0 ** ((wanted - level) / slope - decades)
        ratio = ratio.where(slope > 0, np.inf)
        draws = {
            name: np.ones(level[..., 0].size) if name == reference else ratio.sel(family=name).values.ravel()
            for name in names
        }
        found = Equivalents(group="family", reference=reference, x="flops", at=at, output=table.target, draws=draws)
        return found.table(prob)

    def _ensure_converged(self, allow_unconverged: bool) -> None:
        from bayesfit.forecast import ensure_converged

        # it asks the fit's check and nothing else
        ensure_converged(cast(Any, self), allow_unconverged)


def capabilities(
    table: pd.DataFrame,
    *,
    benchmarks: Sequence[str],
    target: str,
    chance: Mapping[str, float] | None = None,
    n_items: Mapping[str, float] | None = None,
    family: str = "family",
    model: str = "model",
    flops: str | None = "flops",
    factors: int = 3,
    method: Method = "components",
    hold_out: Sequence[bool] | np.ndarray | pd.Series | None = None,
    draws: int = 2000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    seed: int | None = None,
    progress: bool = True,
) -> Capabilities:
    """Fit capability factors to a table of benchmarks, and a target task to the factors.

    Everything is one model, so that what is not known of a model's factors widens the prediction of its
    target. Each benchmark's log-odds above chance are linear in a few factors, and scores scatter about them
    as counts do, more or less than their items say, with Student-t tails. A family's factors lie about a line
    in the logarithm of compute; families share priors. The target's log-odds above chance are linear in the
    factors, with a shift of each family, and scatter.

    Parameters
    ----------
    table
        One row a model; scores from 0 to 1, with empty cells where nobody measured.
    benchmarks
        Columns that describe the models.
    target
        The column to predict.
    chance
        Score of guessing, of every benchmark and of the target; 0 where answers are written freely. Those of
        `bayesfit.datasets.tasks` need not be told.
    n_items
        Number of evaluation items, of those where it is known.
    family, model, flops
        Columns with the family, the name, and the training compute (some may be empty, or None: no column).
    factors
        Number of factors.
    method
        ``"components"``, principal components of the imputed table, taken as known; or ``"factor"``, a factor
        model in one with the target, with which two factors do best. Try both: which predicts better differs
        by target (see Notes).
    hold_out
        True for rows whose target the fit must not see; their benchmarks are part of it.
    draws, tune, chains, cores, seed, progress
        Settings of NUTS; see `bayesfit.sampling.Sampling`.

    Returns
    -------
    Capabilities
        Whether its checks hold or not: `Capabilities.check` tells, and predictions ask.

    Raises
    ------
    SpecError
        For names that are not columns, a target among the benchmarks, a task of unknown chance, and settings that
        cannot be used.
    DataError
        Every fault of the cells: scores in per cent, a benchmark or a model without scores, too few models.

    Notes
    -----
    Two factors predict one old benchmark from the others best (``tests/benchmarks/observational.py``). On three
    harder tasks far beyond the fitted models they did not: they held 47% of larger models on MATH and 48% on BBH in
    90% intervals, three components 80% and 96%, which is why these are the default. It was made so after that
    look, which therefore says how the two compare and not how good the default is. Hold out your own larger
    models before you rely on either.

    References
    ----------
    Ruan, Maddison, Hashimoto 2024, Observational Scaling Laws and the Predictability of Language Model
    Performance, arXiv:2405.10938.
    """
    from bayesfit.benchmark_table import read_benchmarks

    known = get_args(Method)
    if method not in known:
        raise SpecError(f"method {method!r} is unknown{nearest(str(method), known)}; known: {', '.join(known)}")
    checked = read_benchmarks(
        table,
        benchmarks=benchmarks,
        target=target,
        chance=chance,
        n_items=n_items,
        family=family,
        model=model,
        flops=flops,
        factors=factors,
        hold_out=hold_out,
    )
    from bayesfit.capability_sampling import sample_capabilities
    from bayesfit.sampling import Sampling

    settings = Sampling(draws=draws, tune=tune, chains=chains, cores=cores, seed=seed, progress=progress).seeded()
    idata = sample_capabilities(checked, method, factors, settings)
    return Capabilities(table=checked, method=method, idata=idata, provenance=_provenance(checked, settings.seed))


def _provenance(table: BenchmarkTable, seed: int | None) -> dict[str, Any]:
    """Return what is needed to trace the result."""
    from datetime import UTC, datetime

    from bayesfit.fitting import versions

    return {
        "seed": seed,
        "data_sha256": table.sha256(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv[1:]),
        "versions": versions(("bayesfit", "pymc", "pytensor", "arviz", "nutpie", "numpy", "pandas", "xarray")),
    }
