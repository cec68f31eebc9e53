# %% [markdown]
# # A first fit and forecast
#
# Seven published Cerebras-GPT models, each trained on 20 tokens per parameter. We fit the six smaller ones and ask what
# the 13B model will score, and how sure that is.

# %%
import os
from pathlib import Path

import numpy as np

import bayesfit as bf
from bayesfit import datasets, plots

FIGURES = Path(os.environ.get("BAYESFIT_FIGURES", "examples/figures"))
DRAWS = int(os.environ.get("BAYESFIT_DRAWS", "2000"))

runs = datasets.open_models()
cerebras = runs.select(np.array(runs.table["family"]) == "Cerebras-GPT")
small = cerebras.select(cerebras.values("params") < 1e10)
held_out = cerebras.select(cerebras.values("params") > 1e10)

# %% [markdown]
# ## Fit
#
# The card `cerebras_c` is a power law of compute over a floor: `loss = E + a*(flops/ref.flops)**-alpha`.

# %%
fit = bf.fit(small, "cerebras_c", draws=DRAWS, seed=1, progress=False)
print(fit.check())
print(fit.summary(prob=0.9).round(4).to_string())

# %% [markdown]
# ## Forecast
#
# The interval is predictive: it holds what is not known of the law and the scatter of one run about it.

# %%
forecast = fit.forecast(held_out.table[["flops"]])
print(forecast.table(prob=0.9).to_string(index=False))
print("true loss of Cerebras-GPT-13B:", held_out.values("loss")[0])

# %% [markdown]
# ## Risk
#
# Would it have been safe to promise a loss under 1.65?

# %%
print(bf.assess_risk(forecast, limit=1.65).T.to_string(header=False))

# %% [markdown]
# ## Plot

# %%
FIGURES.mkdir(parents=True, exist_ok=True)
plots.plot_band(fit, to=5e22, truth=held_out).savefig(FIGURES / "first_fit.png", dpi=150)
