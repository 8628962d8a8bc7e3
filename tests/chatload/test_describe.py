"""chatload describe from the outside: what it prints and writes, that its options can be used, and what it refuses."""

from __future__ import annotations

import csv
import html.parser
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chatload import arrival_spec, cli, corpus_file, timetable, traces

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["where is my order", "refund please", "hello there", "I cannot sign in to my account any more", "thanks a lot"]
INTENTS = ["order_status", "refund", "greeting", "sign_in", "thanks"]


class Tags(html.parser.HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, attrs))


def chat_log(path: Path, count: int = 3_000, seed: int = 1) -> Path:
    """A log of sessions that start as independent customers do, of turns some half a minute apart."""
    generator = np.random.default_rng(seed)
    starts_s = np.cumsum(generator.exponential(4.0, count))
    rows = []
    for session, start_s in enumerate(starts_s):
        turns = generator.geometric(0.4)
        moments_s = start_s + np.cumsum(np.append(0.0, generator.exponential(30.0, turns - 1)))
        for moment_s in moments_s:
            number = int(generator.integers(5))
            rows.append(
                (1.7e9 + moment_s, f"user-{session}", f"{TEXTS[number]} {generator.integers(2_000)}", INTENTS[number])
            )
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("timestamp", "session_id", "text", "label"), *sorted(rows)])
    return path


def describe(capsys, *arguments: object) -> str:
    cli.main(["describe", *map(str, arguments)])
    return capsys.readouterr().out


def refusal(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(["describe", *map(str, arguments)])
    said = capsys.readouterr()
    assert caught.value.code == 2
    assert said.err.count("\n") == 1
    assert said.err.startswith("chatload: ")
    return said.err


def command(printed: str) -> dict[str, str]:
    """The options of the command line that is printed last."""
    words = shlex.split(printed.splitlines()[-1])
    assert words[:4] == [".venv/bin/locust", "-f", "locustfiles/chatbot.py", "--headless"]
    return dict(zip(words[4::2], words[5::2], strict=True))


def test_a_chat_log_is_told_in_numbers_and_in_the_options_that_made_it(capsys, tmp_path):
    log = chat_log(tmp_path / "log.csv")
    printed = describe(capsys, log, "--json", tmp_path / "log.json")
    found = json.loads((tmp_path / "log.json").read_text())
    assert found["fit"]["chosen"] == "poisson"
    assert found["sessions"]["count"] == 3_000
    keys = dict(pair.split("=") for pair in found["options"]["--sessions"].split(","))
    assert float(keys["turns"]) == pytest.approx(2.5, rel=0.05)
    assert keys["turns_dist"] == "geometric"
    assert float(keys["think"].rstrip("s")) == pytest.approx(30, rel=0.05)
    assert keys["think_dist"] == "exponential"
    assert found["rows"] == sum(found["intents"].values())
    options = command(printed)
    assert float(options["--rate"]) == pytest.approx(found["arrivals"]["rate"], rel=1e-3)
    assert (options["--arrivals"], options["--corpus"]) == ("poisson", str(log))
    assert options["--sessions"] == found["options"]["--sessions"]
    assert float(options["--repeats"]) == pytest.approx(found["repeats"]["share"], rel=0.01)
    assert found["command"] == printed.splitlines()[-1]
    assert len(corpus_file.read(options["--corpus"])) == found["rows"]
    mix = dict(pair.split("=") for pair in found["options"]["--mix"].split(";"))
    assert {name: int(weight) for name, weight in mix.items()} == found["intents"]


def test_files_that_are_written_can_be_played(capsys, tmp_path):
    times_s = np.concatenate(list(timetable.until(timetable.profile(2.0, [1, 4, 2], 3e4, 0.0, timetable.seed(1)), 3e4)))
    (tmp_path / "log.jsonl").write_text("".join(f'{{"ts": {time_s}, "intent": "a"}}\n' for time_s in times_s[::-1]))
    printed = describe(capsys, tmp_path / "log.jsonl")
    assert "rows are not in order of time: sorted here" in printed
    assert "note: a profile needs its file: --write-profile FILE" in printed
    assert command(printed)["--arrivals"] == "trace:file=TRACE.csv,column=time"
    files = {flag: tmp_path / flag for flag in ("--write-profile", "--write-trace", "--write-mix")}
    printed = describe(capsys, tmp_path / "log.jsonl", *(word for pair in files.items() for word in pair))
    option = command(printed)["--arrivals"]
    assert option.startswith(f"profile:file={files['--write-profile']},span=")
    assert next(traces.plan(arrival_spec.parse(option), 2.0, 1)) is not None
    (replay,) = re.findall(r"or, exactly  --arrivals (.*)", printed)
    played = np.concatenate(list(traces.plan(arrival_spec.parse(replay), 1.0, 1)))
    assert played == pytest.approx(times_s - times_s[0], abs=2e-6)
    assert files["--write-mix"].read_text() == f"intent\tweight\na\t{len(times_s)}\n"


def test_columns_of_other_names_are_named_in_the_options(capsys, tmp_path):
    rows = "".join(f'{n * 0.5 + n % 3 * 0.1},"hello, {n}",greeting {n % 20}\n' for n in range(60))
    (tmp_path / "l.csv").write_text("when,said,why\n" + rows)
    named = ["--time-column", "when", "--text-column", "said", "--intent-column", "why", "--write-mix", tmp_path / "m.csv"]
    options = command(describe(capsys, tmp_path / "l.csv", *named))
    assert options["--corpus"] == f"{tmp_path / 'l.csv'}:text=said,intent=why"
    assert (tmp_path / "m.csv").read_text().splitlines()[:2] == ["intent,weight", '"greeting 0",3']


def test_what_nothing_reproduces_is_replayed(capsys, tmp_path):
    generator = np.random.default_rng(2)
    starts_s = 3_600 * np.sqrt(generator.uniform(size=150))
    times_s = np.sort(np.repeat(starts_s, 40) + generator.pareto(1.2, 6_000))
    (tmp_path / "t.csv").write_text("time\n" + "".join(f"{time_s:.6f}\n" for time_s in times_s[times_s < 3_600]))
    printed = describe(capsys, tmp_path / "t.csv")
    assert "no process here reproduces it: the nearest is" in printed
    assert command(printed)["--arrivals"] == f"trace:file={tmp_path / 't.csv'},column=time"
    assert int(command(printed)["--run-time"].rstrip("s")) == np.ceil(times_s[times_s < 3_600][-1] - times_s[0])


def test_a_corpus_has_no_rate(capsys):
    printed = describe(capsys, ROOT / "corpus" / "support.tsv")
    assert "note: the file has no times: --rate is yours to choose" in printed
    assert command(printed)["--corpus"].endswith("support.tsv")
    assert "arrivals" not in printed


def test_an_anonymised_log_describes_like_the_log(capsys, tmp_path):
    log, out = chat_log(tmp_path / "log.csv", 400), tmp_path / "out.csv"
    cli.main(["describe", str(log), "--anonymise", str(out), "--hide-intents", "--json", str(tmp_path / "a.json")])
    assert "texts replaced by others of the same length, of about as many tokens" in capsys.readouterr().err
    describe(capsys, out, "--json", tmp_path / "b.json")
    before, after = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    for name in ("rows", "words", "characters", "lengths", "repeats"):
        assert after[name] == before[name], name
    assert after["options"]["--sessions"] == before["options"]["--sessions"]
    assert after["arrivals"]["cv"] == pytest.approx(before["arrivals"]["cv"], rel=1e-6)
    assert after["arrivals"]["dispersion"] == pytest.approx(before["arrivals"]["dispersion"])
    assert sorted(after["intents"].values()) == sorted(before["intents"].values())
    assert set(after["intents"]) == {f"intent-{n}" for n in range(1, 6)}
    assert out.read_text().startswith("time,session,utterance,intent\n")
    assert "user-" not in out.read_text()
    with log.open() as old, out.open() as new:
        for one, other in zip(csv.DictReader(old), csv.DictReader(new), strict=True):
            assert not {word for word in one["text"].split() if len(word) > 3} & set(other["utterance"].split())


def test_an_anonymised_corpus_is_a_corpus(capsys, tmp_path):
    (tmp_path / "c.tsv").write_text(
        "utterance\tintent\tsecret\nhello my friend\tgreeting\tx\nhello my friend\tgreeting\ty\n"
    )
    describe(capsys, tmp_path / "c.tsv", "--anonymise", tmp_path / "o.tsv")
    one, two = corpus_file.read(str(tmp_path / "o.tsv"))
    assert one == two
    assert (len(one.text), one.intent) == (15, "greeting")
    assert "secret" not in (tmp_path / "o.tsv").read_text()


def test_rows_without_a_text_are_left_out_and_counted(capsys, tmp_path):
    (tmp_path / "l.csv").write_text('time,text\n0.5,hello\n1.5,""\n2.75,"a\nb"\n')
    cli.main(["describe", str(tmp_path / "l.csv"), "--anonymise", str(tmp_path / "o.csv")])
    said = capsys.readouterr()
    assert "2 texts replaced" in said.err
    assert "1 rows without a text left out" in said.err
    assert "1 rows have no text" in said.out
    assert (tmp_path / "o.csv").read_text().count("\n") == 3


def test_the_page_holds_the_report_and_plots(capsys, tmp_path):
    log = chat_log(tmp_path / "log.csv", 300)
    printed = describe(capsys, log, "--html", tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    assert "<h2>Arrivals over the log</h2>" in page
    assert "<h2>Dispersion of counts, over the window</h2>" in page
    assert "<h2>Words an utterance</h2>" in page
    assert printed.splitlines()[0] in page
    tags = Tags()
    tags.feed(page)
    assert {"html", "script"} <= {tag for tag, _ in tags.found}
    named = [dict(attributes).get("src") or dict(attributes).get("href") or "data:" for _, attributes in tags.found]
    assert all(name.startswith("data:") for name in named)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "log none.csv: cannot be read (No such file or directory)"),
        (["corpus/support.tsv", "--time-column", "at"], "no column 'at' for --time-column; it has utterance, intent, split"),
        (["corpus/support.tsv", "--write-trace", "t.csv"], "--write-trace t.csv: corpus/support.tsv has no times"),
        (["corpus/support.tsv", "--write-profile", "t.csv"], "--write-profile t.csv: corpus/support.tsv has no times"),
        (["corpus/support.tsv", "--anonymise", "o.json"], "--anonymise o.json: write a .csv, or a .tsv"),
        (["corpus/support.tsv", "--anonymise", "corpus/support.tsv"], "that is the log itself; name another file"),
        (["corpus/support.tsv", "--anonymise", "no/such/o.tsv"], "no/such/o.tsv cannot be written: No such file"),
        (["corpus/support.tsv", "--pause", "long"], "--pause: 'long' is not a duration"),
        (["corpus/support.tsv", "--hide-intents"], "--tokenizer and --hide-intents are for --anonymise OUT"),
        (["corpus/support.tsv", "--json", "no/such/d.json"], "no/such/d.json cannot be written: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(ROOT)
    assert message in refusal(capsys, *arguments)


def test_it_is_a_command(tmp_path):
    (tmp_path / "t.csv").write_text("time\n" + "\n".join(str(n / 4) for n in range(100)) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "chatload", "describe", str(tmp_path / "t.csv")], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "constant: evenly spaced" in done.stdout
