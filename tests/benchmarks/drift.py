"""How far laws drifted in public studies: ``python -m tests.benchmarks.drift FOLDER [STUDY ...]`` learns it anew.

Every study of the calibration suite is fitted whole, its large runs included, under a wide prior of the path's scale,
and so are its studies of task accuracies. Entries of studies that are not named stay as they are; all are
learnt by default. A forecast of one of these studies leaves its paper out (`bayesfit.Structure(without=...)`), as
`make calibration` does. Fits that fail their checks are left out and named.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import bayesfit as bf
from bayesfit.parallel import run_jobs
from bayesfit.track_record import PUBLIC, Drifted, Of, track_record
from tests.benchmarks.calibration.kinds import ALLOW
from tests.benchmarks.calibration.suite import Study, suite
from tests.benchmarks.calibration.tasks import task_studies

CARD = Path(__file__).parents[2] / "models" / "priors" / "public_drift.toml"

SUMMARY = """
How far laws drifted off the runs of public studies, by quantiles of the scale of each one's path: of losses on the log,
of task accuracies on the log-odds, there both of the path that all tasks share and of each task's own. Studies of one
paper count as one. Leave out the study that you forecast.
"""
#: Says little of the path's scale, on the log and on the log-odds.
WIDE = {"loss": bf.Structure(scale=0.01, scale_sd=1.5), "accuracy": bf.Structure(scale=0.1, scale_sd=1.5)}
#: Left out: checkpoints of 22 runs, and methods and families of few runs each, one of which shows no drift but scatter
#: that all its methods share (DECISIONS has their scales); and curves of image classifiers, along the examples of one
#: training run.
_LEFT_OUT = ("gemstones", "diloco", "open_models", "image")


def fitted(study: Study) -> bf.Fit:
    """Return a fit of all of a study's runs, its path's scale hardly told."""
    of_loss = study.output == "loss"
    # losses of groups have the path that they share alone, tasks one of their own each too
    shared = {"pooling": {"loss_drift": "complete"}} if of_loss and study.by else {}
    with warnings.catch_warnings():
        # trouble in sampling is told by the checks
        warnings.simplefilter("ignore")
        return bf.fit(
            study.runs,
            study.law,
            by=list(study.by),
            structure=replace(WIDE["loss" if of_loss else "accuracy"], along=study.along),
            cores=1,
            seed=0,
            progress=False,
            allow=list(ALLOW),
            **{"draws": 1000, **shared, **study.options},
        )


def _learnt(study: Study) -> bf.TrackRecord | None:
    fit = fitted(study)
    if not fit.check().passed:
        print(f"{study.name} is left out:\n{fit.check()}", file=sys.stderr, flush=True)
        return None
    found = bf.learn_drift({study.name: fit}, papers={study.name: study.paper})
    if study.output != "loss":
        # a loss of one task's answers, beside its accuracy, is not what the record means by a loss
        found = replace(found, studies=tuple(one for one in found.studies if one.of == "logit"))
    for one in found.studies:
        places = one.quantiles[1], one.quantiles[len(one.quantiles) // 2], one.quantiles[-2]
        print(one.name, one.of, *(f"{value:.4f}" for value in places), flush=True)
    return found


def chosen(folder: Path) -> dict[str, Study]:
    """Return the studies that are fitted, by name."""
    losses = {name: study for name, study in suite(folder).items() if not name.startswith(_LEFT_OUT)}
    return {**losses, **task_studies(folder)}


def renewed(
    kept: Sequence[Drifted], records: Mapping[str, bf.TrackRecord | None], names: Iterable[str]
) -> tuple[Drifted, ...]:
    """Return the entries of studies: those learnt anew, none of a study that fails, and those kept of others."""
    found: list[Drifted] = []
    for name in names:
        record = records.get(name)
        entries = kept if name not in records else () if record is None else record.studies
        # a study of several paths has an entry for each, whose names go on after a comma
        found += [one for one in entries if one.name.partition(",")[0] == name]
    return tuple(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.drift", description="Learn the track record.")
    parser.add_argument("folder", type=Path, help="folder of the published tables")
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="studies, by how their names begin; all by default")
    parser.add_argument("--workers", type=int, default=None, help="processes at once; one a processor by default")
    told = parser.parse_args()
    if not told.folder.is_dir():
        parser.error(f"there is no folder {told.folder}; name the one that holds the published tables")
    known = chosen(told.folder)
    again = [study for name, study in known.items() if not told.studies or name.startswith(tuple(told.studies))]
    if not again:
        parser.error(f"no study is called so; known: {', '.join(known)}")
    records = {
        study.name: record for study, record in zip(again, run_jobs(_learnt, again, workers=told.workers), strict=True)
    }
    kept = track_record(PUBLIC).studies if told.studies else ()
    learnt = bf.TrackRecord(id=PUBLIC, summary=SUMMARY, studies=renewed(kept, records, known))
    learnt.save(CARD)
    for of in get_args(Of):
        median, sd = learnt.prior(of)
        print(f"a study to come, {of}: median {median:.4f}, standard deviation of the log {sd:.3f}")
