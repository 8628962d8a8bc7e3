"""Table: cells in columns as wide as they need, for people."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def lines(rows: Sequence[Sequence[str]], left: Collection[int] = (0,), indent: str = "  ") -> list[str]:
    """One line a row; columns are aligned to the right, those numbered in ``left`` to the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]

    def align(column: int, cell: str) -> str:
        return cell.ljust(widths[column]) if column in left else cell.rjust(widths[column])

    return [(indent + "   ".join(align(column, cell) for column, cell in enumerate(row))).rstrip() for row in rows]
