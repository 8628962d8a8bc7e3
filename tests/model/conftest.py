"""Fixtures: the tiny model of tests/model."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Test folders are no packages and the handlers are flat modules, so all three go on the path.
for folder in (ROOT / "tests" / "model", ROOT / "handlers", ROOT):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
