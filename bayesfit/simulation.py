"""Simulate runs from a law, to try a design or to test a fit against a known truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesfit.card import Law
from bayesfit.errors import SpecError, nearest
from bayesfit.expression import SEEN

if TYPE_CHECKING:
    import pandas as pd

    from bayesfit.runs import Runs


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Simulated runs with the truth they came from.

    Parameters
    ----------
    runs
        The runs.
    truth
        Each parameter's true value; with a group, an array over its levels in order.
    """

    runs: Runs
    truth: Mapping[str, Any]


def simulate(
    law: Law | str,
    inputs: pd.DataFrame | Mapping[str, Sequence[float]] | None = None,
    *,
    parameters: Mapping[str, float] | None = None,
    published: str | None = None,
    n: int | None = None,
    sigma: float | None = None,
    group: str | None = None,
    levels: int = 1,
    spread: float = 0.1,
    seed: int | None = None,
) -> Simulation:
    """Simulate runs.

    Parameters
    ----------
    law
        A law or its name.
    inputs
        A table with a row per run, or for each input a range ``(low, high)`` drawn log-uniformly or
        a longer list to draw from; the card's recovery design by default.
    parameters
        True values, centred at the simulated runs' own `ref.x`; the card's recovery truth by default.
    published
        Use these published coefficients of the card instead.
    n
        Number of runs (in each level) where `inputs` is not a table; the card's by default.
    sigma
        Noise scale of every output; the card's by default.
    group, levels, spread
        Name of a group, its number of levels, and how far their parameters lie apart: the standard
        deviation on the link scale of those that may vary.
    seed
        Seed; drawn at random if None.

    Raises
    ------
    SpecError
        For a law without a recovery design where one is needed, or unknown names.
    """
    import pandas as pd

    from bayesfit.catalog import law as find
    from bayesfit.runs import Runs, summaries_of

    law = find(law)
    law = law.closed() if not isinstance(inputs, pd.DataFrame) else law.closed(inputs.columns)
    rng = np.random.default_rng(seed)
    design = _design(law, inputs, n, levels, rng)
    code = np.arange(len(design)) % levels
    summaries = {k: v for name in law.inputs for k, v in summaries_of(name, design[name].to_numpy()).items()}
    centre = _centre(law, parameters, published, summaries)
    truth: dict[str, Any] = {}
    for name, value in centre.items():
        free = law.parameters[name]
        if group is None or not free.varies or name in law.fixed:
            truth[name] = value
            continue
        # bounds that look at losses do not exist yet; the log or identity link does for shifting
        shift = spread * rng.standard_normal(levels)
        truth[name] = value + shift if free.prior.family == "Normal" else value * np.exp(shift)
    known: dict[str, Any] = {name: design[name].to_numpy() for name in law.inputs}
    rows = {name: value[code] if np.ndim(value) else value for name, value in truth.items()}
    known = {**known, **summaries, **rows}
    scale = sigma if sigma is not None else law.recovery.sigma if law.recovery else 0.01
    for output in (equation.target for equation in law.equations if equation.target in law.outputs):
        noise = law.outputs[output].noise
        # earlier outputs were drawn, and the law may read what a run showed of them
        clean = np.broadcast_to(law.mean(known)[output], (len(design),))
        if not np.isfinite(clean).all():
            raise SpecError(f"{law.id} has no finite {output} at these parameters and inputs")
        trials = design[noise.trials].to_numpy() if noise.counted else None
        design[output] = noise.predict(rng, clean, scale, trials)
        known[f"{SEEN}.{output}"] = design[output].to_numpy()
    if group is not None:
        design[group] = [f"{group}_{i}" for i in code]
    runs = Runs.from_frame(
        pd.DataFrame(design),
        law=law,
        inputs=tuple(law.inputs),
        groups=() if group is None else (group,),
        n_items="n_items" if "n_items" in design else None,
        allow=["units"],
        name=f"runs simulated from {law.id}",
    )
    return Simulation(runs=runs, truth=truth)


def _design(law: Law, inputs: Any, n: int | None, levels: int, rng: np.random.Generator) -> pd.DataFrame:
    import pandas as pd

    if isinstance(inputs, pd.DataFrame):
        counted = [part.noise.trials for part in law.outputs.values() if part.noise.counted]
        needed = list(dict.fromkeys((*law.inputs, *counted)))
        missing = [name for name in needed if name not in inputs]
        if missing:
            raise SpecError(f"{law.id} needs the inputs {', '.join(needed)}; the table lacks {', '.join(missing)}")
        return inputs[needed].astype(float).reset_index(drop=True)
    if inputs is None and law.recovery is None:
        raise SpecError(f"{law.id} has no recovery design; give inputs={{'{next(iter(law.inputs))}': (low, high)}}")
    ranges = {**(law.recovery.inputs if law.recovery else {}), **(inputs or {})}
    for name in ranges:
        if name not in law.inputs and name != "n_items":
            raise SpecError(f"{law.id} has no input '{name}'{nearest(name, law.inputs)}")
    counted = [part.noise.trials for part in law.outputs.values() if part.noise.counted]
    missing = [name for name in dict.fromkeys((*law.inputs, *counted)) if name not in ranges]
    if missing:
        raise SpecError(f"no range for {', '.join(missing)}")
    count = (n or (law.recovery.runs if law.recovery else 60)) * levels
    columns = {}
    for name, values in ranges.items():
        if len(values) == 2 and values[0] > 0:
            columns[name] = np.exp(rng.uniform(np.log(values[0]), np.log(values[1]), count))
        elif len(values) == 2:
            columns[name] = rng.uniform(values[0], values[1], count)
        else:
            columns[name] = rng.choice(np.asarray(values, dtype=float), count)
        if name in counted:
            columns[name] = np.round(columns[name])
    for parts in law.simplexes.values():
        total = np.sum([columns[part] for part in parts], axis=0)
        columns |= {part: columns[part] / total for part in parts}
    return pd.DataFrame(columns)


def _centre(
    law: Law, parameters: Mapping[str, float] | None, published: str | None, summaries: Mapping[str, float]
) -> dict[str, float]:
    if published is not None:
        if published not in law.published:
            raise SpecError(
                f"{law.id} has no published coefficients '{published}'{nearest(published, law.published)}; "
                f"it has {', '.join(law.published) or 'none'}"
            )
        return law.paper_parameters(law.published[published].values, summaries)
    if parameters is None and law.recovery is None:
        raise SpecError(f"{law.id} has no recovery truth; give parameters= or published=")
    told = {**(law.recovery.truth if law.recovery else {}), **(parameters or {})}
    return law.paper_parameters(told, summaries) if parameters else {**law.fixed, **_known(law, told)}


def _known(law: Law, told: Mapping[str, float]) -> dict[str, float]:
    return {name: float(told[name]) for name in law.free}
