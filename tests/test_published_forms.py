"""Published laws of many forms, reproduced on the studies' own runs: one study, one test, real NUTS fits.

Where runs and a published figure disagree, the runs win: the test holds what they say, and its docstring names the
figure and the difference.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesfit as bf
from bayesfit.forecast import forecast
from bayesfit.scores import log_density

#: Enough for medians and for 95% intervals that are not judged to the last digit.
QUICK: Mapping[str, Any] = {"draws": 500, "tune": 500, "seed": 1, "progress": False}
#: For few runs, which leave curved ridges, and cost little.
LONGER: Mapping[str, Any] = {**QUICK, "draws": 1500, "tune": 1000}

CORPORA = {"C4": "refit_c4", "RedPajama": "refit_redpajama", "RefinedWeb": "refit_refinedweb"}


def outside(found: bf.Fit, truth: Mapping[str, float], prob: float, level: str = "") -> list[str]:
    """Return what lies outside its interval, written out for the message of an assert."""
    table = found.summary(prob)
    low, high = table.columns[-2:]
    misses = []
    for name, value in truth.items():
        row = table.loc[f"{name}[{level}]" if level else name]
        if not row[low] < value < row[high]:
            misses.append(f"{name} {level} {value:.6g} not in {row[low]:.6g} .. {row[high]:.6g}")
    return misses


def curve(found: bf.Fit, runs: bf.Runs) -> np.ndarray:
    """Return the median of the law at the inputs of `runs`."""
    wanted = [name for name in runs.table if name in found.law.inputs or name in found.runs.groups]
    draws = found.forecast(runs.table[wanted]).expected.values
    middle: np.ndarray = np.median(draws.reshape(-1, len(runs)), axis=0)
    return middle


def published_curve(law: bf.Law, key: str, runs: bf.Runs) -> np.ndarray:
    """Return the published law at the runs."""
    values = law.paper_parameters(law.published[key].values, runs.summaries())
    inputs = {name: runs.values(name) for name in runs.inputs}
    return np.asarray(law.mean({**inputs, **runs.summaries(), **law.fixed, **values})[law.pick_output(None)])


def below_best(found: bf.Fit, key: str, scales: Iterable[float]) -> float:
    """Return how far the published law's log likelihood lies below that of the best draw, its noise scale its own."""
    output = found.law.pick_output(None)
    best = float(log_density(found, found.runs, output).sum("run").max())
    noise, observed = found.law.outputs[output].noise, found.runs.values(output)
    assert noise.on == "log"
    y, mean = np.log(observed), np.log(published_curve(found.law, key, found.runs))
    return best - max(float((noise.logpdf(y, mean, scale) - y).sum()) for scale in scales)


def beyond(found: bf.Fit, scenarios: pd.DataFrame) -> bf.Forecast:
    """Forecast runs far beyond the fitted ones, as the papers do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bf.ExtrapolationWarning)
        return found.forecast(scenarios)


def test_repeated_data_cover_the_published_scales_on_their_ridge(data_dir: Path) -> None:
    """Muennighoff et al.: R_D* = 15.39, R_N* = 5.31, with the other five held, on 182 runs.

    Laplace noise, as their Huber loss of 1e-3 is. The posterior does not centre there (medians 19 and 3.8), and under
    the card's Student-t noise, which weighs the nine runs above 6 nats otherwise, the published point lies 5.7 log
    units below the best, outside the 95% region (medians 33 and 2.2).
    """
    law = bf.law("data_constrained")
    table = pd.read_csv(data_dir / "data_constrained_c4.csv")
    runs = bf.Runs.from_frame(table[table["in_published_fit"] == 1], law=law)
    assert len(runs) == 182
    published = law.paper_parameters(law.published["muennighoff_2023"].values, runs.summaries())
    inner = {name: published[name] for name in ("E", "a", "b", "alpha", "beta")}
    found = bf.fit(runs, law, fixed=inner, noise="laplace", **QUICK, structure=None)
    assert found.check().passed
    # the scale is fitted to either, so that two parameters differ
    assert below_best(found, "muennighoff_2023", np.geomspace(0.01, 0.5, 200)) < stats.chi2(2).ppf(0.95) / 2
    draws = {name: found.posterior[name].values.ravel() for name in ("R_D", "R_N")}
    for name, values in draws.items():
        low, high = np.quantile(values, [0.025, 0.975])
        assert low < published[name] < high, name
        assert high > 4 * low, name
    assert np.corrcoef(np.log(draws["R_D"]), np.log(draws["R_N"]))[0, 1] < -0.7


def test_routed_models_agree_with_clark(data_dir: Path) -> None:
    """Clark et al., table 3, three routers; also within 95% intervals: the unrounded least squares on the same runs.

    Printed with three decimals, RL-R and HASH are up to 2.8% and 1.9% from our curve, and leave residuals of 0.0077 and
    0.0052 in log10 loss where ours are 0.0032 and 0.0030.
    """
    law = bf.law("routed_bilinear")
    table = pd.read_csv(data_dir / "routed_lm.csv")
    table = table[table["in_published_fit"] == 1].rename(columns={"num_experts": "experts"})
    for router, key, count in (("S-Base", "s_base", 58), ("RL-R", "rl_r", 59), ("Hash", "hash", 56)):
        chosen = table[table["router"].isin([router, "Dense"])]
        runs = bf.Runs.from_frame(chosen, law=law, loss="loss_validation")
        assert len(runs) == count
        found = bf.fit(runs, law, **QUICK, structure=None)
        assert found.check().passed, router
        assert not outside(found, law.published[f"refit_{key}"].values, 0.95), router
        paper = law.published[f"clark_2022_{key}"].values
        assert not outside(found, {name: paper[name] for name in "abcd"}, 0.95), router
        ours, theirs, truth = curve(found, runs), published_curve(law, f"clark_2022_{key}", runs), runs.values("loss")
        assert np.abs(theirs / ours - 1).max() < 0.03, router
        assert np.std(np.log10(truth / ours)) < 0.0035, router


def test_critical_batches_of_five_models(data_dir: Path) -> None:
    """Zhang et al.: a, b and critical batch of each model; pooled, ours are within 4.1%, 0.6% and 4.1% of theirs."""
    law = bf.law("cbs_steps")
    table = pd.read_csv(data_dir / "critical_batch_size.csv")
    table = table.rename(columns={"batch_sequences": "batch", "steps_used_in_fit": "steps"})
    runs = bf.Runs.from_frame(table, law=law, groups=["model"])
    # least squares on log steps
    found = bf.fit(runs, law, by=["model"], noise="normal", **QUICK, structure=None)
    assert found.check().passed
    sizes = table.drop_duplicates("model")[["params", "model"]].reset_index(drop=True)
    assert len(sizes) == 5
    critical = forecast(found, sizes.assign(batch=256.0), output="critical_batch").expected
    posterior, refs = found.posterior, runs.summaries()
    for place, (params, model) in enumerate(zip(sizes["params"], sizes["model"], strict=True)):
        paper = law.published[f"zhang_2024_{model.lower().replace('1.2b', '1200m')}"].values
        size = params / refs["ref.params"]
        ours = {
            "a": posterior["a"].sel(model=model) * size ** posterior["p"],
            "b": posterior["b"].sel(model=model) * size ** posterior["q"] * refs["ref.batch"],
            "critical": critical.isel(scenario=place),
        }
        theirs = {"a": paper["A"], "b": paper["B"], "critical": 1.2 * 256 + paper["B"] / (5 * paper["A"])}
        for name, near in (("a", 0.06), ("b", 0.02), ("critical", 0.06)):
            low, middle, high = np.quantile(ours[name], [0.05, 0.5, 0.95])
            assert low < theirs[name] < high, (model, name)
            assert middle == pytest.approx(theirs[name], rel=near), (model, name)


CLIP = {
    "imagenet1k": "laion_imagenet",
    "imagenet_robustness": "laion_robustness",
    "mscoco_captions": "laion_coco",
    "flickr30k": "laion_flickr",
}


@pytest.fixture(scope="module")
def clip_runs(data_dir: Path) -> bf.Runs:
    """Return the 29 models trained on LAION, four tasks each."""
    table = pd.read_csv(data_dir / "clip.csv")
    chosen = table["family"].str.startswith("LAION") & table["task"].isin(list(CLIP))
    return bf.Runs.from_frame(table[chosen], law="clip_error", groups=["task"])


def test_best_clip_models_of_five_bins_have_the_published_exponents(clip_runs: bf.Runs) -> None:
    """Cherti et al.'s recipe: the lowest error in each of five equal bins of log compute, at the bin's centre."""
    law, rows = bf.law("clip_error"), []
    for task, group in clip_runs.table.groupby("task"):
        compute = np.log10(group["macs"])
        edges = np.linspace(compute.min(), compute.max() + 0.1, 6)
        for low, high in pairwise(edges):
            lowest = group["error"][(compute >= low) & (compute < high)].min()
            rows.append({"task": task, "macs": 10 ** ((low + high) / 2), "error": lowest})
    front = bf.Runs.from_frame(pd.DataFrame(rows), law=law, groups=["task"])
    assert len(front) == 20
    found = bf.fit(
        front, law, by=["task"], pooling={"a": "none", "alpha": "none"}, noise="normal", **QUICK, structure=None
    )
    assert found.check().passed
    table = found.summary(0.9)
    for task, key in CLIP.items():
        published = law.published[key].values
        assert not outside(found, published, 0.9, task)
        # the prior pulls a little: five points
        assert table.loc[f"alpha[{task}]", "median"] == pytest.approx(published["alpha"], rel=0.08), task


def test_frontier_of_all_clip_models_has_the_published_exponents(clip_runs: bf.Runs) -> None:
    """No bins: the law is the 5% quantile of all 29 models. Exponents within 6% of the published four.

    They are inside 90% intervals; beta is where the exponent takes it, and 11.609 for the robustness sets just outside.
    """
    law = bf.law("clip_error")
    for task, key in CLIP.items():
        runs = clip_runs.select(np.array(clip_runs.table["task"]) == task)
        assert len(runs) == 29
        found = bf.fit(runs, law, noise="frontier", **QUICK, structure=None)
        assert found.check().passed, task
        published = law.published[key].values["alpha"]
        assert not outside(found, {"alpha": published}, 0.9), task
        assert found.summary().loc["alpha", "median"] == pytest.approx(published, rel=0.08), task
        assert (runs.values("error") < curve(found, runs)).mean() < 0.15, task


def test_loss_to_loss_triples_are_those_of_log_excess(data_dir: Path) -> None:
    """Brandfonbrener et al., FineWeb to five training sets: kappa and K.

    They come out for least squares on the log of the loss above its floor, and floors with the digits of the authors'
    table. Floors with two decimals, as printed, move kappa by 0.002 to 0.010, and noise on the log of the loss itself
    by 0.003 to 0.010: with both, 95% intervals exclude four of the five (StarCoder 1.097 to 1.124 for 1.090).
    """
    law, source = bf.law("loss_to_loss"), "fineweb-100b"
    floors = pd.read_csv(data_dir / "loss_to_loss_published.csv")
    floor = floors[(floors["task"] == "own_val") & floors["kaplan_form"]].set_index("family")["E"]
    table = pd.read_csv(data_dir / "loss_to_loss.csv")
    table = table[(table["split"] == "fit") & (table["task"] == "own_val")]
    losses = table.pivot(index=["n_layers", "d_model", "flops"], columns="family", values="loss")
    for family, key in {
        "fineweb-edu-100b": "fineweb_to_fineweb_edu",
        "proof-pile-2": "fineweb_to_proof_pile",
        "slimpajama-chunk1": "fineweb_to_slimpajama",
        "smollm-corpus": "fineweb_to_smollm",
        "starcoder": "fineweb_to_starcoder",
    }.items():
        pairs = losses[[source, family]].dropna()
        assert len(pairs) >= 80
        excess = pd.DataFrame({"source_loss": pairs[source], "loss": pairs[family] - floor[family]})
        runs = bf.Runs.from_frame(excess, law=law)
        found = bf.fit(runs, law, fixed={"E0": floor[source], "E1": 0.0}, noise="normal", **QUICK, structure=None)
        assert found.check().passed, family
        published = law.published[key].values
        assert published["E1"] == pytest.approx(floor[family], abs=0.006)
        table = found.summary()
        for name, near in (("kappa", 0.003), ("K", 0.001)):
            assert table.loc[name, "median"] == pytest.approx(published[name], abs=near), (family, name)
            assert not outside(found, {name: published[name]}, 0.95), family


def test_data_mixtures_held_out_are_predicted(data_dir: Path) -> None:
    """Ye et al.: 410M models, 32 mixtures of three domains; every fourth in order of its name is held out.

    Mixtures with nothing of the domain are left out: the first eighth of code takes the loss on GitHub from 2.2 to 1.2
    and no exponential with a floor does that (error 6.5% with them). Without them errors are 0.27% (GitHub), 0.15%
    (books) and 0.29% (web). The repository's own figures are of other mixtures: 0.03% at 410M in sample, 3% for the 1B
    model by way of laws in steps and size.
    """
    law = bf.law("mix_exp")
    table = pd.read_csv(data_dir / "mixinglaws.csv")
    table = table[(table["mixture_set"] == "3Mix") & (table["size"] == "410M") & (table["step"] == 60000)]
    shares = ["share_github", "share_books", "share_cc"]
    table[shares] = table["ratio"].str.split("-", expand=True).astype(float).to_numpy()
    errors = []
    for domain, own in (("Github", shares[0]), ("Books3", shares[1]), ("Pile-CC", shares[2])):
        chosen = table[(table["domain"] == domain) & (table[own] > 0)].drop(columns="domain").sort_values("ratio")
        held_out = np.arange(len(chosen)) % 4 == 2
        runs = bf.Runs.from_frame(chosen[~held_out], law=law)
        found = bf.fit(runs, law, **QUICK, structure=None)
        assert found.check().passed, domain
        # a constant added to every coefficient means nothing: against the other two
        draws = {name: found.posterior[name.replace("share", "t")].values.ravel() for name in shares}
        against = draws[own] - np.mean([values for name, values in draws.items() if name != own], axis=0)
        assert np.quantile(against, 0.95) < 0, domain
        truth = chosen["loss"].to_numpy()[held_out]
        guess = found.forecast(chosen[shares][held_out]).quantiles([0.5])[0.5].to_numpy()
        naive = np.abs(runs.values("loss").mean() / truth - 1).mean()
        errors.append(np.abs(guess / truth - 1).mean())
        assert errors[-1] < naive / 3, domain
    assert max(errors) < 0.005


@pytest.mark.slow
def test_step_law_surface_agrees_with_its_refit(data_dir: Path) -> None:
    """Li et al.: every sixth dense run of those that did not diverge; everything free.

    Rates rise with tokens and batches with tokens as published (0.307 and 0.571), but fall with size as N^-0.53 here,
    and not as N^-0.713, whose 95% interval ends at -0.655 and ours at -0.62. That costs next to nothing in loss.
    """
    law = bf.law("steplaw")
    table = pd.read_csv(data_dir / "steplaw_dense.csv")
    table = (
        table[table["diverged"] == 0]
        .drop(columns="loss")
        .rename(columns={"params_nonembed": "params", "batch_size_tokens": "batch", "smooth_loss": "loss"})
    )
    runs = bf.Runs.from_frame(table.sort_values(["params", "tokens", "batch", "lr"])[::6], law=law)
    assert len(runs) == 289
    found = bf.fit(runs, law, **QUICK, structure=None)
    assert found.check().passed
    assert not outside(found, law.published["refit_dense"].values, 0.95)
    paper = law.published["li_2025"].values
    assert not outside(found, {name: paper[name] for name in ("p_tokens", "q_tokens")}, 0.95)
    cells = runs.table[["params", "tokens"]].drop_duplicates().reset_index(drop=True)
    assert len(cells) == 17
    cells["lr"] = paper["lr_coefficient"] * cells["params"] ** paper["p_params"] * cells["tokens"] ** paper["p_tokens"]
    cells["batch"] = paper["batch_coefficient"] * cells["tokens"] ** paper["q_tokens"]
    there, best = (forecast(found, cells, output=name).expected for name in ("loss", "best"))
    assert float((there / best - 1).quantile(0.95, ("chain", "draw")).max()) < 0.005


@pytest.fixture(scope="module")
def gadre(data_dir: Path) -> pd.DataFrame:
    table = pd.read_csv(data_dir / "gadre_runs.csv")
    return table.rename(columns={"loss_c4_val": "loss", "top1_error_17": "error"})


@pytest.mark.slow
def test_overtrained_models_from_five_cheap_runs_a_corpus(gadre: pd.DataFrame) -> None:
    """Gadre et al.: RedPajama's 1.4B at 640 tokens a parameter is forecast 0.71% wrong, its 6.9B model 0.73%.

    The same five runs of each corpus, pooled over the three: 0.02% and 0.24%, and 1.1% over the six held out, where
    the paper's recipe is off by 1.5% (4.3% at worst, C4's 6.9B). Four coefficients from five runs alone, without
    pooling, have bands of 25% and errors of 1% to 4%.
    """
    law = bf.law("gadre_overtrain")
    runs = bf.Runs.from_frame(gadre[gadre["published_split"] == "fit_loss_and_error"], law=law, groups=["dataset"])
    assert len(runs) == 15
    found = bf.fit(runs, law, by=["dataset"], noise="normal", **QUICK, structure=None)
    assert found.check().passed
    for corpus, key in CORPORA.items():
        assert not outside(found, law.published[key].values, 0.9, corpus)
    test = gadre[gadre["published_split"] == "test"].reset_index(drop=True)
    table = beyond(found, test[["params", "tokens", "dataset"]]).table(0.9)
    truth = test["loss"]
    ours, theirs = np.abs(table["median"] / truth - 1), np.zeros(len(test))
    for row, run in test.iterrows():
        alone = runs.select(np.array(runs.table["dataset"]) == run["dataset"])
        key = CORPORA[run["dataset"]]
        values = law.paper_parameters(law.published[key].values, alone.summaries())
        known = {**alone.summaries(), **values, "params": run["params"], "tokens": run["tokens"]}
        theirs[int(str(row))] = abs(law.mean(known)["loss"] / run["loss"] - 1)
    red = test["dataset"] == "RedPajama"
    assert np.sort(theirs[red]) == pytest.approx([0.0071, 0.0073], abs=1e-4)
    assert ours[red].max() < theirs[red].min()
    assert ours.mean() < theirs.mean()
    assert ((table["lower"] < truth) & (truth < table["upper"])).sum() >= 5


def test_mean_error_from_loss_of_three_corpora(gadre: pd.DataFrame) -> None:
    """Gadre et al.: k, gamma and eps of the recipe on six runs of each corpus, and the two larger runs held out.

    Pooled, k is between 1.24 and 2.66 for C4, 1.45 and 3.29 for RedPajama, 1.51 and 3.50 for RefinedWeb (90%): six
    runs say little of it. The loss is the observed one here; the paper's errors are of forecast losses.
    """
    law = bf.law("err_vs_loss")
    chosen = gadre["published_split"].isin(["fit_loss_and_error", "fit_error_only"])
    runs = bf.Runs.from_frame(gadre[chosen], law=law, inputs=["loss"], groups=["dataset"])
    assert len(runs) == 18
    least_squares = bf.Noise(kind="normal", on="identity", scale=law.outputs["error"].noise.scale)
    found = bf.fit(runs, law, by=["dataset"], noise=least_squares, **LONGER, structure=None)
    assert found.check().passed
    for corpus, key in CORPORA.items():
        assert not outside(found, law.published[key].values, 0.9, corpus)
    test = gadre[gadre["published_split"] == "test"].reset_index(drop=True)
    table = found.forecast(test[["loss", "dataset"]]).table(0.9)
    inside = (table["lower"] < test["error"]) & (test["error"] < table["upper"])
    assert inside.sum() >= 5
    assert np.abs(table["median"] - test["error"]).max() < 0.05


GEMSTONES = {
    np.inf: {"alpha": 0.25755, "beta": 0.59093, "A": 4.87618, "B": 12.69841, "E": 0.66552},
    1.01e11: {"alpha": 0.29892, "beta": 0.69283, "A": 5.45750, "B": 14.97197, "E": 0.76632},
}


@pytest.mark.parametrize("most", GEMSTONES)
def test_gemstones_exponents_lie_inside(most: float, data_dir: Path) -> None:
    """McLeish et al., runs of constant rate, all tokens and up to 100B (A, B and E as logarithms).

    Huber loss of 1e-4 on log loss: Laplace noise. With 100B, the data exponent 0.69 is inside, but the middle is 0.61:
    the ridge from beta to the floor is flat, and the card's prior for exponents holds 0.69 for large. Checkpoints are
    taken as independent here, as the paper does; of 22 runs they are not, and honest intervals are wider.
    """
    table = pd.read_csv(data_dir / "gemstones_loss.csv")
    hot = (table["schedule"] == "hot") & (table["loss_dataset"] == "dolma_val") & (table["tokens"] <= most)
    runs = bf.Runs.from_frame(table[hot], law="chinchilla")
    assert len(runs) == (770 if most > 1e12 else 220)
    found = bf.fit(runs, "chinchilla", noise="laplace", **QUICK, structure=None)
    assert found.check().passed
    published = {name: np.exp(value) if name in "ABE" else value for name, value in GEMSTONES[most].items()}
    assert not outside(found, published, 0.95)
    inputs = {name: runs.values(name) for name in ("params", "tokens")}
    theirs = published["E"] + published["A"] * inputs["params"] ** -published["alpha"]
    theirs += published["B"] * inputs["tokens"] ** -published["beta"]
    deviation = [np.abs(np.log(runs.values("loss") / line)).mean() for line in (curve(found, runs), theirs)]
    assert deviation[0] < 1.01 * deviation[1]


@pytest.mark.slow
def test_farseer_predicts_larger_runs_better_than_chinchilla(data_dir: Path) -> None:
    """Li et al.: errors of extrapolation are cut to less than a quarter. Here 0.35% and 3.0%, by nine.

    Neither law's band is honest: farseer's, 0.7% wide, holds three of the seven, chinchilla's, 3% wide, none.
    """
    table = pd.read_csv(data_dir / "farseer.csv").rename(columns={"loss_bpc": "loss"})
    train, test = table[(table["split"] == "train") & (table["duplicate"] == 0)], table[table["split"] == "test"]
    truth, errors = test["loss"].to_numpy(), {}
    assert (len(train), len(test)) == (400, 7)
    for name in ("farseer", "chinchilla"):
        found = bf.fit(bf.Runs.from_frame(train, law=name), name, **QUICK, structure=None)
        assert found.check().passed, name
        middle = beyond(found, test[["params", "tokens"]]).quantiles([0.5])[0.5].to_numpy()
        errors[name] = middle / truth - 1
        if name == "farseer":
            refit = published_curve(found.law, "refit_404", found.runs)
            assert np.abs(curve(found, found.runs) / refit - 1).max() < 0.005
    assert np.abs(errors["farseer"]).mean() < 0.005
    assert (errors["chinchilla"] > 0.015).all()
    assert np.abs(errors["chinchilla"]).mean() > 5 * np.abs(errors["farseer"]).mean()


def test_rectified_law_is_recovered_where_a_power_law_bends_wrong() -> None:
    """Lin et al.: three curves about their GPT-2 on WMT19, 200 to 1.6M samples, most of the fall after 25,000.

    Simulated, since their losses are not in the folder. In sample, and for the four largest budgets from the others.
    """
    budgets = 200.0 * 2 ** np.arange(14)
    design = pd.DataFrame({"examples": np.repeat(budgets, 3)})
    made = bf.simulate(
        "rectified", published="refit_gpt2_wmt19", group="model", levels=3, inputs=design, sigma=0.01, seed=1
    )
    missed: list[str] = []
    for place, model in enumerate(made.runs.levels("model")):
        runs = made.runs.select(np.array(made.runs.table["model"]) == model)
        truth = {name: float(np.broadcast_to(value, 3)[place]) for name, value in made.truth.items()}
        early = runs.values("examples") < 2e5
        assert early.sum() == 10
        deviation: dict[tuple[str, str], float] = {}
        for law, name in (("rectified", "examples"), ("power_floor", "x")):
            table = runs.table[["examples", "loss"]].rename(columns={"examples": name})
            every = bf.Runs.from_frame(table, law=law)
            for what, fitted, scored in (("all", every, every), ("larger", every.select(early), every.select(~early))):
                found = bf.fit(fitted, law, **LONGER, structure=None)
                assert found.check().passed, (model, law, what)
                residuals = np.log(curve(found, scored) / scored.values("loss"))
                deviation[law, what] = float(np.sqrt(np.mean(residuals**2)))
                if (law, what) == ("rectified", "all"):
                    missed += outside(found, truth, 0.9)
        for what in ("all", "larger"):
            assert deviation["rectified", what] < 0.5 * deviation["power_floor", what], (model, deviation)
    # of twelve
    assert len(missed) <= 3, missed
