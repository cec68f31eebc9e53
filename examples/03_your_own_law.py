# %% [markdown]
# # Your own law, as a text
#
# A law is a formula and a prior for each parameter. Centre inputs with `ref.x`, their geometric mean over the fitted
# runs: then amplitudes are losses at the middle of the table, priors are easy to state and sampling is quick.

# %%
import os
from pathlib import Path

import numpy as np

import bayesfit as bf
from bayesfit import datasets, plots

FIGURES = Path(os.environ.get("BAYESFIT_FIGURES", "examples/figures"))
DRAWS = int(os.environ.get("BAYESFIT_DRAWS", "2000"))

law = bf.Law.from_text(
    "loss = E + a*((params + shift*ref.params)/ref.params)**-alpha",
    priors={
        "E": "LogitNormal(1.5, 1.5, 0, min.loss)",
        "a": "LogNormal(log(median.loss - 0.7*min.loss), 1)",
        "alpha": bf.Prior.between(0.1, 1.0, prob=0.9),
        "shift": "LogNormal(log(0.1), 1)",
    },
    id="shifted_width",
)
print(law.latex)

# %% [markdown]
# ## Fit it to the ten widths of a muP study, the three largest held out

# %%
runs = datasets.mup_width()
first = np.arange(len(runs)) < 7
fit = bf.fit(runs.select(first), law, draws=DRAWS, seed=1, progress=False)
print(fit.check())
print(fit.summary().round(4).to_string())

# %%
held_out = runs.select(~first)
forecast = fit.forecast(held_out.table[["params"]], allow_unconverged=not fit.check().passed)
table = forecast.table()
table["true"] = held_out.values("loss")
print(table.round(4).to_string(index=False))

# %% [markdown]
# The shift lets the law bend sooner, so its floor comes out higher than that of the card `mup_width`, whose band holds
# all three. On the seven fitted runs the two can hardly be told apart: a law with more freedom fits no worse inside and
# may extrapolate worse. The band of any law assumes that the law is right.

# %% [markdown]
# ## A formula that is wrong says where

# %%
try:
    bf.Law.from_text("loss = E + a*(parms/ref.params)**-alpha", priors={"E": "Normal(1, 1)"})
except bf.SpecError as error:
    print(error)

# %%
FIGURES.mkdir(parents=True, exist_ok=True)
plots.plot_band(fit, to=3e9, truth=held_out).savefig(FIGURES / "your_own_law.png", dpi=150)
