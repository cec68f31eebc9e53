"""Options and fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bayesfit import Fit

# before anything imports matplotlib, also on machines whose environment asks for a window
os.environ["MPLBACKEND"] = "Agg"

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run the tests marked slow (minutes, not seconds)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-slow"):
        return
    skip = pytest.mark.skip(reason="slow: needs --run-slow (make test-slow)")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Published studies, which are not part of the repository."""
    folder = Path(os.environ.get("BAYESFIT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no folder of published studies at {folder}; name yours in BAYESFIT_DATA")
    return folder


@pytest.fixture(scope="session")
def plain_fit() -> Fit:
    """Return a real fit of the law with the most users, on 60 simulated runs."""
    from bayesfit import fit, simulate

    return fit(
        simulate("chinchilla", seed=1).runs, "chinchilla", draws=500, tune=500, seed=1, progress=False, structure=None
    )


@pytest.fixture(scope="session")
def family_fit() -> Fit:
    """Return a real fit with three families that share priors."""
    from bayesfit import fit, simulate

    runs = simulate("cerebras_c", n=8, group="family", levels=3, sigma=0.005, seed=2).runs
    return fit(runs, "cerebras_c", by=["family"], draws=500, tune=500, seed=1, progress=False, structure=None)
