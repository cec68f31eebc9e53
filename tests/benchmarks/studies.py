"""Public studies of loss over parameters and tokens, read from a folder of their tables.

``python -m tests.benchmarks.studies FOLDER`` learns ``models/priors/public_chinchilla.toml`` from them anew.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pandas as pd
import tomli_w

import bayesfit as bf
from bayesfit.errors import DataWarning
from bayesfit.population import learn_population

CARD = Path(__file__).parents[2] / "models" / "priors" / "public_chinchilla.toml"

SUMMARY = """
How the parameters of Chinchilla's form lie over public studies, as places in the card's own priors. Learnt by the
quadratic approximation of each study's likelihood; corpora of one paper count as studies of their own. Leave out the
study that you fit: `learn_population` makes another from any tables.
"""


def surfaces(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of studies whose runs are all read alike, whatever they are read for."""
    tables: dict[str, pd.DataFrame] = {}
    tables["Hoffmann et al. 2022, read off by Besiroglu et al. 2024"] = pd.read_csv(
        folder / "chinchilla_epoch.csv"
    ).query("in_published_fit == 1")
    tables["Muennighoff et al. 2023, C4, one epoch"] = pd.read_csv(folder / "data_constrained_c4.csv").query(
        "variant == 'base' and epochs <= 1"
    )
    gadre = pd.read_csv(folder / "gadre_runs.csv").rename(columns={"loss_c4_val": "loss"})
    for name, part in gadre.groupby("dataset", sort=True):
        tables[f"Gadre et al. 2024, {name}"] = part
    farseer = pd.read_csv(folder / "farseer.csv").rename(columns={"loss_bpc": "loss"})
    tables["Li et al. 2025, Farseer"] = farseer[farseer["duplicate"] == 0]
    return tables


def studies(folder: Path) -> dict[str, bf.Runs]:
    """Return the runs of each study, losses as published (nats a token; Farseer's bits a character)."""
    tables = surfaces(folder)
    cells = pd.read_csv(folder / "steplaw_dense.csv").query("cell_best == 1")
    tables["Li et al. 2025, Step Law, best of each cell"] = cells.rename(columns={"params_nonembed": "params"}).assign(
        loss=cells["smooth_loss"]
    )
    ladder = pd.read_csv(folder / "olmo_ladder.csv").query("split == 'fit'")
    tables["Bhagia et al. 2024, OLMo ladder, Paloma C4"] = ladder.drop_duplicates("run").rename(
        columns={"c4_loss_ma5": "loss"}
    )
    cross = pd.read_csv(folder / "loss_to_loss.csv").query("split == 'fit' and kind == 'pretrain_val'")
    for name, part in cross[cross["task"] == "own_val"].groupby("family", sort=True):
        tables[f"Brandfonbrener et al. 2024, {name}"] = part
    found: dict[str, bf.Runs] = {}
    for name, table in tables.items():
        columns = table[["params", "tokens", "loss"]].dropna().reset_index(drop=True)
        with warnings.catch_warnings():
            # copies among the runs are the studies' own
            warnings.simplefilter("ignore", DataWarning)
            found[name] = bf.Runs.from_frame(columns, name=name)
    return found


if __name__ == "__main__":
    learnt = learn_population(
        studies(Path(sys.argv[1])), "chinchilla", id="public_chinchilla", summary=" ".join(SUMMARY.split())
    )
    CARD.parent.mkdir(exist_ok=True)
    CARD.write_text(tomli_w.dumps(learnt.to_mapping()), encoding="utf-8")
