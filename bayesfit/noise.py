"""Noise: how an observed output scatters about the law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from bayesfit.errors import SpecError, nearest
from bayesfit.priors import Prior

Kind = Literal["student_t", "laplace", "normal"]
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
        the log loss) or ``"normal"``.
    on
        ``"log"``: the logarithm of the output scatters about the logarithm of the law;
        ``"logit"``: the log-odds do, for shares between 0 and 1; ``"identity"``: the output itself does.
    scale
        Prior of the scale sigma, in units of `on` (0.01 on the log scale is about 1%).
    spread
        How far groups' own scales may lie apart: the scale of a half-normal prior on the standard
        deviation of log sigma over groups.
    nu
        Degrees of freedom of the Student-t.

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

    def __post_init__(self) -> None:
        for name, value, allowed in (("kind", self.kind, get_args(Kind)), ("on", self.on, get_args(Scale))):
            if value not in allowed:
                raise SpecError(
                    f"noise {name} {value!r} is unknown{nearest(str(value), allowed)}; known: {', '.join(allowed)}"
                )
        if self.scale.family not in ("HalfNormal", "LogNormal"):
            raise SpecError(f"the noise scale needs a positive prior, found {self.scale.text}")
        if not (self.nu > 0 and self.spread > 0):
            raise SpecError(f"noise nu and spread must be positive, found {self.nu} and {self.spread}")

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> Noise:
        """Read the ``[outputs.*.noise]`` table of a card."""
        known = ("kind", "on", "scale", "spread", "nu")
        for name in fields:
            if name not in known:
                raise SpecError(f"unknown noise field '{name}'{nearest(name, known)}; known: {', '.join(known)}")
        values = dict(fields)
        if "scale" in values:
            values["scale"] = Prior.parse(values["scale"])
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """Return what `from_mapping` reads."""
        fields: dict[str, Any] = {"kind": self.kind, "on": self.on, "scale": self.scale.text, "spread": self.spread}
        return {**fields, "nu": self.nu} if self.kind == "student_t" else fields

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

    def logpdf(self, observed: Any, mean: Any, scale: Any) -> Any:
        """Return the log density of `observed` on its own scale (no Jacobian), for arrays."""
        from scipy.special import gammaln

        r = (observed - mean) / scale
        if self.kind == "normal":
            return -0.5 * r**2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
        if self.kind == "laplace":
            return -np.abs(r) - np.log(2 * scale)
        nu = self.nu
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
        return constant - np.log(scale) - (nu + 1) / 2 * np.log1p(r**2 / nu)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw standard noise (scale one)."""
        if self.kind == "normal":
            return rng.standard_normal(shape)
        if self.kind == "laplace":
            return rng.laplace(size=shape)
        return rng.standard_t(self.nu, size=shape)

    @property
    def location_information(self) -> float:
        """Fisher information of the location at scale one."""
        return (self.nu + 1) / (self.nu + 3) if self.kind == "student_t" else 1.0

    @property
    def scale_information(self) -> float:
        """Fisher information of log sigma, per observation."""
        return {"normal": 2.0, "laplace": 1.0, "student_t": 2 * self.nu / (self.nu + 3)}[self.kind]

    def weight(self, r: np.ndarray) -> np.ndarray:
        """Return the weight of a standardised residual in iterated least squares."""
        if self.kind == "normal":
            return np.ones_like(r)
        if self.kind == "laplace":
            return 1 / np.maximum(np.abs(r), 1e-3)
        return (self.nu + 1) / (self.nu + r**2)
