"""Run independent jobs in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

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
    with _script_left_alone(), ProcessPoolExecutor(count, mp_context=context, initializer=_leave_with_parent) as pool:
        return list(pool.map(work, jobs))


@contextmanager
def _script_left_alone() -> Iterator[None]:
    """Keep new processes from running the user's script again, which is how they begin unless it has no file.

    Jobs are functions of modules and need nothing of it; a script that does not ask whether it is the main module would
    start all over in each process, and end in an error about that.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or getattr(main, "__spec__", None) is not None:
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = path


def _leave_with_parent() -> None:
    """End this process when the one that asked for it is gone: a job may run for an hour, and nobody waits for it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
