"""Cherti et al. 2022: zero-shot errors of CLIP models on 41 tasks, for four sets of training data.

The two models of most compute of each set are left out: eight, all 41 tasks of them; of OpenAI's three models one is
left. To compare with: the paper's law, error = beta C^-alpha, least squares in logarithms on the same rows for each
task and set on its own, which one model does not allow.

What was compared, on training rows: four cuts that hide the largest two (or one) of the models left in each LAION set.
Hierarchical linear regressions (quick ones, by expectation-maximisation) of log-odds and of log error, over log compute
or over compute per sample and samples, with and without slopes of each set, with slopes that fall with compute (a
Box-Cox exponent of 0, .15, .3, .5) and with scatter of each task. The paper's laws err by 3.2, 3.4, 3.4 and 3.1
points there. Log-odds beat log error in every arrangement (by .2 to .3 points); compute per sample and samples beat
compute (.3 points); a scatter of each task is worth .5. The law below erred .5 to .9 points less than the paper's on
every cut, and its 90% intervals held 83% to 91%; with a Box-Cox exponent of 0 it errs .03 points more on average, of
.3 by .02, of .5 by .08. Sets' slopes hardly differ by task, so there is one of each set. In a fit by NUTS to the first
cut: 2.7 points, 89% held.

Errors may drift off the law along compute, each task by a path of its own, as far as accuracies of other papers say.
That came after the law without drift had been scored, whose 90% intervals held 79% of all four sets; with a guess of .1
for the paths' scale, before there was a record of accuracies, they held 80.5%.

What the cuts cannot show: one model of OpenAI's tells no slope, and the law gives it that of LAION-2B with nothing to
spare for a difference. That was seen after the held-out rows had been scored, and is left as it was. They were scored
twice: 600 draws a chain failed the checks, and the same law was sampled with 1200 (coverage 79% both times).

Training sets are inputs (0 or 1) and not a second group: what they shift then varies by task alone, tasks are
independent of each other given their population, and NUTS mixes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import bayesfit as bf
from bayesfit.card import Input
from bayesfit.priors import Prior
from tests.benchmarks import honest
from tests.benchmarks.tasks import SAMPLING, Scores, bands, far_and_unchecked, own_law

STUDY = "Cherti et al. 2022"
#: What a set shifts, against LAION-2B.
SETS = {"LAION-80M": "laion_80m", "LAION-400M": "laion_400m", "CLIP-WIT": "wit"}
TEXT = """
samples = boxcox(log(samples_seen/ref.samples_seen), -0.15)
size = boxcox(log(macs_per_sample/ref.macs_per_sample), -0.15)
start = m + u_80m*laion_80m + u_400m*laion_400m + u_wit*wit
error = expit(start - g*size - (s + v_80m*laion_80m + v_400m*laion_400m)*samples)
"""
#: Prior, and how far tasks may lie apart; none where there is one value for all tasks.
PARAMETERS: dict[str, tuple[str, float | None]] = {
    "m": ("Normal(0, 1.5)", 1.5),
    "u_80m": ("Normal(0, 0.5)", 0.5),
    "u_400m": ("Normal(0, 0.5)", None),
    "u_wit": ("Normal(0, 0.5)", 0.7),
    "g": ("Normal(0.3, 0.3)", 0.3),
    "s": ("Normal(0.3, 0.3)", 0.3),
    "v_80m": ("Normal(0, 0.2)", None),
    "v_400m": ("Normal(0, 0.2)", None),
}
NOISE = bf.Noise(kind="student_t", on="logit", scale=Prior.parse("LogNormal(log(0.1), 0.7)"))


def law() -> bf.Law:
    """Return the law, with what varies by task."""
    flags = dict.fromkeys(SETS.values(), Input(support="share", varies=False))
    columns = {"samples_seen": Input(), "macs_per_sample": Input(), **flags}
    return own_law(TEXT, PARAMETERS, inputs=columns, outputs={"error": NOISE}, id="clip_tasks")


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows to fit and the rows held out."""
    table = pd.read_csv(folder / "clip.csv")
    for family, column in SETS.items():
        table[column] = (table["family"] == family).astype(float)
    table["macs_per_sample"] = table["macs"] / table["samples_seen"]
    place = table.groupby(["family", "task"])["macs"].rank(ascending=False, method="first")
    return table[place > 2].reset_index(drop=True), table[place <= 2].reset_index(drop=True)


def power_laws(train: pd.DataFrame, test: pd.DataFrame) -> np.ndarray:
    """Return the error of each row of `test` by a power law of its own task and set; NaN where one model is left."""
    lines: dict[tuple[str, str], np.ndarray] = {}
    for (family, task), part in train.groupby(["family", "task"]):
        if len(part) > 1:
            lines[str(family), str(task)] = np.polyfit(np.log(part["macs"]), np.log(part["error"]), 1)
    guess = [
        np.exp(np.polyval(lines[family, task], np.log(macs))) if (family, task) in lines else np.nan
        for family, task, macs in zip(test["family"], test["task"], test["macs"], strict=True)
    ]
    return np.array(guess)


def results(folder: Path, seed: int = 0) -> pd.DataFrame:
    """Return mean absolute errors of error rates, all and by training set; `folder` holds ``clip.csv``."""
    start = time.process_time()
    train, test = read(folder)
    runs = bf.Runs.from_frame(train, law=law(), groups=["task"])
    fit = bf.fit(
        runs,
        law(),
        by=["task"],
        structure=replace(honest(STUDY), along="samples_seen*macs_per_sample"),
        draws=1200,
        tune=700,
        seed=seed,
        sampler={"attempts": 1},
        **SAMPLING,
    )
    with far_and_unchecked():
        forecast = fit.forecast(test[[*fit.law.inputs, "task"]], allow_unconverged=True)
    observed = test["error"].to_numpy()
    theirs = np.abs(power_laws(train, test) - observed)
    scores = Scores(study=STUDY, band=bands(forecast), observed=observed, passed=fit.check().passed)
    family = test["family"].to_numpy()
    laion = family != "CLIP-WIT"
    what = "mean absolute error on 41 tasks, two largest models"
    scores.add(f"{what} of LAION's three sets", laion, published=float(theirs[laion].mean()))
    for name in (*SETS, "LAION-2B"):
        one = family == name
        scores.add(f"{what} of {name}", one, published=float(theirs[one].mean()))
    scores.add(f"{what} of all four sets")
    return scores.table(time.process_time() - start)
