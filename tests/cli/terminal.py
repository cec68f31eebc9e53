"""The command line, run in this process and in one of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from bayesfit.cli import app

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object, code: int = 0) -> Result:
    """Run a command in this process; standard output and error are kept apart."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="bayesfit")
    assert result.exit_code == code, f"exit {result.exit_code}\n{result.stdout}\n{result.stderr}\n{result.exception!r}"
    assert "Traceback" not in result.stderr
    return result


def squeezed(text: str) -> str:
    """Return a text without line breaks and frames, which depend on the width."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def python(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python on this checkout with warnings as errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", *(str(argument) for argument in arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)
