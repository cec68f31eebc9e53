"""Result files as lm-evaluation-harness writes them, version 0.3 and from 0.4 on, and the faults of reading them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bayesfit as bf

#: Accuracy and standard error of bloom-560m, zero-shot, and the number of items of each task: as written by
#: version 0.3 into results/bloom/bloom-560m of the harness's repository; sizes are those of the data sets.
BLOOM = {
    "hellaswag": (0.31557458673571004, 0.004637944965914592, 10042),
    "piqa": (0.6409140369967355, 0.011192949073844103, 1838),
    "arc_easy": (0.4734848484848485, 0.010245347015573713, 2376),
    "winogrande": (0.5280189423835833, 0.014030404213405784, 1267),
    "openbookqa": (0.172, 0.01689386887634748, 500),
    "copa": (0.61, 0.04902071300001975, 100),
    "boolq": (0.5513761467889908, 0.008698767182005265, 3270),
    "swag": (0.40347895631310604, 0.003468598652499914, 20006),
    "wsc273": (0.6666666666666666, 0.028583097523751506, 273),
    "prost": (0.22080486763450044, 0.0030304044027250577, 18736),
    "arc_challenge": (0.22440273037542663, 0.012191404938603838, 1172),
}


def error_of(accuracy: float, n: int) -> float:
    """Return the standard error that the harness writes."""
    return float((accuracy * (1 - accuracy) / (n - 1)) ** 0.5)


def old(model: str, scores: dict[str, Any], *, shots: int | None = 0, **changes: Any) -> dict[str, Any]:
    """Return what version 0.3 writes; `scores` are accuracies and standard errors, or whole entries."""
    results = {
        task: one if not isinstance(one, tuple) else {"acc": one[0], "acc_stderr": one[1]}
        for task, one in scores.items()
    }
    config = {
        "model": "hf-causal",
        "model_args": f"use_accelerate=True,pretrained={model}",
        "num_fewshot": shots,
        "batch_size": 32,
        "device": None,
        "no_cache": True,
        "limit": None,
        "bootstrap_iters": 100000,
        "description_dict": {},
    }
    return {"results": results, "versions": dict.fromkeys(results, 0), "config": config} | changes


def new(
    model: str, scores: dict[str, Any], *, params: int = 191034624, shots: int = 0, **changes: Any
) -> dict[str, Any]:
    """Return what version 0.4 writes; `scores` are accuracies and numbers of items, or whole entries."""
    results = {
        task: one
        if not isinstance(one, tuple)
        else {"alias": task, "acc,none": one[0], "acc_stderr,none": error_of(one[0], one[1])}
        for task, one in scores.items()
    }
    counts = {task: one[1] for task, one in scores.items() if isinstance(one, tuple)}
    config = {
        "model": "hf",
        "model_args": f"pretrained={model},trust_remote_code=True,dtype=float32",
        "model_num_parameters": params,
        "model_dtype": "torch.float32",
        "model_revision": "main",
        "batch_size": "8",
        "limit": None,
    }
    return {
        "results": results,
        "group_subtasks": {task: [] for task in results},
        "configs": {task: {"task": task, "output_type": "multiple_choice", "num_fewshot": shots} for task in results},
        "versions": dict.fromkeys(results, 1.0),
        "n-shot": dict.fromkeys(results, shots),
        "higher_is_better": {task: {"acc": True} for task in results},
        "n-samples": {task: {"original": count, "effective": count} for task, count in counts.items()},
        "config": config,
        "git_hash": "d6a93a05",
        "date": 1741652273.6536393,
        "model_source": "hf",
        "model_name": model,
        "model_name_sanitized": model.replace("/", "__"),
    } | changes


def write(place: Path, content: object) -> Path:
    """Write a file, and the folders above it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), encoding="utf-8")
    return place


def harness_fault(paths: Any, **arguments: Any) -> str:
    """Return the message of the only fault that reading result files tells."""
    with pytest.raises(bf.DataError) as caught:
        bf.read_harness(paths, **arguments)
    assert len(caught.value.faults) == 1, str(caught.value)
    return str(caught.value.faults[0])


def wide_fault(table: Any, tasks: Any, **arguments: Any) -> str:
    """Return the message of the only fault that reading a wide table tells."""
    with pytest.raises(bf.DataError) as caught:
        bf.read_wide(table, tasks, **arguments)
    assert len(caught.value.faults) == 1, str(caught.value)
    return str(caught.value.faults[0])
