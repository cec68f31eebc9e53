"""Jobs in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bayesfit as bf
from bayesfit.parallel import run_jobs


def squared(x: int) -> int:
    return x**2


def sleep_long(place: str) -> None:
    """Say which process this is, and work for a minute."""
    Path(place).write_text(str(os.getpid()))
    time.sleep(60)


def test_results_come_in_order() -> None:
    assert run_jobs(squared, [3, 1, 2], workers=1) == run_jobs(squared, [3, 1, 2], workers=2) == [9, 1, 4]
    with pytest.raises(bf.SpecError, match="must be 1 or more, found 0"):
        run_jobs(squared, [1], workers=0)


def test_a_script_is_not_run_again_by_each_process(tmp_path: Path) -> None:
    """As people write one: without asking whether it is the main module."""
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom bayesfit.parallel import run_jobs\nprint('once')\n"
        "print(run_jobs(math.sqrt, [1.0, 4.0], workers=2), __file__)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == f"once\n[1.0, 2.0] {script}\n"


@pytest.mark.skipif(os.name != "posix", reason="kills processes by signal")
def test_workers_leave_when_their_parent_is_killed(tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    # a main module that workers can import again
    script = tmp_path / "script.py"
    script.write_text(
        "from tests.test_parallel import run_jobs, sleep_long\n"
        f"if __name__ == '__main__':\n    run_jobs(sleep_long, {[str(place) for place in places]}, workers=2)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    )
    deadline = time.monotonic() + 60
    while not all(place.is_file() and place.read_text() for place in places):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    workers = [int(place.read_text()) for place in places]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    """Return whether a process is there and no mere entry of the table."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.is_file() and state.read_text().rpartition(")")[2].split()[0] == "Z")
