"""Noise: how people write: typing errors, capitals, missing punctuation.

A message is an utterance and a *variant*, a whole number from which its text can be made again: its lowest bits say what
was done to the utterance, the others are a serial number that no other message of its process has. Variant 0 is the
utterance as it stands.
"""

from __future__ import annotations

import hashlib
import struct
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

TYPOS, CASE, PUNCTUATION, REFERENCE = 1, 2, 4, 8  # what a variant's lowest bits say
SERIALS = 10**8  # after so many messages with a variant, the serial numbers of a process begin again
_KIND_BITS = 4
_MOST_BYTES = 8192  # CONTRACT.md
_REFERENCE_LETTERS = 10
_PROCESSES = 100  # whose references differ
_LETTERS_PER_TYPO = 40
_MOST_TYPOS = 5
_NUMBERS = struct.Struct("<16I")

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {
    letter: (row[place - 1] if place else "") + row[place + 1 : place + 2]
    for row in _ROWS
    for place, letter in enumerate(row)
}


class NoiseError(ValueError):
    """Noise that cannot be made; the message says what was asked and what would be right."""


@dataclass(frozen=True)
class Noise:
    """The share of messages, 0 to 1, that each kind of noise is put into, independently of the others."""

    typos: float = 0.0
    case: float = 0.0
    punctuation: float = 0.0


def parse(text: str) -> Noise:
    """Noise from such as ``typos=0.05,case=0.2,punctuation=0.3``; none from an empty text. Raises NoiseError."""
    shares: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, _, share = (piece.strip() for piece in part.partition("="))
        if kind not in Noise.__dataclass_fields__ or kind in shares:
            raise NoiseError(f"{part!r}: write typos=, case= and punctuation=, each once, such as typos=0.05,case=0.2")
        shares[kind] = parse_share(share)
    return Noise(**shares)


def parse_share(text: str) -> float:
    """A share from 0 to 1. Raises NoiseError."""
    try:
        share = float(text)
    except ValueError:
        raise NoiseError(f"{text!r} is no number; a share is one from 0 to 1, such as 0.05") from None
    if not 0 <= share <= 1:
        raise NoiseError(f"{text} is not from 0 to 1; 5 % of the messages are 0.05")
    return share


def variant(kinds: int, serial: int) -> int:
    """The variant with these kinds of noise, at least one, and this serial number below SERIALS."""
    return serial << _KIND_BITS | kinds


def vary(text: str, variant: int, seed: int, worker: int) -> str:
    """The text of a message: an utterance's ``text`` with the noise of ``variant``, in generator process ``worker``.

    Never blank where the utterance is not, and never above the contract's 8192 bytes. Noise that finds nothing to change,
    such as capitals for a text without letters, leaves the text as it is.
    """
    if not variant:
        return text
    numbers = _NUMBERS.unpack(hashlib.blake2b(f"{seed}/{worker}/{variant}".encode()).digest())
    if variant & PUNCTUATION:
        text = _without_punctuation(text) or text
    if variant & TYPOS:
        text = _mistyped(text, numbers[2:])
    if variant & CASE:
        text = _in_other_case(text, numbers[0])
    if not variant & REFERENCE:
        return _cut(text, _MOST_BYTES)
    mark = reference(seed, worker, variant >> _KIND_BITS)
    return f"{_cut(text, _MOST_BYTES - len(mark) - 1)} {mark}"


def reference(seed: int, worker: int, serial: int) -> str:
    """Such as #4821305577: as an order's number, another for each serial number below SERIALS of each of 100 processes."""
    place = worker % _PROCESSES * SERIALS + serial
    # A factor that shares none with ten makes another number of each: the order of sending does not show.
    return f"#{(place * 7_320_508_081 + seed * 1_414_213_562) % 10**_REFERENCE_LETTERS:0{_REFERENCE_LETTERS}d}"


def has_reference(text: str) -> bool:
    """Whether a text ends as one with a reference does."""
    last = text.split()[-1] if text.strip() else ""
    return len(last) == _REFERENCE_LETTERS + 1 and last[0] == "#" and last[1:].isascii() and last[1:].isdigit()


def _without_punctuation(text: str) -> str:
    """Without punctuation, but for that between digits (12.50); empty where nothing but white space would be left."""
    padded = f" {text} "
    kept = [
        here
        for before, here, after in zip(padded, text, padded[2:], strict=False)
        if here.isalnum() or unicodedata.category(here)[0] != "P" or (before.isdigit() and after.isdigit())
    ]
    bare = "".join(kept)
    return bare if bare.strip() else ""


def _in_other_case(text: str, number: int) -> str:
    """In small letters, in CAPITALS or With a first capital: one of those that change the text, if any."""
    cases = (text.lower(), text.upper(), text[:1].upper() + text[1:].lower())
    others = [case for case in cases if case != text]
    return others[number % len(others)] if others else text


def _mistyped(text: str, numbers: Sequence[int]) -> str:
    """With a typing error, and one more for every 40 letters; ``numbers`` are two a typing error."""
    letters = sum(map(str.isalpha, text))
    for typo in range(min(1 + letters // _LETTERS_PER_TYPO, _MOST_TYPOS)):
        places = [place for place, here in enumerate(text) if here.isalpha()]
        if places:
            text = _slip(text, places[numbers[2 * typo] % len(places)], numbers[2 * typo + 1])
    return text


def _slip(text: str, place: int, number: int) -> str:
    """One typing error at a letter: swapped with the next, left out, doubled, or the key beside it, if that can be."""
    first = number % len(_SLIPS)
    for slip in _SLIPS[first:] + _SLIPS[:first]:
        slipped = slip(text, place, number // len(_SLIPS))
        if slipped != text and slipped.strip():
            return slipped
    return text


def _swapped(text: str, place: int, _: int) -> str:
    here, after = text[place], text[place + 1 : place + 2]
    return text[:place] + after + here + text[place + 2 :] if after.isalpha() else text


def _left_out(text: str, place: int, _: int) -> str:
    return text[:place] + text[place + 1 :]


def _doubled(text: str, place: int, _: int) -> str:
    return text[: place + 1] + text[place:]


def _beside(text: str, place: int, number: int) -> str:
    here = text[place]
    keys = _BESIDE.get(here.lower(), here)
    key = keys[number % len(keys)]
    return text[:place] + (key.upper() if here.isupper() else key) + text[place + 1 :]


_SLIPS: tuple[Callable[[str, int, int], str], ...] = (_swapped, _left_out, _doubled, _beside)


def _cut(text: str, most_bytes: int) -> str:
    """The text, or as much of its beginning as has so many bytes of UTF-8."""
    # A character has at most four bytes, so most texts need not be encoded to know.
    if len(text) * 4 <= most_bytes:
        return text
    return text.encode()[:most_bytes].decode(errors="ignore")
