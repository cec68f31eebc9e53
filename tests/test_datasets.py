"""Built-in tables against figures printed in their papers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesfit as bf
from bayesfit import datasets


def test_open_models_are_the_published_figures(data_dir) -> None:
    """Every cell equals the source's; the flagged rows are left out."""
    source = pd.read_csv(data_dir / "open_models.csv")
    source = source[source["flag"].isna()]
    table = datasets.table("open_models").set_index("model")
    assert sorted(table.index) == sorted(source["model"].unique())
    for _, row in source.iterrows():
        ours = table.loc[row["model"]]
        assert ours[f"{row['task']}_{row['shots']}shot"] == row["score"]
        for column in ("params", "tokens", "flops"):
            assert ours[column] == row[column] or (pd.isna(ours[column]) and pd.isna(row[column]))
        assert ours["loss"] == row["pile_loss"] or pd.isna(row["pile_loss"])


def test_sizes_and_roles() -> None:
    sizes = {
        "open_models": (29, ("params", "flops"), ("family", "model")),
        "diloco": (39, ("params", "replicas"), ("method",)),
        "mup_width": (10, ("params",), ()),
        "critical_batch": (45, ("params", "batch"), ("model",)),
    }
    for name, (rows, inputs, groups) in sizes.items():
        runs = getattr(datasets, name)()
        assert (len(runs), runs.inputs, runs.groups) == (rows, inputs, groups)


def test_diloco_joint_form_fits_as_published() -> None:
    """Least squares on the logarithms gives 19.25, -.09856, .01162; printed: 19.226, -.0985, .0116."""
    table = datasets.table("diloco")
    used = table[table["method"].str.startswith("DiLoCo") & (table["params"] < 3e9)]
    logs = np.column_stack([np.ones(len(used)), np.log(used["params"]), np.log(used["replicas"])])
    found = np.linalg.lstsq(logs, np.log(used["loss"]), rcond=None)[0]
    assert found == pytest.approx([np.log(19.226), -0.0985, 0.0116], abs=0.003)


def test_critical_batch_gives_the_published_batches() -> None:
    from scipy.optimize import curve_fit

    table = datasets.table("critical_batch")
    for model, published in {"85M": 745.3, "151M": 955.2, "302M": 1393.7, "604M": 1888.5, "1.2B": 2533.4}.items():
        rows = table[table["model"] == model]
        batch, steps = rows["batch"].to_numpy(float), rows["steps"].to_numpy(float)
        (a, b), _ = curve_fit(
            lambda x, log_a, log_b: np.log(np.exp(log_a) + np.exp(log_b) / x), batch, np.log(steps), p0=[7.0, 15.0]
        )
        assert 1.2 * 256 + np.exp(b - a) / 5 == pytest.approx(published, rel=1e-3)


def test_unknown_table() -> None:
    with pytest.raises(bf.SpecError, match="did you mean 'open_models'"):
        datasets.table("open_model")  # type: ignore[arg-type]  # wrong on purpose
