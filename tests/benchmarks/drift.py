"""How far laws drifted in public studies: ``python -m tests.benchmarks.drift FOLDER`` writes the track record anew.

Every study of the calibration suite is fitted whole, its large runs included, under a wide prior of the path's scale.
A forecast of one of these studies leaves its paper out (`bayesfit.Structure(without=...)`), as `make calibration` does.
Fits that fail their checks are left out and named.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import tomli_w

import bayesfit as bf
from bayesfit.parallel import run_jobs
from tests.benchmarks.calibration.kinds import ALLOW
from tests.benchmarks.calibration.suite import Study, suite

CARD = Path(__file__).parents[2] / "models" / "priors" / "public_drift.toml"

SUMMARY = """
How far laws drifted off the runs of public studies, by quantiles of the scale of each one's path. Studies of one paper
count as one. Leave out the study that you forecast.
"""
#: Says little of the path's scale.
WIDE = bf.Structure(scale=0.01, scale_sd=1.5)
#: Left out: checkpoints of 22 runs, and methods and families of few runs each, one of which shows no drift but scatter
#: that all its methods share (DECISIONS has their scales); and curves of image classifiers, along the examples of one
#: training run.
_LEFT_OUT = ("gemstones", "diloco", "open_models", "image")


def fitted(study: Study) -> bf.Fit:
    """Return a fit of all of a study's runs, its path's scale hardly told."""
    with warnings.catch_warnings():
        # trouble in sampling is told by the checks
        warnings.simplefilter("ignore")
        return bf.fit(
            study.runs,
            study.law,
            by=list(study.by),
            # groups' own paths are left out: the record is of the path that they share
            pooling={"loss_drift": "complete"} if study.by else None,
            structure=WIDE,
            draws=1000,
            cores=1,
            seed=0,
            progress=False,
            allow=list(ALLOW),
        )


def _learnt(study: Study) -> bf.TrackRecord | None:
    fit = fitted(study)
    if not fit.check().passed:
        print(f"{study.name} is left out:\n{fit.check()}", file=sys.stderr, flush=True)
        return None
    found = bf.learn_drift({study.name: fit}, papers={study.name: study.paper})
    for one in found.studies:
        places = one.quantiles[1], one.quantiles[len(one.quantiles) // 2], one.quantiles[-2]
        print(study.name, one.of, *(f"{value:.4f}" for value in places), flush=True)
    return found


def chosen(folder: Path) -> list[Study]:
    """Return the studies that are fitted."""
    return [study for name, study in suite(folder).items() if not name.startswith(_LEFT_OUT)]


if __name__ == "__main__":
    records = run_jobs(_learnt, chosen(Path(sys.argv[1])), workers=int(sys.argv[2]) if len(sys.argv) > 2 else None)
    studies = tuple(study for record in records if record is not None for study in record.studies)
    learnt = bf.TrackRecord(id="public_drift", summary=" ".join(SUMMARY.split()), studies=studies)
    CARD.write_text(tomli_w.dumps(learnt.to_mapping()), encoding="utf-8")
    median, sd = learnt.prior("log")
    print(f"a study to come: median {median:.4f}, standard deviation of the log {sd:.3f}")
