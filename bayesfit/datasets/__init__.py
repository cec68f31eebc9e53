"""Small published tables, built in.

Each function returns checked runs; `table` gives the plain table with every column.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from bayesfit.errors import SpecError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from bayesfit.runs import Runs

Name = Literal["open_models", "diloco", "mup_width", "critical_batch"]


def table(name: Name) -> pd.DataFrame:
    """Return a built-in table.

    Parameters
    ----------
    name
        ``"open_models"``: 35 models of 7 open families; Pile test loss (nats/token; none for OPT),
        and accuracies on 7 tasks, zero-shot and five-shot. Cerebras-GPT paper, arXiv:2304.03208;
        training FLOP as printed there, tokens from the families' own model cards (blank where those
        give none). Pythia-deduped-1.4B is left out: its loss is mistyped at the source.
        ``"diloco"``: evaluation loss at 20 tokens per parameter for data-parallel training and DiLoCo
        with 1 to 8 replicas, arXiv:2503.09799.
        ``"mup_width"``: loss at step 20,000 of ten widths under muP, arXiv:2304.06875.
        ``"critical_batch"``: steps to a goal loss for five model sizes and nine batch sizes (in
        sequences of 512 tokens), arXiv:2410.21676.

    Returns
    -------
    pandas.DataFrame
        One row a run.
    """
    import pandas as pd

    if name not in get_args(Name):
        raise SpecError(
            f"there is no built-in table '{name}'{nearest(name, get_args(Name))}; there are {', '.join(get_args(Name))}"
        )
    return pd.read_csv(Path(__file__).with_name(f"{name}.csv"))


def tasks() -> pd.DataFrame:
    """Return what is known of standard evaluation tasks, one a row.

    Returns
    -------
    pandas.DataFrame
        ``task`` and its ``aliases`` (separated by spaces, in small letters, with ``_`` for other marks);
        ``choices`` of each item; ``chance``, the accuracy of guessing (0 where answers are written freely, missing
        where it differs by item); ``n_items`` of the usual split; ``note``, which says the split.
    """
    import pandas as pd

    known = pd.read_csv(Path(__file__).with_name("tasks.csv"), dtype={"choices": "Int64", "n_items": "Int64"})
    return known.fillna({"aliases": "", "note": ""})


def calibration() -> pd.DataFrame:
    """Return how extrapolated bands did on the hidden larger runs of public studies.

    Returns
    -------
    pandas.DataFrame
        One row a ``study`` (and its ``paper``), ``output`` (``loss``, or ``accuracy`` of tasks), kind of ``bands`` (see
        `bayesfit.discrepancy.Bands`) and class of distance, ``from`` to ``to`` decades beyond the fitted runs, the
        ``farthest`` of which is told; ``runs`` that were hidden there, of accuracies one a model and task, and
        ``inside_50`` and so on, the share of them that bands held. Only fits that passed their checks are in it. No
        study's own runs told the bands how far laws drift; but drift was chosen among kinds of bands by its scores on
        some of these runs. ``make calibration`` writes it.
    """
    import pandas as pd

    return pd.read_csv(Path(__file__).with_name("calibration.csv"))


def open_models() -> Runs:
    """Return the 29 open models with a Pile loss: inputs params and flops, groups family and model."""
    from bayesfit.runs import Runs

    df = table("open_models").dropna(subset=["loss"])
    return Runs.from_frame(df, inputs=["params", "flops"], groups=["family", "model"], name="open_models")


def diloco() -> Runs:
    """Return the DiLoCo runs: inputs params and replicas, group method; held-out sizes 4B and 10B come last."""
    from bayesfit.runs import Runs

    return Runs.from_frame(table("diloco"), inputs=["params", "replicas"], groups=["method"], name="diloco")


def mup_width() -> Runs:
    """Return the ten muP widths: input params; the paper fits the first seven and predicts the last three."""
    from bayesfit.runs import Runs

    return Runs.from_frame(table("mup_width"), inputs=["params"], name="mup_width")


def critical_batch() -> Runs:
    """Return steps to the goal loss: inputs params and batch, output steps, group model."""
    from bayesfit.runs import Runs

    return Runs.from_frame(
        table("critical_batch"),
        inputs=["params", "batch"],
        outputs=["steps"],
        groups=["model"],
        name="critical_batch",
    )
