"""Fit a law to runs, and the fit that comes back."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesfit.card import Law, derived_values
from bayesfit.errors import SpecError
from bayesfit.noise import Kind, Noise
from bayesfit.pooling import How, ParameterPlan, Pooling, plan_parameters
from bayesfit.priors import Prior

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayesfit.backtesting import Backtest, Folds
    from bayesfit.diagnostics import Diagnostics
    from bayesfit.discrepancy import Auto, Structure
    from bayesfit.discrepancy import Kind as StructureKind
    from bayesfit.forecast import Forecast
    from bayesfit.population import Population
    from bayesfit.runs import Allow, Runs


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A law fitted to runs.

    Parameters
    ----------
    law, runs, pooling
        What was fitted to what, and how parameters vary over groups.
    idata
        Draws: groups ``posterior`` (dims chain, draw, and groups), ``latent``, ``sample_stats``.
        ArviZ reads it.
    provenance
        Data hash, versions, seed, command and time.
    """

    law: Law
    runs: Runs
    pooling: Pooling
    idata: xr.DataTree
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def plans(self) -> tuple[ParameterPlan, ...]:
        """How each parameter was made from standard normals."""
        return plan_parameters(self.law, self.runs, self.pooling)

    @property
    def seed(self) -> int:
        """The seed it was sampled with; forecasts draw from streams of it."""
        return int(self.provenance["seed"])

    @property
    def posterior(self) -> xr.Dataset:
        """Draws of the parameters, dims (chain, draw) and the groups each varies over."""
        return self.idata["posterior"].to_dataset()

    @cached_property
    def _turns(self) -> dict[str, pd.DataFrame]:
        """What `bayesfit.trend.missed_turns` finds, by output: forecasts ask it again and again."""
        return {}

    @cached_property
    def _diagnostics(self) -> Diagnostics:
        from bayesfit.diagnostics import diagnose

        return diagnose(self.idata, self.law, self.plans)

    def check(self) -> Diagnostics:
        """Return the checks of the fit: convergence, sampling trouble, conflict with priors.

        Returns
        -------
        Diagnostics
            Print it to read it; ``.passed`` tells whether all hold. Forecasts need them to hold.
        """
        return self._diagnostics

    def sensitivity(self) -> pd.DataFrame:
        """Return how far each parameter's posterior leans on its prior and on the runs, by power scaling.

        Returns
        -------
        pandas.DataFrame
            Index: parameters. Columns ``prior`` and ``likelihood``, the change of the posterior when either is
            raised to a power a little off one, and ``diagnosis``: a strong prior, or a conflict between prior and
            runs, where both exceed 0.05.

        Notes
        -----
        Kallioinen, Paananen, Bürkner, Vehtari 2023, Detecting and diagnosing prior and likelihood
        sensitivity with power-scaling, by ArviZ.
        """
        from bayesfit.sensitivity import sensitivity

        return sensitivity(self)

    def mode(self) -> dict[str, float]:
        """Return the posterior mode of the parameters, noise scales and derived quantities.

        With Laplace noise this is what a Huber fit with a small delta on the log loss finds, up to
        the priors. The mode is that of the unconstrained, standardised parameters.

        Raises
        ------
        SpecError
            If the law may drift, or parameters vary over groups: a hierarchy's mode says little.
        """
        if self.law.drifts:
            raise SpecError(
                "the mode is for a law that is trusted: with the path of its error it would lie where the path is "
                "straight; fit it with structure=None (--structure none)"
            )
        if any(plan.dims for plan in self.plans):
            raise SpecError("the mode is for fits without groups: a hierarchy's mode lies where all groups are equal")
        from bayesfit.pilot import posterior_mode

        values = posterior_mode(self.law, self.plans, self.runs)
        known = {**self.runs.summaries(), **self.law.fixed, **values}
        return values | {name: float(value) for name, value in derived_values(self.law, known).items()}

    def derived(self) -> xr.Dataset:
        """Return draws of the quantities that the paper reports, such as ``A = a*ref.params**alpha``."""
        import xarray as xr

        posterior = self.posterior
        known: dict[str, Any] = {**self.runs.summaries(), **self.law.fixed}
        known |= {name: posterior[name] for name in (*self.law.free, *self.law.sigmas.values())}
        # a quantity may rest on held parameters alone
        ones = xr.ones_like(posterior["chain"] * posterior["draw"], dtype=float)
        return xr.Dataset({name: value * ones for name, value in derived_values(self.law, known).items()})

    def summary(self, prob: float = 0.9) -> pd.DataFrame:
        """Return a table of parameters, noise scales and derived quantities.

        Parameters
        ----------
        prob
            Probability of the equal-tailed intervals.

        Returns
        -------
        pandas.DataFrame
            Index: name, with the group's level in brackets. Columns: median, mean, sd, and the ends
            of the interval, named by their quantile (``q5``, ``q95``).
        """
        import pandas as pd
        import xarray as xr

        if not 0 < prob < 1:
            raise SpecError(f"prob must lie between 0 and 1, found {prob}")
        ends = ((1 - prob) / 2, (1 + prob) / 2)
        columns = ["median", "mean", "sd", *(f"q{100 * end:.4g}" for end in ends)]
        rows: dict[str, list[float]] = {}
        data = xr.merge([self.posterior, self.derived()])
        for name, array in data.data_vars.items():
            values = array.transpose("chain", "draw", ...)
            dims = values.dims[2:]
            stacked = values.values.reshape(-1, *values.shape[2:])
            import numpy as np

            low, middle, high = np.quantile(stacked, [ends[0], 0.5, ends[1]], axis=0)
            for place in np.ndindex(stacked.shape[1:]):
                where = ", ".join(str(values[dim].values[i]) for dim, i in zip(dims, place, strict=True))
                column = stacked[(slice(None), *place)]
                rows[f"{name}[{where}]" if where else str(name)] = [
                    float(middle[place]),
                    float(column.mean()),
                    float(column.std(ddof=1)),
                    float(low[place]),
                    float(high[place]),
                ]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def forecast(
        self,
        scenarios: pd.DataFrame | Mapping[str, Any],
        *,
        output: str | None = None,
        allow_unconverged: bool = False,
        seed: int | None = None,
    ) -> Forecast:
        """Forecast larger runs; see `bayesfit.forecast.forecast`."""
        from bayesfit.forecast import forecast

        return forecast(self, scenarios, output=output, allow_unconverged=allow_unconverged, seed=seed)

    def backtest(
        self,
        *,
        folds: Folds | None = None,
        output: str | None = None,
        draws: int = 500,
        tune: int = 500,
        workers: int | None = 1,
        resume: Path | str | None = None,
    ) -> Backtest:
        """Hide the largest of the fitted runs, refit as this fit was made, and score; see `bayesfit.backtest`."""
        from bayesfit.backtesting import backtest

        return backtest(
            self.runs,
            self.law,
            by=self.pooling.by,
            pooling=self.pooling.how,
            checkpoints=self.pooling.checkpoints,
            # the law has what it was fitted with
            structure=None,
            folds=folds,
            output=output,
            draws=draws,
            tune=tune,
            seed=self.seed,
            workers=workers,
            resume=resume,
        )

    def save(self, path: str | Path) -> Path:
        """Save as one netCDF file; see `bayesfit.store.save`."""
        from bayesfit.store import save

        return save(self, path)


def fit(
    runs: Runs,
    law: Law | str,
    *,
    by: Sequence[str] = (),
    pooling: Mapping[str, How | Mapping[str, How]] | None = None,
    checkpoints: str = "",
    structure: Structure | StructureKind | Auto | None = "auto",
    noise: Noise | Kind | Mapping[str, Noise | Kind] | None = None,
    priors: Mapping[str, str | Prior] | None = None,
    population: Population | str | None = None,
    fixed: Mapping[str, float] | None = None,
    draws: int = 2000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    seed: int | None = None,
    sampler: Mapping[str, Any] | None = None,
    progress: bool = True,
    allow: Collection[Allow] = (),
) -> Fit:
    """Fit a law to runs with NUTS.

    Parameters
    ----------
    runs
        The runs.
    law
        A law, its name, or the path of a card.
    by
        Groups that share priors, such as ``["family"]``; parameters that the card lets vary are
        partially pooled over each. Several are crossed, and ``"family:task"`` adds their interaction.
    pooling
        Exceptions by parameter; see `Pooling`.
    checkpoints
        The group that names the training run of each row, where rows are checkpoints: every run then has a
        shift of its own, as wide as the runs show it to be (`bayesfit.checkpoints`), and a forecast is of a new
        run unless the scenario names one.
    structure
        How the law may be wrong, such as ``"drift"`` or a `bayesfit.Structure`: a term of its own error, small
        inside the runs and wider with distance beyond them. None trusts the law. ``"auto"`` drifts where public
        studies say how far: laws of losses and accuracies by compute, parameters or tokens, from twelve runs on,
        without a population; by one group where each of its levels has twelve, or with checkpoints of twelve.
    noise
        Another noise, or another kind of it; by output where the law has several.
    priors
        Other priors by parameter, such as ``{"alpha": "LogNormal(log(0.2), 0.3)"}``.
    population
        What many studies say of the law's parameters together, such as ``"public_chinchilla"``: a correlated
        prior; see `bayesfit.population`. `Fit.sensitivity` tells how far the fit leans on it.
    fixed
        Parameters held at a value, such as ``{"E": 0}``.
    draws, tune, chains, cores, seed, sampler, progress
        Settings of NUTS; see `bayesfit.sampling.Sampling`.
    allow
        Faults of the table that are meant: ``"collinear"``, ``"few_runs"``, ``"one_group"``.

    Returns
    -------
    Fit
        Whether its diagnostics hold or not: `Fit.check` tells, and forecasts ask.

    Raises
    ------
    DataError
        If the runs cannot determine the law: every fault is named.
    SpecError
        For a law, prior, pooling or setting that cannot be used.
    """
    from bayesfit.catalog import law as find
    from bayesfit.runs import check_runs

    check_runs(runs)
    law = find(law)
    if law.dims:
        law = law.closed(runs.inputs)
    if priors:
        law = law.with_priors(priors)
    if population is not None:
        from bayesfit.population import population as find_population

        law = law.with_population(find_population(population))
    if noise is not None:
        law = law.with_noise(noise)
    if fixed:
        law = law.fix(**fixed)
    by = _names(by)
    arrangement = Pooling(by=by, how=dict(pooling or {}), checkpoints=checkpoints)
    from bayesfit.needs import Needs, require

    groups = (*by, *([checkpoints] if checkpoints else []))
    require(runs, Needs.of(law, groups), allow)
    from bayesfit.discrepancy import with_structure

    law = with_structure(law, structure, runs, by, checkpoints)
    if checkpoints:
        from bayesfit.checkpoints import with_run_shifts

        law = with_run_shifts(law)
    plans = plan_parameters(law, runs, arrangement)

    from bayesfit.build import build
    from bayesfit.sampling import Sampling, sample

    settings = Sampling(
        draws=draws, tune=tune, chains=chains, cores=cores, seed=seed, sampler=sampler, progress=progress
    ).seeded()
    idata = sample(build(law, plans, runs), settings)
    return Fit(law=law, runs=runs, pooling=arrangement, idata=idata, provenance=_provenance(runs, settings.seed))


def _names(by: Sequence[str]) -> tuple[str, ...]:
    if isinstance(by, str):
        raise SpecError(f"by must be a list of groups, found the text {by!r}; write by=[{by!r}]")
    return tuple(by)


def _provenance(runs: Runs, seed: int | None) -> dict[str, Any]:
    """Return what is needed to trace the fit."""
    from datetime import UTC, datetime

    return {
        "seed": seed,
        "data_sha256": runs.sha256,
        "data": Path(runs.name).name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(_arguments(sys.argv)),
        "versions": versions(("bayesfit", "pymc", "pytensor", "arviz", "nutpie", "numpy", "pandas", "xarray")),
    }


def _arguments(arguments: Iterable[str]) -> list[str]:
    """Return the command line with the program's folder left out."""
    first, *rest = [*arguments] or [""]
    return [Path(first).name, *rest]


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each package, and of Python."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
