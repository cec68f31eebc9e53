"""Checks of a fit: whether its draws may be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesfit.outer import level_name

if TYPE_CHECKING:
    import xarray as xr

    from bayesfit.card import Law
    from bayesfit.pooling import ParameterPlan

R_HAT = 1.01
ESS_PER_CHAIN = 100
DIVERGENT_SHARE = 0.001
BFMI = 0.3
#: Two-sided probability under the prior below which the posterior's median contradicts it.
CONFLICT_PROB = 0.001
#: Name of the one check that more draws cannot mend.
CONFLICT = "prior-posterior conflict"
R_HAT_NAME = "R-hat"
DIVERGENCES = "divergences"
BULK = "bulk effective sample size"
TAIL = "tail effective sample size"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check.

    Parameters
    ----------
    name
        What was checked.
    passed
        Whether it holds.
    found, needed
        The worst figure and the threshold, as text.
    value
        The worst figure.
    advice
        What to do if it does not hold.
    """

    name: str
    passed: bool
    found: str
    needed: str
    value: float
    advice: str = ""

    def __str__(self) -> str:
        text = f"{'ok  ' if self.passed else 'FAIL'}  {self.name}: {self.found} (needs {self.needed})"
        return text if self.passed else f"{text}\n      {self.advice}"


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """All checks of a fit; print it to read them."""

    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(result.passed for result in self.results)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that do not hold."""
        return tuple(result for result in self.results if not result.passed)

    @property
    def trouble(self) -> tuple[CheckResult, ...]:
        """The failures that sampling with more care might mend."""
        return tuple(result for result in self.failures if result.name != CONFLICT)

    def __str__(self) -> str:
        return "\n".join(str(result) for result in self.results)


def diagnose(idata: xr.DataTree, law: Law, plans: tuple[ParameterPlan, ...]) -> Diagnostics:
    """Check convergence, sampling trouble and conflict with the priors.

    Parameters
    ----------
    idata
        A fit's draws.
    law
        The law that was fitted.
    plans
        How its parameters were made.

    Returns
    -------
    Diagnostics
        R-hat (rank-normalised, split; Vehtari et al. 2021), bulk and tail effective sample size,
        divergences, tree depth, E-BFMI (Betancourt 2016), and prior-posterior conflict.
    """
    more = "draw more (draws=2000, tune=2000), or give the law tighter priors or more runs"
    conflict = _conflict(idata["latent"].to_dataset(), idata["posterior"].to_dataset(), law, plans)
    return Diagnostics(results=(*sampling_checks(idata, more), conflict))


def sampling_checks(idata: xr.DataTree, more: str) -> tuple[CheckResult, ...]:
    """Check whether chains agree and whether sampling had trouble; `more` is what to do about too few draws."""
    from arviz_stats import ess, rhat

    draws = idata["posterior"].to_dataset()
    stats = idata["sample_stats"].to_dataset()
    chains = draws.sizes["chain"]
    needed = ESS_PER_CHAIN * chains
    return (
        _r_hat(draws, rhat, more, chains),
        _ess(draws, ess, BULK, needed, more),
        _ess(draws, ess, TAIL, needed, more),
        _divergences(stats),
        _depth(stats),
        _bfmi(stats),
    )


def _flat(data: Any) -> list[tuple[str, float]]:
    """Return (name with coordinates, value) for every number of a dataset."""
    flat = []
    for name, array in data.data_vars.items():
        for place in np.ndindex(array.shape):
            where = ", ".join(str(array[dim].values[i]) for dim, i in zip(array.dims, place, strict=True))
            flat.append((f"{name}[{where}]" if where else str(name), float(array.values[place])))
    return flat


def _r_hat(draws: xr.Dataset, rhat: Callable[..., Any], more: str, chains: int) -> CheckResult:
    if chains < 2:
        return CheckResult(
            name=R_HAT_NAME,
            passed=False,
            found="one chain",
            needed="at least 2 chains",
            value=float("nan"),
            advice="use chains=4",
        )
    name, worst = max(_flat(rhat(draws)), key=lambda entry: np.nan_to_num(entry[1], nan=np.inf))
    return CheckResult(
        name=R_HAT_NAME,
        passed=bool(worst <= R_HAT),
        found=f"{worst:.4f} for {name}",
        needed=f"at most {R_HAT}",
        value=worst,
        advice=f"the chains disagree: {more}",
    )


def _ess(draws: xr.Dataset, ess: Callable[..., Any], check: str, needed: int, more: str) -> CheckResult:
    name, worst = min(_flat(ess(draws, method=check.split()[0])), key=lambda entry: np.nan_to_num(entry[1], nan=-1.0))
    return CheckResult(
        name=check,
        passed=bool(worst >= needed),
        found=f"{worst:.0f} for {name}",
        needed=f"at least {needed}",
        value=worst,
        advice=more,
    )


def _divergences(stats: xr.Dataset) -> CheckResult:
    # thinned-out draws count too
    count = int(stats.attrs.get("divergences", stats["diverging"].sum()))
    total = stats["diverging"].size * int(stats.attrs.get("thin", 1))
    most = int(DIVERGENT_SHARE * total)
    return CheckResult(
        name=DIVERGENCES,
        passed=count <= most,
        found=f"{count} in {total} draws",
        needed=f"at most {most}",
        value=count,
        advice="parts of the posterior were not reached: hold a weakly determined parameter (fix), pool it "
        "(pooling={'E': 'complete'}), give it a tighter prior, or sampler={'nuts': {'target_accept': 0.995}}",
    )


def _depth(stats: xr.Dataset) -> CheckResult:
    names = [name for name in ("maxdepth_reached", "reached_max_treedepth") if name in stats]
    share = float(stats[names[0]].mean()) if names else 0.0
    return CheckResult(
        name="tree depth",
        passed=share < 0.05,
        found=f"limit reached in {share:.1%} of draws",
        needed="under 5%",
        value=share,
        advice="the posterior is a narrow ridge: fix or pool a parameter, or give it a tighter prior",
    )


def _bfmi(stats: xr.Dataset) -> CheckResult:
    energy = stats["energy"].transpose("chain", "draw").values
    worst = float(np.min(np.mean(np.diff(energy, axis=1) ** 2, axis=1) / np.var(energy, axis=1)))
    return CheckResult(
        name="E-BFMI",
        passed=worst >= BFMI,
        found=f"{worst:.2f}",
        needed=f"at least {BFMI}",
        value=worst,
        advice="the energy mixes slowly, often from a noise or group scale near zero: use fewer groups or "
        "complete pooling for weakly determined parameters",
    )


def _conflict(latent: xr.Dataset, draws: xr.Dataset, law: Law, plans: tuple[ParameterPlan, ...]) -> CheckResult:
    """Compare each centre's posterior median with its prior, and each spread with its half-normal."""
    from scipy.special import ndtri

    from bayesfit.priors import NUMPY_LINKS

    scores: list[tuple[float, str, str]] = []
    for plan in plans:
        if not plan.about_zero:
            location = latent[f"{plan.name}_location"].median(("chain", "draw"))
            found = np.atleast_1d(np.asarray(plan.prior.standard(plan.prior.value(location, NUMPY_LINKS))))
            scores.append((float(np.abs(found).max()), plan.name, _about_centre(law, plan.name)))
        for group in plan.shared:
            name = f"{plan.name}_sd_{group}"
            median = float(draws[name].median())
            ratio = median / plan.spread
            # lognormal, or half-normal
            score = abs(np.log(ratio)) / plan.spread_sd if plan.spread_sd else ratio
            scores.append((score, name, _about_spread(law, plan, group, median)))
    limit = float(-ndtri(CONFLICT_PROB / 2))
    worst, name, advice = max(scores)
    return CheckResult(
        name=CONFLICT,
        passed=bool(worst <= limit),
        found=f"{worst:.1f} prior standard deviations for {name}",
        needed=f"at most {limit:.1f}",
        value=worst,
        advice=f"the runs contradict the prior of {name}: look at units and rows first, then {advice}",
    )


def _about_centre(law: Law, name: str) -> str:
    """Return what to do about a parameter that the runs have elsewhere than its prior."""
    for output, sigma in law.sigmas.items():
        if name == sigma:
            noise = law.outputs[output].noise
            return (
                f"give the noise of {output} a scale that allows what the runs say, "
                f"noise={{'{output}': bayesfit.Noise(kind='{noise.kind}', on='{noise.on}', "
                "scale=bayesfit.Prior.parse(...))}"
            )
        if name == level_name(output) and law.drifts:
            return "do without the exponent on the law's terms, structure=bayesfit.Structure(outer=False)"
    return f"give it a prior that allows what the runs say, priors={{'{name}': ...}}"


def _about_spread(law: Law, plan: ParameterPlan, group: str, median: float) -> str:
    """Return what to do about levels or knots that lie nearer together or further apart than their prior has it."""
    if plan.knots is not None:
        expected = "say how far the law may drift, structure=bayesfit.Structure(scale=..., scale_sd=...)"
        if median < plan.spread:
            return expected
        return (
            f"compare other laws, since this one drifts off its runs by a path of scale {median:.2g} where "
            f"{plan.spread:.2g} was expected; if it is to stay, {expected}"
        )
    if ":" in group:
        return f"leave out the interaction {group}"
    noise = plan.name in law.sigmas.values()
    if not noise and law.parameters[plan.name].role == "run":
        return "say what else tells these training runs apart: an input of the law, or a group, by=[...]"
    key = "noise" if noise else plan.name
    return f"let its levels stand alone, pooling={{'{key}': {{'{group}': 'none'}}}}, or fit them apart"
