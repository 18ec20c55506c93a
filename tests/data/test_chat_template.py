"""Templates on a real round trip: our own, those that TRL knows by heart, and broken ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openr1.data.chat_template import (
    SHIPPED,
    check_for_sft,
    fitting,
    opens_think,
    template_text,
    use_template,
)
from openr1.data.tiny_model import build_tokenizer
from openr1.errors import RecipeError

THINK = "<think>\nfirst carry\n</think>\n\n2"
ROW = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": THINK}]
TWO = [*ROW, {"role": "user", "content": "2+2"}, {"role": "assistant", "content": THINK.replace("2", "4")}]
CHATML = ("<|im_start|>", "<|im_end|>")
DEEPSEEK = ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>")


def tokenizer(*special: str, template: str | None = None, **tokens: str | None) -> Any:
    """The built-in tokenizer with more special tokens, another template and other roles for some tokens."""
    made = build_tokenizer()
    if special:
        made.add_tokens(list(special), special_tokens=True)
    if template is not None:
        made.chat_template = template
    for name, token in tokens.items():
        setattr(made, name, token)
    return made


def known(name: str) -> str:
    """A template as the model's authors ship it; TRL keeps copies to recognize them."""
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_templates_write_every_turn_whole(name: str) -> None:
    special = {"chatml": CHATML, "deepseek-r1": DEEPSEEK, "plain": ()}[name]
    eos = {"chatml": "<|im_end|>", "deepseek-r1": "<｜end▁of▁sentence｜>", "plain": "<|end|>"}[name]
    made = tokenizer(*special, template=template_text(name))
    found = check_for_sft(made, [ROW, TWO, [{"role": "system", "content": "be brief"}, *ROW]])
    assert found.eos == eos
    assert not found.opens_think
    assert all("drops" not in text and "rewrites" not in text for text in found.notices)
    made.eos_token = found.eos
    text = made.apply_chat_template(TWO, tokenize=False)
    assert text.count("first carry") == 2
    assert text.count(eos) == (2 if name != "chatml" else 4)
    asked = made.apply_chat_template(ROW[:1], tokenize=False, add_generation_prompt=True)
    assert text.startswith(asked)
    marked = made.apply_chat_template(ROW, return_dict=True, return_assistant_tokens_mask=True)
    learnt = [i for i, m in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if m]
    assert made.decode(learnt) == THINK + eos  # assistant_only_loss learns the answer and its end
    assert fitting(made) == name


def test_a_template_that_deletes_the_reasoning_is_refused_with_one_that_keeps_it() -> None:
    made = tokenizer(*DEEPSEEK, template=known("deepseek_r1_distill"), eos_token="<｜end▁of▁sentence｜>")
    with pytest.raises(RecipeError, match="deletes <think>") as caught:
        check_for_sft(made, [ROW])
    assert "--chat_template deepseek-r1" in str(caught.value.fix)
    use_template(made, "deepseek-r1")
    assert check_for_sft(made, [ROW]).eos == "<｜end▁of▁sentence｜>"


def test_without_reasoning_in_the_rows_nothing_is_lost_by_it() -> None:
    made = tokenizer(*DEEPSEEK, template=known("deepseek_r1_distill"), eos_token="<｜end▁of▁sentence｜>")
    found = check_for_sft(made, [[ROW[0], {"role": "assistant", "content": "2"}]])
    assert found.opens_think
    assert any("opens <think> by itself" in text for text in found.notices)
    assert opens_think(made, ROW[:1])


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "qwen2_5_training", "qwen3_training"])
def test_qwen_keeps_the_last_turn(name: str) -> None:
    made = tokenizer(*CHATML, template=known(name), eos_token="<|im_end|>")
    assert check_for_sft(made, [ROW]).notices == ()
    said = check_for_sft(made, [ROW, TWO]).notices
    assert said == (("the chat template drops the reasoning of 1 earlier turns (2 rows looked at)",)
                    if name == "qwen3" else ())  # fmt: skip


def test_the_end_of_turn_becomes_the_eos_and_is_said() -> None:
    """Qwen's base models: ChatML turns, and `<|endoftext|>` as EOS (open-r1 492, 494, 515, ...)."""
    made = tokenizer(*CHATML, template=known("qwen2_5"), eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    found = check_for_sft(made, [ROW])
    assert (found.eos, found.pad) == ("<|im_end|>", "<|endoftext|>")
    assert "eos_token is <|im_end|>" in found.notices[0]
    with pytest.raises(RecipeError, match="would never learn to stop") as caught:
        check_for_sft(made, [ROW], eos_token="<|endoftext|>")
    assert caught.value.fix == "--eos_token '<|im_end|>'"
    assert caught.value.where == "eos_token"
    assert check_for_sft(made, [ROW], eos_token="<|im_end|>").notices == ()


def test_a_template_without_an_end_is_refused() -> None:
    made = tokenizer(template="{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    with pytest.raises(RecipeError, match="ends an answer with nothing") as caught:
        check_for_sft(made, [ROW])
    assert caught.value.fix == "--chat_template plain"


def test_no_template_a_template_that_raises_and_names_that_are_none() -> None:
    made = tokenizer(*CHATML)
    made.chat_template = None
    with pytest.raises(RecipeError, match="no chat template") as caught:
        check_for_sft(made, [ROW])
    assert caught.value.fix == "--chat_template chatml"
    assert check_for_sft(made, []).eos == "<|end|>"  # plain text needs none
    made.chat_template = "{{ raise_exception('no system turns') }}"
    with pytest.raises(RecipeError, match="no system turns"):
        check_for_sft(made, [ROW])
    with pytest.raises(RecipeError, match="no chat template `chat-ml`") as caught:
        template_text("chat-ml")
    assert "chatml, deepseek-r1, plain" in str(caught.value.fix)


def test_a_template_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("{{ messages }}")
    assert template_text(str(path)) == "{{ messages }}"
    assert template_text("{{ x }}" * 1000) == "{{ x }}" * 1000  # longer than a file name may be
    assert template_text(None) is None


@pytest.mark.parametrize(
    ("special", "pad", "chosen"),
    [
        ((), "<|end|>", "<|endoftext|>"),
        (("<|my_pad|>",), "<|end|>", "<|my_pad|>"),
        ((), None, "<|endoftext|>"),
    ],
)
def test_pad_is_never_the_eos(special: tuple[str, ...], pad: str | None, chosen: str) -> None:
    made = tokenizer(*special, pad_token=pad)
    found = check_for_sft(made, [ROW])
    assert found.pad == chosen
    assert found.notices[-1].startswith(f"pad_token is {chosen}: the tokenizer ")


def test_a_section_that_pads_with_the_eos_is_refused() -> None:
    with pytest.raises(RecipeError, match="pad_token is the EOS token") as caught:
        check_for_sft(tokenizer(), [ROW], pad_token="<|end|>")
    assert caught.value.fix == "--pad_token '<|endoftext|>'"
    for key in ("eos_token", "pad_token"):
        with pytest.raises(RecipeError, match="no token `<none>`"):
            check_for_sft(tokenizer(), [ROW], **{key: "<none>"})


def test_characters_that_do_not_come_back_are_counted() -> None:
    row = [ROW[0], {"role": "assistant", "content": "2"}]
    made = tokenizer(
        template="{% for m in messages %}{{ m['content'] | replace('2', 'two') }}<|end|>{% endfor %}"
    )
    assert check_for_sft(made, [row]).notices == ("the chat template rewrites 1 answers (1 rows looked at)",)
