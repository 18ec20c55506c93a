"""Prompt templates: what a row becomes, and every way in which one can be wrong, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from openr1.errors import RecipeError
from openr1.generation.source import Source, conversations, has_backspace
from openr1.generation.template import PromptTemplate

ROW = {"problem": "1+1?", "answer": "2", "messages": []}
SEEDS_OWN = """\
You will be given a problem. Please reason step by step, and put your final answer within \\boxed{}:
{{ instruction }}"""


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (SEEDS_OWN, SEEDS_OWN.replace("{{ instruction }}", "1+1?")),
        ("{{ problem }} (answer: {{ answer|upper }})", "1+1? (answer: 2)"),
        ("Within \\boxed{}: {prompt}", "Within \\boxed{}: 1+1?"),  # generate_reasoning.py's form
        ("{{ instruction }}\n", "1+1?\n"),
        ("{% if answer %}{{ instruction }}{% endif %}", "1+1?"),
    ],
)
def test_what_a_row_becomes(text: str, made: str) -> None:
    assert PromptTemplate(text).render(ROW, "1+1?") == made


def test_a_template_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "t.jinja"
    file.write_text("Q: {{ instruction }}")
    assert PromptTemplate(str(file)).render(ROW, "x") == "Q: x"
    with pytest.raises(RecipeError, match="cannot be read"):
        PromptTemplate(str(tmp_path / "none.jinja"))


def test_what_is_no_jinja_is_told_with_its_line() -> None:
    with pytest.raises(RecipeError, match="is no Jinja") as caught:
        PromptTemplate("one\ntwo {{ instruction }\nthree", where="my.yaml:3")
    assert caught.value.where == "my.yaml:3, line 2 of the template"


def test_a_variable_that_is_no_column_is_told_with_its_line_and_the_columns() -> None:
    template = PromptTemplate("one\n{{ instruction }}\n{{ problen }}")
    with pytest.raises(RecipeError, match="`problen`") as caught:
        template.check(["problem", "answer"])
    assert caught.value.where == "prompt_template, line 3 of the template"
    assert "did you mean {{ problem }}?" in str(caught.value.fix)
    assert "instruction, problem, answer" in str(caught.value.fix)


def test_what_fails_on_a_row_is_told_with_the_templates_line_and_the_row() -> None:
    template = PromptTemplate("{{ instruction }}\n{{ 1 / (answer|int) }}")
    rows = [{"problem": "a", "answer": "1"}, {"problem": "b", "answer": "0"}]
    with pytest.raises(RecipeError, match="division by zero") as caught:
        list(conversations(Source("d.jsonl", rows, "problem", ["problem", "answer"]), template, None))
    assert caught.value.where == "d.jsonl, row 2; prompt_template, line 2 of the template"


def test_a_template_that_never_uses_the_row_is_refused() -> None:
    with pytest.raises(RecipeError, match="never uses the row"):
        PromptTemplate("Solve it.")


def test_a_template_cannot_reach_into_python() -> None:
    with pytest.raises(RecipeError, match="unsafe"):
        PromptTemplate("{{ instruction.__class__.__mro__ }}").render(ROW, "x")


def test_the_last_user_turn_of_a_conversation_is_put_into_the_template() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
    rows = [{"prompt": [*turns, {"role": "user", "content": "1+1?"}]}]
    (made,) = conversations(
        Source("d", rows, "prompt", ["prompt"]), PromptTemplate("Q: {prompt}"), "Be kind."
    )
    assert made == [
        {"role": "system", "content": "Be kind."},
        *turns,
        {"role": "user", "content": "Q: 1+1?"},
    ]


def test_a_boxed_of_a_string_that_is_not_raw_is_seen() -> None:
    damaged = PromptTemplate("answer within \boxed{}: {{ instruction }}")
    rows = [{"problem": "a"}, {"problem": "b"}]
    source = Source("d", rows, "problem", ["problem"])
    assert sum(map(has_backspace, conversations(source, damaged, None))) == 2
    raw = PromptTemplate(r"\boxed{}: {{ instruction }}")
    assert not any(map(has_backspace, conversations(source, raw, None)))
