from __future__ import annotations

import pytest

from chatload import report


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        ([], "50/s"),
        ([[12.34, 200]], "50/s, from 12.3 s on 100/s,"),
        ([[12.34, 200], [61.0, 0]], "50/s, from 12.3 s on 100/s, from 1 min 1 s on 0/s,"),
        ([[float(second), 100 + second] for second in range(30)], "50/s, changed 30 times, at last to 64.5/s,"),
    ],
)
def test_a_rate_that_was_edited_is_told_as_it_was(edits, told):
    assert report.rates({"rate": 50.0, "stream_rate": 0.5, "edits": edits}) == told
