"""`python -m model`."""

import sys

from model.command import main

sys.exit(main(sys.argv[1:]))
