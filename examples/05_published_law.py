# %% [markdown]
# # Finding a published law, and putting a band on what it derives
#
# The catalogue keeps laws with what papers printed: formula, coefficients, intervals, and how far each was verified.
# Here the critical batch size: how many steps a goal costs at each batch, and from which batch on more is wasted.

# %%
import os
from pathlib import Path

import bayesfit as bf
from bayesfit import datasets, plots
from bayesfit.catalog import search

FIGURES = Path(os.environ.get("BAYESFIT_FIGURES", "examples/figures"))
DRAWS = int(os.environ.get("BAYESFIT_DRAWS", "2000"))

for found in search("critical batch"):
    print(f"{found.id:16} {found.title}")

# %%
law = bf.law("cbs_steps")
print(law.reference[0])
print(law.latex)
for key, published in law.published.items():
    print(f"{key}: {dict(published.values)} (verified: {published.verified})")

# %% [markdown]
# ## The paper's numbers, and its runs
#
# The paper fits each model by itself: `by=["model"]` with amounts on their own does the same, with intervals. Slopes in
# size say nothing within a model, so they are held at zero.

# %%
runs = datasets.critical_batch()
alone = bf.fit(
    runs,
    law,
    by=["model"],
    pooling={"a": "none", "b": "none", "noise": "complete"},
    fixed={"p": 0, "q": 0},
    draws=DRAWS,
    seed=1,
    progress=False,
)
print(alone.check())
summary = alone.summary(0.9)
for key, model in zip(law.published, runs.levels("model"), strict=True):
    published = law.published[key].values["A"]
    row = summary.loc[f"A[{model}]"]
    print(f"{model}: a published {published:.0f}, here {row['median']:.0f} ({row['q5']:.0f} to {row['q95']:.0f})")

# %% [markdown]
# ## What the paper does not have: a band on the critical batch, also of a size never trained
#
# All sizes together; the critical batch is an equation of the card that nobody observes, and can be forecast like one.

# %%
together = bf.fit(runs, law, draws=DRAWS, seed=1, progress=False)
critical = together.forecast({"params": ["85M", "1.2B", "7B"], "batch": 256}, output="critical_batch")
print(critical.table().drop(columns="batch").round(0).to_string(index=False))

# %%
FIGURES.mkdir(parents=True, exist_ok=True)
plots.plot_band(alone, x="batch").savefig(FIGURES / "published_law.png", dpi=150)
