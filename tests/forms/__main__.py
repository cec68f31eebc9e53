"""Rewrite the table of forms."""

from __future__ import annotations

import sys

from tests.forms import FORMS, identify, write

if __name__ == "__main__":
    for name in sys.argv[1:] or FORMS:
        found = identify(name)
        write(found)
        print(found.to_string(), flush=True)
