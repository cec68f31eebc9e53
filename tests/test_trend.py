"""Shapes of trends and turns that a law misses: exact on made posteriors, quiet on monotone runs, loud on bent ones."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import trend
from bayesfit.trend import ALARM, SHAPES, missed_turns, trend_shapes, warn_of_turns
from tests.posteriors import made_fit, normal

pytestmark = pytest.mark.xdist_group("trend")

QUICK: dict[str, Any] = {"draws": 400, "tune": 400, "cores": 1, "seed": 1, "progress": False}
T = np.linspace(-1, 1, 81)


def shape_of(curve: np.ndarray, least: float = 0.0) -> str:
    return SHAPES[trend._shapes(curve[None], least)[0]]


@pytest.mark.parametrize(
    ("curve", "shape"),
    [
        (T, "rising"),
        (-np.exp(3 * T), "falling"),
        (T**2, "u"),
        (0.3 * T - T**2, "inverted_u"),
        # flat, and twice turned
        (0 * T + 2.3, "other"),
        (np.sin(4 * T), "other"),
        # flat stretches, and a turn in the last step alone
        (np.maximum(T, 0), "rising"),
        (np.minimum(T, T[-2] - 0.001), "rising"),
        (np.where(T == 1, 0.9, T), "inverted_u"),
    ],
)
def test_shapes_of_curves(curve: np.ndarray, shape: str) -> None:
    assert shape_of(curve) == shape
    # a matter of shape alone: any increasing change of scale leaves it
    assert shape_of(5 + 1e-6 * np.expm1(curve)) == shape


def test_changes_that_are_too_small_do_not_count() -> None:
    # falls by 0.09 and rises by 1.69
    curve = T**2 + 1.4 * T
    assert shape_of(curve) == "u"
    assert shape_of(curve, 0.08) == "u"
    assert shape_of(curve, 0.1) == "rising"
    assert shape_of(0.01 * T, 0.03) == "other"
    # ripples on the way up, each smaller than what counts
    assert shape_of(T + 0.05 * np.sin(40 * T), 0.12) == "rising"
    assert shape_of(T + 0.05 * np.sin(40 * T)) == "other"


def task_runs(law: bf.Law, tasks: dict[str, np.ndarray], flops: np.ndarray, **more: Any) -> bf.Runs:
    """Return runs of tasks, each with an output along `flops`."""
    output = next(iter(law.outputs))
    parts = [pd.DataFrame({"task": name, "flops": flops, output: values}) for name, values in tasks.items()]
    table = pd.concat(parts, ignore_index=True).assign(**more)
    return bf.Runs.from_frame(table, law=law, inputs=[*law.inputs], groups=["task"], allow=["units"])


def test_probabilities_are_shares_of_draws_by_task() -> None:
    law = bf.law("u_shape")
    runs = task_runs(law, {"up": np.linspace(0.2, 0.8, 7), "bent": np.full(7, 0.5)}, np.geomspace(1e19, 1e24, 7))
    slopes = {"up": 0.5, "bent": normal(1, 0.1, 0.3)}
    bends = {"up": 0.01, "bent": normal(2, 0.0, 0.15)}
    fit = made_fit(runs, law, {"b0": -0.4, "b1": slopes, "b2": bends, "sigma": 0.1}, ["task"])
    table = trend_shapes(fit).set_index("task")
    assert [*table.columns] == ["runs", "from", "to", *SHAPES, "shape"]
    assert table.loc["up", ["runs", "from", "to", "rising", "shape"]].tolist() == [7, 1e19, 1e24, 1.0, "rising"]
    # the card's own slopes at both ends of the runs
    low, high = (fit.derived()[name].sel(task="bent").values for name in ("slope_low", "slope_high"))
    expected = {
        "rising": np.mean((low > 0) & (high > 0)),
        "falling": np.mean((low < 0) & (high < 0)),
        "u": np.mean((low < 0) & (high > 0)),
        "inverted_u": np.mean((low > 0) & (high < 0)),
    }
    for shape, share in expected.items():
        # a turn within a 64th of the range is between two points of the grid
        assert table.loc["bent", shape] == pytest.approx(share, abs=0.03), shape
    assert table.loc["bent", [*SHAPES]].sum() == pytest.approx(1.0)
    assert min(expected.values()) > 0.05
    # two points of accuracy are no rise, and then less of everything is left
    coarse = trend_shapes(fit, least=0.02).set_index("task")
    assert coarse.loc["bent", "other"] > 0
    assert coarse.loc["bent", "u"] < table.loc["bent", "u"]


def test_each_level_is_looked_at_over_its_own_runs() -> None:
    law = bf.law("u_shape")
    flops = np.geomspace(1e18, 1e24, 13)
    table = pd.DataFrame({"task": ["low"] * 7 + ["high"] * 7, "flops": [*flops[:7], *flops[6:]], "accuracy": 0.4})
    table["accuracy"] += np.linspace(0, 0.1, 14)
    runs = bf.Runs.from_frame(table, law=law, groups=["task"])
    # one parabola whose bottom lies in the middle of all runs, where the two tasks meet
    fit = made_fit(runs, law, {"b0": -0.4, "b1": 0.0, "b2": 0.1, "sigma": 0.1}, ["task"])
    found = trend_shapes(fit)
    assert dict(zip(found["task"], found["shape"], strict=True)) == {"low": "falling", "high": "rising"}


def test_other_inputs_go_along_as_in_the_runs() -> None:
    law = bf.law("chinchilla")
    params = np.geomspace(1e8, 1e10, 8)
    # the larger the model, the shorter it was trained
    table = pd.DataFrame({"params": params, "tokens": 2e19 / params**1.1, "loss": np.linspace(2.5, 3.5, 8)})
    runs = bf.Runs.from_frame(table, allow=["units"])
    values = {"E": 1.7, "a": 0.05, "b": 0.9, "alpha": 0.3, "beta": 0.4, "sigma": 0.01}
    fit = made_fit(runs, law, values)
    assert trend_shapes(fit, x="params")["rising"].tolist() == [1.0]
    assert trend_shapes(fit, x="tokens")["falling"].tolist() == [1.0]
    # compute falls with size here
    assert trend_shapes(fit)["shape"].tolist() == ["falling"]


def test_equations_that_are_not_observed_have_shapes_too() -> None:
    law = bf.law("passuntil")
    runs = bf.simulate(law, seed=1).runs
    fit = made_fit(runs, law, {"u": 1.3, "alpha": 0.55, "q": -0.06})
    assert trend_shapes(fit, x="params")["shape"].tolist() == ["falling"]
    assert trend_shapes(fit, x="params", output="pass_rate")["shape"].tolist() == ["rising"]


def flat(task: str = "one") -> bf.Fit:
    law = bf.law("log_acc_power")
    runs = task_runs(law, {task: np.linspace(0.3, 0.6, 9)}, np.geomspace(1e19, 1e23, 9), chance=0.25)
    return made_fit(runs, law, {"a": 0.7, "alpha": 0.14, "sigma": 0.1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": "flop"}, "did you mean 'flops'"),
        ({"x": "chance"}, "no level has runs at two values of chance"),
        ({"output": "acuracy"}, "did you mean 'accuracy'"),
        ({"least": -0.1}, "zero or a positive number in the output's unit, found -0.1"),
    ],
)
def test_what_has_no_trend_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        trend_shapes(flat(), **arguments)


def scored(curve: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Return accuracies whose log-odds scatter about a curve."""
    return np.asarray(1 / (1 + np.exp(-(curve + sigma * rng.standard_t(4, len(curve))))))


def judged(curves: dict[str, np.ndarray], seed: int, sigma: float = 0.15, slope: float = 0.14) -> pd.DataFrame:
    """Return what is said of tasks whose log-odds follow `curves`, when a power law was fitted that rises slowly."""
    law, rng = bf.law("log_acc_power"), np.random.default_rng(seed)
    count = len(next(iter(curves.values())))
    tasks = {name: scored(curve, sigma, rng) for name, curve in curves.items()}
    runs = task_runs(law, tasks, np.geomspace(1e19, 1e23, count), chance=0.0)
    # the law meets each task's mean in the middle
    middle = {name: -np.log(values).mean() for name, values in tasks.items()}
    fit = made_fit(runs, law, {"a": middle, "alpha": slope, "sigma": sigma}, ["task"])
    return missed_turns(fit)


def places(count: int) -> np.ndarray:
    return np.linspace(-1, 1, count)


#: Scale and exponent of tasks whose accuracy is exp(-a*(flops/1e21)**-alpha).
MONOTONE = {"easy": (0.3, 0.2), "slow": (1.2, 0.03), "hard": (2.0, 0.1)}


def monotone_tasks(seed: int, flops: np.ndarray, sigma: float = 0.15) -> bf.Runs:
    """Return tasks that follow log_acc_power, one easily, one hardly moving, one from near zero."""
    rng = np.random.default_rng([3, seed])
    means = {name: np.exp(-a * (flops / 1e21) ** -alpha) for name, (a, alpha) in MONOTONE.items()}
    tasks = {name: scored(np.log(mean) - np.log1p(-mean), sigma, rng) for name, mean in means.items()}
    return task_runs(bf.law("log_acc_power"), tasks, flops, chance=0.0)


def test_runs_that_follow_the_law_raise_no_alarm() -> None:
    """A hundred sets of three tasks; the true law is known here, so nothing of the noise was fitted away."""
    law, flops = bf.law("log_acc_power"), np.geomspace(1e19, 1e23, 8)
    values = {
        "a": {name: a for name, (a, _) in MONOTONE.items()},
        "alpha": {name: alpha for name, (_, alpha) in MONOTONE.items()},
        "sigma": 0.15,
    }
    alarms = 0
    for seed in range(100):
        found = missed_turns(made_fit(monotone_tasks(seed, flops), law, values, ["task"]))
        assert len(found) == 3
        alarms += bool((found["prob"] >= ALARM).any())
    assert alarms <= 5


def test_tries_that_follow_the_law_raise_no_alarm() -> None:
    """Waiting times for three passes are skewed, over four decades."""
    law, truth = bf.law("passuntil"), {"u": 1.3, "alpha": 0.55, "q": -0.06}
    alarms = 0
    for seed in range(40):
        runs = bf.simulate(law, {"params": (3e7, 2.4e9), "passes": (3, 3)}, n=12, seed=seed).runs
        alarms += missed_turns(made_fit(runs, law, truth))["prob"].item() >= ALARM
    assert alarms <= 2


def test_a_task_that_emerges_is_no_turn() -> None:
    """Flat runs that then rise: a parabola through them dips, though they never fall."""
    t = places(20)
    emerging = -2 + 4 * np.maximum(t - 0.2, 0)
    parabola = np.polyval(np.polyfit(t, emerging, 2), t)
    assert parabola[0] - parabola.min() > 0.3
    alarms = sum(
        bool((judged({"emerging": emerging, "plain": 0.8 * t}, seed)["prob"] >= ALARM).any()) for seed in range(30)
    )
    assert alarms <= 2


@pytest.mark.parametrize(
    ("shape", "curve"), [("inverted_u", 0.5 - 1.5 * T**2), ("u", 1.5 * T**2 - 1), ("falling", -0.8 * T)]
)
def test_runs_that_turn_are_found_and_their_shape_is_named(shape: str, curve: np.ndarray) -> None:
    bent = curve[:: 80 // 11][:12]
    found = pd.concat([judged({"bent": bent, "plain": 0.8 * places(12)}, seed, slope=0.02) for seed in range(12)])
    table = found[found["task"] == "bent"]
    assert (table["law"] == "rising").all()
    assert (table["prob"] >= ALARM).mean() > 0.85
    assert (table.loc[table["prob"] >= ALARM, "shape"] == shape).all()
    assert (found.loc[found["task"] == "plain", "prob"] < ALARM).all()


def test_few_runs_and_few_scales_are_not_judged() -> None:
    t = np.array([-1.0, 0.0, 1.0])
    assert judged({"three": -t}, 1).empty
    law = bf.law("log_acc_power")
    flops = np.repeat([1e20, 1e22], 4)
    runs = task_runs(law, {"two": np.repeat([0.6, 0.3], 4) + np.linspace(0, 0.01, 8)}, flops, chance=0.0)
    fit = made_fit(runs, law, {"a": 0.7, "alpha": 0.1, "sigma": 0.1})
    table = missed_turns(fit)
    assert table.empty
    assert [*table.columns] == ["runs", "law", "shape", "prob"]


def test_a_law_that_turns_itself_misses_nothing() -> None:
    law = bf.law("u_shape")
    flops = np.geomspace(1e19, 1e24, 9)
    runs = task_runs(law, {"one": scored(1.0 - 3 * places(9) ** 2, 0.05, np.random.default_rng(1))}, flops)
    bent = made_fit(runs, law, {"b0": 1.0, "b1": 0.0, "b2": -0.5, "sigma": 0.1})
    assert missed_turns(bent).empty
    # held straight, it does
    straight = made_fit(runs, law, {"b0": 0.0, "b1": 0.02, "b2": 0.0, "sigma": 0.1})
    table = missed_turns(straight)
    assert table["shape"].tolist() == ["inverted_u"]
    assert table["prob"].item() > ALARM


def test_counts_are_judged_by_what_their_items_leave_open() -> None:
    """The same bend is a turn with many items and none with few."""
    law = bf.law("log_acc_power").with_noise("binomial")
    flops = np.geomspace(1e19, 1e23, 10)
    probs = []
    for items in (60, 6000):
        rng = np.random.default_rng(5)
        counts = rng.binomial(items, 0.55 - 0.12 * places(10) ** 2)
        table = pd.DataFrame({"flops": flops, "chance": 0.0, "accuracy": counts / items, "n_items": items})
        runs = bf.Runs.from_frame(table, law=law, n_items="n_items")
        fit = made_fit(runs, law, {"a": 0.68, "alpha": 0.005})
        probs.append(missed_turns(fit)["prob"].item())
    assert probs[0] < 0.5
    assert probs[1] > ALARM


def test_frontiers_and_checkpoints_are_not_judged() -> None:
    bent = -np.abs(places(12))
    law = bf.law("log_acc_power")
    runs = task_runs(law, {"one": scored(bent, 0.05, np.random.default_rng(1))}, np.geomspace(1e19, 1e23, 12), chance=0)
    values = {"a": 1.0, "alpha": 0.02, "sigma": 0.1}
    assert missed_turns(made_fit(runs, law, values))["prob"].item() > ALARM
    assert missed_turns(made_fit(runs, law.with_noise("frontier"), values)).empty
    fit = made_fit(runs, law, values)
    assert missed_turns(replace(fit, pooling=replace(fit.pooling, checkpoints="task"))).empty


def test_levels_beyond_the_scale_of_the_noise_are_left_out() -> None:
    law = bf.law("log_acc_power")
    rng = np.random.default_rng(3)
    tasks = {"never": np.full(8, 0.01), "often": scored(0.8 * places(8), 0.1, rng)}
    runs = task_runs(law, tasks, np.geomspace(1e19, 1e23, 8), chance=0.0)
    # an accuracy of exp(-2000) is zero to a computer
    fit = made_fit(runs, law, {"a": {"never": 2000.0, "often": 0.7}, "alpha": 0.01, "sigma": 0.1}, ["task"])
    assert missed_turns(fit)["task"].tolist() == ["often"]


def test_warning_names_levels_shape_probability_and_remedy() -> None:
    law = bf.law("log_acc_power")
    rng = np.random.default_rng(2)
    tasks = {"bent": scored(0.5 - 2 * places(12) ** 2, 0.1, rng), "plain": scored(0.8 * places(12), 0.1, rng)}
    runs = task_runs(law, tasks, np.geomspace(1e19, 1e23, 12), chance=0.0)
    fit = made_fit(runs, law, {"a": {"bent": 0.8, "plain": 0.7}, "alpha": 0.05, "sigma": 0.2}, ["task"])
    with pytest.warns(bf.DataWarning) as told:
        warn_of_turns(fit, "accuracy")
    message = str(told[0].message)
    assert message.startswith(
        "the runs contradict the trend of accuracy in flops that log_acc_power says they follow\n"
    )
    assert "task 'bent': the runs rise and then fall where the law is rising (probability 1.00)" in message
    assert "fit a law that may turn (law='u_shape')" in message
    assert "plain" not in message
    # the warning is of the caller's line
    assert Path(told[0].filename).name == "test_trend.py"


def test_no_warning_without_a_turn_or_without_a_trend() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_turns(flat(), "accuracy")
        law = bf.law("passuntil")
        fit = made_fit(bf.simulate(law, seed=1).runs, law, {"u": 1.3, "alpha": 0.55, "q": -0.06})
        warn_of_turns(fit, "tries")
        warn_of_turns(fit, "pass_rate")


def test_losses_are_sent_to_the_law_that_may_break() -> None:
    law = bf.law("cerebras_c")
    flops = np.geomspace(1e19, 1e23, 12)
    loss = 2.5 + 0.3 * places(12) ** 2 + 0.005 * np.random.default_rng(1).standard_normal(12)
    runs = bf.Runs.from_frame(pd.DataFrame({"flops": flops, "loss": loss}))
    fit = made_fit(runs, law, {"E": 2.4, "a": 0.2, "alpha": 0.01, "sigma": 0.02})
    with pytest.warns(
        bf.DataWarning, match="(?s)all runs: the runs fall and then rise where the law is falling.*'bnsl'"
    ):
        warn_of_turns(fit, "loss")


# --- real fits ---

#: Four tasks whose models of three families bend, waver or rise; accuracies between 0 and 1 throughout.
TASKS = ("boolq-1shot", "conjunction-fallacy-0shot", "conjunction-fallacy-1shot", "scope-neglect-0shot")


@pytest.fixture(scope="module")
def pilot(data_dir: Path) -> pd.DataFrame:
    """Return the inverse-scaling pilot, with model size for scale: the compute of its runs is not known."""
    table = pd.read_csv(data_dir / "inverse_scaling_pilot.csv")
    return table[table["task"].isin(TASKS)].rename(columns={"params": "flops"}).assign(chance=0.0)


@pytest.fixture(scope="module")
def bending(pilot: pd.DataFrame) -> bf.Fit:
    runs = bf.Runs.from_frame(pilot, law="u_shape", groups=["task"], allow=["units"])
    return bf.fit(runs, "u_shape", by=["task"], **QUICK, structure=None)


def test_shapes_of_the_inverse_scaling_tasks(bending: bf.Fit) -> None:
    assert bending.check().passed, bending.check()
    table = trend_shapes(bending).set_index("task")
    print(table[[*SHAPES, "shape"]].round(2).to_string())
    np.testing.assert_allclose(table[[*SHAPES]].sum(axis=1), 1.0)
    # its accuracy rises from 0.59 to 0.77 nearly run by run
    assert table.loc["boolq-1shot", "rising"] > 0.9
    # half right up to 6.7B, and 0.29 at 175B
    assert table.loc["conjunction-fallacy-0shot", "inverted_u"] > 0.8
    assert table.loc["conjunction-fallacy-0shot", "rising"] < 0.05
    # no other task may be said to rise
    assert (table.loc[["conjunction-fallacy-1shot", "scope-neglect-0shot"], "rising"] < 0.8).all()


def test_a_rising_law_on_the_inverse_scaling_tasks_is_called_out(pilot: pd.DataFrame) -> None:
    runs = bf.Runs.from_frame(pilot, law="log_acc_power", groups=["task"], allow=["units"])
    # one attempt: whether it converged is not the question
    fit = bf.fit(runs, "log_acc_power", by=["task"], sampler={"attempts": 1}, **QUICK, structure=None)
    # whatever the runs do, this law says that they rise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bf.ConvergenceWarning)
        assert (trend_shapes(fit, allow_unconverged=True)["rising"] == 1.0).all()
    table = missed_turns(fit).set_index("task")
    print(table.round(2).to_string())
    assert table.index[0] == "conjunction-fallacy-0shot"
    assert table.loc["boolq-1shot", "prob"] < 0.05
    # flat and then falling, or first rising: either way not what the law says
    assert table["shape"].iloc[0] in ("falling", "inverted_u")
    with pytest.warns(
        bf.DataWarning, match="task 'conjunction-fallacy-0shot': the runs .*fall where the law is rising"
    ):
        warn_of_turns(fit, "accuracy")


#: Pass rates of 5e-6 at 30M parameters, 0.2% at 150M and 12% at 2.4B.
EMERGENT = {"c": 3.0, "alpha_1b": 0.4, "q": 0.0}
#: Problems on which accuracy is usually told.
PROBLEMS = 164


@pytest.fixture(scope="module")
def small_models() -> bf.Runs:
    """Return the tries of twelve models of 30M to 150M parameters, each until thirty passes."""
    sizes = np.geomspace(3e7, 1.5e8, 12)
    return bf.simulate("passuntil", pd.DataFrame({"params": sizes, "passes": 30.0}), parameters=EMERGENT, seed=4).runs


def test_tries_of_small_models_forecast_a_pass_rate_that_their_accuracy_does_not_show(small_models: bf.Runs) -> None:
    rng = np.random.default_rng(1)
    rate = {size: np.exp(-EMERGENT["c"] * (size / 1e9) ** -EMERGENT["alpha_1b"]) for size in (3e7, 1e8, 2.4e9)}
    rates = np.exp(-EMERGENT["c"] * (small_models.values("params") / 1e9) ** -EMERGENT["alpha_1b"])
    # a sample for every problem: no small model has a single pass, the large one has many
    assert rng.binomial(PROBLEMS, rates).tolist() == [0] * 12
    assert rng.binomial(PROBLEMS, rate[2.4e9]) > 10
    fit = bf.fit(small_models, bf.law("passuntil").fix(q=0.0), **QUICK, structure=None)
    assert fit.check().passed, fit.check()
    forecast = fit.forecast({"params": 2.4e9, "passes": 30}, output="pass_rate")
    assert forecast.distance[0] > 1
    low, high = forecast.interval(0.99).iloc[0]
    print(f"pass rate at 2.4B: {low:.3f} to {high:.3f}, true {rate[2.4e9]:.3f}")
    assert low < rate[2.4e9] < high
    # no promise so wide that it says nothing: not even a factor of three either way
    assert rate[2.4e9] / 3 < low
    assert high < 3 * rate[2.4e9]
    assert trend_shapes(fit, output="pass_rate", x="params")["rising"].tolist() == [1.0]
    assert missed_turns(fit, output="tries", x="params")["prob"].item() < 0.5


def emerging_tasks(seed: int) -> bf.Runs:
    """Return tasks of which one is flat until it rises, which is not what log_acc_power says."""
    t, rng = places(10), np.random.default_rng([4, seed])
    curves = {"emerging": -2 + 4 * np.maximum(t - 0.2, 0), "plain": 0.8 * t, "slow": 0.4 * t - 1}
    tasks = {name: scored(curve, 0.15, rng) for name, curve in curves.items()}
    return task_runs(bf.law("log_acc_power"), tasks, np.geomspace(1e19, 1e23, 10), chance=0.0)


@pytest.mark.slow
def test_false_alarms_of_real_fits() -> None:
    """A hundred monotone sets fitted with NUTS: tasks and losses that follow the law, and tasks that do not."""
    quick: dict[str, Any] = {**QUICK, "draws": 250, "tune": 250, "chains": 2, "sampler": {"attempts": 1}}
    alarms = {"tasks": 0, "emerging": 0, "loss": 0}
    for seed in range(100):
        name = ("tasks", "emerging", "loss")[seed % 3]
        if name == "loss":
            found = missed_turns(
                bf.fit(
                    bf.simulate("cerebras_c", n=15, sigma=0.02, seed=seed).runs, "cerebras_c", **quick, structure=None
                )
            )
        else:
            runs = (
                emerging_tasks(seed) if name == "emerging" else monotone_tasks(1000 + seed, np.geomspace(1e19, 1e23, 8))
            )
            found = missed_turns(bf.fit(runs, "log_acc_power", by=["task"], **quick, structure=None))
        alarms[name] += bool((found["prob"] >= ALARM).any())
        print(f"after {seed + 1} sets: {alarms}", flush=True)
    assert sum(alarms.values()) <= 5, alarms


@pytest.mark.slow
def test_turns_are_found_by_real_fits() -> None:
    """Twenty sets of three tasks and eight scales, one of which turns; the others share its exponent's prior."""
    quick: dict[str, Any] = {**QUICK, "draws": 250, "tune": 250, "chains": 2, "sampler": {"attempts": 1}}
    t, told = places(8), []
    for seed in range(20):
        rng = np.random.default_rng([5, seed])
        curves = {"bent": 0.5 - 1.5 * t**2, "plain": 0.8 * t, "slow": 0.4 * t - 1}
        tasks = {name: scored(curve, 0.15, rng) for name, curve in curves.items()}
        runs = task_runs(bf.law("log_acc_power"), tasks, np.geomspace(1e19, 1e23, 8), chance=0.0)
        found = missed_turns(bf.fit(runs, "log_acc_power", by=["task"], **quick, structure=None))
        told.append(found.loc[found["prob"] >= ALARM, "task"].tolist())
        print(f"after {seed + 1} sets: {told.count(['bent'])}", flush=True)
    assert all(set(names) <= {"bent"} for names in told)
    assert told.count(["bent"]) >= 10
