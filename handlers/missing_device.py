"""What a target needs and this machine lacks. There is no fallback: other hardware would be measured in its name."""

from __future__ import annotations


class MissingDevice(Exception):
    """The hardware of the target, or the package that drives it, is not here; the message says what was looked for."""
