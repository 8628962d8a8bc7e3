"""Whole runs whose messages are drawn by mix, length, noise and repeats: what is sent is what was asked for."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pyarrow.parquet
import pytest

from chatload import arrivals, corpus, corpus_file, messages, noise
from tests.chatload.runs import content

QUIET = ("--headless", "--warmup", "0s", "--objective", "p99<5s,errors<5%", "--rate", "400", "--run-time", "3s")
CORPUS = """text\tintent
hi\tgreet
hello you\tgreet
where is my order\torder
my order of monday has not arrived yet\torder
what is this\tother
"""
DRAWN = ("--mix", "greet=1;order=3", "--lengths", "1-4=3,5-=2", "--noise", "case=0.5", "--repeats", "0.3")


def test_all_options_at_once_over_two_processes(stand_in, locust):
    path = locust.folder / "small.tsv"
    path.write_text(CORPUS)
    arguments = (*QUIET, *DRAWN, "--host", stand_in("null"), "--corpus", str(path))
    done = locust.run(*arguments, "--processes", "2")
    found = content(locust.results)
    table = pyarrow.parquet.read_table(locust.results / "samples.parquet")
    texts, intents = table["utterance"].to_pylist(), Counter(table["intent"].to_pylist())
    count = len(texts)
    assert count > 900
    assert set(intents) == {"greet", "order"}
    assert intents["order"] / count == pytest.approx(0.75, abs=0.12)
    assert sum("arriv" in text.lower() for text in texts) / count == pytest.approx(0.4, abs=0.12)
    shouted = sum(text.upper() == text for text in texts) / count
    assert shouted == pytest.approx(0.25, abs=0.1)
    assert 1 - len(set(texts)) / count == pytest.approx(0.3, abs=0.06)
    assert found["summary"]["repeated"]["value"] == pytest.approx(0.3, abs=0.06)
    assert sum(group["count"] for group in found["summary"]["by_intent"].values()) == found["summary"]["planned"]
    assert "of the messages had come before, word for word" in done.stdout
    assert not (locust.results / "parts").exists()


def test_a_run_sends_what_its_seed_plans(stand_in, locust):
    options = ("--seed", "5", "--noise", "typos=0.5", "--repeats", "0.2")
    locust.run(*QUIET, *options, "--host", stand_in("null"))
    table = pyarrow.parquet.read_table(locust.results / "samples.parquet", columns=["intended_s", "utterance"])
    sent = table.sort_by("intended_s")["utterance"].to_pylist()
    _, utterances = corpus.choose_split(corpus_file.read("corpus/support.tsv"))
    texts = [utterance.text for utterance in utterances]
    drawing = messages.Drawing(None, noise.Noise(typos=0.5), 0.2)
    planned = islice(messages.draw(texts, drawing, arrivals.seeds(5, 0), 0), len(sent))
    assert len(sent) > 900
    assert sent == [noise.vary(texts[utterance], variant, 5, 0) for utterance, variant in planned]


def test_a_mistake_is_one_line_before_the_first_request(locust):
    done = locust.run(*QUIET, "--host", "http://127.0.0.1:1", "--mix", "cancel_subscriptoin=1")
    assert done.returncode == 2
    assert done.stderr.startswith("chatload: what is replayed of the corpus has no utterance with the intent 'cancel_sub")
    assert done.stderr.rstrip().endswith("do you mean cancel_subscription?")
    assert not locust.results.exists()
