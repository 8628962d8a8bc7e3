"""report.html as its readers get it: in a browser, from a folder alone, of good runs and bad."""

from __future__ import annotations

import html.parser
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chatload import figures, fold, plots, runfolder, samples
from chatload.corpus import Utterance
from tests.chatload.browsing import CONTRAST, complaints, follow, open_page, tooltip
from tests.chatload.simulated import fail, poisson_s, rows, stalls_s

RATE, SECONDS = 200.0, 60.0
SPITEFUL = "$$x$$</script><script>document.title='taken'</script>"
UTTERANCES = [Utterance("hi", SPITEFUL, ""), Utterance(f"a {SPITEFUL}", "order", ""), Utterance("no label", "", "")]
HEADER = {
    "id": "20260101-120000-chatbot-1f3a",
    "started": "2026-01-01T12:00:00+00:00",
    "scenario": "chatbot<i>",
    "host": "http://127.0.0.1:8080",
    "rate": RATE,
    "arrivals": "poisson",
    "seed": 1,
    "corpus": {"file": "<b>corpus</b>.tsv", "split": "test", "utterances": 3},
    "objective": "p99<250ms,errors<1%",
    "warmup_s": 5.0,
    "run_time_s": SECONDS,
    "workers": 1,
    "edits": [],
    "versions": {"chatload": "0.1.0"},
    "model": {"name": "stand-in", "version": "1"},
}
FACTS = {
    "worker": 0,
    "timer": "timerfd",
    "rates": [[0.0, RATE]],
    "cpu": [[s, 0.1 * s] for s in range(60)],
    "ended_s": SECONDS,
}


def make(folder: Path, found: np.ndarray, facts: dict | None = FACTS) -> Path:
    """A finished run folder of these samples."""
    runfolder.create(folder, HEADER, UTTERANCES)
    parts = runfolder.Parts(folder)
    parts.append(0, found.tobytes(), [SPITEFUL, "order"])
    if facts:
        parts.end(0, facts)
    parts.close()
    fold.finish(folder)
    return folder


def stalled() -> np.ndarray:
    intended_s = poisson_s(RATE, SECONDS)
    return rows(intended_s, stalls_s(intended_s))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    found = stalled()
    return make(
        tmp_path_factory.mktemp("report") / "run", fail(found, (found["intended_s"] > 40) & (found["utterance"] == 2))
    )


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_draws_everything_without_an_error_and_without_overflow(browser, run, width, scheme):
    open_page(browser, run / "report.html", width, scheme)
    assert complaints(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    places = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].map(p => [p.id, p.offsetWidth, p.offsetHeight])"
    )
    names = "percentiles latency traffic in_flight heat bands lengths intents failures lag cpu"
    assert [name for name, _, _ in places] == [f"plot-{name}" for name in names.split()]
    assert [place for place in places if place[1] < 0.4 * width or place[2] < 100] == []
    assert "taken" not in browser.title


@pytest.mark.parametrize(
    ("low", "high", "wanted"), [(2.0, 60.0, "2 5 10 20 50"), (3.0, 7.0, "3 4 5 6 7"), (0.5, 900.0, "1 10 100")]
)
def test_a_heat_map_has_ticks_in_ms_where_it_is_short_too(low, high, wanted):
    edges_s, edges_log_ms = np.linspace(0, 10, 11), np.linspace(math.log10(low), math.log10(high), 21)
    heat = figures.Heat(edges_s, edges_log_ms, np.ones((20, 10)))
    text = json.dumps(plots._heat(heat, 0.0).item)
    labels = dict(json.loads(re.search(r'"major_label_overrides": {"type": "map", "entries": (\[.+?\]\])}', text)[1]))
    inside = [label for at, label in labels.items() if math.log10(low) <= at <= math.log10(high)]
    assert " ".join(inside) == wanted
    assert all(math.isclose(10**at, float(label.replace(",", ""))) for at, label in labels.items())


def test_the_page_follows_the_readers_scheme_while_it_is_open(browser, run):
    open_page(browser, run / "report.html", 1280, "light")
    light = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    follow(browser, "dark")
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") != light
    assert browser.execute_script("return document.querySelectorAll('.plot > *').length") == 11
    assert complaints(browser) == []


def test_a_tooltip_has_the_colours_of_the_readers_scheme(browser, run):
    painted = []
    for scheme in ("light", "dark"):
        open_page(browser, run / "report.html", 1280, scheme)
        painted.append(tooltip(browser, "plot-percentiles"))
    assert painted == ["rgb(245, 247, 249) under rgb(28, 33, 40)", "rgb(27, 33, 40) under rgb(227, 232, 238)"]


def test_text_has_contrast_of_at_least_four_and_a_half_in_both_schemes(browser, run):
    for scheme in ("light", "dark"):
        open_page(browser, run / "report.html", 1280, scheme)
        weak = browser.execute_script(CONTRAST)
        assert weak == []


class Outline(html.parser.HTMLParser):
    """Tags, addresses, and headings of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_is_one_file_that_asks_for_nothing(run):
    text = (run / "report.html").read_text()
    assert Outline(text).addresses == ["data:,"]
    assert "default-src 'none'" in text
    assert len(text) < 5e6


def test_a_page_of_ten_times_the_samples_is_as_small():
    sizes = []
    for seconds in (200.0, 2_000.0):
        intended_s = poisson_s(RATE, seconds)
        found = rows(intended_s, stalls_s(intended_s))
        drawn = figures.build(found, UTTERANCES, [SPITEFUL, "order"], 5.0, seconds)
        sizes.append(sum(len(json.dumps(plot.item)) for plot in plots.draw(drawn, (), {}, 5.0).values()))
    assert sizes[1] < 1.5 * sizes[0]
    assert sizes[1] < 1e6


def test_every_table_has_a_caption_and_headings_go_down_one_by_one(run):
    tags = Outline((run / "report.html").read_text()).tags
    assert tags.count("table") == tags.count("caption") >= 9
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_what_users_wrote_is_shown_and_never_run(run):
    text = (run / "report.html").read_text()
    assert "document.title='taken'" not in text
    assert "&lt;/script&gt;&lt;script&gt;document.title=&#39;taken&#39;" in text
    assert "chatbot&lt;i&gt;" in text
    assert "&lt;b&gt;corpus&lt;/b&gt;.tsv" in text


def test_the_verdict_stands_on_top_with_its_reasons(run):
    text = (run / "report.html").read_text()
    verdict = runfolder.read_json(run)["verdict"]
    assert verdict["outcome"] == "fail"
    assert text.index('id="verdict">FAIL') < text.index("errors&lt;1% missed: errors is") < text.index("<h2>Objective</h2>")


def test_the_report_is_rebuilt_from_the_folder_alone(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    for name in ("report.html", "junit.xml", "summary.md"):
        (copy / name).unlink()
    fold.show(copy)
    for name in ("junit.xml", "summary.md"):
        assert (copy / name).read_text() == (run / name).read_text()
    assert tables(copy / "report.html") == tables(run / "report.html")


def tables(page: Path) -> list[str]:
    return re.findall("<table>.*?</table>", page.read_text(), re.DOTALL)


def test_the_samples_are_read_back_as_they_were_written(tmp_path):
    found = fail(stalled(), np.arange(len(stalled())) % 7 == 0, samples.DROPPED)
    read = runfolder.read_parquet(make(tmp_path / "run", found))
    for name in ("intended_s", "sent_s", "done_s", "outcome", "tokenize_ms", "infer_ms", "bytes", "tokens"):
        np.testing.assert_array_equal(read.rows[name], found[name], err_msg=name)
    assert [read.utterances[number] for number in read.rows["utterance"]] == [UTTERANCES[n] for n in found["utterance"]]
    assert read.labelled.tolist() == (found["utterance"] != 2).tolist()
    labels = [*read.labels, None]  # -1 is the last
    assert [labels[n] for n in read.rows["predicted"]] == [[SPITEFUL, "order", None][n] for n in found["predicted"]]
    assert set(read.worker) == {0}


@pytest.mark.parametrize(
    ("found", "facts", "outcome"),
    [
        (np.empty(0, samples.DTYPE), FACTS, "invalid"),
        (stalled()[:3], None, "invalid"),
        (fail(stalled(), np.ones(len(stalled()), bool), samples.CONNECT), FACTS, "fail"),
    ],
    ids=["no samples", "cut after three", "never answered"],
)
def test_there_is_a_report_of_the_worst_runs_too(tmp_path, found, facts, outcome):
    folder = make(tmp_path / "run", found, facts)
    assert f'id="verdict">{outcome.upper()}' in (folder / "report.html").read_text()
    assert runfolder.read_json(folder)["verdict"]["outcome"] == outcome
    fold.show(folder)


def damaged(folder: Path, how: str) -> None:
    if how == "truncated samples":
        data = (folder / "samples.parquet").read_bytes()
        (folder / "samples.parquet").write_bytes(data[: len(data) // 2])
    elif how == "no samples":
        (folder / "samples.parquet").unlink()
    elif how == "other samples":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"a": [1]}), folder / "samples.parquet")
    elif how == "truncated header":
        (folder / "run.json").write_text((folder / "run.json").read_text()[:500])
    else:
        content = json.loads((folder / "run.json").read_text())
        content |= {"schema": 2} if how == "next schema" else {"verdict": None} if how == "no verdict" else {"summary": {}}
        (folder / "run.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated samples", "samples.parquet cannot be read"),
        ("no samples", "has no samples.parquet: copy the whole folder of the run"),
        ("other samples", "samples.parquet cannot be read"),
        ("truncated header", "run.json cannot be read"),
        ("next schema", "has schema 2, this version of chatload reads schema 1"),
        ("no verdict", "run.json is damaged or of another version of chatload"),
        ("no summary", "run.json is damaged or of another version of chatload"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(run, tmp_path, how, message):
    folder = shutil.copytree(run, tmp_path / "run")
    damaged(folder, how)
    with pytest.raises(runfolder.RunFolderError) as caught:
        fold.show(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line_gives_that_line_and_exit_code_2(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    damaged(folder, "next schema")
    command = [sys.executable, "-m", "chatload", "report", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("chatload: ")
    assert done.stderr.count("\n") == 1
