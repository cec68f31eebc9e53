"""Results on public data beside the published ones; each module is a command."""

from __future__ import annotations

from bayesfit.discrepancy import Structure
from bayesfit.track_record import PUBLIC, track_record


def honest(paper: str) -> Structure:
    """Return the default structure, without what its record knows from the paper itself."""
    return Structure(without=(paper,) if paper in track_record(PUBLIC).papers else ())
