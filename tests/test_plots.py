"""Figures checked as data: what is drawn, where, and what it is called."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import plots
from bayesfit.diagnostics import Diagnostics
from bayesfit.path import fit_path
from bayesfit.plots import band, curves, style
from bayesfit.plots.prior_posterior import density
from bayesfit.plots.residuals import noise_quantiles, residuals

# a target of one's own means one attempt; whether these few draws converge does not matter here
SMALL: dict[str, Any] = {"draws": 100, "tune": 200, "chains": 2, "seed": 1, "progress": False}
SMALL["sampler"] = {"nuts": {"target_accept": 0.8}}
FAMILIES = ("oak", "elm")


@pytest.fixture(scope="session")
def fitted() -> bf.Fit:
    """Two families with 20 and 40 tokens a parameter, in one small fit."""
    rng = np.random.default_rng(0)
    params = np.tile(np.geomspace(3e7, 3e9, 9), 2)
    family = np.repeat(FAMILIES, 9)
    tokens = params * np.where(family == "oak", 20.0, 40.0) * np.exp(rng.normal(0, 0.3, len(params)))
    loss = 1.8 + 0.5 * (params / 3e8) ** -0.35 + 0.45 * (tokens / 9e9) ** -0.35 + 0.1 * (family == "elm")
    df = pd.DataFrame({"family": family, "params": params, "tokens": tokens})
    df["loss"] = loss * np.exp(rng.normal(0, 0.004, len(df)))
    runs = bf.Runs.from_frame(df, inputs=["params", "tokens"], groups=["family"])
    return bf.fit(runs, "chinchilla", by=["family"], **SMALL, structure=None)


@pytest.fixture
def passed(fitted: bf.Fit, monkeypatch: pytest.MonkeyPatch) -> bf.Fit:
    """The same fit, with checks that hold whatever so few draws say."""
    monkeypatch.setitem(fitted.__dict__, "_diagnostics", Diagnostics(results=()))
    return fitted


@pytest.fixture
def failed(fitted: bf.Fit, monkeypatch: pytest.MonkeyPatch) -> bf.Fit:
    """The same fit, with a check that fails."""
    from bayesfit.diagnostics import CheckResult

    class Failing(Diagnostics):
        @property
        def passed(self) -> bool:
            return False

        @property
        def failures(self) -> tuple[CheckResult, ...]:
            return ()

    monkeypatch.setitem(fitted.__dict__, "_diagnostics", Failing(results=()))
    return fitted


def drawn(figure: Any, start: str) -> list[Any]:
    """Return what carries an id with this beginning."""
    return figure.findobj(lambda artist: str(artist.get_gid() or "").startswith(start))


def legend(figure: Any) -> list[str]:
    from matplotlib.legend import Legend

    return [text.get_text() for found in figure.findobj(Legend) for text in found.get_texts()]


def larger(fit: bf.Fit) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "family": ["oak", "elm", "ash"],
            "params": [1e10] * 3,
            "tokens": [2e11, 4e11, 3e11],
            "loss": [2.0, 2.1, 2.05],
        }
    )


def test_importing_the_package_of_figures_imports_no_matplotlib() -> None:
    code = "import sys, bayesfit.plots; print('matplotlib' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_every_name_listed_is_there_and_no_other() -> None:
    assert all(callable(getattr(plots, name)) for name in plots.__all__)
    assert {*plots.__all__} <= {*dir(plots)}
    with pytest.raises(AttributeError, match="plot_bands"):
        plots.plot_bands  # noqa: B018 - the name itself must raise


def test_figures_leave_nothing_in_pyplot(passed: bf.Fit) -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    plots.plot_band(passed)
    plots.plot_pair(passed, names=["A", "alpha_population"])
    assert plt.get_fignums() == before


def test_band_is_drawn_per_family_against_compute_on_log_axes(passed: bf.Fit) -> None:
    figure = plots.plot_band(passed)
    (ax,) = figure.axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "Training compute (FLOP)"
    assert ax.get_ylabel().endswith("(nats/token)")
    assert len(drawn(figure, "band")) == 4
    assert len(drawn(figure, "median")) == len(drawn(figure, "beyond")) == 2
    for family in FAMILIES:
        (points,) = drawn(figure, f"runs {family}")
        rows = passed.runs.table["family"] == family
        compute = passed.runs.compute
        assert compute is not None
        np.testing.assert_allclose(
            np.asarray(points.get_offsets()), np.c_[compute[rows], passed.runs.values("loss")[rows]]
        )
    assert legend(figure)[:2] == [*FAMILIES]
    assert {"law, median", "50% of new runs", "90% of new runs"} <= {*legend(figure)}
    # a long title goes on in a second line
    assert passed.law.title in " ".join(ax.get_title(loc="left").split())
    assert "$L = " in ax.get_title(loc="left")
    figure.canvas.draw()


def test_band_agrees_with_a_forecast_along_the_path(passed: bf.Fit) -> None:
    rows = np.flatnonzero(passed.runs.table["family"] == "elm")
    path = fit_path(passed, "flops", rows)
    view = band.view_of(passed, None, "loss", None)
    curve = curves._curve(view, "elm", path, 1e23, (0.9,))
    table = path.table(curve.x).assign(family="elm")
    np.testing.assert_allclose(6 * table["params"] * table["tokens"], curve.x, rtol=1e-9)
    found = passed.forecast(table.iloc[[0, 60]])
    np.testing.assert_allclose(curve.median[[0, 60]], np.median(found.expected, axis=(0, 1)), rtol=1e-12)
    width = np.log(curve.edges[0.9][1] / curve.edges[0.9][0])
    asked = np.log(found.interval(0.9)["upper"] / found.interval(0.9)["lower"])
    np.testing.assert_allclose(width[[0, 60]], asked, rtol=0.3)


def test_wider_probabilities_enclose_narrower_ones(passed: bf.Fit) -> None:
    figure = plots.plot_band(passed, prob=[0.5, 0.95])
    for family in FAMILIES:
        (wide,), (narrow,) = drawn(figure, f"band 0.95 {family}"), drawn(figure, f"band 0.5 {family}")
        outer, inner = (part.get_paths()[0].get_extents() for part in (wide, narrow))
        assert outer.y0 < inner.y0
        assert outer.y1 > inner.y1


def test_region_beyond_the_runs_is_set_apart_at_the_largest_run(passed: bf.Fit) -> None:
    assert passed.runs.compute is not None
    largest = passed.runs.compute.max()
    figure = plots.plot_band(passed, to="1e24")
    (line,), (shade,) = drawn(figure, "largest fitted"), drawn(figure, "extrapolation")
    assert line.get_xdata()[0] == largest
    assert shade.get_x() == largest
    assert figure.axes[0].get_xlim()[1] > 1e24
    assert "extrapolation" in [text.get_text() for text in figure.axes[0].texts]
    inside = plots.plot_band(passed, to=float(np.median(passed.runs.compute)))
    assert not drawn(inside, "extrapolation")


def test_full_line_ends_where_a_familys_own_runs_end(passed: bf.Fit) -> None:
    figure = plots.plot_band(passed)
    assert passed.runs.compute is not None
    own = passed.runs.compute[(passed.runs.table["family"] == "oak").to_numpy()].max()
    (full,), (dashed,) = drawn(figure, "median oak"), drawn(figure, "beyond oak")
    assert full.get_xdata()[-1] <= own * (1 + 1e-9)
    assert dashed.get_xdata()[0] == full.get_xdata()[-1]
    assert dashed.get_linestyle() == "--"


def test_held_out_runs_are_open_and_new_families_are_named(passed: bf.Fit) -> None:
    figure = plots.plot_band(passed, truth=larger(passed))
    for name in (*FAMILIES, "new"):
        (points,) = drawn(figure, f"truth {name}")
        np.testing.assert_allclose(points.get_facecolor()[0][:3], 1.0)
        assert len(points.get_offsets()) == 1
    assert {"held-out runs", "ash (not fitted)"} <= {*legend(figure)}
    runs = bf.Runs.from_frame(larger(passed), inputs=["params", "tokens"], groups=["family"])
    assert len(drawn(plots.plot_band(passed, truth=runs), "truth")) == 3


def test_forecasts_are_points_with_error_bars(passed: bf.Fit) -> None:
    found = passed.forecast({"params": "10B", "tokens": "200B", "family": "oak"})
    figure = plots.plot_band(passed, forecast=found)
    (point,) = drawn(figure, "forecast oak")
    np.testing.assert_allclose(np.asarray(point.get_offsets())[0], [1.2e22, found.quantiles([0.5])[0.5].iloc[0]])
    low, high = found.interval(0.9).iloc[0]
    assert f"(90%: {low:.4g} to {high:.4g})" in "".join(legend(figure))
    bars = [segment for part in figure.axes[0].containers for segment in part.lines[2][0].get_segments()]
    np.testing.assert_allclose([bars[0][:, 1].min(), bars[0][:, 1].max()], [low, high])


def test_curve_against_an_input_says_along_which_path(passed: bf.Fit) -> None:
    figure = plots.plot_band(passed, x="params")
    assert figure.axes[0].get_xlabel() == "Model parameters"
    assert "curves along $D = " in figure.get_supxlabel()
    assert all(f"({family})" in figure.get_supxlabel() for family in FAMILIES)


def test_path_follows_the_runs(passed: bf.Fit) -> None:
    table = passed.runs.table
    exact = replace(passed.runs, table=table.assign(tokens=20 * table["params"]))
    path = fit_path(replace(passed, runs=exact), "params", np.arange(9))
    np.testing.assert_allclose(path.table(np.array([1e9, 7e10]))["tokens"], [2e10, 1.4e12])
    assert style.path_text(passed.law, path) == r"$D = 20\,{N}$"
    assert path.scatter < 1e-9


def test_one_run_takes_the_slope_of_all(passed: bf.Fit) -> None:
    one, everyone = (fit_path(passed, "params", rows) for rows in (np.array([3]), np.arange(len(passed.runs))))
    assert one.inputs["tokens"][1] == pytest.approx(everyone.inputs["tokens"][1])
    assert one.inputs["tokens"][0] == pytest.approx(np.log(passed.runs.values("tokens")[3]))


def test_named_levels_alone_have_bands(passed: bf.Fit) -> None:
    figure = plots.plot_band(passed, by={"family": ["elm"]})
    assert len(drawn(figure, "band")) == len(drawn(figure, "band 0.5 elm")) + len(drawn(figure, "band 0.9 elm")) == 2
    assert len(drawn(figure, "median")) == 2


def test_of_many_families_the_first_have_bands(passed: bf.Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(band, "_MANY", 1)
    monkeypatch.setattr(band, "_BANDS", 1)
    figure = plots.plot_band(passed)
    assert [part.get_gid() for part in drawn(figure, "band")] == ["band 0.9 oak", "band 0.5 oak"]
    assert len(drawn(figure, "median")) == 2


def test_given_axes_are_used_and_carry_the_caption(passed: bf.Fit) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plots.plot_band(passed, ax=right) is figure
    assert not left.collections
    assert "curves along" in right.get_xlabel()


def test_failed_checks_are_marked_in_red_on_every_figure(failed: bf.Fit) -> None:
    figures = [
        plots.plot_band(failed, truth=larger(failed)),
        plots.plot_residuals(failed),
        plots.plot_prior_posterior(failed, names=["E"]),
        plots.plot_pair(failed, names=["E_population", "alpha_population"]),
    ]
    for figure in figures:
        (mark,) = drawn(figure, "unconverged")
        assert mark.get_text() == "unconverged fit"
        assert mark.get_color() == style.RED


def test_a_fit_that_passes_carries_no_mark(passed: bf.Fit) -> None:
    for figure in (plots.plot_band(passed), plots.plot_residuals(passed), plots.plot_prior_posterior(passed)):
        assert not drawn(figure, "unconverged")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": "flop"}, "did you mean 'flops'"),
        ({"output": "los"}, "did you mean 'loss'"),
        ({"prob": (0.5, 1.0)}, "found 1.0"),
        ({"prob": 0.9}, r"write prob=\[0.9\]"),
        ({"prob": ()}, "found none"),
        ({"to": "far"}, "such as 1e24 or '70B', found 'far'"),
        ({"to": 1.0}, "before the first run"),
        ({"by": "famly"}, "did you mean 'family'"),
        ({"by": {"family": ["oka"]}}, "did you mean 'oak'"),
        ({"by": {"family": [], "task": []}}, "one group"),
        ({"truth": pd.DataFrame({"params": [1e9], "tokens": [1e10]})}, "no 'loss'"),
        ({"truth": pd.DataFrame({"params": [1e9], "loss": [2.0]})}, "no 'flops' to be drawn against"),
    ],
)
def test_what_cannot_be_drawn_is_refused(passed: bf.Fit, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        plots.plot_band(passed, **arguments)


def test_residuals_are_percent_about_the_law(passed: bf.Fit) -> None:
    found = residuals(passed, "loss")
    forecast = passed.forecast(passed.runs.table[["family", "params", "tokens"]])
    mean = np.log(forecast.expected).mean(("chain", "draw")).values
    np.testing.assert_allclose(found.values, np.log(passed.runs.values("loss")) - mean, rtol=1e-9)
    figure = plots.plot_residuals(passed)
    compute, params, tokens, quantiles = figure.axes
    assert [ax.get_xscale() for ax in figure.axes] == ["log", "log", "log", "linear"]
    assert compute.get_ylabel() == "loss: data over law (%)"
    assert (params.get_xlabel(), tokens.get_xlabel()) == ("Model parameters", "Training tokens")
    drawn_there = np.concatenate([np.asarray(c.get_offsets())[:, 1] for c in drawn(params, "residuals")])
    np.testing.assert_allclose(drawn_there, 100 * np.expm1(found.values))
    points = np.concatenate([np.asarray(c.get_offsets()) for c in drawn(quantiles, "residuals")])
    points = points[np.argsort(points[:, 0])]
    np.testing.assert_allclose(points[:, 1], np.sort(found.standardised))
    assert len(drawn(figure, "noise scale")) == 3
    assert {*FAMILIES, "± noise scale"} == {*legend(figure)}


@pytest.mark.parametrize("kind", ["normal", "laplace", "student_t"])
def test_quantiles_are_those_of_the_noises_draws(kind: Any) -> None:
    noise = bf.Noise(kind=kind)
    draws = noise.draw(np.random.default_rng(1), (200_000,))
    prob = np.array([0.1, 0.5, 0.8])
    np.testing.assert_allclose(noise_quantiles(noise, prob), np.quantile(draws, prob), atol=0.02)


def test_prior_and_posterior_have_a_panel_a_parameter(passed: bf.Fit) -> None:
    figure = plots.plot_prior_posterior(passed)
    assert len(drawn(figure, "prior")) == len(drawn(figure, "posterior")) == len(passed.plans)
    assert {"prior", "posterior, population", *FAMILIES} <= {*legend(figure)}
    one = plots.plot_prior_posterior(passed, names=["alpha"])
    (line,) = drawn(one, "posterior")
    x, y = line.get_data()
    assert np.trapezoid(y, x) == pytest.approx(1.0, abs=0.05)
    values = passed.posterior["alpha_population"].values
    assert x[np.argmax(y)] == pytest.approx(np.median(values), abs=values.std())


def test_the_population_has_a_colour_that_no_family_has(passed: bf.Fit) -> None:
    figure = plots.plot_prior_posterior(passed, names=["alpha"])
    (population,) = drawn(figure, "posterior")
    families = {line.get_color() for line in drawn(figure, "level")}
    assert len(families) == len(FAMILIES)
    assert population.get_color() not in families
    (entry,) = [line for line in figure.legends[0].get_lines() if line.get_label() == "posterior, population"]
    assert entry.get_color() == population.get_color()
    # published values are black too, but never a full line
    assert "-" not in {tick.get_linestyle() for tick in drawn(figure, "published")}


def test_published_values_are_ticks_centred_like_the_fit(passed: bf.Fit) -> None:
    figure = plots.plot_prior_posterior(passed, names=["alpha"])
    assert {float(tick.get_xdata()[0]) for tick in drawn(figure, "published")} <= {0.3392, 0.34781}
    assert drawn(figure, "published")


def test_density_of_a_prior_is_that_of_its_draws(passed: bf.Fit) -> None:
    from bayesfit.priors import NUMPY_LINKS

    z = np.random.default_rng(0).standard_normal(100_000)
    for plan in passed.plans:
        values = plan.prior.value(plan.prior.latent(z, NUMPY_LINKS), NUMPY_LINKS)
        low, high = np.quantile(values, [0.2, 0.8])
        grid = np.linspace(low, high, 2000)
        assert np.trapezoid(density(plan.prior, None, grid), grid) == pytest.approx(0.6, abs=0.01)


def test_prior_posterior_refuses_unknown_names(passed: bf.Fit) -> None:
    with pytest.raises(bf.SpecError, match="did you mean 'alpha'"):
        plots.plot_prior_posterior(passed, names=["alhpa"])
    with pytest.raises(bf.SpecError, match="names is empty"):
        plots.plot_prior_posterior(passed, names=[])


def test_pairs_include_derived_quantities_by_name(passed: bf.Fit) -> None:
    figure = plots.plot_pair(passed, names=["E_population", "alpha_population", "optimum_exponent"])
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert any("alpha" in label for label in labels)
    # the derived quantity varies over the two families
    assert len(figure.axes) == 16
    with pytest.raises(bf.SpecError, match="did you mean 'alpha'"):
        plots.plot_pair(passed, names=["alpa"])
    with pytest.raises(bf.SpecError, match="at least two"):
        plots.plot_pair(passed, names=["E_population"])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.9, 3.3, [2.0, 2.5, 3.0]),
        (2.9, 4.0, [3.0, 3.5, 4.0]),
        (1e18, 1e24, [10.0**k for k in range(18, 25)]),
        (3e7, 4e9, [3e7, 1e8, 3e8, 1e9, 3e9]),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, expected: list[float]) -> None:
    np.testing.assert_allclose(style.log_ticks(low, high)[0], expected)


@pytest.mark.parametrize("high", np.geomspace(1.03, 1e12, 25))
def test_every_range_has_some_ticks_and_not_too_many(high: float) -> None:
    ticks = style.log_ticks(0.97, 0.97 * high)[0]
    assert 2 <= len(ticks) <= 11


def test_numbers_read_plainly() -> None:
    assert style.number(7e10, "params") == "70B"
    assert style.number(1.4e12, "tokens") == "1.4T"
    assert style.number(1e20, "flops") == "$10^{20}$"
    assert style.number(2.5, "loss") == "2.5"
    assert style.number(12_345, "batch") == "12340"
    assert style.number(5e-4, "tokens") == "0.0005"


@pytest.mark.parametrize(
    ("low", "high", "name", "expected"),
    [
        (90, 2e5, "batch", ["$10^{2}$", "$10^{3}$", "$10^{4}$", "$10^{5}$"]),
        (9, 2e4, "batch", ["10", "100", "1000", "10000"]),
        (2e-5, 0.05, "lr", ["$10^{-4}$", "$10^{-3}$", "$10^{-2}$"]),
        (900, 2e6, "tokens", ["1K", "10K", "100K", "1M"]),
    ],
)
def test_an_axis_writes_all_its_ticks_one_way(low: float, high: float, name: str, expected: list[str]) -> None:
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    style.readable_log(ax, "x", low, high, name)
    assert [ax.xaxis.get_major_formatter()(tick, 0) for tick in ax.get_xticks()] == expected


def test_law_that_takes_several_lines_has_no_formula_in_the_title() -> None:
    law = bf.Law.from_text(
        "loss = E + a*params**-alpha\naccuracy = expit(k*loss)",
        priors=dict.fromkeys(("E", "a", "alpha", "k"), "LogNormal(0, 1)"),
    )
    assert style.formula(law) == ""
    assert style.title(law) == "custom"


LONG = "Loss of compute-optimal runs (Cerebras-GPT): two power laws over a floor they all share"


def test_titles_are_whole_and_broken_at_spaces_only(passed: bf.Fit) -> None:
    fit = replace(passed, law=replace(passed.law, title=LONG))
    fit.__dict__["_diagnostics"] = Diagnostics(results=())
    four = ["E_population", "alpha_population", "a_population", "b_population"]
    for figure in (
        plots.plot_residuals(fit),
        plots.plot_prior_posterior(fit),
        plots.plot_prior_posterior(fit, names=["E"]),
        plots.plot_pair(fit, names=four),
    ):
        title = figure.get_suptitle()
        assert LONG in title.replace("\n", " ")
        figure.draw_without_rendering()
        written = figure.findobj(lambda artist, title=title: getattr(artist, "get_text", str)() == title)[0]
        ends = written.get_window_extent()
        assert ends.x1 < min([figure.bbox.x1, *(legend.get_window_extent().x0 for legend in figure.legends)])
    # one line where there is room for it
    assert "\n" not in plots.plot_residuals(passed).get_suptitle()
    for width in range(20, 100):
        assert any("(Cerebras-GPT)" in line for line in style.lines_of(LONG, width))


def test_calibration_draws_probabilities_and_coverage() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"decades": rng.uniform(0, 1, 40), "pit": rng.uniform(size=40), "origin": 1.0})
    table["run"] = range(40)
    for column in ("log_score", "crps", "interval_score", "error"):
        table[column] = 0.0
    for level in (50, 80, 90, 95):
        table[f"inside_{level}"] = np.abs(table["pit"] - 0.5) < level / 200
    table["converged"] = True
    backtest = bf.Backtest(
        law="chinchilla", output="loss", scale="flops", on_log=True, bands="plain law", data="0", table=table
    )
    figure = plots.plot_calibration(backtest)
    histogram, coverage = figure.axes
    heights = np.array([bar.get_height() for bar in histogram.patches])
    # a density
    assert heights.mean() == pytest.approx(1.0)
    share = backtest.by_distance()["inside_90"].to_numpy()
    np.testing.assert_allclose(coverage.lines[0].get_ydata(), share)
    assert "40 forecasts of 40 hidden runs over 1 cut in flops" in figure.get_suptitle()


def test_a_run_that_several_cuts_hide_is_several_forecasts() -> None:
    table = pd.DataFrame({"decades": [0.1, 0.6, 0.6], "pit": 0.5, "origin": [1.0, 1.0, 0.5], "run": [0, 1, 0]})
    table[["log_score", "crps", "interval_score", "error"]] = 0.0
    table[[f"inside_{level}" for level in (50, 80, 90, 95)]] = True
    table["converged"] = True
    backtest = bf.Backtest(
        law="chinchilla", output="loss", scale="flops", on_log=True, bands="plain law", data="0", table=table
    )
    figure = plots.plot_calibration(backtest)
    assert figure.get_suptitle() == "chinchilla: 3 forecasts of 2 hidden runs over 2 cuts in flops"
    told = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert told == ["0 to 0.25\n1 forecast", "0.5 to 1\n2 forecasts"]


def test_a_long_caption_has_lines() -> None:
    parts = [f"$D = {place}0\\,N$ (family {place})" for place in range(6)]
    lines = style.caption("; ".join(parts), width=60).split("\n")
    assert " ".join(lines) == "; ".join(parts)
    assert len(lines) == 3
    assert all(len(line) <= 61 for line in lines)
    assert style.caption("") == ""
    # a part is never broken, however long
    assert style.caption("x" * 200) == "x" * 200
