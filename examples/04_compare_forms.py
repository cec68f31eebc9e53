# %% [markdown]
# # Which law? Inside the data and beyond them
#
# The DiLoCo paper tries four forms for the loss of models of N parameters trained by M replicas that talk rarely.
# Interpolation and extrapolation reward different laws, so there are two scores: leaving one run out, and hiding all
# larger ones.

# %%
import os
from pathlib import Path

import numpy as np

import bayesfit as bf
from bayesfit import datasets, plots

FIGURES = Path(os.environ.get("BAYESFIT_FIGURES", "examples/figures"))
DRAWS = int(os.environ.get("BAYESFIT_DRAWS", "2000"))

FLOOR = {"E": "LogitNormal(1.5, 1.5, 0, min.loss)"}
SIZE = {"a": "LogNormal(log(median.loss - 0.7*min.loss), 1)", "alpha": "LogNormal(log(0.3), 0.6)"}


def main() -> None:
    runs = datasets.diloco()
    replicated = runs.select((np.array(runs.table["method"]) != "data-parallel") & (runs.values("params") < 3e9))

    # %% [markdown]
    # The first two are the catalogue's card, without and with a floor; the others are typed here.

    # %%
    law = bf.law("diloco")
    laws = {
        "A N^a M^b": law.fix(E=0),
        "A N^a M^b + C": law,
        "A N^(a + b M) + C": bf.Law.from_text(
            "loss = E + a*(params/ref.params)**-(alpha + beta*(replicas - mean.replicas))",
            priors={**FLOOR, **SIZE, "beta": "Normal(0, 0.02)"},
        ),
        "A N^a + B M^b + C": bf.Law.from_text(
            "loss = E + a*(params/ref.params)**-alpha + b*(replicas/ref.replicas)**kappa",
            priors={**FLOOR, **SIZE, "b": "LogNormal(log(0.1*min.loss), 1.5)", "kappa": "Normal(0, 0.5)"},
        ),
    }
    # hide larger models: the runs' compute is unknown, and their widest axis is size
    fits, comparison = bf.compare_laws(replicated, laws, draws=DRAWS, seed=1, folds=bf.Folds(scale="params"))
    print(comparison.table.round(3).to_string())
    print(comparison.verdict)

    # %% [markdown]
    # How sure is that? The probability that the law of the row forecasts hidden runs better than that of the column.

    # %%
    print(comparison.prob_better().round(2).to_string())

    # %% [markdown]
    # A forecast need not choose: `average` mixes the forms in proportion to their weights on hidden runs, and every
    # draw says which law it came from. The paper's own run of 10B with two replicas came to 2.086.

    # %%
    unconverged = not comparison.table["converged"].all()
    target = {"params": 1e10, "replicas": 2.0}
    mixed = bf.average(fits, target, weights=comparison, allow_unconverged=unconverged)
    print(mixed.table().to_string(index=False))
    print({str(name): int((mixed.draws["law"] == name).sum()) for name in fits})

    # %%
    FIGURES.mkdir(parents=True, exist_ok=True)
    plots.plot_compare(comparison).savefig(FIGURES / "compare.png", dpi=150)


# the fits run in processes of their own, which start by importing this file
if __name__ == "__main__":
    main()
