"""The run folder: the texts that were sent, made again."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from chatload import arrivals, messages, noise, runfolder, samples
from chatload.corpus import Utterance

UTTERANCES = [
    Utterance("where is my order, please", "order", ""),
    Utterance("hi there!", "greet", ""),
    Utterance("ok", "", ""),
]
TEXTS = [utterance.text for utterance in UTTERANCES]
SEED = 7
DRAWING = messages.Drawing(None, noise.Noise(0.2, 0.3, 0.3), 0.4)


def play(count: int) -> tuple[runfolder.Rows, list[str]]:
    """Rows of two processes, all answered, and the texts that they sent."""
    rows = np.zeros(2 * count, samples.DTYPE)
    sent = []
    for worker in (0, 1):
        drawn = list(islice(messages.draw(TEXTS, DRAWING, arrivals.seeds(SEED, worker), worker), count))
        part = rows[worker * count : (worker + 1) * count]
        part["utterance"], part["variant"] = np.array(drawn).T
        part["intended_s"] = np.arange(count) + worker / 2
        part["sent_s"] = part["done_s"] = part["intended_s"]
        sent += [noise.vary(TEXTS[index], variant, SEED, worker) for index, variant in drawn]
    return runfolder.Rows(rows, np.repeat(np.array([0, 1], np.int16), count), ["order"], UTTERANCES), sent


@pytest.fixture(params=[25, 10_000])
def piece(request, monkeypatch):
    """Rows written at a time."""
    monkeypatch.setattr(runfolder, "_FOLD_ROWS", request.param)


@pytest.mark.usefixtures("piece")
def test_samples_name_the_texts_that_were_sent(tmp_path: Path):
    found, sent = play(300)
    runfolder.write_parquet(tmp_path, found, SEED)
    table = pyarrow.parquet.read_table(tmp_path / "samples.parquet")
    assert table["utterance"].to_pylist() == sent
    assert table["intent"].to_pylist() == [UTTERANCES[number].intent or None for number in found.rows["utterance"]]
    assert len(set(sent)) > 300


@pytest.mark.usefixtures("piece")
def test_they_are_read_back(tmp_path: Path):
    found, sent = play(300)
    runfolder.write_parquet(tmp_path, found, SEED)
    again = runfolder.read_parquet(tmp_path)
    assert [again.utterances[number].text for number in again.rows["utterance"]] == sent
    assert not again.rows["variant"].any()


def test_what_had_come_before_is_counted():
    found, sent = play(2_000)
    order = np.argsort(found.rows["intended_s"], kind="stable")
    seen: Counter[str] = Counter()
    expected = np.zeros(len(sent), bool)
    for place in order.tolist():
        expected[place] = seen[sent[place]] > 0
        seen[sent[place]] += 1
    repeated = messages.repeated(found.rows, found.worker, TEXTS)
    assert np.array_equal(repeated, expected)
    assert repeated.mean() == pytest.approx(0.4, abs=0.04)
