"""Rewrite the recovery table, one card a process: rows are saved as soon as a card is done."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial

import bayesfit as bf
from tests.recovery import recover, write

if __name__ == "__main__":
    names = sys.argv[1:] or [entry.id for entry in bf.laws()]
    # chains one after the other: pilot and compiler have one thread, and cards keep the cores busy
    work = partial(recover, cores=1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context) as pool:
        pending = {pool.submit(work, name): name for name in names}
        failed = []
        for done in as_completed(pending):
            if done.exception():
                failed.append(pending[done])
                print(f"{pending[done]}: {done.exception()!r}", flush=True)
                continue
            write(done.result())
            print(done.result().to_string(), flush=True)
    sys.exit(f"not done: {', '.join(failed)}" if failed else 0)
