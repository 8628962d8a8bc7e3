"""Units: one place that reads and prints durations, shares and rates."""

from __future__ import annotations

import re

_SECONDS_PER = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"  # a decimal number without sign or exponent, as a regular expression


class UnitError(ValueError):
    """A quantity that cannot be read; the message names the text and what would be right."""


def parse_duration_s(text: str) -> float:
    """Seconds in ``text``: "5s", "250ms", "1h30m", or a plain number of seconds.

    Raises UnitError when the text is not a duration.
    """
    compact = text.replace(" ", "")
    if re.fullmatch(NUMBER, compact):
        return float(compact)
    parts = re.findall(rf"({NUMBER})(us|ms|s|m|h|d)", compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise UnitError(f"{text!r} is not a duration: write 250ms, 5s, 2m or 1h30m")
    return sum(float(number) * _SECONDS_PER[unit] for number, unit in parts)


def parse_share(text: str) -> float:
    """The share in ``text`` as a fraction of one: "0.1%" or "0.001".

    Raises UnitError when the text is not a share between 0 and 1.
    """
    compact = text.replace(" ", "")
    number = compact.removesuffix("%")
    if not re.fullmatch(NUMBER, number):
        raise UnitError(f"{text!r} is not a share: write 0.1% or 0.001")
    share = float(number) / (100 if compact.endswith("%") else 1)
    if share > 1:
        raise UnitError(f"{text!r} is more than 100%")
    return share


def format_ms(value_ms: float) -> str:
    """Milliseconds with three significant digits, never fewer digits than whole milliseconds: 0.123, 12.3, 1,234."""
    if value_ms >= 100:
        return f"{value_ms:,.0f}"
    if value_ms >= 10:
        return f"{value_ms:.1f}"
    return f"{value_ms:.2f}" if value_ms >= 1 else f"{value_ms:.3f}"


def format_duration(seconds: float) -> str:
    """A duration the way people write it: 45 s, 2 min 5 s, 1 h 0 min."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s" if rest_s else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def format_share(share: float) -> str:
    """A share in percent with as many digits as it needs: 99.2 %, 0.05 %."""
    return f"{share * 100:.3g} %" if share < 0.1 else f"{share * 100:.1f} %"
