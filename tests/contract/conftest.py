"""What these tests import, and how many threads they use."""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
# Test folders are no packages and the handlers are flat modules, so all of them go on the path.
for folder in (ROOT / "tests" / "model", ROOT / "tests" / "doubles", ROOT / "handlers", ROOT):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# The models of these tests are tiny: a second thread only waits for the first, for ever so long on a busy machine.
torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--served", metavar="FOLDER", help="a running server's state folder: hold the golden pairs against it")
