"""What many studies say of a law's parameters together: a correlated prior, learnt and shipped as a card.

A law's own priors look at the data (``LogitNormal(1.5, 1.5, 0, min.loss)``), so that a parameter's place in its
prior, a standard normal, means the same in every study: how far up between nothing and the smallest loss a
floor lies. A population is the normal distribution of these places over studies, correlations included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesfit.errors import SpecError, nearest

if TYPE_CHECKING:
    from bayesfit.card import Law
    from bayesfit.runs import Runs

_KEYS = ("id", "law", "summary", "studies", "parameters", "centre", "covariance")
_ROUNDS = 2000
_SETTLED = 1e-9
#: How much of the law's own priors is taken for doubt of the centre; the rest is spread over studies.
_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Population:
    """A correlated prior of a law's parameters.

    Parameters
    ----------
    id
        Its name.
    law
        The law it speaks of.
    parameters
        The parameters, in the order of `centre`.
    centre, covariance
        Mean and covariance of their places in the law's own priors, as standard normals.
    studies
        The studies it was learnt from; leave out the one you fit.
    summary
        For people.
    """

    id: str
    law: str
    parameters: tuple[str, ...]
    centre: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    studies: tuple[str, ...] = ()
    summary: str = ""

    def __post_init__(self) -> None:
        size = len(self.parameters)
        matrix = np.array(self.covariance, dtype=float)
        if len({*self.parameters}) < size or len(self.centre) != size or matrix.shape != (size, size):
            raise SpecError(
                f"population {self.id}: {size} parameters need as many centres and a square covariance, found "
                f"{len(self.centre)} and {'x'.join(map(str, matrix.shape))}"
            )
        if not (np.isfinite(self.centre).all() and np.allclose(matrix, matrix.T, atol=1e-9)):
            raise SpecError(f"population {self.id}: centre and covariance must be finite, the covariance symmetric")
        if not (np.linalg.eigvalsh(matrix) > 0).all():
            raise SpecError(f"population {self.id}: the covariance must be positive definite")

    def require(self, law: Law) -> None:
        """Refuse a law whose parameters these are not."""
        for name in self.parameters:
            if name not in law.parameters:
                raise SpecError(
                    f"population {self.id} of {self.law} speaks of '{name}'{nearest(name, law.parameters)}; "
                    f"{law.id} has {', '.join(law.parameters)}"
                )

    @property
    def root(self) -> np.ndarray:
        """The covariance's Cholesky factor."""
        return np.linalg.cholesky(np.array(self.covariance, dtype=float))

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> Population:
        """Read the table of a card.

        Raises
        ------
        SpecError
            For an unknown or missing key, or numbers that do not fit together.
        """
        for key in table:
            if key not in _KEYS:
                raise SpecError(f"unknown key '{key}' in a population{nearest(key, _KEYS)}; known: {', '.join(_KEYS)}")
        for key in ("id", "law", "parameters", "centre", "covariance"):
            if key not in table:
                raise SpecError(f"a population needs '{key}'")
        try:
            return cls(
                id=str(table["id"]),
                law=str(table["law"]),
                summary=" ".join(str(table.get("summary", "")).split()),
                studies=tuple(map(str, table.get("studies", ()))),
                parameters=tuple(map(str, table["parameters"])),
                centre=tuple(map(float, table["centre"])),
                covariance=tuple(tuple(map(float, row)) for row in table["covariance"]),
            )
        except (TypeError, ValueError) as error:
            raise SpecError(f"the population's numbers cannot be read: {error}") from None

    def to_mapping(self) -> dict[str, Any]:
        """Return what `from_mapping` reads."""
        table: dict[str, Any] = {"id": self.id, "law": self.law, "summary": self.summary, "studies": [*self.studies]}
        table |= {"parameters": [*self.parameters], "centre": [*self.centre]}
        return table | {"covariance": [[*row] for row in self.covariance]}


def population(name: str | Path | Population) -> Population:
    """Return a population by name, from the folder ``models/priors``, or from a file of your own by path.

    Raises
    ------
    SpecError
        If there is none of that name, or its text cannot be used.
    """
    from bayesfit.catalog import prior_card

    if isinstance(name, Population):
        return name
    file, table = prior_card(name, "population", "covariance")
    try:
        return Population.from_mapping(table)
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from None


def learn_population(
    studies: Mapping[str, Runs],
    law: Law | str,
    *,
    parameters: Sequence[str] | None = None,
    id: str = "own",
    summary: str = "",
) -> Population:
    """Learn how a law's parameters lie over studies.

    Parameters
    ----------
    studies
        Runs of each study, by its name. Leave out the study that will be fitted.
    law
        The law.
    parameters
        Which parameters; all that are fitted by default, without noise scales.
    id, summary
        For the result.

    Returns
    -------
    Population
        Mean and covariance for a study to come: the uncertainty of the mean is part of the covariance.

    Raises
    ------
    SpecError
        For fewer than three studies, or a parameter that the law does not have.

    Notes
    -----
    Every study counts by the quadratic approximation of its likelihood about its best fit; the normal
    population over them is found by expectation-maximisation. Without studies it would be the law's own
    independent priors, which count as one study more.
    """
    from bayesfit.catalog import law as find
    from bayesfit.pilot import pilot
    from bayesfit.pooling import Pooling, plan_parameters

    law = find(law)
    if len(studies) < 3:
        raise SpecError(f"a population needs at least 3 studies, found {len(studies)}")
    chosen = tuple(law.free) if parameters is None else tuple(parameters)
    for name in chosen:
        if name not in law.free:
            raise SpecError(
                f"{law.id} fits no parameter '{name}'{nearest(name, law.free)}; it has {', '.join(law.free)}"
            )
    informations, pulls = [], []
    for runs in studies.values():
        plans = plan_parameters(law, runs, Pooling())
        geometry = pilot(law, plans, runs)
        names = [plan.name for plan in plans]
        places = np.array([names.index(name) for name in chosen])
        others = np.setdiff1d(np.arange(len(names)), places)
        information, pull = _without(geometry.information, geometry.pull, places, others)
        informations.append(information)
        pulls.append(pull)
    centre, covariance = _population(informations, pulls)
    return Population(
        id=id,
        law=law.id,
        summary=summary,
        studies=tuple(studies),
        parameters=chosen,
        centre=tuple(float(value) for value in centre.round(4)),
        covariance=tuple(tuple(float(value) for value in row) for row in covariance.round(5)),
    )


def _without(
    information: np.ndarray, pull: np.ndarray, kept: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the quadratic approximation over `kept` entries, the others (with their own priors) integrated out."""
    if not others.size:
        return information, pull
    inner = information[np.ix_(others, others)] + np.eye(others.size)
    across = information[np.ix_(kept, others)] @ np.linalg.inv(inner)
    return (
        information[np.ix_(kept, kept)] - across @ information[np.ix_(others, kept)],
        pull[kept] - across @ pull[others],
    )


def _population(informations: Sequence[np.ndarray], pulls: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance over studies by expectation-maximisation, for a study to come."""
    size, count = len(pulls[0]), len(pulls)
    centre, covariance = np.zeros(size), np.eye(size)
    for _ in range(_ROUNDS):
        precision = np.linalg.inv(covariance)
        spreads = [np.linalg.inv(information + precision) for information in informations]
        means = [spread @ (pull + precision @ centre) for spread, pull in zip(spreads, pulls, strict=True)]
        before = centre
        centre = np.linalg.solve(count * precision + np.eye(size) / _SHARE, precision @ np.sum(means, axis=0))
        scatter = sum(
            spread + np.outer(mean - centre, mean - centre) for spread, mean in zip(spreads, means, strict=True)
        )
        # the mean under an inverse Wishart that is worth one study
        covariance = ((1 - _SHARE) * np.eye(size) + scatter) / (count + 1)
        if np.abs(centre - before).max() < _SETTLED:
            break
    # a study tells of the centre what it knows of its own parameters, blurred by how studies differ
    known = [np.linalg.solve(np.eye(size) + information @ covariance, information) for information in informations]
    return centre, covariance + np.linalg.inv(np.sum(known, axis=0) + np.eye(size) / _SHARE)
