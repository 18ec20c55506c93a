"""Which problems are in an evaluation set, and by which words. Pure; see `ngrams` for what a word is.

A problem is contaminated when it shares n consecutive words with a test item. Every n-gram of the test items
is in one table. A document is not looked up n-gram by n-gram: any window of n words holds a whole block of
(n + 1) // 2 words that begins at a multiple of n - (n + 1) // 2 + 1, so only those blocks are looked up, and
the n-grams around a block that is known. Both look-ups compare the words themselves: nothing is guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from openr1.generation.ngrams import Match, is_cjk, tells, words

NGRAM = 8
CJK_RATIO = 13 / 8
"""CJK characters per word: eight words of Chinese are about thirteen characters."""


@dataclass(frozen=True)
class Hit:
    """A test item that a document shares words with.

    Args:
        set: the evaluation set.
        item: number of the item in it, from 0.
        ngram: the shared words; the whole text for an item shorter than an n-gram.
    """

    set: str
    item: int
    ngram: str


@dataclass
class _Table:
    """The n-grams of one n, and the blocks by which they are found."""

    n: int
    grams: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    blocks: set[str] = field(default_factory=set)

    @property
    def block(self) -> int:
        return (self.n + 1) // 2

    @property
    def stride(self) -> int:
        return self.n - self.block + 1

    def add(self, found: list[str], start: int, place: tuple[str, int]) -> None:
        gram = found[start : start + self.n]
        places = self.grams.setdefault(" ".join(gram), [])
        if place not in places:
            places.append(place)
        for at in range(self.n - self.block + 1):
            self.blocks.add(" ".join(gram[at : at + self.block]))

    def shared(self, found: list[str]) -> Iterator[str]:
        """The n-grams of a document that are in the table, in order; some may come twice."""
        n, block, blocks, grams = self.n, self.block, self.blocks, self.grams
        last = len(found) - n
        if last < 0:
            return
        for at in range(0, len(found) - block + 1, self.stride):
            if " ".join(found[at : at + block]) in blocks:
                for start in range(max(0, at + block - n), min(at, last) + 1):
                    gram = " ".join(found[start : start + n])
                    if gram in grams:
                        yield gram


class Index:
    """The test items of some evaluation sets, ready to be compared with any number of documents.

    Args:
        sets: name -> its problems.
        n: words per n-gram.
        match: see `ngrams`.
    """

    def __init__(self, sets: Mapping[str, Sequence[str]], n: int = NGRAM, match: Match = "strict") -> None:
        self.match, self.n = match, n
        self.sets = {name: list(items) for name, items in sets.items()}
        self._words = _Table(n)
        self._cjk = _Table(max(n, round(n * CJK_RATIO)))
        self._whole: dict[str, list[tuple[str, int]]] = {}
        self._longest_whole = 0
        for name, items in self.sets.items():
            for number, text in enumerate(items):
                self._add(text, (name, number))

    def _add(self, text: str, place: tuple[str, int]) -> None:
        found = words(text, self.match)
        table = self._cjk if self.match == "strict" and found and is_cjk(found) else self._words
        starts = range(len(found) - table.n + 1)
        if self.match == "strict":
            starts_that_tell = [s for s in starts if tells(found[s : s + table.n])]
            if not starts_that_tell and found:  # too short, or nothing but formulas: by its whole text
                self._whole.setdefault(" ".join(found), []).append(place)
                self._longest_whole = max(self._longest_whole, len(found))
            for start in starts_that_tell:
                table.add(found, start, place)
        else:
            for start in starts:
                table.add(found, start, place)

    def _tables(self, text: str) -> tuple[_Table, ...]:
        """Where a document is looked up: an English frame may hold a Chinese problem."""
        return (self._words,) if self.match == "open-r1" or text.isascii() else (self._words, self._cjk)

    def is_contaminated(self, text: str) -> bool:
        """Whether a document shares words with any test item; stops at the first."""
        found = words(text, self.match)
        for table in self._tables(text):
            if next(table.shared(found), None) is not None:
                return True
        return len(found) <= self._longest_whole and " ".join(found) in self._whole

    def hits(self, text: str) -> list[Hit]:
        """The evidence: every test item a document shares words with, each with the first words shared."""
        found = words(text, self.match)
        by_place: dict[tuple[str, int], str] = {}
        for table in self._tables(text):
            for gram in table.shared(found):
                for place in table.grams[gram]:
                    by_place.setdefault(place, gram)
        whole = " ".join(found)
        for place in self._whole.get(whole, ()):
            by_place.setdefault(place, whole)
        return [Hit(name, number, gram) for (name, number), gram in by_place.items()]


def summary(found: Iterable[Sequence[Hit]], top: int = 5) -> dict[str, object]:
    """Contaminated documents by set, and the n-grams that most of them share: boilerplate shows there."""
    by_set, by_gram = Counter[str](), Counter[str]()
    for hits in found:
        by_set.update({hit.set for hit in hits})
        by_gram.update({hit.ngram for hit in hits})
    return {
        "by_set": dict(by_set.most_common()),
        "most_shared": [{"ngram": gram, "documents": count} for gram, count in by_gram.most_common(top)],
    }
