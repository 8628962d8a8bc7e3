"""Stand-in: texts that take the place of others: as long, of as many words and tokens, and saying nothing.

Words are drawn at random by a key that nobody keeps, anew for every text: a word that is frequent in a log is replaced by
another in every text, so that neither a dictionary nor the frequency of words leads back. Equal texts have equal stand-ins.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

_CONSONANTS, _VOWELS, _LETTERS = "bcdfghjklmnprstvz", "aeiou", "abcdefghijklmnopqrstuvwxyz"
_UNKNOWN_LETTERS = "ꙮꜿꝏᚠᛟⰀⴳ"  # letters of old scripts, of which a vocabulary lacks at least one
_TRIED = 400  # new words of a length and a number of tokens, where the vocabulary has few
_FEW = 20
_ATTEMPTS = 40  # draws for a text until its stand-in has its tokens and is nobody else's
_SHORT = 24  # characters up to which two texts could get one stand-in by chance
_RUN = r"[^\W\d_]+"  # letters in a row
_IDEOGRAPHS = (0x4E00, 0x9FA5)


@dataclass(frozen=True)
class Word:
    """A word of a text from ``start`` to ``end`` that makes ``tokens`` of them; 0: not known."""

    start: int
    end: int
    tokens: int


@dataclass(frozen=True)
class Language:
    """How a text falls into words, and what new ones are made of.

    ``count`` gives the tokens of a text; None where no tokenizer is known. ``heads`` are words of one token each,
    ``tails`` pieces that make one more token after a head.
    """

    split: Callable[[str], Sequence[Word]]
    heads: Sequence[str] = field(repr=False)
    tails: Sequence[str] = field(default=(), repr=False)
    count: Callable[[str], int] | None = None


def split_plainly(text: str) -> list[Word]:
    """Words as people see them: what stands between blanks and ASCII punctuation, numbers apart from letters."""
    found = re.finditer(r"[0-9]+|[^\s!-/:-@\[-`{-~0-9]+", text)
    return [Word(match.start(), match.end(), 0) for match in found]


@dataclass
class StandIns:
    """Makes the stand-ins of one log. ``missed``: texts whose number of tokens was not met; ``shared``: texts that had to
    take the stand-in of another, since no other of their length was left."""

    language: Language
    secret: bytes
    missed: int = 0
    shared: int = 0
    _pools: dict[tuple[int, int, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    _taken: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._heads, self._tails = _by_length(self.language.heads), _by_length(self.language.tails)
        self._unknown = self._unknown_letter()
        self._growing = np.random.default_rng(int.from_bytes(self.secret))  # pools are no text's: equal texts draw alike

    def of(self, text: str) -> str:
        """The stand-in of a text, of the same length; the same for equal texts."""
        words = self.language.split(text)
        wanted = sum(word.tokens for word in words)
        mark = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self.secret, digest_size=16).digest()
        kept = ""
        for attempt in range(_ATTEMPTS):
            generator = np.random.default_rng([attempt, int.from_bytes(mark)])
            drawn = self._draw(text, words, generator)
            if self.language.count is not None and self.language.count(drawn) != wanted:
                continue
            kept = drawn
            if len(text) > _SHORT or self._taken.setdefault(drawn, mark) == mark:
                return drawn
        self.missed += not kept
        self.shared += bool(kept)
        return kept or drawn

    def _draw(self, text: str, words: Sequence[Word], generator: np.random.Generator) -> str:
        banned = set(re.findall(_RUN, text.lower()))
        parts: list[str] = []
        end = 0
        for word in words:
            old = text[word.start : word.end]
            parts += [_neutral(text[end : word.start]), self._word(old, word.tokens, banned, generator)]
            end = word.end
        return "".join([*parts, _neutral(text[end:])])

    def _word(self, old: str, tokens: int, banned: set[str], generator: np.random.Generator) -> str:
        if not any(letter.isalnum() for letter in old):
            return old  # punctuation and symbols
        pool = self._pool(old, tokens)
        for _ in range(_ATTEMPTS if pool else 0):
            drawn = pool[generator.integers(len(pool))]
            if drawn != old.lower() and not banned & set(re.findall(_RUN, drawn)):
                return drawn
        return self._odd(old, tokens, banned, generator)

    def _pool(self, old: str, tokens: int) -> list[str]:
        """Words of the length and the number of tokens of an old one; grown when first asked for."""
        kind = "digits" if re.fullmatch("[0-9]+", old) else ("ideograph" if _is_ideograph(old) else "letters")
        key = (len(old), tokens, kind)
        if key not in self._pools:
            if kind == "letters" and tokens <= 1:
                self._pools[key] += self._heads.get(len(old), [])
            if len(self._pools[key]) < _FEW:
                self._pools[key] += self._grown(key)
        return self._pools[key]

    def _grown(self, key: tuple[int, int, str]) -> list[str]:
        (length, tokens, kind), generator = key, self._growing
        makers: dict[str, Callable[[], str]] = {
            "digits": lambda: _any_of("0123456789", length, generator),
            "ideograph": lambda: "".join(chr(generator.integers(*_IDEOGRAPHS)) for _ in range(length)),
            "letters": lambda: self._composed(length, tokens, generator),
        }
        found = {self._fitting(makers[kind](), tokens) for _ in range(_TRIED)} - {""}
        return sorted(found)

    def _fitting(self, made: str, tokens: int) -> str:
        """What was made, where it has so many tokens; else nothing."""
        return made if self.language.count is None or self.language.count(made) == tokens else ""

    def _composed(self, length: int, tokens: int, generator: np.random.Generator) -> str:
        """A head and tails, one a token, that are ``length`` together; without a tokenizer a word that can be spoken."""
        if self.language.count is None:
            return "".join(_any_of((_CONSONANTS, _VOWELS)[place % 2], 1, generator) for place in range(length))
        if not 1 < tokens <= length:
            return _any_of(_LETTERS, length, generator)
        cuts = np.sort(generator.choice(np.arange(1, length), tokens - 1, replace=False))
        sizes = np.diff(cuts, prepend=0, append=length).tolist()
        pieces = [self._heads.get(sizes[0], [])] + [self._tails.get(size, []) for size in sizes[1:]]
        return "".join(
            piece[generator.integers(len(piece))] if piece else _any_of(_LETTERS, size, generator)
            for piece, size in zip(pieces, sizes, strict=True)
        )

    def _odd(self, old: str, tokens: int, banned: set[str], generator: np.random.Generator) -> str:
        """Where no pool has another word: one unknown to the tokenizer, which is one token, or letters of its script."""
        drawn = ""
        for _ in range(5 * _ATTEMPTS):
            if tokens == 1 and self._unknown:
                drawn = self._unknown + _any_of(_LETTERS, len(old) - 1, generator)
            else:
                drawn = "".join(_akin(letter, generator) for letter in old)
            if self._fitting(drawn, tokens) and not banned & set(re.findall(_RUN, drawn.lower())):
                break
        return drawn

    def _unknown_letter(self) -> str:
        """A letter with which a word of any length is one token, since the tokenizer does not know it; empty for none."""
        count = self.language.count
        if count is None:
            return ""
        return next((one for one in _UNKNOWN_LETTERS if count(one) == count(f"{one}qxzjk") == 1), "")


def _by_length(words: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for word in sorted(set(words)):
        found[len(word)].append(word)
    return dict(found)


def _any_of(letters: str, count: int, generator: np.random.Generator) -> str:
    return "".join(letters[place] for place in generator.integers(len(letters), size=count))


def _akin(letter: str, generator: np.random.Generator) -> str:
    """A letter or digit near this one in Unicode: of the same script, mostly."""
    if not letter.isalnum():
        return letter
    near = [chr(point) for point in range(ord(letter) & ~0x7F, (ord(letter) | 0x7F) + 1)]
    alike = [one for one in near if one.isalpha() == letter.isalpha() and one.isalnum() and one.lower() != letter.lower()]
    return alike[generator.integers(len(alike))] if alike else "x"


def _is_ideograph(word: str) -> bool:
    return all(_IDEOGRAPHS[0] <= ord(letter) <= _IDEOGRAPHS[1] for letter in word)


def _neutral(between: str) -> str:
    """What stands between words: every white space a blank, no letter."""
    return "".join(" " if one.isspace() else ("-" if one.isalnum() else one) for one in between)
