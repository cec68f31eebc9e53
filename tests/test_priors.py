"""Priors and noise against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import bayesfit as bf
from bayesfit.noise import COUNTED, Kind, Noise
from bayesfit.priors import NUMPY_LINKS, Prior, pooled_prior

SUMMARIES = {"min.loss": 2.0, "median.loss": 3.0, "ref.params": 1e9}


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("Normal(1, 2)", stats.norm(1, 2)),
        ("LogNormal(log(0.3), 0.6)", stats.lognorm(0.6, scale=0.3)),
        ("HalfNormal(0.05)", stats.halfnorm(scale=0.05)),
    ],
)
def test_priors_have_the_quantiles_of_their_distribution(text: str, reference) -> None:
    prior = Prior.parse(text).resolve(SUMMARIES)
    p = np.array([0.001, 0.05, 0.5, 0.95, 0.999])
    z = stats.norm.ppf(p)
    value = prior.value(prior.latent(z, NUMPY_LINKS), NUMPY_LINKS)
    np.testing.assert_allclose(value, reference.ppf(p), rtol=1e-9)
    np.testing.assert_allclose(prior.standard(value), z, rtol=1e-7)
    np.testing.assert_allclose(prior.value(prior.link(value), NUMPY_LINKS), value)


def test_logit_normal_stays_between_its_bounds() -> None:
    prior = Prior.parse("LogitNormal(1.5, 1.5, 0, min.loss)").resolve(SUMMARIES)
    value = prior.value(prior.latent(np.linspace(-5, 5, 101), NUMPY_LINKS), NUMPY_LINKS)
    assert (value > 0).all()
    assert (value < 2).all()
    assert prior.value(prior.latent(0.0, NUMPY_LINKS), NUMPY_LINKS) == pytest.approx(2 / (1 + np.exp(-1.5)))


@pytest.mark.parametrize("support", ["positive", "real", "unit"])
def test_between_puts_the_mass_between(support) -> None:
    prior = Prior.between(0.2, 0.7, prob=0.8, support=support).resolve({})
    z = stats.norm.ppf([0.1, 0.9])
    found = prior.value(prior.latent(z, NUMPY_LINKS), NUMPY_LINKS)
    assert found == pytest.approx([0.2, 0.7], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.0, 0.5), "lower < upper"), ((-1.0, 0.5), "positive numbers"), ((0.1, 0.5, 1.5), "0 < prob < 1")],
)
def test_between_refuses_what_is_no_interval(arguments: tuple, message: str) -> None:
    lower, upper, *prob = arguments
    with pytest.raises(bf.SpecError, match=message):
        Prior.between(lower, upper, prob=prob[0] if prob else 0.9)


def test_data_aware_arguments_must_come_out_usable() -> None:
    with pytest.raises(bf.SpecError, match=r"the prior of a, LogNormal\(log\(min.loss - 3\), 1\), comes out as"):
        Prior.parse("LogNormal(log(min.loss - 3), 1)").resolve(SUMMARIES, "a")
    with pytest.raises(bf.SpecError, match=r"needs max\.loss"):
        Prior.parse("LogNormal(log(max.loss), 1)").resolve(SUMMARIES, "a")


def test_the_population_prior_covers_its_levels() -> None:
    levels = [Prior.parse("LogitNormal(1.5, 1.5, 0, min.loss)").resolve({"min.loss": value}) for value in (2.0, 3.0)]
    pooled = pooled_prior(levels)
    assert (pooled.lower, pooled.upper, pooled.mu, pooled.sigma) == (0.0, 3.0, 1.5, 1.5)
    apart = pooled_prior([Prior.parse("Normal(log(min.loss), 1)").resolve({"min.loss": v}) for v in (1.0, np.e**2)])
    assert apart.mu == pytest.approx(1.0)
    assert apart.sigma == pytest.approx(np.sqrt(1 + 1))


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        ("student_t", stats.t(4)),
        ("normal", stats.norm()),
        ("laplace", stats.laplace()),
        # 5% below zero; kappa is the square root of the odds, and the scale that of scipy's parametrisation
        ("frontier", stats.laplace_asymmetric(np.sqrt(0.05 / 0.95), scale=1 / np.sqrt(0.05 * 0.95))),
    ],
)
def test_noise_densities_draws_and_information(kind, reference) -> None:
    noise = Noise(kind=kind)
    y = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(noise.logpdf(y, 0.5, 2.0), reference.logpdf((y - 0.5) / 2) - np.log(2))
    draws = noise.draw(np.random.default_rng(0), (20_000,))
    assert stats.kstest(draws, reference.cdf).pvalue > 0.001
    # Fisher information of location and log scale, by the variance of the scores
    step = 1e-4
    location = (noise.logpdf(draws, step, 1.0) - noise.logpdf(draws, -step, 1.0)) / (2 * step)
    scale = (noise.logpdf(draws, 0.0, np.exp(step)) - noise.logpdf(draws, 0.0, np.exp(-step))) / (2 * step)
    assert np.mean(location**2) == pytest.approx(noise.location_information, rel=0.05)
    assert np.mean(scale**2) == pytest.approx(noise.scale_information, rel=0.05)
    # the weight is the score over the residual
    # (near Laplace noise's corner it is held finite)
    away = np.abs(draws) > 2e-3
    np.testing.assert_allclose(location[away], (noise.weight(draws) * draws)[away], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", COUNTED)
def test_counts_have_the_probabilities_and_scatter_of_their_distributions(kind: Kind) -> None:
    noise, trials, sigma, share = Noise(kind=kind), np.array([7.0, 40.0, 1000.0]), 0.2, np.array([0.1, 0.45, 0.9])
    mean = trials / share if kind == "negative_binomial" else share
    n = trials.astype(int)
    reference = {
        "binomial": stats.binom(n, share),
        "beta_binomial": stats.betabinom(n, share / sigma**2, (1 - share) / sigma**2),
        "negative_binomial": stats.nbinom(n, share),
    }[kind]
    counts = np.round(reference.mean() * 0.9)
    observed = counts + trials if kind == "negative_binomial" else counts / trials
    np.testing.assert_allclose(noise.logpdf(observed, mean, sigma, trials), reference.logpmf(counts), rtol=1e-9)
    np.testing.assert_array_equal(noise.counts(observed, trials, "y"), counts)
    factor = 1.0 if kind == "negative_binomial" else 1 / trials
    np.testing.assert_allclose(noise.deviation(mean, sigma, trials), reference.std() * factor, rtol=1e-9)
    drawn = noise.predict(np.random.default_rng(1), np.broadcast_to(mean, (20_000, 3)), sigma, trials)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=5 * noise.deviation(mean, sigma, trials).max() / 100)
    np.testing.assert_allclose(drawn.std(axis=0), noise.deviation(mean, sigma, trials), rtol=0.05)


def test_counts_must_be_whole() -> None:
    with pytest.raises(bf.DataError, match=r"accuracy times n_items is 12\.4 there.*\n?.*log-odds"):
        Noise(kind="binomial").counts(np.array([0.2, 0.31]), np.array([40.0, 40.0]), "accuracy")
    # four printed digits of 611/1319
    assert Noise(kind="binomial").counts(np.array([0.4632]), np.array([1319.0]), "accuracy") == [611]
    with pytest.raises(bf.SpecError, match="leave out on = 'log'"):
        Noise.from_mapping({"kind": "binomial", "on": "log"})
    assert Noise.from_mapping(Noise(kind="beta_binomial").to_mapping()) == Noise(kind="beta_binomial")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "gauss"}, "known: student_t"),
        ({"on": "lg"}, "did you mean 'log'"),
        ({"nu": 0.0}, "must be positive"),
    ],
)
def test_noise_refuses_what_it_does_not_know(arguments: dict, message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        Noise(**arguments)
