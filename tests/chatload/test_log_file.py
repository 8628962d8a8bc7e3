"""Log files: the same log from every kind of file, columns by usual names or named, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from chatload import log_file
from chatload.chat_log import Columns, LogError

ROWS = [
    (0.25, "where is my order", "order_status", "a"),
    (1.5, "hi", "greeting", "b"),
    (1.75, 'it says "delivered", but nothing came', "order_status", "a"),
    (61.125, "hi", "greeting", "c"),
]
NAMES = ("time", "utterance", "intent", "session")


def write(path: Path, names=NAMES, rows=ROWS) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pa.table({name: [row[n] for row in rows] for n, name in enumerate(names)}), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows) + "\n\n")
    elif path.suffix == ".tsv":
        path.write_text("# a comment\n\n" + "\n".join("\t".join(map(str, row)) for row in [names, *rows]) + "\n")
    else:
        quoted = [
            [f'"{cell.replace(chr(34), chr(34) * 2)}"' if isinstance(cell, str) else str(cell) for cell in row]
            for row in rows
        ]
        path.write_text("\n".join(",".join(row) for row in [names, *quoted]) + "\n")
    return path


def read(path: Path, **named: str):
    return log_file.read(path, Columns(**named))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_file_says_the_same(tmp_path, kind):
    log = read(write(tmp_path / f"log.{kind}"))
    assert log.columns == Columns("time", "utterance", "intent", "session")
    assert log.times.offsets_s.tolist() == [0, 1.25, 1.5, 60.875]
    assert log.rows == 4
    assert not log.sorted_here
    assert (log.times.tick_s, log.times.unit, log.blank) == (0, "", 0)
    assert log.intents == {"order_status": 2, "greeting": 2}
    assert (log.texts[1] == log.texts).tolist() == [False, True, False, True]
    assert (log.sessions[0] == log.sessions).tolist() == [True, False, True, False]
    assert log.words.counts.tolist() == [0, 2, 0, 0, 1, 0, 1]
    assert log.characters.counts[[2, 17, 37]].tolist() == [2, 1, 1]
    assert log.replays == (kind in ("csv", "parquet"))
    assert log.draws


def test_columns_are_found_whatever_their_case_or_named(tmp_path):
    names = ("Created At", "Message", "Category", "Conversation-ID")
    assert read(write(tmp_path / "a.csv", names)).columns == Columns(*names)
    odd = ("when", "said", "why", "who")
    log = read(write(tmp_path / "b.csv", odd), time="when", text="said", intent="why", session="who")
    assert log.columns == Columns(*odd)
    assert log.replays
    assert log.draws
    with pytest.raises(LogError, match="no column 'x' for --text-column; it has when, said, why, who"):
        read(tmp_path / "b.csv", text="x")


@pytest.mark.parametrize("separator", [";", "|", "\t"])
def test_other_separators_are_seen_in_the_first_line(tmp_path, separator):
    (tmp_path / "t.csv").write_text(f"\ufefftime{separator}text\n0.5{separator}a, b and c\n2{separator}d\n")
    log = read(tmp_path / "t.csv")
    assert log.times.offsets_s.tolist() == [0, 1.5]
    assert log.words.counts[[1, 4]].tolist() == [1, 1]
    assert not log.replays
    assert not log.draws


def test_blanks_around_names_and_whole_milliseconds(tmp_path):
    (tmp_path / "t.csv").write_text("n, time , text\n1,1700000000000,a b\n2,1700000003000,c\n3,1700000007000,d\n")
    log = read(tmp_path / "t.csv")
    assert log.columns == Columns("time", "text")
    assert (log.times.unit, log.times.tick_s, log.replays) == ("milliseconds", 1, False)
    assert abs(log.times.offsets_s[-1] - 7) < 1


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        (["2026-03-09T23:59:59.5Z", "2026-03-10T00:00:01+00:00"], [0, 1.5]),
        (["2026-03-10T01:00:00.25+01:00", "2026-03-10T00:00:01.5Z"], [0, 1.25]),
        (["2026-03-09 23:59:59.5", "2026-03-10 00:00:01.0000000"], [0, 1.5]),
        (["1700000000.5", "1700000002"], [0, 1.5]),
        (["1700000000500", "1700000002000"], [0, 1.5]),
        (["1700000000500000000", "1700000002000000000"], [0, 1.5]),
    ],
)
def test_times_of_every_form(tmp_path, moments, expected):
    (tmp_path / "t.csv").write_text("time,n\n" + "".join(f"{moment},1\n" for moment in moments))
    log = read(tmp_path / "t.csv")
    assert log.times.offsets_s == pytest.approx(expected, abs=1e-3)
    assert bool(log.times.unit) == (len(moments[0]) > 12 and "-" not in moments[0])


def test_rows_out_of_order_are_sorted_with_what_belongs_to_them(tmp_path):
    log = read(write(tmp_path / "log.csv", rows=[ROWS[2], ROWS[0], ROWS[3], ROWS[1]]))
    assert log.sorted_here
    assert not log.replays
    assert log.times.offsets_s.tolist() == [0, 1.25, 1.5, 60.875]
    assert (log.texts[1] == log.texts).tolist() == [False, True, False, True]


def test_whole_seconds_are_spread_within_their_second(tmp_path):
    (tmp_path / "t.csv").write_text("time\n" + "".join(f"{second}\n" for second in range(50) for _ in range(4)))
    log = read(tmp_path / "t.csv")
    assert log.times.tick_s == 1
    assert not log.replays
    assert (np.diff(log.times.offsets_s) > 0).all()
    shift = np.arange(200) // 4 - log.times.offsets_s
    assert shift.max() - shift.min() < 1


def test_clinc150_is_a_log_without_times(tmp_path):
    (tmp_path / "data.json").write_text('{"train": [["hello you", "greeting"]], "oos_test": [["hm", "oos"]]}')
    log = read(tmp_path / "data.json")
    assert (log.times, log.sessions, log.rows, log.intents["oos"]) == (None, None, 2, 1)


def test_a_row_without_a_session_is_one_of_its_own(tmp_path):
    (tmp_path / "t.csv").write_text("time,session\n0.5,a\n1.5,\n2,\n3,a\n")
    marks = read(tmp_path / "t.csv").sessions
    assert marks[0] == marks[3]
    assert len(set(marks.tolist())) == 3
    (tmp_path / "t.csv").write_text("time,session\n0.5,\n1.5,\n")
    assert read(tmp_path / "t.csv").sessions is None


def test_rows_may_lack_their_tokens(tmp_path):
    (tmp_path / "t.csv").write_text("time,tokens\n0.5,4\n1.5,\n2,9\n")
    assert read(tmp_path / "t.csv").tokens.counts[[4, 9]].tolist() == [1, 1]
    parquet.write_table(pa.table({"time": [0.5, 1.5, 2.0], "tokens": [4, None, 9]}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").tokens.total == 2


def test_a_long_log_is_read_in_blocks(tmp_path):
    rows = [(n / 7, f"text {n % 1000}", "i", str(n // 3)) for n in range(150_000)]
    for kind in ("csv", "parquet", "jsonl"):
        log = read(write(tmp_path / f"log.{kind}", rows=rows))
        assert log.rows == len(log.texts) == len(log.sessions) == 150_000
        assert len(np.unique(log.texts)) == 1000
        assert len(np.unique(log.sessions)) == 50_000
        assert log.times.offsets_s[-1] == pytest.approx(149_999 / 7)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "the file is empty"),
        ("t.csv", "time\n", "no row in it"),
        ("t.csv", "1.5\n2.5\n", "the first line holds numbers; begin with a line that names the columns"),
        ("t.csv", "a,b\n1,2\n", "no column with times or texts among a, b: name one with --time-column or --text-column"),
        ("t.csv", "time,n\n1,1\nsoon,2\n", "row 2: 'soon' is no time as in the rows before it; write epoch seconds"),
        ("t.csv", "time,n\n1,1\n,2\n", "row 2 has no time; remove it"),
        ("t.csv", "time,n\n1,1\nnan,2\n", "row 2: 'nan' is no time"),
        ("t.csv", "time,n\n1,1\n2\n", "cannot be read (CSV parse error: Row #3: Expected 2 columns, got 1"),
        ("t.csv", "time\n5\n5\n5\n", "all rows have one time"),
        ("t.csv", "time,tokens\n1,4\n2,-1\n", "column 'tokens' should hold numbers of tokens"),
        ("t.csv", "time,tokens\n1,4\n2,few\n", "column 'tokens' should hold numbers of tokens"),
        ("t.jsonl", '{"time": 1}\n[2]\n', ":2: not an object"),
        ("t.jsonl", '{"time": 1}\n{"time"\n', ":2: no JSON"),
        ("t.jsonl", "\n", "the file is empty"),
        ("t.parquet", "no parquet", "cannot be read (Parquet magic bytes not found"),
        ("t.json", "[]", "not CLINC150's layout"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(LogError, match=re.escape(message)) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_what_is_no_text_at_all_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"time,text\n1,caf\xe9\n2,b\n")
    with pytest.raises(LogError, match="t.csv: cannot be read .*invalid UTF8|t.csv: not UTF-8"):
        read(tmp_path / "t.csv")
    with pytest.raises(LogError, match="none.csv: cannot be read"):
        read(tmp_path / "none.csv")


def test_a_written_trace_is_the_log(tmp_path):
    log = read(write(tmp_path / "log.jsonl"))
    log_file.write_trace(tmp_path / "trace.csv", log.times.offsets_s)
    again = read(tmp_path / "trace.csv")
    assert again.replays
    assert again.times.offsets_s.tolist() == log.times.offsets_s.tolist()
    with pytest.raises(LogError, match="cannot be written"):
        log_file.write_trace(tmp_path / "no" / "trace.csv", log.times.offsets_s)
