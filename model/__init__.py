"""The model side: train or take an intent model, compile it, check parity, archive it, serve it.

`python -m model --help` says how. It runs where the model runs: Python 3.9 and torch 1.13, and what is newer.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HANDLERS = ROOT / "handlers"

# The handlers are flat modules, as TorchServe wants them. Parity is checked through the code that will serve, so they
# are imported here as they are there: by their bare names.
if str(HANDLERS) not in sys.path:
    sys.path.append(str(HANDLERS))
