# %% [markdown]
# # From a ladder of small models to the task scores of a large one
#
# Cerebras-GPT is a ladder: models of 111M to 13B parameters, all at 20 tokens a parameter. What will the two largest
# score on five tasks, said after the 2.7B one? In two steps: compute buys loss, and loss buys accuracy. One fit holds
# the doubt of both.

# %%
import os
from pathlib import Path

import numpy as np

import bayesfit as bf
from bayesfit import datasets, plots

FIGURES = Path(os.environ.get("BAYESFIT_FIGURES", "examples/figures"))
DRAWS = int(os.environ.get("BAYESFIT_DRAWS", "1000"))

wide = datasets.table("open_models")
wide = wide[wide["family"] == "Cerebras-GPT"]
# on ARC challenge and OpenBookQA, scored without normalising for length, small models lie below chance
TASKS = ("hellaswag", "piqa", "winogrande", "lambada", "arc_easy")
table = bf.read_wide(wide, {task: f"{task}_0shot" for task in TASKS})
# a model has one loss on the Pile: it stands in one of its rows, not in five
table["task_loss"] = table["loss"].where(table["task"] == "hellaswag")
small, large = table[table["params"] < 3e9], table[table["params"] > 3e9]
runs = bf.Runs.from_frame(small, law="task_two_step", inputs=["params", "tokens", "chance"], groups=["task"])
print(runs)

# %% [markdown]
# ## Both steps at once
#
# All tasks share the first step, and each has its own way from loss to accuracy. Models answer the same items, so their
# scores scatter less than counts of items drawn anew: noise on the log-odds.

# %%
fit = bf.fit(
    runs,
    "task_two_step",
    by=["task"],
    pooling=dict.fromkeys(("m", "f_params", "f_tokens", "alpha", "beta"), "complete"),
    noise={"accuracy": bf.Noise(on="logit", scale=bf.Prior.parse("HalfNormal(0.1)"))},
    draws=DRAWS,
    seed=1,
    progress=False,
)
print(fit.check())

# %% [markdown]
# ## The two larger models, beside what they scored

# %%
forecast = fit.forecast(large[["model", "params", "tokens", "chance", "task"]], output="accuracy")
band = forecast.table(0.9).assign(accuracy=large["accuracy"].to_numpy())
print(band[["model", "task", "median", "lower", "upper", "accuracy"]].round(3).to_string(index=False))
inside = np.mean((band["lower"] <= band["accuracy"]) & (band["accuracy"] <= band["upper"]))
print(f"{inside:.0%} of the scores lie within their 90% bands")

# %%
FIGURES.mkdir(parents=True, exist_ok=True)
plots.plot_tasks(fit, truth=large).savefig(FIGURES / "ladder.png", dpi=150)
