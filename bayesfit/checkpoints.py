"""Checkpoints of one training run are not independent: a law in which every run has a shift of its own."""

from __future__ import annotations

from bayesfit.card import Law, Parameter
from bayesfit.priors import Prior
from bayesfit.shifts import with_shifts

#: Half-normal scale of how far runs lie from the law: on the log (5%), the log-odds, or in the output's spread.
_ON_LOG, _ON_LOGIT = 0.05, 0.3


def with_run_shifts(law: Law) -> Law:
    """Return the law with a shift of every observed output that belongs to the training run.

    Parameters
    ----------
    law
        A closed law.

    Returns
    -------
    Law
        Every output's equation is that of a typical run (``loss_typical``) with a shift (``loss_shift``):
        a factor where noise acts on the log, a term where it acts on the output, a change of the log-odds
        for shares and counts of correct answers. Equations downstream see the run's own value.

    Notes
    -----
    The rows of a run agree better with each other than with the law, since its shape, data order and
    seed stay the same. Taken as independent they would make the band too narrow by the square root of their
    number. The shifts scatter about zero; how widely is found from the runs, and where rows of a run are
    no more alike than others it is found to be near zero.
    """
    if any(parameter.role == "run" for parameter in law.parameters.values()):
        return law
    shifts = {
        output: {
            "shift": Parameter(
                prior=Prior.parse("Normal(0, 0)"),
                role="run",
                spread=_ON_LOGIT if part.noise.counted or part.noise.on == "logit" else _ON_LOG,
                about=f"how far a training run's {output} lies off the law",
            )
        }
        for output, part in law.outputs.items()
    }
    return with_shifts(law, "typical", shifts)
