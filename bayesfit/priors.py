"""Priors: transformed normal distributions whose arguments may look at the data's scale.

Every prior is a standard normal `z` pushed through a function of its own, so that one vector of
standard normals carries a whole model. A parameter lives on its *link* scale (identity, log, or
logit between two bounds) when groups shift it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from bayesfit.errors import SpecError, nearest
from bayesfit.expression import MAX_LENGTH, NUMPY, SUMMARIES, Backend, Expression, parse_expression

Family = Literal["Normal", "LogNormal", "LogitNormal", "HalfNormal"]
Support = Literal["real", "positive", "unit"]

_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "Normal": ("mu", "sigma"),
    "LogNormal": ("mu", "sigma"),
    "LogitNormal": ("mu", "sigma", "lower", "upper"),
    "HalfNormal": ("sigma",),
}


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A prior distribution of a parameter.

    Parameters
    ----------
    family
        ``Normal(mu, sigma)``; ``LogNormal(mu, sigma)`` with mu and sigma of the logarithm;
        ``LogitNormal(mu, sigma, lower, upper)`` with mu and sigma of the logit of the share of the
        way from lower to upper; ``HalfNormal(sigma)``. ``Normal(0, 0)`` is for what only scatters over groups.
    arguments
        One formula each, over data summaries such as ``min.loss`` and numbers.

    Examples
    --------
    >>> Prior.parse("LogNormal(log(0.3), 0.6)").text
    'LogNormal(log(0.3), 0.6)'
    >>> Prior.between(0.1, 1.0).text
    'LogNormal(-1.15129, 0.699936)'
    """

    family: Family
    arguments: tuple[Expression, ...]

    def __post_init__(self) -> None:
        if self.family not in _ARGUMENTS:
            raise SpecError(
                f"unknown prior '{self.family[:40]}'{nearest(self.family, _ARGUMENTS)}; known: {', '.join(_ARGUMENTS)}"
            )
        names = _ARGUMENTS[self.family]
        if len(self.arguments) != len(names):
            raise SpecError(
                f"{self.family} takes {len(names)} arguments ({', '.join(names)}), found {len(self.arguments)}"
            )
        for argument in self.arguments:
            wrong = [name for name in argument.names if name.split(".")[0] not in SUMMARIES or "." not in name]
            if wrong:
                raise SpecError(
                    f"a prior may use numbers and data summaries ({', '.join(f'{s}.x' for s in SUMMARIES)}), "
                    f"found '{wrong[0]}' in {self.text}"
                )

    @classmethod
    def parse(cls, text: str) -> Prior:
        """Read a prior such as ``LogitNormal(1.5, 1.5, 0, min.loss)``.

        Raises
        ------
        SpecError
            For an unknown distribution, a wrong number of arguments, or a bad formula in one.
        """
        if not isinstance(text, str):
            raise SpecError(f"a prior is a text such as 'LogNormal(log(0.3), 0.6)', found {type(text).__name__}")
        match = re.fullmatch(r"\s*([A-Za-z]+)\s*\((.*)\)\s*", text[:MAX_LENGTH], re.DOTALL)
        if match is None or len(text) > MAX_LENGTH:
            raise SpecError(f"expected a prior such as 'LogNormal(log(0.3), 0.6)', found {text[:60]!r}")
        family: Any = match[1]
        arguments = split_arguments(match[2]) if match[2].strip() else []
        return cls(family=family, arguments=tuple(parse_expression(argument) for argument in arguments))

    @classmethod
    def between(cls, lower: float, upper: float, *, prob: float = 0.9, support: Support = "positive") -> Prior:
        """Return the prior that puts `prob` of its mass between two values, equal tails outside.

        Parameters
        ----------
        lower, upper
            The two quantiles, in the parameter's own unit.
        prob
            Mass between them.
        support
            ``"positive"`` gives a LogNormal, ``"real"`` a Normal, ``"unit"`` a LogitNormal on (0, 1).

        Raises
        ------
        SpecError
            If the values are out of order or outside the support.
        """
        from scipy.stats import norm

        if support not in get_args(Support):
            raise SpecError(f"unknown support {support!r}; known: {', '.join(get_args(Support))}")
        low, high = {"real": (-np.inf, np.inf), "positive": (0.0, np.inf), "unit": (0.0, 1.0)}[support]
        if not (low < lower < upper < high and 0 < prob < 1):
            raise SpecError(
                f"need lower < upper inside the {support} numbers and 0 < prob < 1, found {lower}, {upper}, {prob}"
            )
        first, last = (
            value if support == "real" else np.log(value) - (np.log1p(-value) if support == "unit" else 0.0)
            for value in (lower, upper)
        )
        sigma = (last - first) / (2 * float(norm.ppf((1 + prob) / 2)))
        family = {"real": "Normal", "positive": "LogNormal", "unit": "LogitNormal"}[support]
        tail = ", 0, 1" if support == "unit" else ""
        return cls.parse(f"{family}({(first + last) / 2:.6g}, {sigma:.6g}{tail})")

    @property
    def text(self) -> str:
        """The prior as written in a card."""
        # an argument may have been written over several lines inside parentheses
        return f"{self.family}({', '.join(argument.text for argument in self.arguments)})"

    @property
    def names(self) -> frozenset[str]:
        """The data summaries it looks at."""
        return frozenset[str]().union(*(argument.names for argument in self.arguments))

    def resolve(self, summaries: Mapping[str, float], owner: str = "a parameter") -> ResolvedPrior:
        """Put numbers in place of the data summaries.

        Raises
        ------
        SpecError
            If a summary is missing or an argument comes out unusable (a scale that is not
            positive, say), naming the parameter `owner`.
        """
        missing = sorted(self.names - summaries.keys())
        if missing:
            raise SpecError(
                f"the prior of {owner}, {self.text}, needs {', '.join(missing)}, which the runs do not have"
            )
        values = {
            name: float(argument.evaluate(summaries))
            for name, argument in zip(_ARGUMENTS[self.family], self.arguments, strict=True)
        }
        resolved = ResolvedPrior(
            family=self.family,
            mu=values.get("mu", 0.0),
            sigma=values["sigma"],
            lower=values.get("lower", 0.0),
            upper=values.get("upper", 1.0),
        )
        # levels of a group that scatter about zero have no centre to find
        wide = resolved.sigma > 0 or (self.family == "Normal" and values["mu"] == values["sigma"] == 0)
        if not (np.isfinite([*values.values()]).all() and wide and resolved.lower < resolved.upper):
            shown = ", ".join(f"{name} = {value:.6g}" for name, value in values.items())
            raise SpecError(
                f"the prior of {owner}, {self.text}, comes out as {shown}; expected finite numbers, a positive sigma "
                f"and lower below upper. Give it a prior that fits these runs"
            )
        return resolved


@dataclass(frozen=True, kw_only=True)
class ResolvedPrior:
    """A prior with numbers for arguments.

    Parameters
    ----------
    family
        As in `Prior`.
    mu, sigma, lower, upper
        Its arguments; numbers, or labelled arrays where each level of a group has its own.
    """

    family: Family
    mu: Any = 0.0
    sigma: Any
    lower: Any = 0.0
    upper: Any = 1.0

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that its family has, by name."""
        return {name: getattr(self, name) for name in _ARGUMENTS[self.family]}

    def map(self, change: Callable[[Any], Any]) -> ResolvedPrior:
        """Return the prior with every argument that its family has changed."""
        return replace(self, **{name: change(value) for name, value in self.arguments.items()})

    def latent(self, z: Any, functions: Backend) -> Any:
        """Map a standard normal to the parameter's link scale."""
        if self.family == "HalfNormal":
            return functions["log"](self.sigma * np.sqrt(2.0) * functions["half_normal"](z))
        return self.mu + self.sigma * z

    def value(self, u: Any, functions: Backend) -> Any:
        """Map the link scale to the parameter itself."""
        if self.family == "Normal":
            return u
        if self.family == "LogitNormal":
            return self.lower + (self.upper - self.lower) * functions["expit"](u)
        return functions["exp"](u)

    def link(self, value: Any) -> Any:
        """Map the parameter to its link scale (numpy and xarray)."""
        with np.errstate(all="ignore"):
            if self.family == "Normal":
                return value
            if self.family == "LogitNormal":
                share = (value - self.lower) / (self.upper - self.lower)
                return np.log(share) - np.log1p(-share)
            return np.log(value)

    def standard(self, value: Any) -> Any:
        """Map the parameter to the standard normal it came from (numpy and xarray)."""
        if self.family == "HalfNormal":
            from scipy.special import ndtri

            return ndtri(2 * _normal_cdf(value / self.sigma) - 1)
        return (self.link(value) - self.mu) / self.sigma


def pooled_prior(levels: Sequence[ResolvedPrior]) -> ResolvedPrior:
    """Return the population prior over levels that each resolved the same prior on their own runs.

    Locations are averaged and their spread is added to the scale; bounds are the widest. So a floor
    bounded by ``min.loss`` may lie as high as the largest of the levels' smallest losses.
    """
    mus = np.array([level.mu for level in levels])
    return ResolvedPrior(
        family=levels[0].family,
        mu=float(mus.mean()),
        sigma=float(np.sqrt(np.mean([level.sigma**2 for level in levels]) + mus.var())),
        lower=float(min(level.lower for level in levels)),
        upper=float(max(level.upper for level in levels)),
    )


def _normal_cdf(x: Any) -> Any:
    from scipy.special import ndtr

    return ndtr(x)


def _half_normal(z: Any) -> Any:
    """Return the half-normal quantile (over sqrt 2) with the probability that `z` has below it."""
    from scipy.special import erfc, erfcinv

    return erfcinv(0.5 * erfc(z / np.sqrt(2.0)))


#: What `ResolvedPrior` needs, for numpy and xarray.
NUMPY_LINKS: Backend = {**NUMPY, "half_normal": _half_normal}


def split_arguments(text: str) -> list[str]:
    """Split at the commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
