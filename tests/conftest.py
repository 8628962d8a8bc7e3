"""What every test begins with."""

from __future__ import annotations

import signal

# A shell's background jobs ignore interrupts, and so does what they start: tests that interrupt would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
