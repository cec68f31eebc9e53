# %% [markdown]
# # Several families, and a new one with two runs
#
# Families share priors: what many models of one family say about exponents and floors helps another of which only two
# small models exist. Here Pythia-deduped is cut down to its two smallest models.

# %%
import os
from pathlib import Path

import numpy as np

import bayesfit as bf
from bayesfit import datasets, plots

FIGURES = Path(os.environ.get("BAYESFIT_FIGURES", "examples/figures"))
DRAWS = int(os.environ.get("BAYESFIT_DRAWS", "2000"))

runs = datasets.open_models()
family = np.array(runs.table["family"])
new = family == "Pythia-deduped"
smallest = runs.values("params") <= np.sort(runs.values("params")[new])[1]
known = runs.select((~new & (runs.values("params") <= 7e9)) | (new & smallest))
held_out = runs.select(new & ~smallest)
print(known.table["family"].value_counts().to_string())

# %% [markdown]
# ## Pooled and alone
#
# `by=["family"]` lets every parameter that the card allows vary by family, drawn from a population. But all are tested
# on the same text, whose entropy is one: `pooling={"E": "complete"}` gives them one floor. That is also much quicker
# than floors which two runs of a family leave open. For comparison, the two runs alone (`allow=["few_runs"]` says that
# fewer runs than parameters are meant).

# %%
pooled = bf.fit(known, "cerebras_c", by=["family"], pooling={"E": "complete"}, draws=DRAWS, seed=1, progress=False)
print(pooled.check())

# %%
only = known.select(np.array(known.table["family"]) == "Pythia-deduped")
alone = bf.fit(only, "cerebras_c", draws=DRAWS, seed=1, progress=False, allow=["few_runs"])

# %%
scenarios = held_out.table[["flops", "family"]]
together = pooled.forecast(scenarios, allow_unconverged=not pooled.check().passed)
apart = alone.forecast(scenarios, allow_unconverged=not alone.check().passed)
table = held_out.table[["model", "loss"]].copy()
table[["pooled lower", "pooled upper"]] = together.interval(0.9)
table[["alone lower", "alone upper"]] = apart.interval(0.9)
print(table.round(3).to_string(index=False))

# %% [markdown]
# ## A family never seen
#
# A name that the fit does not know draws its parameters from the population, so its band is wider still.

# %%
stranger = pooled.forecast({"flops": [1e22], "family": ["a new lab"]}, allow_unconverged=not pooled.check().passed)
print(stranger.table().to_string(index=False))

# %%
FIGURES.mkdir(parents=True, exist_ok=True)
plots.plot_band(pooled, to=1e23, truth=held_out).savefig(FIGURES / "families.png", dpi=150)
