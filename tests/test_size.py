"""A large table of evaluations: 48 tasks of 100 models, six parameters of each task, in time and memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TASKS, MODELS = 48, 100
SECONDS, GIGABYTES = 900, 4

SCRIPT = f"""
import json, resource, time
import numpy as np, pandas as pd
import bayesfit as bf

law = bf.Law.from_text(
    "fall = s*(1 - (params/ref.params)**-alpha) + t*(1 - (tokens/ref.tokens)**-beta)\\n"
    "accuracy = (q + (1 - q)*room)*expit(log(q/((1 - q)*room)) + fall)",
    priors={{
        "s": "LogNormal(0, 0.7)", "t": "LogNormal(0, 0.7)", "alpha": "LogNormal(log(0.3), 0.4)",
        "beta": "LogNormal(log(0.3), 0.4)", "q": "LogitNormal(0, 1, 0, 1)", "room": "LogitNormal(1.5, 1, 0, 1)",
    }},
    noise=bf.Noise(on="logit", scale=bf.Prior.parse("HalfNormal(0.3)")),
    id="large",
)
rng = np.random.default_rng(0)
params, tokens = np.exp(rng.uniform(np.log(1e8), np.log(1e11), {MODELS})), np.exp(rng.uniform(23, 29, {MODELS}))
model = pd.DataFrame({{"model": [f"m{{i}}" for i in range({MODELS})], "params": params, "tokens": tokens}})
table = pd.concat([model.assign(task=f"t{{i:02d}}") for i in range({TASKS})], ignore_index=True)
code = table["task"].factorize()[0]
shift = rng.standard_normal(({TASKS}, 6))
s, t = np.exp(0.4 * shift[code, 0]), np.exp(0.4 * shift[code, 1])
alpha, beta = 0.3 * np.exp(0.2 * shift[code, 2]), 0.3 * np.exp(0.2 * shift[code, 3])
q, room = 1 / (1 + np.exp(-0.8 * shift[code, 4])), 1 / (1 + np.exp(-1.5 - 0.5 * shift[code, 5]))
centre = [np.exp(np.log(table[name]).mean()) for name in ("params", "tokens")]
fall = s * (1 - (table["params"] / centre[0]) ** -alpha) + t * (1 - (table["tokens"] / centre[1]) ** -beta)
mean = (q + (1 - q) * room) / (1 + np.exp(-(np.log(q / ((1 - q) * room)) + fall)))
table["accuracy"] = 1 / (1 + np.exp(-(np.log(mean / (1 - mean)) + 0.1 * rng.standard_normal(len(table)))))
runs = bf.Runs.from_frame(table, law=law, groups=["task"])
started = time.perf_counter()
fit = bf.fit(runs, law, by=["task"], seed=1, progress=False)
print(json.dumps({{
    "rows": len(runs),
    "seconds": time.perf_counter() - started,
    "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
    "passed": fit.check().passed,
    "failed": [str(result) for result in fit.check().trouble],
    "steps": float(fit.idata["sample_stats"]["n_steps"].mean()),
}}))
"""


@pytest.mark.slow
def test_forty_eight_tasks_of_a_hundred_models() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["rows"] == TASKS * MODELS
    assert found["passed"], found["failed"]
    assert found["seconds"] <= SECONDS
    assert found["gigabytes"] <= GIGABYTES
