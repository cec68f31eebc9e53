"""Figures of laws of tasks, checked as data: what is drawn in which panel, and what it is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import bayesfit as bf
from bayesfit import plots
from bayesfit.diagnostics import CheckResult, Diagnostics
from bayesfit.equivalence import equivalent_compute, equivalents
from bayesfit.path import fit_path
from bayesfit.plots import steps, style
from bayesfit.plots.panels import shortened
from tests.posteriors import CHAINS, DRAWS, FAMILIES, family_runs, lines, made_fit, normal
from tests.test_plots import drawn, legend

TASKS = ("arc", "piqa", "copa")
CHANCE = dict(zip(TASKS, (0.25, 0.5, 0.0), strict=True))
FLOOR = dict(zip(TASKS, (0.5, 0.7, 0.6), strict=True))
MIDDLE = dict(zip(TASKS, (0.78, 0.98, 0.9), strict=True))


def two_steps(floor: float, middle: float, chance: float) -> dict[str, float]:
    """Return the card's parameters of floor + 0.15 N^-alpha + 0.15 D^-beta, and 10 log-odds a unit up to 0.95."""
    m, ceiling = floor + 0.3, (0.95 - chance) / (1 - chance)
    q = ceiling * expit(10 * (middle - m))
    return {
        "m": m,
        "f_params": 0.15 / m,
        "f_tokens": 0.15 / (m - 0.15),
        "q": q,
        "room": (ceiling - q) / (1 - q),
        "k": 10 * m,
    }


OF_TASK = {task: two_steps(FLOOR[task], MIDDLE[task], CHANCE[task]) for task in TASKS}
OF_ALL = {"alpha": 0.25, "beta": 0.28, "follow": 0.7, "sigma_task_loss": 0.01, "sigma_accuracy": 0.05}
TRUTH: dict[str, Any] = {
    name: {task: OF_TASK[task][name] for task in TASKS} for name in next(iter(OF_TASK.values()))
} | OF_ALL


def task_table(sizes: np.ndarray, *, family: tuple[str, ...] = ("oak", "elm")) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"params": sizes * (1 + 0.4 * i), "task": task, "family": name})
        for task in TASKS
        for i, name in enumerate(family)
    ]
    table = pd.concat(parts, ignore_index=True)
    table["tokens"] = 20 * table["params"]
    table["chance"] = table["task"].map(CHANCE)
    table["n_items"] = 1000.0
    loss = table["task"].map(FLOOR) + 0.3 * (table["params"] / 5e8) ** -0.26
    rng = np.random.default_rng(0)
    table["task_loss"] = loss * np.exp(rng.normal(0, 0.01, len(table)))
    mean = table["chance"] + (0.95 - table["chance"]) * expit(10 * (table["task"].map(MIDDLE) - loss))
    table["accuracy"] = rng.binomial(1000, mean) / 1000
    return table


def task_runs(**arguments: Any) -> bf.Runs:
    law = bf.law("task_two_step")
    table = arguments.pop("table", None)
    table = task_table(np.geomspace(1e8, 3e9, 7)) if table is None else table
    groups = arguments.pop("groups", ["task", "family"])
    return bf.Runs.from_frame(table, law=law, inputs=[*law.inputs], groups=groups, n_items="n_items")


def scattered(values: dict[str, Any]) -> dict[str, Any]:
    """Return draws about values: 2% of each number, ceilings a little below."""
    made: dict[str, Any] = {}
    for place, (name, value) in enumerate(values.items()):
        below = name in ("top", "room")
        spread = 1 - 0.01 * np.abs(normal(50, 0.0, 1.0)) if below else np.exp(normal(place, 0.0, 0.02))
        made[name] = (
            {level: one * spread for level, one in value.items()} if isinstance(value, dict) else value * spread
        )
    return made


@pytest.fixture
def fit() -> bf.Fit:
    """Three tasks, of which two families were run, by task; one run lacks its accuracy, another its task loss."""
    table = task_table(np.geomspace(1e8, 3e9, 7))
    table.loc[2, "accuracy"] = np.nan
    table.loc[4, "task_loss"] = np.nan
    return made_fit(task_runs(table=table), bf.law("task_two_step"), scattered(TRUTH), ["task"])


@pytest.fixture
def crossed() -> bf.Fit:
    """The same law by task and family."""
    return made_fit(task_runs(), bf.law("task_two_step"), scattered(TRUTH), ["task", "family"])


def larger(fit: bf.Fit) -> pd.DataFrame:
    return task_table(np.array([1e10]), family=("oak", "yew"))


def panels(figure: Any) -> dict[str, Any]:
    return {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}


def test_every_task_has_a_panel_with_its_runs_by_family(fit: bf.Fit) -> None:
    figure = plots.plot_tasks(fit)
    found = panels(figure)
    assert [*found] == [*TASKS]
    for task, ax in found.items():
        assert ax.get_xscale() == "log"
        for family in ("oak", "elm"):
            (points,) = drawn(ax, f"runs {family}")
            table = fit.runs.table
            rows = (table["task"] == task) & (table["family"] == family) & table["accuracy"].notna()
            expected = np.c_[fit.runs.compute[rows], table["accuracy"][rows]]  # type: ignore[index]
            np.testing.assert_allclose(np.asarray(points.get_offsets()), expected)
        assert len(drawn(ax, "band")) == 2
        assert len(drawn(ax, "median")) == 1
    assert legend(figure) == [
        "oak",
        "elm",
        "law, median",
        "50% of new runs",
        "90% of new runs",
        "chance",
        "beyond the fitted runs",
    ]
    assert "from 0 to 1" in " ".join(figure.get_supylabel().split())
    label, caption = figure.get_supxlabel().split("\n")
    assert label == "Training compute (FLOP)"
    assert caption.startswith("curves along $D = 20\\,{N}$")
    assert "chance" not in caption
    figure.canvas.draw()


def test_panels_share_x_and_show_accuracies_from_0_to_1(fit: bf.Fit) -> None:
    axes = [*panels(plots.plot_tasks(fit, columns=2)).values()]
    assert len({ax.get_xlim() for ax in axes}) == 1
    for ax in axes:
        assert ax.get_ylim() == (-0.02, 1.02)
    # numbers stand at the left and where no panel follows below
    shown = [
        (bool(ax.yaxis.get_tick_params()["labelleft"]), bool(ax.xaxis.get_tick_params()["labelbottom"])) for ax in axes
    ]
    assert shown == [(True, False), (False, True), (True, True)]


def test_median_and_bands_are_those_of_forecasts_of_the_task(fit: bf.Fit) -> None:
    ax = panels(plots.plot_tasks(fit))["piqa"]
    x, y = drawn(ax, "median")[0].get_data()
    rows = np.flatnonzero(fit.runs.table["task"] == "piqa")
    table = fit_path(fit, "flops", rows).table(x[[0, 30]]).assign(task="piqa")
    found = fit.forecast(table, output="accuracy")
    np.testing.assert_allclose(y[[0, 30]], np.median(found.expected, axis=(0, 1)), rtol=1e-12)
    low, high = found.interval(0.9).iloc[1]
    (wide,) = drawn(ax, "band 0.9")
    edges = wide.get_paths()[0].vertices
    near = edges[np.isclose(edges[:, 0], x[30], rtol=1e-9), 1]
    np.testing.assert_allclose([near.min(), near.max()], [low, high], atol=0.02)


def test_chance_is_dashed_in_each_panel_and_only_for_shares(fit: bf.Fit) -> None:
    for task, ax in panels(plots.plot_tasks(fit)).items():
        (line,) = drawn(ax, "chance")
        assert line.get_ydata()[0] == CHANCE[task]
        assert line.get_linestyle() == "--"
    losses = plots.plot_tasks(fit, output="task_loss")
    assert not drawn(losses, "chance")
    assert "chance" not in legend(losses)


def test_long_names_keep_their_ends() -> None:
    assert shortened("bigbench_date_understanding_1") == "bigbench_da…erstanding_1"
    assert shortened("mmlu_$") == r"mmlu_\$"


def test_what_lies_beyond_a_tasks_own_runs_is_shaded(fit: bf.Fit) -> None:
    table = fit.runs.table
    small = fit.runs.select((table["task"] != "arc") | (table["params"] < 1e9))
    cut = made_fit(small, fit.law, scattered(TRUTH), ["task"])
    assert small.compute is not None
    for task, ax in panels(plots.plot_tasks(cut, to="1e22")).items():
        last = small.compute[(small.table["task"] == task).to_numpy()].max()
        (shade,) = drawn(ax, "extrapolation")
        assert shade.get_x() == last
        assert drawn(ax, "beyond")[0].get_xdata()[-1] == pytest.approx(1e22)
        assert not [text for text in ax.texts if text.get_text() == "extrapolation"]


def test_held_out_runs_and_forecasts_go_to_their_tasks(fit: bf.Fit) -> None:
    scenarios = {"params": 1e10, "tokens": 2e11, "chance": [0.25, 0.0], "task": ["arc", "copa"]}
    forecast = fit.forecast(scenarios, output="accuracy")
    truth = larger(fit)
    figure = plots.plot_tasks(fit, forecast=forecast, truth=truth)
    for task, ax in panels(figure).items():
        own = truth[truth["task"] == task]
        for family, name in (("oak", "oak"), ("yew", "new")):
            (points,) = drawn(ax, f"truth {name}")
            row = own[own["family"] == family].iloc[0]
            expected = [[6 * row["params"] * row["tokens"], row["accuracy"]]]
            np.testing.assert_allclose(np.asarray(points.get_offsets()), expected)
            np.testing.assert_allclose(points.get_facecolor()[0][:3], 1.0)
        diamonds = drawn(ax, "forecast")
        assert len(diamonds) == (task != "piqa")
        if diamonds:
            place = ["arc", "copa"].index(task)
            middle = forecast.quantiles([0.5])[0.5].iloc[place]
            np.testing.assert_allclose(np.asarray(diamonds[0].get_offsets()), [[1.2e22, middle]])
    assert {"held-out runs", "yew (not fitted)", "forecasts, 50% and 90%"} <= {*legend(figure)}
    # no held-out run is cut off
    assert panels(figure)["arc"].get_xlim()[1] > 1.2e22 * 1.4**2


def test_tight_panels_have_limits_of_their_own(fit: bf.Fit) -> None:
    axes = panels(plots.plot_tasks(fit, tight=True))
    assert len({ax.get_ylim() for ax in axes.values()}) == 3
    for task, ax in axes.items():
        own = fit.runs.table.loc[fit.runs.table["task"] == task, "accuracy"]
        low, high = ax.get_ylim()
        assert low < own.min() < own.max() < high
        assert ax.yaxis.get_tick_params()["labelleft"]


def test_outputs_that_are_no_shares_share_the_range_of_all(fit: bf.Fit) -> None:
    axes = [*panels(plots.plot_tasks(fit, output="task_loss")).values()]
    assert len({ax.get_ylim() for ax in axes}) == 1
    assert axes[0].get_yscale() == "log"
    losses = fit.runs.table["task_loss"]
    assert axes[0].get_ylim()[0] < losses.min() < losses.max() < axes[0].get_ylim()[1]


def test_a_fit_by_family_too_has_a_curve_for_each(crossed: bf.Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = plots.plot_tasks(crossed)
    for ax in panels(figure).values():
        assert [line.get_gid() for line in drawn(ax, "median")] == ["median oak", "median elm"]
        assert len(drawn(ax, "band")) == 4
    monkeypatch.setattr("bayesfit.plots.panels._BANDS", 1)
    lines_alone = plots.plot_tasks(crossed)
    assert not drawn(lines_alone, "band")
    assert not {"90% of new runs"} & {*legend(lines_alone)}
    # one colour: the family with the most runs, and it is said which
    one = plots.plot_tasks(crossed, colour=None)
    assert len(drawn(one, "median")) == 3
    assert "shown: family" in one.get_supxlabel()


def test_a_band_of_one_task_of_several_says_which_in_its_title(crossed: bf.Fit, fit: bf.Fit) -> None:
    (ax,) = plots.plot_band(crossed, output="accuracy", by="family").axes
    assert ax.get_title(loc="left").startswith("task arc: ")
    # every task has its colour in the legend
    (ax,) = plots.plot_band(fit, output="accuracy").axes
    assert not ax.get_title(loc="left").startswith("task")


def test_runs_without_families_have_one_colour() -> None:
    fit = made_fit(task_runs(groups=["task"]), bf.law("task_two_step"), scattered(TRUTH), ["task"])
    figure = plots.plot_tasks(fit)
    assert legend(figure)[:2] == ["fitted runs", "law, median"]
    for ax in panels(figure).values():
        (points,) = drawn(ax, "runs")
        assert len(points.get_offsets()) == 14


def test_a_fit_that_pools_all_tasks_has_one_law_in_every_panel() -> None:
    values = scattered(two_steps(0.6, 0.9, 0.25) | OF_ALL)
    fit = made_fit(task_runs(), bf.law("task_two_step"), values)
    for task, ax in panels(plots.plot_tasks(fit)).items():
        assert drawn(ax, "median")[0].get_ydata()[0] > CHANCE[task]
        assert len(drawn(ax, "runs")) == 2


def test_failed_checks_are_marked_on_figures_of_tasks(fit: bf.Fit) -> None:
    failure = CheckResult(name="r_hat", passed=False, found="1.2", needed="1.01", value=1.2, advice="sample longer")
    families = lines()
    for one in (fit, families):
        one.__dict__["_diagnostics"] = Diagnostics(results=(failure,))
    for figure in (plots.plot_tasks(fit), plots.plot_steps(fit), plots.plot_efficiency(families)):
        (mark,) = drawn(figure, "unconverged")
        assert mark.get_color() == style.RED
    for one in (fit, families):
        one.__dict__["_diagnostics"] = Diagnostics(results=())
    assert not drawn(plots.plot_tasks(fit), "unconverged")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": "tsk"}, "no group 'tsk'.*did you mean 'task'"),
        ({"colour": "famly"}, "no group 'famly'.*did you mean 'family'"),
        ({"output": "acuracy"}, "did you mean 'accuracy'"),
        ({"x": "flop"}, "did you mean 'flops'"),
        ({"prob": 0.9}, r"write prob=\[0.9\]"),
        ({"columns": 0}, "1 or more, found 0"),
        ({"to": 1.0}, "before the first run"),
        ({"truth": pd.DataFrame({"params": [1e9], "tokens": [2e10], "accuracy": [0.5]})}, "have no 'task'"),
        (
            {"truth": pd.DataFrame({"params": [1e9], "tokens": [2e10], "accuracy": [0.5], "task": ["pika"]})},
            "'pika'.*did you mean 'piqa'.*has no panel",
        ),
        ({"truth": pd.DataFrame({"params": [1e9], "tokens": [2e10], "task": ["piqa"]})}, "no 'accuracy'"),
    ],
)
def test_what_tasks_cannot_show_is_refused(fit: bf.Fit, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        plots.plot_tasks(fit, **arguments)


def test_forecasts_of_another_output_are_refused(fit: bf.Fit) -> None:
    forecast = fit.forecast({"params": 1e10, "tokens": 2e11, "chance": 0.25, "task": "arc"}, output="task_loss")
    with pytest.raises(bf.SpecError, match="this forecast is of 'task_loss'"):
        plots.plot_tasks(fit, forecast=forecast)


# ---- two steps


def test_steps_stand_side_by_side_for_each_task(fit: bf.Fit) -> None:
    figure = plots.plot_steps(fit)
    assert len(figure.axes) == 6
    for task, (left, right) in zip(TASKS, np.array(figure.axes).reshape(3, 2), strict=True):
        assert left.get_title(loc="left") == f"{task}: task loss from compute"
        assert right.get_title(loc="left") == f"{task}: accuracy from task loss"
        assert " ".join(left.get_ylabel().split()) == " ".join(right.get_xlabel().split())
        assert (left.get_xscale(), right.get_xscale()) == ("log", "linear")
        own = fit.runs.table[(fit.runs.table["task"] == task)]
        whole = own.dropna()
        for family in ("oak", "elm"):
            (points,) = drawn(right, f"runs {family}")
            rows = whole[whole["family"] == family]
            np.testing.assert_allclose(np.asarray(points.get_offsets()), rows[["task_loss", "accuracy"]])
        assert len(drawn(left, "runs oak")[0].get_offsets()) == own[own["family"] == "oak"]["task_loss"].notna().sum()
        # a line that is not to be seen is not in the legend either
        assert not drawn(right, "chance")
    assert "chance" not in legend(figure)
    figure.canvas.draw()


def test_second_step_is_the_laws_accuracy_at_a_known_task_loss(fit: bf.Fit) -> None:
    figure = plots.plot_steps(fit, level="piqa")
    _, right = figure.axes
    x, y = drawn(right, "median")[0].get_data()
    draws = {name: fit.posterior[name].sel(task="piqa").values for name in ("m", "q", "room", "k")}
    ceiling = draws["q"] + (1 - draws["q"]) * draws["room"]
    middle = np.log(draws["q"] / (ceiling - draws["q"]))
    for loss, value in zip(x[::10], y[::10], strict=True):
        accuracy = 0.5 + 0.5 * ceiling * expit(middle + draws["k"] * (1 - loss / draws["m"]))
        assert value == pytest.approx(np.median(accuracy), rel=1e-9)
    # it goes on to the loss that the first step reaches, which lies below those seen
    left_end = drawn(figure.axes[0], "beyond")[0].get_ydata()[-1]
    (shade,) = drawn(right, "extrapolation")
    own = fit.runs.table[fit.runs.table["task"] == "piqa"]
    assert shade.get_x() + shade.get_width() == pytest.approx(own["task_loss"].min())
    assert drawn(right, "beyond")[0].get_xdata()[0] == pytest.approx(left_end)


def test_bands_of_the_second_step_hold_its_own_doubt_alone(fit: bf.Fit) -> None:
    later = steps.second_step(fit, "task_loss")
    assert [*later.law.inputs] == ["chance", "task_loss_given"]
    assert {*later.law.parameters} == {"m", "q", "room", "k", "follow"}
    expected = ["m", "q", "room", "k", "follow", "sigma_task_loss", "sigma_accuracy"]
    assert [plan.name for plan in later.plans] == expected
    scenarios = {"chance": 0.25, "task_loss_given": [0.8, 0.9], "task": "arc"}
    # the noise of task losses changes nothing
    quiet = {**scattered(TRUTH), "sigma_task_loss": 1e-6}
    other = steps.second_step(made_fit(fit.runs, fit.law, quiet, ["task"]), "task_loss")
    found = []
    for one in (later, other):
        one.__dict__["_diagnostics"] = Diagnostics(results=())
        found.append(one.forecast(scenarios, output="accuracy").interval(0.9).to_numpy())
    np.testing.assert_allclose(found[0], found[1])


def test_runs_without_tasks_have_one_row() -> None:
    law = bf.law("llama3_two_step")
    runs = family_runs(law, chance=0.25, accuracy=np.linspace(0.3, 0.8, 18))
    values = {"c": {"oak": 0.7, "elm": 0.63, "ash": 0.7}, "b": 0.035, "top": 0.95, "k": 12.0, "L0": 0.7}
    values |= {name: 0.5 for name in law.free if name not in values} | {"sigma_task_loss": 0.02, "sigma_accuracy": 0.1}
    figure = plots.plot_steps(made_fit(runs, law, values, ["family"]))
    left, right = figure.axes
    assert left.get_title(loc="left") == "task loss from compute"
    # a curve for each family in both
    assert len(drawn(left, "median")) == len(drawn(right, "median")) == 3
    assert len(drawn(left, "band")) == len(drawn(right, "band")) == 6


def test_held_out_runs_of_both_steps_are_open(fit: bf.Fit) -> None:
    truth = larger(fit)
    figure = plots.plot_steps(fit, level=["arc", "copa"], truth=truth)
    assert len(figure.axes) == 4
    row = truth[(truth["task"] == "arc") & (truth["family"] == "oak")].iloc[0]
    (left,), (right,) = (drawn(ax, "truth oak") for ax in figure.axes[:2])
    np.testing.assert_allclose(np.asarray(left.get_offsets()), [[1.2e22, row["task_loss"]]])
    np.testing.assert_allclose(np.asarray(right.get_offsets()), [[row["task_loss"], row["accuracy"]]])
    low, high = figure.axes[1].get_xlim()
    assert low < row["task_loss"] < high


def test_of_many_tasks_the_first_are_drawn_and_it_is_said(fit: bf.Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_ROWS", 2)
    figure = plots.plot_steps(fit)
    assert len(figure.axes) == 4
    assert "2 of 3; name others with level=" in figure.get_supxlabel()
    with pytest.raises(bf.SpecError, match="one to 2 of task, found 3"):
        plots.plot_steps(fit, level=[*TASKS])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "pika"}, "no level 'pika'.*did you mean 'piqa'"),
        ({"level": []}, "found 0"),
        ({"group": "tsk"}, "did you mean 'task'"),
        (
            {"truth": pd.DataFrame({"params": [1e9], "tokens": [2e10], "task_loss": [0.9], "task": ["arc"]})},
            "no 'accuracy'",
        ),
    ],
)
def test_what_steps_cannot_show_is_refused(fit: bf.Fit, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        plots.plot_steps(fit, **arguments)


def test_laws_of_one_step_are_refused() -> None:
    with pytest.raises(bf.SpecError, match="no output of family_efficiency rests on another"):
        plots.plot_steps(lines())
    assert steps.steps_of(bf.law("task_two_step")) == ("task_loss", "accuracy")
    assert steps.steps_of(bf.law("qid")) == ("base_loss", "loss")
    with pytest.raises(bf.SpecError, match="rests on another"):
        steps.steps_of(bf.law("hp_deepseek"))


# ---- efficiency


def test_curves_of_families_end_with_their_own_runs() -> None:
    fit = lines()
    left, right = plots.plot_efficiency(fit, reference="oak", at=1e21).axes
    flops, table = fit.runs.values("flops"), fit.runs.table
    for family in FAMILIES:
        own = flops[(table["family"] == family).to_numpy()]
        (line,) = drawn(left, f"median {family}")
        np.testing.assert_allclose([line.get_xdata()[0], line.get_xdata()[-1]], [own.min(), own.max()])
        # bands are of the law, without noise
        low, high = np.quantile(fit.posterior["nu"].sel(family=family).values, [0.05, 0.95])
        (band,) = drawn(left, f"band 0.9 {family}")
        edges = band.get_paths()[0].vertices
        ends = edges[np.isclose(edges[:, 0], own.min(), rtol=1e-9), 1]
        np.testing.assert_allclose(ends.max() - ends.min(), high - low, rtol=1e-6)
    assert drawn(left, "at")[0].get_xdata()[0] == 1e21
    assert right.get_xlabel() == "times that of oak"


def test_ratios_stand_in_order_with_their_intervals() -> None:
    fit = lines()
    _, right = plots.plot_efficiency(fit, reference="oak", at=1e21).axes
    assert right.get_xscale() == "log"
    # the least compute on top
    assert [label.get_text() for label in right.get_yticklabels()] == ["elm", "oak", "ash"]
    assert right.get_yticks().tolist() == [2, 1, 0]
    for prob in (0.5, 0.9):
        table = equivalent_compute(fit, reference="oak", at=1e21, prob=prob).set_index("family")
        for family in ("elm", "ash"):
            (line,) = drawn(right, f"interval {prob:g} {family}")
            np.testing.assert_allclose(line.get_xdata(), table.loc[family, ["lower", "upper"]].to_numpy(float))
            (dot,) = drawn(right, f"ratio {family}")
            assert dot.get_xdata()[0] == table.loc[family, "median"]
    (own,) = drawn(right, "ratio oak")
    assert own.get_xdata()[0] == 1.0
    assert own.get_markerfacecolor() == "white"
    assert not drawn(right, "interval 0.9 oak")
    assert not drawn(right, "beyond")


def test_intervals_without_an_end_have_an_arrow() -> None:
    law = bf.Law.from_text(
        "loss = E + a*(flops/ref.flops)**-alpha",
        priors=dict.fromkeys(("E", "a", "alpha"), "LogNormal(0, 1)"),
    )
    floors = np.where(np.arange(CHAINS * DRAWS) % 4 == 0, 2.0, 0.3).reshape(CHAINS, DRAWS)
    values = {"E": {"oak": 0.3, "elm": floors, "ash": 3.0}, "a": 0.5, "alpha": 0.2, "sigma": 0.01}
    fit = made_fit(family_runs(law), law, values, ["family"])
    _, right = plots.plot_efficiency(fit, reference="oak").axes
    low, high = right.get_xlim()
    assert 0 < low < high < np.inf
    for family in ("elm", "ash"):
        (arrow,) = drawn(right, f"beyond {family}")
        assert (arrow.get_marker(), arrow.get_markerfacecolor()) == (">", "white")
    # elm's middle is known, ash never gets there
    assert drawn(right, "ratio elm")[0].get_xdata()[0] == pytest.approx(1.0, rel=1e-3)
    assert not drawn(right, "ratio ash")


def test_a_family_of_one_run_has_a_short_curve() -> None:
    fit = lines()
    table = fit.runs.table
    one = fit.runs.select(((table["family"] != "ash") | (table.index == table.index[-1])).to_numpy())
    cut = made_fit(one, fit.law, {"nu": 0.0, "theta": 0.4, "sigma": 0.2}, ["family"])
    left, _ = plots.plot_efficiency(cut).axes
    (line,) = drawn(left, "median ash")
    only = table["flops"].iloc[-1]
    assert line.get_xdata()[0] < only < line.get_xdata()[-1] < 2 * only


def test_of_many_families_lines_alone_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from bayesfit.plots import efficiency

    monkeypatch.setattr(efficiency, "_BANDS", 2)
    figure = plots.plot_efficiency(lines())
    assert not drawn(figure, "band")
    assert legend(figure) == ["law, median"]


def test_efficiency_says_what_is_held_and_refuses_what_equivalents_do() -> None:
    fit = lines()
    suite = ["a", "b", "b", "b", "b", "b"] * 3
    table = fit.runs.table.assign(suite=suite)[["family", "suite", "flops", "score"]]
    both = replace(fit.runs, table=table, groups=("family", "suite"))
    values = {"nu": {"oak": 0.0, "elm": 0.4, "ash": 0.0}, "theta": 0.4, "sigma": 0.2}
    figure = plots.plot_efficiency(made_fit(both, fit.law, values, ["family", "suite"]))
    assert figure.get_supxlabel() == "shown: suite b"
    with pytest.raises(bf.SpecError, match="did you mean 'oak'"):
        plots.plot_efficiency(fit, reference="oka")
    with pytest.raises(bf.SpecError, match="no group to compare"):
        plots.plot_efficiency(made_fit(fit.runs, fit.law, {"nu": 0.0, "theta": 0.4, "sigma": 0.2}))
    assert equivalents(fit).reference == "oak"


def test_residuals_are_drawn_against_a_chance_level_of_zero(fit: bf.Fit) -> None:
    assert 0 in CHANCE.values()
    figure = plots.plot_residuals(fit, output="accuracy")
    chance = next(ax for ax in figure.axes if "guessing" in ax.get_xlabel())
    assert chance.get_xscale() == "linear"
    assert chance.get_xlim()[0] < 0 < max(CHANCE.values()) < chance.get_xlim()[1]


def test_a_law_in_two_steps_forecasts_what_its_loss_leads_to(fit: bf.Fit) -> None:
    at = larger(fit).iloc[[0]]
    assert fit.forecast(at, allow_unconverged=True).output == "accuracy"
    assert fit.forecast(at, output="task_loss", allow_unconverged=True).output == "task_loss"
    # one that leads to no share forecasts the first
    assert bf.law("hp_deepseek").pick_output(None) == "lr"
