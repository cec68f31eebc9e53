"""Result files of EleutherAI's lm-evaluation-harness: where they are, and what they say of each model and task.

Version 0.3 writes ``results -> task -> {"acc": ..., "acc_stderr": ...}``; from 0.4 on a metric has the name of
its filter, ``"acc,none"``, and ``n-samples``, ``n-shot``, ``configs`` and ``group_subtasks`` say more of each task.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bayesfit.cells import listed, range_faults
from bayesfit.errors import Fault, SpecError, nearest

Paths = str | Path | Sequence[str | Path] | Mapping[str, str | Path]

#: Arguments that name the model, in the order in which the harness looks for them.
_NAMING = ("peft", "delta", "pretrained", "model", "path", "engine")
#: What stands among the metrics of a task and is none.
_NO_METRIC = ("", "alias", "name", "samples", "sample_len", "sample_count")
#: Metrics of which less is better; newer files say it themselves.
_LESS = ("perplexity", "ppl", "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "mae")
PERCENT = "divide by 100 if it is percent"
_LEAVE_OUT = "leave the task out by naming the others, tasks=[...] (--tasks)"
#: How far numbers of items and of right answers may lie from whole ones: rounding errors are smaller by far.
_WHOLE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one file says of one model on one task.

    Parameters
    ----------
    file
        Its path.
    model, revision
        The model's name, and the revision of it unless that is the main one.
    task
        The task's name.
    group
        Whether it is a group, an average over tasks.
    scores
        Metrics and standard errors, as written.
    less
        Metrics of which less is better.
    n_items, choices, shots, params
        Numbers of items, of choices of each item, of examples shown, of parameters; where it says so.
    """

    file: str
    model: str
    revision: str
    task: str
    group: bool
    scores: Mapping[str, object]
    less: Collection[str]
    n_items: int | None
    choices: int | None
    shots: int | None
    params: float | None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, with those of their filters."""
        return tuple(key for key in self.scores if _name(key) not in _NO_METRIC and not _name(key).endswith("_stderr"))

    def choose(self, asked: Iterable[str]) -> str | None:
        """Return the first metric asked for that there is, or ``acc``, or the only one; None if none is told apart."""
        for wanted in (*asked, "acc"):
            if wanted in self.metrics:
                return wanted
            same = [key for key in self.metrics if _name(key) == wanted]
            # the answer as it came, beside filtered ones
            same = [f"{wanted},none"] if f"{wanted},none" in same else same
            if same:
                return same[0] if len(same) == 1 else None
        upward = [key for key in self.metrics if _name(key) not in self.less]
        return upward[0] if len(upward) == 1 else None


@dataclass(frozen=True, kw_only=True)
class Result:
    """A model on a task, by one of its metrics.

    Parameters
    ----------
    entry
        What a file says of them.
    metric
        The metric that is the accuracy.
    """

    entry: Entry
    metric: str

    def __str__(self) -> str:
        return f"model '{self.entry.model}', task '{self.entry.task}' ({self.metric} in {self.entry.file})"

    @property
    def cell(self) -> object:
        """The accuracy as it is written."""
        return self.entry.scores[self.metric]

    @property
    def accuracy(self) -> float:
        """The accuracy; NaN where it is no number."""
        found = number(self.cell)
        return math.nan if found is None else found

    @property
    def error(self) -> float:
        """Standard error of the accuracy; NaN where it is not given or not available."""
        name, comma, filtered = self.metric.partition(",")
        found = number(self.entry.scores.get(f"{name}_stderr{comma}{filtered}"))
        return found if found is not None and found >= 0 else math.nan

    @property
    def n_items(self) -> int | None:
        """Number of items, as the file says or the standard error tells."""
        accuracy, error = self.accuracy, self.error
        if self.entry.n_items is not None or self.entry.group or not (0 < accuracy < 1 and error**2 > 0):
            return self.entry.n_items
        # the standard error of n 0s and 1s, with n - 1 in the denominator
        found = accuracy * (1 - accuracy) / error**2 + 1
        if math.isinf(found):
            return None
        right = accuracy * round(found)
        return round(found) if max(abs(found - round(found)), abs(right - round(right))) < _WHOLE else None


def read_results(paths: Paths, asked: Sequence[str], wanted: Sequence[str] | None) -> tuple[list[Result], list[Fault]]:
    """Return what result files say, one result a model and task, and every fault of theirs.

    Parameters
    ----------
    paths
        Files and folders, or the name of each model and its file or folder.
    asked
        Metrics in order of preference.
    wanted
        The tasks wanted; all but groups if None.
    """
    files, faults = find_files(paths)
    entries: list[Entry] = []
    for name, path in files:
        found, wrong = read_file(path, name)
        entries += found
        faults += wrong
    entries, selected = _selected(_revised(entries), wanted)
    chosen, measured = _chosen(entries, asked)
    results, repeated = _once(chosen)
    return results, [*faults, *selected, *measured, *repeated, *_accuracy_faults(results)]


def find_files(paths: Paths) -> tuple[list[tuple[str, Path]], list[Fault]]:
    """Return files with the names given to their models (or none), and the faults of places without any."""
    if isinstance(paths, Mapping):
        places = [(str(name).strip(), place) for name, place in paths.items()]
    elif isinstance(paths, str | Path):
        places = [("", paths)]
    else:
        places = [("", place) for place in paths]
    if not places or not all(isinstance(place, str | Path) for _, place in places):
        raise SpecError(f"expected the path of a result file or of a folder of them, found {paths!r}")
    found: dict[Path, tuple[str, Path]] = {}
    faults = []
    for name, place in places:
        path = Path(place)
        files = [path] if path.is_file() else [file for file in path.rglob("results*.json") if file.is_file()]
        files = files or [file for file in path.rglob("*.json") if file.is_file()]
        if not path.exists():
            faults.append(_fault("missing_file", path, "there is no such file or folder", "check the path"))
        elif not files:
            faults.append(_fault("missing_file", path, "there is no .json file in this folder", "check the path"))
        for file in sorted(files):
            found.setdefault(file.resolve(), (name, file))
    return list(found.values()), faults


def read_file(path: Path, name: str = "") -> tuple[list[Entry], list[Fault]]:
    """Return what a result file says of each task, and its faults.

    Parameters
    ----------
    path
        The file.
    name
        What to call its model; by default as the file does.
    """
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_unrepeated)
    except UnicodeDecodeError:
        return [], [_fault("unreadable", path, "not a text file in UTF-8", "save it as UTF-8, or evaluate again")]
    except RecursionError:
        return [], [_fault("unreadable", path, "nested too deeply for a result file", "check the path")]
    except (ValueError, OSError) as error:
        remedy = "it may be cut off or edited: copy it anew, or evaluate again"
        return [], [_fault("unreadable", path, f"not readable as JSON ({error})", remedy)]
    wrong = _strange(content)
    if wrong:
        remedy = "give the files that the harness wrote (results_*.json), without others"
        return [], [_fault("not_results", path, f"not a result file of lm-evaluation-harness: {wrong}", remedy)]
    model, revision = (name, "") if name else _model(content)
    faults = []
    if not model:
        remedy = "write \"model_name\": \"...\" into the file, or give the name, read_harness({'NAME': 'FILE'})"
        faults.append(_fault("no_model", path, "it does not say which model was evaluated", remedy))
    groups = {*_mapping(content.get("groups"))}
    groups |= {group for group, parts in _mapping(content.get("group_subtasks")).items() if parts}
    entries = []
    for key, scores in content["results"].items():
        if not isinstance(scores, Mapping):
            found = f"task '{key.strip()}': found {_kind(scores)}, expected metrics by name"
            faults.append(_fault("not_results", path, found, "evaluate again"))
            continue
        count = _inside(content, "n-samples", key, "effective")
        if count is None:
            count = next((scores[name] for name in ("sample_len", "samples") if name in scores), None)
        n_items = number(count)
        if count is not None and (n_items is None or n_items < 1 or n_items != round(n_items)):
            found = f"task '{key.strip()}': found {count!r} items, expected a whole number, 1 or more"
            faults.append(_fault("bad_n_items", path, found, 'correct "n-samples", or evaluate again'))
            continue
        better = _mapping(_inside(content, "higher_is_better", key))
        choices = _inside(content, "configs", key, "doc_to_choice")
        told = isinstance(choices, list) and _inside(content, "configs", key, "output_type") == "multiple_choice"
        entries.append(
            Entry(
                file=str(path),
                model=model,
                revision=revision,
                task=key.strip(),
                group=key in groups,
                scores=scores,
                less=(*_LESS, *(metric for metric, more in better.items() if more is False)),
                # what an average is taken over is no count
                n_items=None if n_items is None or key in groups else int(n_items),
                choices=len(choices) if told and len(choices) > 1 else None,
                shots=_shots(content, key),
                params=_params(content),
            )
        )
    return (entries if model else []), faults


def number(cell: object) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return None
    try:
        return float(cell) if math.isfinite(cell) else None
    except OverflowError:
        return None


def _fault(kind: str, path: Path, message: str, remedy: str) -> Fault:
    return Fault(kind=kind, message=f"{path}: {message}", remedy=remedy)


def _name(key: str) -> str:
    """Return the name of a metric without that of its filter."""
    return key.partition(",")[0].strip()


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object with two values of one name, of which JSON would keep the last in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' is there twice")
    return found


def _strange(content: object) -> str:
    """Return what keeps a JSON document from being a result file, if anything."""
    if not isinstance(content, Mapping):
        return f"it holds {_kind(content)}"
    if "results" not in content:
        return f"it has no 'results' but {listed(content, 5)}"
    if not isinstance(content["results"], Mapping):
        return f"its 'results' are {_kind(content['results'])}, expected one entry a task"
    return "" if content["results"] else "its 'results' are empty"


def _kind(value: object) -> str:
    if isinstance(value, Mapping | list):
        return "an object" if isinstance(value, Mapping) else "a list"
    return json.dumps(value)[:40]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _inside(content: object, *keys: str) -> Any:
    """Return what lies under keys, or None."""
    for key in keys:
        content = _mapping(content).get(key)
    return content


def _model(content: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name and the revision of the model, empty where the file does not say."""
    given = _inside(content, "config", "model_args")
    if isinstance(given, str):
        given = dict(part.split("=", 1) for part in given.split(",") if "=" in part)
    arguments = {name.strip(): str(value).strip() for name, value in _mapping(given).items()}
    name = content.get("model_name")
    if not isinstance(name, str) or not name.strip():
        name = next((arguments[key] for key in _NAMING if arguments.get(key)), "")
    revision = arguments.get("revision") or str(_inside(content, "config", "model_revision") or "main")
    return name.strip(), "" if revision == "main" else revision


def _shots(content: Mapping[str, Any], task: str) -> int | None:
    places = (("n-shot", task), ("configs", task, "num_fewshot"), ("config", "num_fewshot"))
    found = (number(_inside(content, *place)) for place in places)
    return next((int(shots) for shots in found if shots is not None), None)


def _params(content: Mapping[str, Any]) -> float | None:
    """Return the number of parameters; the harness writes -1 where it does not know."""
    found = number(_inside(content, "config", "model_num_parameters"))
    return found if found is not None and found > 0 else None


def _revised(entries: Sequence[Entry]) -> list[Entry]:
    """Tell the revisions of a model apart by name, where there are several."""
    revisions: dict[str, set[str]] = {}
    for entry in entries:
        revisions.setdefault(entry.model, set()).add(entry.revision)
    return [
        replace(entry, model=f"{entry.model}@{entry.revision or 'main'}") if len(revisions[entry.model]) > 1 else entry
        for entry in entries
    ]


def _selected(entries: Sequence[Entry], wanted: Sequence[str] | None) -> tuple[list[Entry], list[Fault]]:
    """Return the entries of the tasks wanted; of all that are no groups, if none is named."""
    if wanted is None:
        kept = [entry for entry in entries if not entry.group]
        if entries and not kept:
            groups = list(dict.fromkeys(entry.task for entry in entries))
            message = f"the files hold groups of tasks only, averages over tasks: {listed(groups)}"
            return [], [Fault(kind="groups_only", message=message, remedy=f"name those wanted, tasks={groups[:1]}")]
        return kept, []
    present = dict.fromkeys(entry.task for entry in entries)
    faults = [
        Fault(
            kind="missing_task",
            message=f"no file has task '{task}'{nearest(task, present)}; they have {listed(present)}",
            remedy="correct its name, or leave it out of tasks",
            value=task,
        )
        for task in wanted
        if present and task not in present
    ]
    return [entry for entry in entries if entry.task in wanted], faults


def _chosen(entries: Sequence[Entry], asked: Sequence[str]) -> tuple[list[Result], list[Fault]]:
    """Choose the metric of each entry, the same for all models of a task."""
    results: list[Result] = []
    faults: dict[str, Fault] = {}
    metrics: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        metric = entry.choose(asked)
        if metric is None:
            message = f"task '{entry.task}' has no acc and no single other metric, but {listed(entry.metrics)}"
            remedy = f"say which is its accuracy, metric='NAME' (--metric NAME), or {_LEAVE_OUT}"
            faults.setdefault(
                entry.task,
                Fault(kind="no_metric", message=f"{message} ({entry.file})", remedy=remedy, value=entry.task),
            )
            continue
        results.append(Result(entry=entry, metric=metric))
        # "acc" of version 0.3 is the "acc,none" of today
        metrics.setdefault(entry.task, {}).setdefault(metric.removesuffix(",none"), entry)
    for task, by_metric in metrics.items():
        if len(by_metric) > 1:
            told = " and ".join(f"{metric} for model '{entry.model}'" for metric, entry in by_metric.items())
            message = f"task '{task}' is measured by {told}"
            remedy = f"say which all models have, metric='NAME' (--metric NAME), or {_LEAVE_OUT}"
            faults.setdefault(task, Fault(kind="mixed_metrics", message=message, remedy=remedy, value=task))
    every = dict.fromkeys(name for entry in entries for key in entry.metrics for name in (_name(key), key))
    unknown = [
        Fault(
            kind="missing_metric",
            message=f"no task has the metric '{name}'{nearest(name, every)}; they have {listed(every)}",
            remedy="correct its name",
            value=name,
        )
        for name in asked
        if every and name not in every
    ]
    return results, [*unknown, *faults.values()]


def _once(results: Sequence[Result]) -> tuple[list[Result], list[Fault]]:
    """Return one result a model and task; those that are there twice must be the same."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        found.setdefault((result.entry.model, result.entry.task), []).append(result)
    faults = []
    for (model, task), same in found.items():
        said = {repr((result.cell, result.n_items, result.entry.shots)): result for result in same}
        if len(said) > 1:
            told = listed((_told(result) for result in said.values()), 4)
            message = f"model '{model}', task '{task}': results that differ: {told}"
            remedy = "keep one of the files, or name the models apart, read_harness({'NAME': 'FILE', ...})"
            faults.append(Fault(kind="different_results", message=message, remedy=remedy))
    return [same[0] for same in found.values()], faults


def _told(result: Result) -> str:
    shots, items = result.entry.shots, result.n_items
    more = ("" if shots is None else f", {shots} shots") + ("" if items is None else f", {items} items")
    return f"{result.cell} ({result.entry.file}{more})"


def _accuracy_faults(results: Sequence[Result]) -> list[Fault]:
    """Return the faults of accuracies that are none."""
    numbers = np.array([result.accuracy for result in results], dtype=float)
    faults = [
        Fault(
            kind="not_a_number",
            message=f"{result}: found {json.dumps(result.cell)[:40]}, expected an accuracy from 0 to 1",
            remedy=f"evaluate again, or {_LEAVE_OUT}",
            value=str(result.cell)[:40],
        )
        for result in results
        if math.isnan(result.accuracy)
    ]
    for fault in range_faults("accuracy", "accuracy", numbers, [result.cell for result in results], any_unit=False):
        where = "" if fault.row is None else f"{results[fault.row - 1]}: "
        remedy = f"{PERCENT if fault.kind == 'percent_accuracy' else 'correct it'}, or {_LEAVE_OUT}"
        faults.append(replace(fault, message=f"{where}{fault.message}", remedy=remedy, row=None, column=None))
    return faults
