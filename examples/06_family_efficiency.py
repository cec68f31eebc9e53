# %% [markdown]
# # Which family turns compute into capability best
#
# Open models of seven families, with their accuracies on seven tasks. A model's capability is its mean log-odds over
# the tasks, standardised over the models; a law gives each family a line in log compute, and families share priors.
# What matters is then said in compute: how much one family needs to be as capable as another.

# %%
import os
from pathlib import Path

import numpy as np

import bayesfit as bf
from bayesfit import datasets, plots

FIGURES = Path(os.environ.get("BAYESFIT_FIGURES", "examples/figures"))
DRAWS = int(os.environ.get("BAYESFIT_DRAWS", "2000"))

table = datasets.table("open_models")
accuracy = table.filter(like="_0shot").to_numpy()
score = np.log(accuracy / (1 - accuracy)).mean(axis=1)
table["score"] = (score - score.mean()) / score.std()
runs = bf.Runs.from_frame(table, law="family_efficiency", inputs=["flops"], groups=["family"])
print(runs)

# %% [markdown]
# ## A line for each family
#
# Families of many models set the slope of those with few; GPT-J and GPT-NeoX are one model each, and borrow it.

# %%
fit = bf.fit(runs, "family_efficiency", by=["family"], draws=DRAWS, seed=1, progress=False)
print(fit.check())
print(fit.summary().filter(regex="theta|population", axis=0).round(2).to_string())

# %% [markdown]
# ## Compute equivalents
#
# The ratio of the compute that a family needs to the compute of Pythia, for the capability that Pythia reaches at 1e22
# FLOP. Above 1, the family needs more. Training compute is what the Cerebras-GPT paper prints for each model; the
# numbers compare how efficiently it was used on these tasks, data and tokens per parameter included, and nothing else.

# %%
equivalent = bf.equivalent_compute(fit, reference="Pythia", at=1e22)
print(equivalent.round(2).to_string(index=False))

# %% [markdown]
# Cerebras-GPT bends away from its line at both ends in the figure: a line is all that this law has, and equivalents far
# from the middle of a family's runs lean on it.

# %%
FIGURES.mkdir(parents=True, exist_ok=True)
plots.plot_efficiency(fit, reference="Pythia", at=1e22).savefig(FIGURES / "family_efficiency.png", dpi=150)
