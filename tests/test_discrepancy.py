"""A law's own error: the path, its density, and what it does to bands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesfit as bf
from bayesfit.build import build
from bayesfit.card_file import card_toml, read_card
from bayesfit.diagnostics import diagnose
from bayesfit.discrepancy import with_structure
from bayesfit.knots import LABELS, PER_SIDE, Knots
from bayesfit.pooling import Pooling, plan_parameters, spread_name
from bayesfit.population import population as find_population
from bayesfit.priors import NUMPY_LINKS
from bayesfit.track_record import PUBLIC, track_record
from tests.test_build import check_coordinates, everything_of, plain_normals, point_of
from tests.test_fit import changed

#: The simulated law bends, which the fitted form lacks: its exponent changes by twice this a decade.
BEND = 0.005


def ladder(seed: int = 0, *, bend: float = 0.0, families: int = 0, runs: int = 30) -> pd.DataFrame:
    """Return runs over two and a half decades of compute whose local exponent drifts by `bend` a decade squared."""
    rng = np.random.default_rng(seed)
    flops = np.geomspace(1e18, 10**20.5, runs)
    table = pd.DataFrame({"flops": flops})
    decades = np.log10(flops / 1e18)
    table["loss"] = 3.0 * (flops / 1e18) ** -0.05 * np.exp(bend * decades**2 + 0.002 * rng.standard_normal(runs))
    if families:
        table["family"] = [f"f{i % families}" for i in range(runs)]
    return table


POWER = bf.Law.from_text(
    "loss = m*(flops/ref.flops)**-b",
    priors={"m": "LogNormal(log(3), 0.5)", "b": "LogNormal(log(0.05), 0.7)"},
    id="power",
)


def runs_of(table: pd.DataFrame, groups: tuple[str, ...] = ()) -> bf.Runs:
    return bf.Runs.from_frame(table, groups=list(groups))


def by_hand(x: float, centre: float, edge: float, kinks: np.ndarray) -> float:
    """Walk a path from the median run to x: at equal steps to the edge its slope changes by kink times root step."""
    step = abs(edge - centre) / PER_SIDE
    position, slope, value = 0.0, 0.0, 0.0
    for kink in kinks:
        slope += kink * np.sqrt(step)
        ahead = min(step, abs(x - centre) - position)
        if ahead <= 0:
            break
        value += slope * ahead
        position += step
    # behind the last knot the slope stays
    return value + slope * max(abs(x - centre) - max(position, 0.0), 0.0) if position > 0 else value


def walked(at: np.ndarray, logs: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return a path at decades `at`, its mean over the runs and its trend through them taken off."""
    centre = np.median(logs)

    def value(x: float) -> float:
        upward = x >= centre
        return by_hand(x, centre, logs.max() if upward else logs.min(), z[:PER_SIDE] if upward else z[PER_SIDE:])

    line = np.polyfit(logs, [value(x) for x in logs], 1)
    return np.array([value(x) for x in at]) - np.polyval(line, at)


def test_the_path_is_what_a_walk_gives() -> None:
    table = ladder()
    knots = Knots.of("flops", lambda name: table[name].to_numpy())
    rng = np.random.default_rng(0)
    z = rng.standard_normal(len(LABELS))
    grid = np.geomspace(1e18, 10**20.5, 41)
    found = knots.inside(lambda _: grid) @ z
    np.testing.assert_allclose(found, walked(np.log10(grid), np.log10(table["flops"].to_numpy()), z), atol=1e-12)


def test_the_path_beyond_the_runs_does_not_depend_on_how_far_one_asks() -> None:
    knots = Knots.of("flops", lambda _: np.geomspace(1e18, 1e20, 9))
    near, far = np.array([3e20]), np.array([3e20, 1e24])
    names, columns = knots.beyond(lambda _: near)
    more, further = knots.beyond(lambda _: far)
    assert more[: len(names)] == names
    assert len(more) > len(names)
    np.testing.assert_allclose(further[0, : len(names)], columns[0])
    assert (further[0, len(names) :] == 0).all()
    # nothing is new inside the runs
    assert knots.beyond(lambda _: np.array([1e18, 1e20]))[0] == ()


def test_the_variance_beyond_grows_as_that_of_an_integrated_wiener_process() -> None:
    knots = Knots.of("flops", lambda _: np.geomspace(1e18, 1e20, 9))
    decades = np.array([1.0, 2.0, 4.0])
    _, columns = knots.beyond(lambda _: 1e20 * 10**decades)
    # an integrated Wiener process has variance t^3/3
    np.testing.assert_allclose((columns**2).sum(axis=1), decades**3 / 3, rtol=0.45)
    growth = np.log2((columns**2).sum(axis=1)[1:] / (columns**2).sum(axis=1)[:-1])
    np.testing.assert_allclose(growth, 3.0, atol=0.4)


@pytest.mark.parametrize("families", [0, 8])
def test_log_density_is_that_of_the_law_and_a_path(families: int) -> None:
    groups = ("family",) if families else ()
    runs = runs_of(ladder(1, bend=BEND, families=families, runs=40), groups)
    law = with_structure(POWER, bf.Structure(scale=0.012), runs)
    built = build(law, plan_parameters(law, runs, Pooling(by=groups)), runs)
    everything = everything_of(built)
    rng = np.random.default_rng(0)
    logs = np.log10(runs.values("flops"))
    for _ in range(3):
        w = rng.standard_normal(len(built.geometry.pull))
        spreads = {name: 0.5 * value + 0.01 for name, value in built.geometry.spreads.items()}
        value, slope, z = everything(point_of(built, w, spreads))
        scale = np.ones(len(w))
        total, values = stats.norm.logpdf(z).sum(), {}
        for block in built.blocks:
            plan, piece = block.plan, z[block.where]
            if not block.offset:
                values[plan.name] = np.repeat(plan.prior.map(np.asarray).latent(piece, NUMPY_LINKS), len(runs))
                continue
            spread = spreads[spread_name(plan.name, block.group)]
            scale[block.where] = spread
            code = runs.codes("family") if families else np.zeros(len(runs), dtype=int)
            if plan.knots is None:
                total += stats.halfnorm.logpdf(spread, scale=plan.spread) + np.log(spread)
                values[plan.name] = values[plan.name] + spread * piece[code]
                continue
            total += stats.norm.logpdf(np.log(spread), np.log(0.012), 0.8)
            paths = np.array([walked(logs, logs, own) for own in piece.reshape(-1, len(LABELS))])
            own = code if block.group != "knot" else np.zeros(len(runs), dtype=int)
            values[plan.name] = values[plan.name] + spread * paths[own, np.arange(len(runs))]
        values = {plan.name: plan.prior.map(np.asarray).value(values[plan.name], NUMPY_LINKS) for plan in built.plans}
        known = {"flops": runs.values("flops")} | runs.summaries() | values
        mean = POWER.mean(known)["loss"] * np.exp(values["loss_drift"])
        density = POWER.outputs["loss"].noise.logpdf(np.log(runs.values("loss")), np.log(mean), values["sigma"])
        total += density.sum() + check_coordinates(built, w, z, scale)
        assert value == pytest.approx(total, rel=1e-7, abs=1e-5)
        assert np.isfinite(slope).all()
        np.testing.assert_allclose(plain_normals(built, w, spreads), z, rtol=1e-6, atol=1e-7)


def test_the_law_is_what_it_was_and_its_card_says_how_it_may_be_wrong() -> None:
    runs = runs_of(ladder())
    law = with_structure(POWER, bf.Structure(scale=0.02, scale_sd=0.5), runs)
    assert law.text == "loss_law = m*(flops/ref.flops)**-b\nloss = loss_law*exp(loss_drift)"
    assert law.n_parameters == 2
    again = read_card(card_toml(law))
    assert again.parameters["loss_drift"] == law.parameters["loss_drift"]
    assert (again.parameters["loss_drift"].along, again.parameters["loss_drift"].spread_sd) == ("flops", 0.5)
    # a refit of the law of a fit gets no second path
    assert with_structure(law, "drift", runs) is law


@pytest.mark.parametrize(
    ("name", "along"),
    [("chinchilla", "params*tokens"), ("task_two_step", "params*tokens")],
)
def test_the_axis_is_compute_or_what_the_law_has_of_it(name: str, along: str) -> None:
    runs = bf.simulate(name, seed=1).runs
    law = with_structure(bf.law(name), "drift", runs)
    paths = {name: part for name, part in law.parameters.items() if part.role == "structure"}
    assert {part.along for part in paths.values()} == {along}
    assert paths.keys() == {f"{output}_drift" for output in law.outputs}
    # log-odds move by more than logs; how far, the track record says
    scales = {name: part.spread for name, part in paths.items()}
    expected = {f"{output}_drift": "logit" if output == "accuracy" else "log" for output in law.outputs}
    public = track_record(PUBLIC)
    assert scales == pytest.approx({name: public.prior(of)[0] for name, of in expected.items()})


def test_several_axes_have_a_path_each() -> None:
    runs = bf.simulate("chinchilla", seed=1).runs
    law = with_structure(bf.law("chinchilla"), bf.Structure(along=("params", "params*tokens")), runs)
    assert law.equations[-1].expression.text == "loss_law*exp((loss_drift_params + loss_drift_2))"
    assert law.parameters["loss_drift_params"].along == "params"
    assert law.parameters["loss_drift_2"].along == "params*tokens"


def test_an_outer_exponent_comes_with_it_unless_refused() -> None:
    runs = bf.simulate("chinchilla", seed=1).runs
    assert "loss_level" in with_structure(bf.law("chinchilla"), "drift", runs).parameters
    assert "loss_level" not in with_structure(bf.law("chinchilla"), bf.Structure(outer=False), runs).parameters
    # which says how the law's own terms lie
    population = bf.law("chinchilla").with_population(find_population("public_chinchilla"))
    assert "loss_level" not in with_structure(population, "drift", runs).parameters


@pytest.mark.xdist_group("discrepancy")
def test_fits_teach_a_track_record(bent: dict[str | None, bf.Fit]) -> None:
    record = bf.learn_drift({"bent": bent["drift"]}, papers={"bent": "a paper"}, id="mine")
    (study,) = record.studies
    assert (study.name, study.paper, study.law, study.along, study.of) == ("bent", "a paper", "power", "flops", "log")
    assert (study.median, study.sd) == pytest.approx(track_record(PUBLIC).prior("log"))
    scales = bent["drift"].posterior["loss_drift_sd_knot"].values
    assert study.quantiles[19] == pytest.approx(np.median(scales), rel=1e-3)


def test_a_path_on_the_output_itself_is_as_wide_as_the_output_is_large() -> None:
    """A record's scale is a share of the output, on the log; in the output's own unit it is a share of its size."""
    table = ladder().assign(loss=lambda part: 5 * part["loss"])
    runs, own = runs_of(table), POWER.with_noise(bf.Noise(kind="normal", on="identity"))
    (shift,) = (part for part in with_structure(own, "drift", runs).parameters.values() if part.along)
    assert shift.spread == pytest.approx(track_record(PUBLIC).prior("log")[0] * table["loss"].median())
    (shift,) = (part for part in with_structure(POWER, "drift", runs).parameters.values() if part.along)
    assert shift.spread == pytest.approx(track_record(PUBLIC).prior("log")[0])


@pytest.mark.xdist_group("discrepancy")
def test_a_record_keeps_shares_whatever_the_noise_acts_on() -> None:
    """The same runs, noise on the log and on the loss: the paths' scales are the same share of the loss."""
    table = ladder(5, bend=BEND)
    own = POWER.with_noise(bf.Noise(kind="normal", on="identity", scale=bf.Prior.parse("HalfNormal(0.03)")))
    log, identity = (
        bf.learn_drift({"a": bf.fit(runs_of(table), law, structure="drift", seed=1, progress=False)}).studies
        for law in (POWER.with_noise("normal"), own)
    )
    assert (log[0].of, identity[0].of) == ("log", "log")
    assert identity[0].median == pytest.approx(log[0].median)
    assert identity[0].quantiles[19] == pytest.approx(log[0].quantiles[19], rel=0.15)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ("drfit", "structure 'drfit' is unknown .*did you mean 'drift'.*known: auto, drift, or None to trust the law"),
        (bf.Structure(along="tokens"), "must be a formula over inputs of law power"),
        (bf.Structure(along="flops/flops"), "must be positive and differ between runs; found 1 to 1"),
    ],
)
def test_an_error_of_the_law_that_cannot_be_is_refused(structure: object, message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        with_structure(POWER, structure, runs_of(ladder()))  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(bf.SpecError, match="must be positive, found -1"):
        bf.Structure(scale=-1)
    with pytest.raises(bf.SpecError, match="scale_sd of structure must be positive"):
        bf.Structure(scale_sd=0)


@pytest.mark.parametrize("structure", [5, True, {"scale": 0.01}, bf.Structure])
def test_what_is_no_structure_is_refused(structure: object) -> None:
    message = r"structure must be 'auto', 'drift', a bayesfit.Structure\(...\), or None to trust the law; found "
    with pytest.raises(bf.SpecError, match=message):
        with_structure(POWER, structure, runs_of(ladder()))  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(bf.SpecError, match=message):
        bf.fit(runs_of(ladder()), POWER, structure=structure)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("kind", ["none", "None"])
def test_a_law_is_trusted_by_none_and_not_by_its_name(kind: Any) -> None:
    with pytest.raises(bf.SpecError, match=f"write structure=None, without quotes .*; found '{kind}'"):
        with_structure(POWER, kind, runs_of(ladder()))
    with pytest.raises(bf.SpecError, match="write structure=None"):
        bf.Structure(kind=kind)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"kind": 3}, "structure '3' is unknown; known: auto, drift, or None to trust the law"),
        ({"scale": "x"}, "the scale of structure must be positive, found 'x'; give a number, or None"),
        ({"scale": True}, "the scale of structure must be positive, found True"),
        ({"scale": np.inf}, "the scale of structure must be positive, found inf"),
        ({"scale_sd": [1.0]}, r"the scale_sd of structure must be positive, found \[1.0\]"),
        ({"along": 3}, r"must be a formula such as along='params\*tokens', or several; found 3"),
        ({"along": ("params", 3)}, r"or several; found \('params', 3\)"),
        ({"along": ("params", "tokens", " params")}, "names the axis params twice"),
        ({"outer": "no"}, "outer of structure must be True or False, found 'no'"),
        ({"record": 5}, "the record of structure must be a name, the path of a file or .*, found 5"),
        ({"without": 5}, "leaves out a study by its name, or several, .*; found 5"),
        ({"without": [5]}, r"leaves out a study by its name, or several, .*; found \[5\]"),
    ],
)
def test_parts_of_a_structure_that_cannot_be_are_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        bf.Structure(**told)


def test_parts_of_a_structure_may_be_of_numpy_and_in_lists() -> None:
    told = bf.Structure(along=["flops"], scale=np.float32(0.5), scale_sd=np.float32(0.25), without={"a"})
    law = with_structure(POWER, told, runs_of(ladder()))
    assert read_card(card_toml(law)).parameters["loss_drift"].spread == 0.5


@pytest.fixture(scope="module")
def bent() -> dict[str | None, bf.Fit]:
    """Return fits of a power law to runs that bend away from one: without an error of the law and, by default, with."""
    runs = runs_of(ladder(2, bend=BEND))
    return {
        None: bf.fit(runs, POWER, structure=None, seed=1, draws=1000, progress=False),
        "drift": bf.fit(runs, POWER, seed=1, draws=1000, progress=False),
    }


FAR = {"flops": [1e19, 1e21, 1e22]}


def drifting(seed: int, omega: float = 0.02) -> tuple[pd.DataFrame, np.ndarray]:
    """Return runs whose exponent drifts as a Wiener process over the decades, and what is true far ahead."""
    rng = np.random.default_rng([seed, 7])
    fine = np.linspace(18, 22, 4001)
    slope = -0.05 + omega * np.cumsum(rng.standard_normal(4001)) * np.sqrt(1e-3)
    path = np.cumsum(slope) * 1e-3
    logs = np.linspace(18, 20.5, 30)
    loss = 3.0 * np.exp(np.interp(logs, fine, path) + 0.002 * rng.standard_normal(30))
    truth = 3.0 * np.exp(np.interp(np.log10(FAR["flops"][1:]), fine, path))
    return pd.DataFrame({"flops": 10**logs, "loss": loss}), truth


def test_bands_hold_where_the_exponent_drifts_and_those_of_the_plain_law_do_not() -> None:
    inside = {None: np.zeros((12, 2)), "drift": np.zeros((12, 2))}
    for seed in range(12):
        table, truth = drifting(seed)
        for kind, held in inside.items():
            fit = bf.fit(runs_of(table), POWER, structure=kind, seed=1, draws=1000, progress=False)
            band = fit.forecast({"flops": FAR["flops"][1:]}).interval(0.9)
            held[seed] = (truth > band["lower"]) & (truth < band["upper"])
    # by chance 12 bands of 90% hold 8 or fewer once in forty times
    assert (inside["drift"].sum(axis=0) >= 9).all(), inside["drift"].mean(axis=0)
    assert inside[None].mean() < 0.6, inside[None].mean(axis=0)


def test_auto_drifts_where_there_is_a_record() -> None:
    """Losses by scale, from twelve runs on; all else is trusted."""

    def drifts(law: bf.Law | str, runs: bf.Runs, *by: str, checkpoints: str = "") -> bool:
        return with_structure(bf.law(law), "auto", runs, by, checkpoints).drifts

    def simulated(law: str, n: int = 40, **families: Any) -> bf.Runs:
        return bf.simulate(law, n=n, seed=1, **families).runs

    runs = simulated("chinchilla")
    assert drifts("chinchilla", runs)
    assert drifts("cerebras_c", simulated("cerebras_c"))
    assert drifts(POWER, runs_of(ladder(runs=12)))
    assert not drifts(POWER, runs_of(ladder(runs=11)))
    # families of twelve runs each
    families = {"group": "family", "levels": 3}
    assert drifts("chinchilla", simulated("chinchilla", n=12, **families), "family")
    assert not drifts("chinchilla", simulated("chinchilla", n=11, **families), "family")
    assert drifts("cerebras_c", simulated("cerebras_c", n=12, **families), "family")
    # checkpoints of twelve training runs
    trained = {"group": "family", "levels": 12}
    assert drifts("chinchilla", simulated("chinchilla", n=4, **trained), checkpoints="family")
    assert not drifts("chinchilla", simulated("chinchilla", n=40, **families), checkpoints="family")
    assert drifts("log_acc_power", simulated("log_acc_power", n=4, **trained), checkpoints="family")
    assert not drifts("chinchilla", simulated("chinchilla", n=12, **trained), "family", checkpoints="family")
    assert not drifts("chinchilla", simulated("chinchilla", n=12, **trained), checkpoints="nobody")
    assert not drifts("chinchilla", simulated("chinchilla", n=12, **families), "family", "family")
    # a group that the runs do not have is told of later
    assert not drifts("chinchilla", runs, "family")
    assert not drifts(bf.law("chinchilla").with_population(find_population("public_chinchilla")), runs)
    # accuracies, by task too and with the task's loss
    assert drifts("log_acc_power", simulated("log_acc_power"))
    assert drifts("task_two_step", simulated("task_two_step"))
    tasks = {"group": "task", "levels": 3}
    assert drifts("log_acc_power", simulated("log_acc_power", n=12, **tasks), "task")
    assert not drifts("log_acc_power", simulated("log_acc_power", n=11, **tasks), "task")
    # the record's are on the log-odds
    own = bf.Noise(kind="normal", on="identity")
    assert not drifts(bf.law("log_acc_power").with_noise(own), simulated("log_acc_power"))
    # a batch size, a curve by something else than scale, tries until a task is passed
    for law in ("hp_deepseek", "power_floor", "passuntil"):
        assert not drifts(law, simulated(law))
    table = ladder()
    table["flops"] = 1e20
    assert not drifts(POWER, runs_of(table))
    # what was asked for is not decided anew
    drifting = with_structure(POWER, "drift", runs_of(ladder()))
    for asked in ("auto", None, "drift"):
        assert with_structure(drifting, asked, runs_of(ladder())) is drifting
    with pytest.raises(bf.SpecError, match="structure 'drfit' is unknown"):
        with_structure(drifting, "drfit", runs_of(ladder()))  # type: ignore[arg-type]  # wrong on purpose


def test_auto_asks_the_record_that_is_named() -> None:
    """Whether a law drifts is decided as ever; how far, by what is told of it."""
    told = bf.Structure(kind="auto", scale=0.3)
    drifting = with_structure(POWER, told, runs_of(ladder(runs=12)))
    assert drifting == with_structure(POWER, bf.Structure(scale=0.3), runs_of(ladder(runs=12)))
    assert drifting.parameters["loss_drift"].spread == 0.3
    assert with_structure(POWER, told, runs_of(ladder(runs=11))) is POWER


@pytest.mark.xdist_group("discrepancy")
def test_a_law_far_off_its_runs_is_told_to_be_compared(bent: dict[str | None, bf.Fit]) -> None:
    """A path a hundred times what studies had: its scale is no parameter of the law, which is what to look at."""
    fit = bent["drift"]
    assert fit.check().passed
    for factor in (100, 0.001):
        far = changed(fit, "posterior", loss_drift_sd_knot=factor * fit.posterior["loss_drift_sd_knot"].values)
        (conflict,) = diagnose(far.idata, far.law, far.plans).failures
        assert "for loss_drift_sd_knot" in conflict.found
        # a law that drifts less than expected is not a bad one
        assert ("compare other laws" in conflict.advice) == (factor > 1)
        assert "structure=bayesfit.Structure(scale=..., scale_sd=...)" in conflict.advice
        assert "priors=" not in conflict.advice


@pytest.mark.xdist_group("discrepancy")
def test_the_parts_add_up_and_structure_grows(bent: dict[str | None, bf.Fit]) -> None:
    forecast = bent["drift"].forecast(FAR)
    parts = forecast.components
    assert list(parts.columns) == ["law", "structure", "noise", "total"]
    np.testing.assert_allclose(
        parts["total"], np.sqrt(parts["law"] ** 2 + parts["structure"] ** 2 + parts["noise"] ** 2)
    )
    assert parts["structure"].is_monotonic_increasing
    assert parts["structure"].iloc[2] > parts["noise"].iloc[2]
    assert "structure" not in bent[None].forecast(FAR).components
    with pytest.warns(bf.ExtrapolationWarning, match="rests on how far laws are taken to drift"):
        bent["drift"].forecast({"flops": [1e24]})
    # what the law alone says can be asked for
    alone = bent["drift"].forecast(FAR, output="loss_law")
    np.testing.assert_array_equal(alone.expected.values, forecast.before["structure"].values)


@pytest.mark.xdist_group("discrepancy")
def test_a_forecast_does_not_depend_on_what_else_is_asked_and_is_saved(
    bent: dict[str | None, bf.Fit], tmp_path
) -> None:
    fit = bent["drift"]
    one = fit.forecast({"flops": [1e21]}).expected.values[..., 0]
    np.testing.assert_allclose(fit.forecast({"flops": [1e21, 2e22]}).expected.values[..., 0], one)
    again = bf.load(fit.save(tmp_path / "fit.nc"))
    np.testing.assert_array_equal(again.forecast({"flops": [1e21]}).expected.values[..., 0], one)


@pytest.mark.xdist_group("discrepancy")
def test_every_plot_can_draw_it(bent: dict[str | None, bf.Fit]) -> None:
    from bayesfit import plots

    figure = plots.plot_prior_posterior(bent["drift"])
    # a path has no centre to compare with a prior
    assert len([ax for ax in figure.axes if ax.axison]) == len(POWER.parameters) + 1
    with pytest.raises(bf.SpecError, match="'loss_drift' is no fitted parameter with a centre"):
        plots.plot_prior_posterior(bent["drift"], names=["loss_drift"])
    band = plots.plot_band(bent["drift"], to=1e22)
    assert band.axes
    assert plots.plot_pair(bent["drift"]).axes
    assert plots.plot_residuals(bent["drift"]).axes


@pytest.mark.xdist_group("discrepancy")
def test_families_have_paths_of_their_own_and_a_new_one_gets_another() -> None:
    table = ladder(3, families=3, runs=36)
    third = table["family"] == "f2"
    decades = np.log10(table["flops"] / 1e18)
    table.loc[third, "loss"] *= np.exp(0.03 * np.maximum(decades[third] - 1.2, 0) ** 2)
    fit = bf.fit(runs_of(table, ("family",)), POWER, by=["family"], structure="drift", seed=1, progress=False)
    ahead = {"flops": [1e22] * 4, "family": ["f0", "f1", "f2", "new"]}
    drift = np.log(fit.forecast(ahead).expected / fit.forecast(ahead, output="loss_law").expected)
    middle, spread = drift.median(("chain", "draw")).values, drift.std(("chain", "draw")).values
    assert middle[2] > middle[:2].max() + 0.02
    assert spread[3] > spread[:2].min()
    # the path of all and those of families are two scales of a track record
    shared, own = bf.learn_drift({"three": fit}).studies
    assert (shared.name, own.name) == ("three", "three, each family's own")
    assert shared.paper == own.paper == "three"
    assert own.quantiles[19] == pytest.approx(np.median(fit.posterior["loss_drift_sd_family:knot"]), rel=1e-3)


def test_the_parts_of_a_band_are_drawn_as_they_add_up(bent: dict[str | None, bf.Fit]) -> None:
    from bayesfit import plots

    for kind, fit in bent.items():
        (ax,) = plots.plot_parts(fit, prob=0.8).axes
        top = ax.collections[-1].get_paths()[0].vertices
        last = float(fit.runs.values("flops").max())
        names = [text.get_text() for text in ax.get_legend().get_texts()]
        assert ("error of the law itself" in names) == (kind == "drift")
        assert ax.get_ylabel() == "half-width of the 80% band (%)"
        # the highest point of the outermost part, at the end of the axis
        beyond = fit.forecast({"flops": 10 * last})
        height = top[top[:, 0] == top[:, 0].max(), 1].max()
        assert height == pytest.approx(100 * 1.2816 * float(beyond.components["total"].iloc[0]), rel=0.15)
    with pytest.raises(bf.SpecError, match="none, since the fit has no groups"):
        plots.plot_parts(bent[None], level="x")
    with pytest.raises(bf.SpecError, match="prob must lie between 0 and 1"):
        plots.plot_parts(bent[None], prob=90)


def test_runs_that_are_only_ever_too_high_do_not_lift_a_law_that_drifts() -> None:
    """Badly tuned runs lie above the best: one-sided noise keeps law and path at the lower edge, inside and beyond."""
    table = ladder(4, bend=BEND, runs=60)
    best = table["loss"].to_numpy().copy()
    table["loss"] *= np.exp(np.random.default_rng(5).exponential(0.01, len(table)))
    forecasts = {}
    for noise in ("frontier", "normal"):
        fit = bf.fit(runs_of(table), POWER, noise=noise, structure="drift", seed=1, draws=1000, progress=False)
        found = fit.forecast({"flops": table["flops"].to_numpy()[[20, 40]]})
        parts = found.components
        np.testing.assert_allclose(
            parts["law"] ** 2 + parts["structure"] ** 2 + parts["noise"] ** 2, parts["total"] ** 2, rtol=1e-9
        )
        forecasts[noise] = np.log(np.median(found.expected.values.reshape(-1, 2), axis=0) / best[[20, 40]])
    assert (np.abs(forecasts["frontier"]) < 0.006).all()
    # on both sides alike, the law lies amid the runs, one mean of their excess too high
    assert (forecasts["normal"] > forecasts["frontier"] + 0.003).all()
