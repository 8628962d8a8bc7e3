"""Groups: latency and accuracy of parts of a run's samples, in the form in which run.json's summary has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chatload import mix, noise, samples, statistics
from chatload.corpus import Utterance

_SHARES = (0.50, 0.90, 0.99)
_TOKENS: tuple[int, ...] = (1, 9, 17, 33, 65, 129, 257)  # a text belongs to the last of these that it has tokens for
_WORDS: tuple[int, ...] = (1, 4, 7, 11, 16, 26)
_LAST_TURN = 6  # this one and all after it are one group: few sessions are that long


def by_length(rows: np.ndarray, utterances: Sequence[Utterance], labels: Sequence[str]) -> dict[str, dict]:
    """The groups of rows (as in summarise) by the length of their text, in tokens where the answers told them, or in words.

    An arrival without an answer has the tokens that the same text had in another one; where there is none, its length is
    unknown.
    """
    tokens = _tokens(rows)
    if tokens.any():
        counts, least, unit = tokens, _TOKENS, "tokens"
    else:
        counts, least, unit = _words(rows, utterances), _WORDS, "words"
    names = [f"{since} to {until - 1} {unit}" for since, until in zip(least, least[1:], strict=False)]
    names += [f"{least[-1]} or more {unit}", f"unknown {unit}"]
    codes = np.searchsorted(least, counts, side="right") - 1
    return summarise(rows, _labelled(rows, utterances), np.where(codes < 0, len(least), codes), names, labels)


def by_intent(rows: np.ndarray, utterances: Sequence[Utterance], labels: Sequence[str]) -> dict[str, dict]:
    """The groups of rows (as in summarise) by the intent of their utterance; those without intent are in none."""
    names = sorted({utterance.intent for utterance in utterances} - {""})
    code = {name: place for place, name in enumerate(names)} | {"": -1}
    codes = np.array([code[utterance.intent] for utterance in utterances], dtype=np.int64)[rows["utterance"]]
    return summarise(rows, codes >= 0, codes, names, labels)


def by_turn(rows: np.ndarray, labelled: np.ndarray) -> dict[str, dict]:
    """The groups of rows (as in summarise) by the turn of their session: "1", "2", ... "6+"; empty without sessions."""
    names = [str(turn) for turn in range(1, _LAST_TURN)] + [f"{_LAST_TURN}+"]
    return summarise(rows, labelled, np.minimum(rows["turn"], _LAST_TURN).astype(np.int64) - 1, names)


def summarise(
    rows: np.ndarray, labelled: np.ndarray, codes: np.ndarray, names: Sequence[str], labels: Sequence[str] | None = None
) -> dict[str, dict]:
    """The groups that occur, by name: {"count", "latency_ms": {"p50", "p90", "p99"}, "accuracy": {...}}.

    ``rows`` (samples.DTYPE) are in order of intended time; for each of them ``labelled`` says whether its utterance has a
    known intent, ``codes`` the index of its group's name, below 0 for none. Estimates stand as statistics gives them. With
    ``labels``, which ``predicted`` indexes, a group has "mistaken_for" too: its most frequent wrong intent, or "".
    """
    found = {}
    for code, name in enumerate(names):
        members = codes == code
        if members.any():
            found[name] = _group(rows[members], labelled[members])
            if labels is not None:
                found[name]["mistaken_for"] = _mistaken_for(rows[members], labelled[members], labels)
    return found


def _group(rows: np.ndarray, labelled: np.ndarray) -> dict:
    latency_ms = samples.latency_ms(rows)
    ordered = np.sort(latency_ms)
    correct = rows["outcome"][samples.answered(rows) & labelled] == samples.OK
    return {
        "count": len(rows),
        "latency_ms": {
            statistics.percentile_name(share): statistics.percentile(latency_ms, share, ordered) for share in _SHARES
        },
        "accuracy": {
            "checked": len(correct),
            "correct": int(np.count_nonzero(correct)),
            "share": statistics.proportion(correct),
        },
    }


def _mistaken_for(rows: np.ndarray, labelled: np.ndarray, labels: Sequence[str]) -> str:
    wrong = rows["predicted"][labelled & (rows["outcome"] == samples.WRONG) & (rows["predicted"] >= 0)]
    return labels[int(np.bincount(wrong).argmax())] if len(wrong) else ""


def _labelled(rows: np.ndarray, utterances: Sequence[Utterance]) -> np.ndarray:
    return np.array([bool(utterance.intent) for utterance in utterances], dtype=bool)[rows["utterance"]]


def _tokens(rows: np.ndarray) -> np.ndarray:
    """The tokens of each row's text, 0 where no answer to this text told them."""
    tokens = rows["tokens"].astype(np.int64)
    told = tokens > 0
    if told.all() or not told.any():
        return tokens
    texts = rows["utterance"].astype(np.uint64) << np.uint64(32) | rows["variant"]
    known, first = np.unique(texts[told], return_index=True)
    place = np.minimum(np.searchsorted(known, texts[~told]), len(known) - 1)
    tokens[~told] = np.where(known[place] == texts[~told], tokens[told][first[place]], 0)
    return tokens


def _words(rows: np.ndarray, utterances: Sequence[Utterance]) -> np.ndarray:
    words = np.array([mix.word_count(utterance.text) for utterance in utterances], dtype=np.int64)[rows["utterance"]]
    return words + (rows["variant"] & noise.REFERENCE > 0)
