from __future__ import annotations

from chatload import table


def test_columns_are_as_wide_as_they_need_and_aligned():
    rows = [["", "ms", "answer"], ["p50", "1,234", "worse"], ["throughput", "7", ""]]
    assert table.lines(rows, left=(0, 2)) == [
        "                  ms   answer",
        "  p50          1,234   worse",
        "  throughput       7",
    ]
