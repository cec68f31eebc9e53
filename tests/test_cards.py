"""What every card promises, tested on each card of models/ because it is there.

A new card needs no test of its own: put the TOML in its folder and run this file. (`test_build.py` builds every card in
PyMC and compares its density and gradient.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.mathtext import MathTextParser

from bayesfit.card import Law, check_values, derived_values, expected
from bayesfit.card_file import card_toml, read_card
from bayesfit.catalog import search
from bayesfit.errors import SpecError
from bayesfit.expression import parse_expression
from bayesfit.priors import NUMPY_LINKS, ResolvedPrior
from bayesfit.runs import summaries_of
from bayesfit.simulation import simulate
from bayesfit.typeset import latex, latex_name
from tests.index import CARDS, MARKER, README, index

KINDS = {"loss", "training", "data", "architecture", "transfer", "downstream", "inference", "hyperparameters"}
#: Plain counts and nats by default; another unit needs a reason, and a line here.
UNITS = {
    "1",
    "parameters",
    "tokens",
    "FLOP",
    "FLOP/token",
    "nats",
    "nats/token",
    "nats/byte",
    "bits/byte",
    "bits/character",
    "bits",
    "steps",
    "sequences",
    "examples",
    "samples",
    "epochs",
    "replicas",
    "experts",
    "latents",
    "share",
    "years",
    "FLOP/day",
    "FLOP/example",
    "PF-days",
    "GPU hours",
    "hours",
    "MAC",
    "bytes",
    "characters",
    "nats/character",
    "percent",
}
DRAWS = 100


@pytest.fixture(scope="module", params=CARDS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def law(path: Path) -> Law:
    """Return the law; one over vectors with the levels of its card."""
    return read_card(path.read_text(encoding="utf-8"), kind=path.parent.name, origin=path.name).closed()


def test_the_file_carries_the_name_of_the_law(path: Path, law: Law) -> None:
    assert law.id == path.stem
    assert path.parent.name in KINDS


def test_names_are_given_once() -> None:
    cards = [read_card(path.read_text(encoding="utf-8")) for path in CARDS]
    names = [name for card in cards for name in (card.id, *card.aliases)]
    assert len(names) >= len(CARDS) > 0
    assert sorted(names) == sorted(set(names))


def test_reading_what_was_written_gives_the_same_law(path: Path, law: Law) -> None:
    for entry in (law, read_card(path.read_text(encoding="utf-8"))):
        text = card_toml(entry)
        assert read_card(text) == entry
        assert card_toml(read_card(text)) == text


def test_the_card_gives_its_evidence(law: Law) -> None:
    assert law.reference
    assert law.checks
    assert law.verified, "say how far the formula was verified"
    if not law.published:
        assert "no published coefficients" in law.summary.lower(), "say in the summary why there are none"
    for reference in law.reference:
        assert re.match(r".+? \d{4}, .+", reference), f"write 'Authors year, Title, arXiv:number', found {reference!r}"


def test_everything_is_explained(law: Law) -> None:
    assert law.title
    assert law.summary
    parts = {**law.inputs, **law.outputs, **law.parameters, **law.derived}
    assert [name for name, part in parts.items() if not part.about] == []
    assert {part.unit for part in parts.values()} <= UNITS


def test_checks_hold_to_their_last_digit(law: Law) -> None:
    for check in law.checks:
        values = check_values(law, check)
        for name, text in check.expect.items():
            value, tolerance = expected(text)
            assert values[name] == pytest.approx(value, rel=1e-12, abs=tolerance), (name, check)


def test_published_intervals_hold_their_values(law: Law) -> None:
    if not any(published.intervals or published.se for published in law.published.values()):
        pytest.skip("the card gives none")
    for published in law.published.values():
        for name, (low, high) in published.intervals.items():
            assert low < published.values[name] < high
        assert published.se.keys() <= published.values.keys()
        assert all(se > 0 for se in published.se.values())


def test_paper_coefficients_come_back_whatever_the_centre(law: Law) -> None:
    for coefficients in paper_coefficients(law):
        for summaries in centres(law):
            parameters = law.paper_parameters(coefficients, summaries)
            back = {**parameters, **derived_values(law, {**summaries, **parameters})}
            for name, value in coefficients.items():
                assert back[name] == pytest.approx(value, rel=1e-9), name


def test_the_centre_changes_no_prediction(law: Law) -> None:
    inputs = simulated_inputs(law, np.random.default_rng(3))
    for coefficients in paper_coefficients(law):
        answers = [
            law.mean({**inputs, **summaries, **law.paper_parameters(coefficients, summaries)})
            for summaries in centres(law)
        ]
        for name in law.outputs:
            for first, second in pairwise(answers):
                np.testing.assert_allclose(first[name], second[name], rtol=1e-9)


def test_declared_trends_and_bounds_hold_everywhere(law: Law) -> None:
    if law.limits == type(law.limits)():
        pytest.skip("the card declares none")
    inputs, summaries = simulated(law)
    priors = resolved(law, summaries)
    rng = np.random.default_rng(1)
    target = law.equations[-1].target
    moved = dict.fromkeys(law.limits.monotone, 0)
    for parameters in prior_draws(law, priors, DRAWS, rng):
        point = {name: rng.choice(values) for name, values in inputs.items()}
        for name in law.inputs:
            grid = {**point, name: wide_grid(law, name)}
            known = {**grid, **summaries, **parameters}
            line = np.broadcast_to(law.mean(known)[target], grid[name].shape)
            assert np.isfinite(line).all(), parameters
            # half of the last digits lets a flat stretch wobble by rounding
            slack = 1e-9 * np.abs(line).max()
            if name in law.limits.monotone:
                sign = {"increasing": 1, "decreasing": -1}[law.limits.monotone[name]]
                assert (sign * np.diff(line) >= -slack).all(), (name, parameters)
                moved[name] += sign * (line[-1] - line[0]) > 0
            for bound, sign in ((law.limits.floor, 1), (law.limits.ceiling, -1)):
                if bound:
                    assert (sign * (line - parse_expression(bound).evaluate(known)) >= -slack).all(), parameters
    # a curve that has come to its floor before the grid begins is flat to the last digit
    assert all(count >= 0.98 * DRAWS for count in moved.values()), moved


def test_mathematics_can_be_typeset(law: Law) -> None:
    parser = MathTextParser("path")
    symbols = law.symbols
    lines = law.latex.splitlines()
    lines += [f"{latex_name(name, symbols)} = {latex(part.formula, symbols)}" for name, part in law.derived.items()]
    for line in lines:
        assert parser.parse(f"${line}$").width > 0


def test_priors_resolve_and_cover_the_recovery_truth(law: Law) -> None:
    assert law.recovery is not None
    _, summaries = simulated(law)
    for name, prior in resolved(law, summaries).items():
        z = prior.standard(law.recovery.truth[name])
        assert abs(z) < 3, f"the true {name} lies {z:.1f} standard deviations out in its prior"


def test_priors_keep_parameters_in_the_order_that_the_law_needs(law: Law) -> None:
    pairs = [(part.above, name) for name, part in law.parameters.items() if part.above]
    if not pairs:
        pytest.skip("the card needs none")
    _, summaries = simulated(law)
    for draw in prior_draws(law, resolved(law, summaries), 10 * DRAWS, np.random.default_rng(3)):
        known = {**law.fixed, **draw}
        assert all(known[upper] > known[lower] for lower, upper in pairs)


def test_prior_draws_give_plausible_outputs(law: Law) -> None:
    inputs, summaries = simulated(law)
    rng = np.random.default_rng(2)
    draws = list(prior_draws(law, resolved(law, summaries), DRAWS, rng))
    for output in law.outputs:
        losses = np.array([law.mean({**inputs, **summaries, **draw})[output] for draw in draws])
        low, high = summaries[f"min.{output}"], summaries[f"max.{output}"]
        assert np.isfinite(losses).all()
        decade = 9 * (high - low)
        ends = (low / 10, high * 10) if law.outputs[output].noise.on == "log" else (low - decade, high + decade)
        assert ((losses > ends[0]) & (losses < ends[1])).mean() >= 0.9


def test_labelled_and_plain_arrays_agree(law: Law) -> None:
    inputs, summaries = simulated(law)
    draws = list(prior_draws(law, resolved(law, summaries), 20, np.random.default_rng(4)))
    labelled: dict[str, Any] = {name: xr.DataArray(values, dims="run") for name, values in inputs.items()}
    labelled |= {name: xr.DataArray([draw[name] for draw in draws], dims="draw") for name in law.free}
    answer = law.mean({**labelled, **summaries})
    plain = [law.mean({**inputs, **summaries, **draw}) for draw in draws]
    for name in law.outputs:
        assert set(answer[name].dims) == {"draw", "run"}
        np.testing.assert_allclose(answer[name].transpose("draw", "run"), [p[name] for p in plain], rtol=1e-12)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("2203.15556", "chinchilla"),
        ("hoffmann compute-optimal", "chinchilla"),
        ("WaveletGPT", "compute_multiplier"),
        ("Grandmaster-Level Chess", "scale_threshold"),
        ("data mixing laws", "mix_exp"),
        ("empirical model of large-batch training", "steps_examples"),
        ("routed language models", "routed_bilinear"),
        ("Gadre", "gadre_overtrain"),
        ("2411.12925", "loss_to_loss"),
        ("clip reproducible", "clip_error"),
    ],
)
def test_a_law_is_found_by_title_author_or_number(words: str, name: str) -> None:
    assert name in [entry.id for entry in search(words)]
    assert list(search("no paper is called this")) == []


def test_the_readme_lists_every_card() -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme.count(MARKER) == 2
    assert readme.split(MARKER)[1].strip() == index(), "`make index` writes the table anew"


def paper_coefficients(law: Law) -> list[Mapping[str, float]]:
    """Return every whole set of coefficients that the card gives in a paper's notation, in its checks too."""
    told = [entry.values for entry in law.published.values() if whole(law, entry.values)]
    told += [check.parameters for check in law.checks if check.parameters.keys() & law.derived.keys()]
    if not told:
        pytest.skip("the card gives none in a paper's notation")
    return told


def whole(law: Law, given: Mapping[str, float]) -> bool:
    """Say whether a set of coefficients gives every parameter."""
    try:
        law.paper_parameters(given, next(centres(law)))
    except SpecError:
        return False
    return True


def centres(law: Law) -> Iterator[dict[str, float]]:
    """Yield the summaries of some quite different tables of runs."""
    for seed in range(5):
        inputs = simulated_inputs(law, np.random.default_rng(seed))
        shift = 10.0 ** np.random.default_rng([seed, 1]).uniform(-2, 2)
        yield {
            **{name: value for column, values in inputs.items() for name, value in summary(column, values * shift)},
            **{name: 1.0 + seed for output in law.outputs for name, _ in summary(output, np.ones(2))},
        }


def simulated_inputs(law: Law, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the inputs of runs of the recovery design."""
    assert law.recovery is not None, "a card needs a recovery design"
    runs = simulate(law, seed=int(rng.integers(2**32))).runs
    return {name: runs.values(name) for name in law.inputs}


def simulated(law: Law) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return inputs of the recovery design, and the summaries of those runs at the true parameters."""
    assert law.recovery is not None
    runs = simulate(law, seed=0).runs
    return {name: runs.values(name) for name in law.inputs}, runs.summaries()


def summary(column: str, values: np.ndarray) -> Iterator[tuple[str, float]]:
    """Yield what formulas may know of a column."""
    yield from summaries_of(column, values).items()


def resolved(law: Law, summaries: Mapping[str, float]) -> dict[str, ResolvedPrior]:
    """Return the priors of the free parameters for runs with these summaries."""
    return {name: parameter.prior.resolve(summaries, name) for name, parameter in law.free.items()}


def prior_draws(
    law: Law, priors: Mapping[str, ResolvedPrior], count: int, rng: np.random.Generator
) -> Iterator[dict[str, float]]:
    """Yield draws of all parameters from their priors."""
    for z in rng.standard_normal((count, len(priors))):
        yield {
            name: float(prior.value(prior.latent(standard, NUMPY_LINKS), NUMPY_LINKS))
            for (name, prior), standard in zip(priors.items(), z, strict=True)
        } | dict(law.fixed)


def wide_grid(law: Law, name: str) -> np.ndarray:
    """Return values of an input from three decades below the recovery design to three above, as far as it may go."""
    assert law.recovery is not None
    values, support = law.recovery.inputs[name], law.inputs[name].support
    if support in ("share", "simplex"):
        return np.linspace(0.0, 1.0, 61)
    if support == "real":
        reach = max(values) - min(values)
        return np.linspace(min(values) - reach, max(values) + reach, 61)
    grid = np.geomspace(min(value for value in values if value > 0) / 1e3, max(values) * 1e3, 61)
    return np.concatenate([[0.0], grid]) if support == "nonnegative" else grid
