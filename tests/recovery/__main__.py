"""Rewrite the recovery table."""

from __future__ import annotations

import sys

import bayesfit as bf
from tests.recovery import recover, write

for name in sys.argv[1:] or [entry.id for entry in bf.laws()]:
    found = recover(name)
    write(found)
    print(found.to_string(), flush=True)
