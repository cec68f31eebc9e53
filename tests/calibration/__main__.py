"""Rewrite the calibration table."""

from __future__ import annotations

from tests.calibration import TABLE, calibrate

found = calibrate()
found.to_csv(TABLE, index=False)
print(found.to_string())
