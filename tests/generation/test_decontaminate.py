"""Decontamination: upstream's hits exactly, the gaps it has closed, and the evidence."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openr1.generation.decontaminate import Index, summary
from openr1.generation.ngrams import words

ENGLISH = "Let $n$ be the smallest positive integer such that $n^2+1$ is divisible by seventeen. Find $n$."
CHINESE = "设函数满足对任意实数都有下列等式成立，求所有这样的函数。"
SETS = {
    "math": ["What is the capital of the country in which Euler was born?", ENGLISH],
    "aime": [CHINESE, "Find $2+2$."],
}


def plain(text: str, items: Sequence[str], n: int) -> bool:
    """Upstream's rule, spelt out: lower case, white space collapsed, any shared word n-gram."""

    def grams(of: str) -> set[tuple[str, ...]]:
        found = of.lower().split()
        return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}

    return any(grams(text) & grams(item) for item in items)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_compatible_mode_flags_what_the_plain_rule_flags(n: int, seed: int) -> None:
    """Few words, so that n-grams, and near misses of every length and offset, abound."""
    dice = random.Random(seed)
    text = lambda: " ".join(dice.choices("ab", k=dice.randint(0, 24)))  # noqa: E731
    items = [text() for _ in range(dice.randint(0, 4))]
    index = Index({"s": items}, n, "open-r1")
    for _ in range(10):
        document = text()
        assert index.is_contaminated(document) is plain(document, items, n)
        hits = index.hits(document)
        assert {hit.item for hit in hits} == {i for i, item in enumerate(items) if plain(document, [item], n)}
        for hit in hits:
            assert hit.ngram in document and hit.ngram in items[hit.item]


@pytest.mark.parametrize(
    ("document", "item"),
    [
        (ENGLISH, ("math", 1)),
        (f"A question for you: {ENGLISH.upper()} Thank you.", ("math", 1)),
        (ENGLISH.replace("$", ""), ("math", 1)),  # upstream: no hit
        (ENGLISH.replace("$n$", r"\(n\)").replace("n^2+1", r"n^{2} + 1"), ("math", 1)),
        (ENGLISH.replace(" ", "\u3000"), ("math", 1)),  # wide spaces
        ("Ｗｈａｔ ｉｓ the capital of the country in which Euler was born?", ("math", 0)),  # NFKC
        (f"请回答：{CHINESE}谢谢", ("aime", 0)),
        (
            f"Please solve this problem. {CHINESE} Thank you for your kind help with it, my friend.",
            ("aime", 0),
        ),
        (r"find $2 + 2$", ("aime", 1)),  # shorter than eight words: by its whole text
    ],
)
def test_strict_sees_through_the_spelling(document: str, item: tuple[str, int]) -> None:
    index = Index(SETS)
    assert index.is_contaminated(document)
    assert item in {(hit.set, hit.item) for hit in index.hits(document)}


@pytest.mark.parametrize(
    "document",
    [
        "",
        "Find $2+3$.",
        "Find $2+2$ and then say in which year Gauss was born.",  # a short item in a longer text
        "Let $n$ be the largest negative integer such that it is even.",
        "设函数满足条件，求其最大值。",
        "What is the capital of France?",
    ],
)
def test_strict_leaves_others_alone(document: str) -> None:
    index = Index(SETS)
    assert not index.is_contaminated(document)
    assert index.hits(document) == []


def test_upstreams_gaps_are_gaps_in_the_compatible_mode() -> None:
    index = Index(SETS, match="open-r1")
    assert index.is_contaminated(ENGLISH)
    for document in (CHINESE, ENGLISH.replace("$", ""), "Find $2+2$."):
        assert not index.is_contaminated(document)


def test_formulas_alone_are_no_evidence() -> None:
    formula = "$a^2 + b^2 + c^2 = 2ab + 2bc + 2ca$"
    index = Index({"s": [f"Prove it for all positive real numbers a and b: {formula} holds."]})
    assert not index.is_contaminated(f"Is it true that {formula} whenever they are equal to one another?")
    assert Index({"s": [formula]}).is_contaminated(f"${formula.strip('$')}$")  # the whole text, though


def test_evidence_names_every_set_and_item_and_the_words() -> None:
    index = Index({"a": ["zero", ENGLISH], "b": [ENGLISH]})
    hits = index.hits(f"x {ENGLISH}")
    assert {(h.set, h.item) for h in hits} == {("a", 1), ("b", 0)}
    assert all(len(h.ngram.split()) == 8 for h in hits)
    assert hits[0].ngram == "let n be the smallest positive integer such"
    found = summary([hits, index.hits(ENGLISH), []])
    assert found["by_set"] == {"a": 2, "b": 2}
    assert found["most_shared"] == [{"ngram": hits[0].ngram, "documents": 2}]


def test_what_a_word_is() -> None:
    assert words(r"\left( \dfrac{1}{2} \right),\ Find $X_{12}$", "strict") == [
        "frac",
        "1",
        "2",
        "find",
        "x",
        "12",
    ]
    assert words("求x的值", "strict") == ["求", "x", "的", "值"]
    assert words(r"Find  $X_{12}$,", "open-r1") == ["find", "$x_{12}$,"]
