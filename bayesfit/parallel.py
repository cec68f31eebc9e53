"""Run independent jobs in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

from bayesfit.errors import SpecError


def run_jobs[T, R](work: Callable[[T], R], jobs: Sequence[T], *, workers: int | None = None) -> list[R]:
    """Return ``work(job)`` of every job, in order.

    Parameters
    ----------
    work
        A function of a module, so that another process can find it.
    jobs
        What it is given, one at a time.
    workers
        Processes at once; as many as processors by default. With one job or one worker everything
        happens in this process.

    Raises
    ------
    SpecError
        If `workers` is not a positive number.
    """
    if workers is not None and workers < 1:
        raise SpecError(f"the number of processes must be 1 or more, found {workers}")
    count = min(len(jobs), workers or os.cpu_count() or 1)
    if count <= 1:
        return [work(job) for job in jobs]
    # a server that has imported PyMC and nutpie once, and forks before any of them started a thread
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    context.set_forkserver_preload(["bayesfit.sampling"])
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        return list(pool.map(work, jobs))
