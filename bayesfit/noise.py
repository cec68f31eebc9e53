"""Noise: how an observed output scatters about the law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from bayesfit.errors import DataError, Fault, SpecError, nearest
from bayesfit.priors import Prior

Kind = Literal["student_t", "laplace", "normal", "frontier", "binomial", "beta_binomial", "negative_binomial"]
#: Kinds that count, whose scatter follows from the mean and the number of trials.
COUNTED = ("binomial", "beta_binomial", "negative_binomial")
#: Kinds without a scale of their own.
_UNSCALED = ("binomial", "negative_binomial")
Scale = Literal["log", "identity", "logit"]

#: On the log scale: 95% of it below 10%, and typical sweeps scatter by 0.2% to 2%.
DEFAULT_SCALE = Prior.parse("HalfNormal(0.05)")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The likelihood of one observed output.

    Parameters
    ----------
    kind
        ``"student_t"``, ``"laplace"`` (its mode is the optimum of a Huber fit with a small delta on
        the log loss) or ``"normal"``; ``"frontier"``, for runs of which only the best follow the law and
        the others lie above it: the law is the output's `quantile`, with exponential tails on both sides
        (an asymmetric Laplace distribution; Yu, Moyeed 2001, Bayesian quantile regression). Or a count:
        ``"binomial"``, an accuracy over `trials` items;
        ``"beta_binomial"``, the same with more scatter than items alone explain (from item sets,
        seeds, prompts); ``"negative_binomial"``, the tries it took to see `trials` successes.
    on
        ``"log"``: the logarithm of the output scatters about the logarithm of the law;
        ``"logit"``: the log-odds do, for shares between 0 and 1; ``"identity"``: the output itself does.
    scale
        Prior of the scale sigma, in units of `on` (0.01 on the log scale is about 1%). For
        ``"beta_binomial"`` the underlying accuracy scatters by about ``sigma*sqrt(m*(1 - m))``
        about the law's m: it follows a beta distribution of concentration ``1/sigma**2``. The other
        two counts have no scale.
    spread
        How far groups' own scales may lie apart: the scale of a half-normal prior on the standard
        deviation of log sigma over groups.
    nu
        Degrees of freedom of the Student-t.
    quantile
        For ``"frontier"``: the share of runs that lie below the law.
    trials
        For counts: the column with the number of items, or of successes waited for.

    Notes
    -----
    A measured standard error is added to sigma in quadrature; for Student-t and Laplace that is an
    approximation which keeps the family and widens it.
    """

    kind: Kind = "student_t"
    on: Scale = "log"
    scale: Prior = DEFAULT_SCALE
    spread: float = 0.5
    nu: float = 4.0
    quantile: float = 0.05
    trials: str = "n_items"

    def __post_init__(self) -> None:
        if self.counted:
            # a count scatters as it is
            object.__setattr__(self, "on", "identity")
        for name, value, allowed in (("kind", self.kind, get_args(Kind)), ("on", self.on, get_args(Scale))):
            if value not in allowed:
                raise SpecError(
                    f"noise {name} {value!r} is unknown{nearest(str(value), allowed)}; known: {', '.join(allowed)}"
                )
        if self.scale.family not in ("HalfNormal", "LogNormal"):
            raise SpecError(f"the noise scale needs a positive prior, found {self.scale.text}")
        if not (self.nu > 0 and self.spread > 0):
            raise SpecError(f"noise nu and spread must be positive, found {self.nu} and {self.spread}")
        if not 0 < self.quantile < 1:
            raise SpecError(f"a frontier's quantile must lie between 0 and 1, found {self.quantile}")

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> Noise:
        """Read the ``[outputs.*.noise]`` table of a card."""
        known = ("kind", "on", "scale", "spread", "nu", "quantile", "trials")
        for name in fields:
            if name not in known:
                raise SpecError(f"unknown noise field '{name}'{nearest(name, known)}; known: {', '.join(known)}")
        values = dict(fields)
        if "scale" in values:
            values["scale"] = Prior.parse(values["scale"])
        noise = cls(**values)
        if noise.counted and fields.get("on", "identity") != "identity":
            raise SpecError(f"{noise.kind} noise acts on the count itself: leave out on = '{fields['on']}'")
        return noise

    def to_mapping(self) -> dict[str, Any]:
        """Return what `from_mapping` reads."""
        fields: dict[str, Any] = {"kind": self.kind, "on": self.on, "scale": self.scale.text, "spread": self.spread}
        fields |= {"nu": self.nu} if self.kind == "student_t" else {}
        fields |= {"quantile": self.quantile} if self.kind == "frontier" else {}
        return fields | ({"trials": self.trials} if self.counted else {})

    @property
    def counted(self) -> bool:
        """Whether it is a count."""
        return self.kind in COUNTED

    @property
    def has_scale(self) -> bool:
        """Whether it has a scale sigma that is fitted."""
        return self.kind not in _UNSCALED

    def counts(self, values: np.ndarray, trials: np.ndarray, output: str) -> np.ndarray:
        """Return the whole numbers behind values of an output.

        Parameters
        ----------
        values
            Accuracies over `trials` items, or tries until `trials` successes.
        trials
            One number a value.
        output
            Its name, for the message.

        Returns
        -------
        numpy.ndarray
            Successes; for the negative binomial, failures before the last success.

        Raises
        ------
        DataError
            If a value is not a whole number of items (to the digits that accuracies are printed with).
        """
        broken = np.flatnonzero(trials != np.round(trials))
        if len(broken):
            row = int(broken[0])
            fault = Fault(
                kind="bad_n_items",
                message=f"found {trials[row]:.6g}, expected a whole number, 1 or more",
                remedy="correct it",
                column=self.trials,
                row=row + 1,
                value=f"{trials[row]:.6g}",
            )
            raise DataError([fault])
        found = values - trials if self.kind == "negative_binomial" else values * trials
        counts = np.round(found)
        # accuracies are often printed with four digits
        slack = np.maximum(0.01, 0.0 if self.kind == "negative_binomial" else 1e-4 * trials)
        wrong = np.flatnonzero((np.abs(found - counts) > slack) | (counts < 0))
        if len(wrong):
            row = int(wrong[0])
            times = "minus" if self.kind == "negative_binomial" else "times"
            fault = Fault(
                kind="not_a_count",
                message=f"{output} {times} {self.trials} is {found[row]:.6g} there, expected a whole number of at "
                f"least 0 ({len(wrong)} such rows)",
                remedy=f"correct {self.trials}; an average over several tasks is no count: use noise on the log-odds "
                f"(Noise(on='logit'))",
                column=output,
                row=row + 1,
                value=f"{values[row]:.6g}",
            )
            raise DataError([fault])
        whole: np.ndarray = counts.astype(np.int64)
        return whole

    def observed(self, values: Any) -> Any:
        """Return values of the output on the scale on which they scatter."""
        if self.on == "logit":
            return np.log(values) - np.log1p(-values)
        return np.log(values) if self.on == "log" else values

    def released(self, values: Any) -> Any:
        """Undo `observed`."""
        if self.on == "logit":
            from scipy.special import expit

            return expit(values)
        return np.exp(values) if self.on == "log" else values

    def measured(self, se: Any, values: Any) -> Any:
        """Return standard errors of the output on the scale on which it scatters."""
        if self.on == "logit":
            return se / (values * (1 - values))
        return se / values if self.on == "log" else se

    def logpdf(self, observed: Any, mean: Any, scale: Any, trials: Any = None) -> Any:
        """Return the log density of `observed` on its own scale (no Jacobian), for arrays.

        For counts it is the log probability of the count behind `observed`.
        """
        from scipy.special import betaln, gammaln, xlog1py, xlogy

        if self.kind == "negative_binomial":
            failures, p = np.round(observed - trials), trials / mean
            ways = gammaln(failures + trials) - gammaln(failures + 1) - gammaln(trials)
            return ways + xlogy(trials, p) + xlog1py(failures, -p)
        if self.counted:
            successes = np.round(observed * trials)
            ways = gammaln(trials + 1) - gammaln(successes + 1) - gammaln(trials - successes + 1)
            if self.kind == "binomial":
                return ways + xlogy(successes, mean) + xlog1py(trials - successes, -mean)
            a, b = mean / scale**2, (1 - mean) / scale**2
            return ways + betaln(successes + a, trials - successes + b) - betaln(a, b)
        r = (observed - mean) / scale
        if self.kind == "normal":
            return -0.5 * r**2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
        if self.kind == "laplace":
            return -np.abs(r) - np.log(2 * scale)
        if self.kind == "frontier":
            q = self.quantile
            return np.log(q * (1 - q)) - np.log(scale) - r * (q - (r < 0))
        nu = self.nu
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
        return constant - np.log(scale) - (nu + 1) / 2 * np.log1p(r**2 / nu)

    def deviation(self, mean: Any, scale: Any, trials: Any = None) -> Any:
        """Return about how far `observed` values lie from the mean: the scale, or a count's standard deviation."""
        if self.kind == "negative_binomial":
            return np.sqrt(mean * (mean - trials) / trials)
        if self.kind == "binomial":
            return np.sqrt(mean * (1 - mean) / trials)
        if self.kind == "beta_binomial":
            rho = scale**2 / (1 + scale**2)
            return np.sqrt(mean * (1 - mean) * (1 + (trials - 1) * rho) / trials)
        return scale

    def predict(self, rng: np.random.Generator, mean: np.ndarray, scale: Any, trials: Any = None) -> np.ndarray:
        """Draw values of the output about the law's `mean` (in the output's own unit)."""
        if not self.counted:
            with np.errstate(all="ignore"):
                drawn = self.released(self.observed(mean) + scale * self.draw(rng, np.shape(mean)))
            return np.asarray(drawn)
        wanted = np.broadcast_to(np.round(trials), np.shape(mean)).astype(np.int64)
        if self.kind == "negative_binomial":
            return np.asarray(wanted + rng.negative_binomial(wanted, np.clip(wanted / mean, 1e-300, 1.0)), dtype=float)
        chance = np.clip(mean, 0.0, 1.0)
        if self.kind == "beta_binomial":
            tiny = 1e-12
            chance = rng.beta(np.maximum(chance / scale**2, tiny), np.maximum((1 - chance) / scale**2, tiny))
        return np.asarray(rng.binomial(wanted, chance) / wanted)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw standard noise (scale one) of a kind that does not count."""
        if self.kind == "normal":
            return rng.standard_normal(shape)
        if self.kind == "laplace":
            return rng.laplace(size=shape)
        if self.kind == "frontier":
            below, tail = rng.random(shape) < self.quantile, rng.exponential(size=shape)
            return np.where(below, -tail / (1 - self.quantile), tail / self.quantile)
        return rng.standard_t(self.nu, size=shape)

    @property
    def location_information(self) -> float:
        """Fisher information of the location at scale one."""
        if self.kind == "frontier":
            return self.quantile * (1 - self.quantile)
        return (self.nu + 1) / (self.nu + 3) if self.kind == "student_t" else 1.0

    @property
    def scale_information(self) -> float:
        """Fisher information of log sigma, per observation."""
        return {"laplace": 1.0, "frontier": 1.0, "student_t": 2 * self.nu / (self.nu + 3)}.get(self.kind, 2.0)

    def weight(self, r: np.ndarray) -> np.ndarray:
        """Return the weight of a standardised residual in iterated least squares."""
        if self.kind == "student_t":
            return (self.nu + 1) / (self.nu + r**2)
        if self.kind in ("laplace", "frontier"):
            pull = np.where(r < 0, 1 - self.quantile, self.quantile) if self.kind == "frontier" else 1.0
            return np.asarray(pull / np.maximum(np.abs(r), 1e-3))
        # a count's score is its residual over its variance, as the normal's is
        return np.ones_like(r)
