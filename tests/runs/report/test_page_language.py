"""The page of a run in the reader's language; what models wrote and programs read stays as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openr1.runs.report import page
from openr1.runs.report.story import tell
from tests.runs.report.test_bad_input import Page, completion, make, render

HAN = re.compile("[一-鿿]")


def test_a_page_in_chinese_has_chinese_heads_and_leaves_the_model_s_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"step": n, "loss": 0.1 * n, "reward": 0.0} for n in range(1, 21)]
    made = make(tmp_path / "run", rows, [completion("none"), completion("unknown", 0.0)])
    english = render(made)
    assert '<html lang="en">' in english and not HAN.search(english)
    monkeypatch.setenv("OPENR1_LANG", "zh")
    html = render(made)
    assert '<html lang="zh">' in html
    heads = re.findall(r"<h[24]>([^<]+)", html)
    assert len(heads) >= 6 and not [head for head in heads if not HAN.search(head)]
    assert "奖励一直是 0" in html and "配方：r.yaml:1" in html  # health, and where a value came from
    texts = re.findall(r'<div class="text"[^>]*>([^<]+)', html)
    assert {"none", "unknown"} <= set(texts)


def test_two_runs_in_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENR1_LANG", "zh")
    rows = [{"step": n, "loss": 0.1 * n} for n in range(1, 9)]
    made = [make(tmp_path / name, rows, values={"seed": seed}) for name, seed in (("a", 1), ("b", 2))]
    stories = [[tell(run) for run in entry.runs] for entry in made]
    html = page.render_two(tmp_path, [(e.path.name, e, s) for e, s in zip(made, stories, strict=True)], [])
    assert not [head for head in re.findall(r"<h[124]>([^<]+)", html) if not HAN.search(head)]
    assert "配方：r.yaml:1" in html
    (row,) = page.differences(*(s[0] for s in stories))
    assert row["origins"] == "recipe: r.yaml:1"  # for a program


def test_a_gold_is_shown_in_its_own_letters() -> None:
    """Labels are in capitals; an answer beside one is not: `x` and `X` are two answers."""
    here = Path(page.__file__).parent
    template, css = ((here / name).read_text(encoding="utf-8") for name in ("parts.html.j2", "style.css"))
    assert '<span class="asis">{{ e.gold }}</span>' in template
    assert ".asis { text-transform: none; }" in css and Page("<p>x</p>").text == "x"
