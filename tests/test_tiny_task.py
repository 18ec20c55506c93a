"""The built-in task and model: what they promise, checked without their own code where that is possible."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from openr1.data.tiny_model import ModelSpec, build_tiny_model, build_tokenizer, parse_model
from openr1.data.tiny_task import (
    TaskSpec,
    eval_rows,
    grpo_rows,
    in_test_split,
    is_builtin,
    parse_task,
    sample_problems,
    sft_rows,
)
from openr1.errors import RecipeError

FORMAT = re.compile(r"<think>\n(.*?)\n</think>\n<answer>\n(.*?)\n</answer>", re.DOTALL)
SPECS = [TaskSpec(), TaskSpec(steps=1), TaskSpec(steps=26, worked=0.25)]


def question_of(row: dict) -> str:
    return row["prompt"][-1]["content"]


def recompute(question: str) -> tuple[str, list[str]]:
    """Start digit and every step with its running digit, from the words of the problem alone."""
    start, steps = re.fullmatch(r"Start at (\d), keep the last digit: (.+)", question).groups()
    running, worked = int(start), []
    for step in steps.split(" "):
        running = int(str(eval(f"{running}{step[1:]}"))[-1])
        worked.append(f"{step}={running}")
    return start, worked


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_worked_solution_and_answer_is_right(spec: TaskSpec) -> None:
    for row in sft_rows(spec, seed=7, count=400):
        thought, answer = FORMAT.fullmatch(row["completion"][0]["content"]).groups()
        start, steps = recompute(question_of(row))
        assert answer == steps[-1][-1]
        assert thought in ("", " ".join([start, *steps]))
    for row in grpo_rows(spec, seed=7, count=200):
        assert row["solution"] == recompute(question_of(row))[1][-1][-1]


def test_eval_answers_are_right_and_no_problem_repeats() -> None:
    rows = eval_rows(TaskSpec(), seed=42, count=1000)
    assert all(row["answer"] == recompute(row["problem"])[1][-1][-1] for row in rows)
    assert len({row["problem"] for row in rows}) == 1000


def test_labels_are_unique_in_a_problem() -> None:
    for row in grpo_rows(TaskSpec(steps=26), seed=0, count=20):
        labels = [step[0] for step in question_of(row).partition(": ")[2].split(" ")]
        assert len(set(labels)) == len(labels) == 26


def test_no_seed_trains_on_a_problem_that_another_seed_tests_on() -> None:
    for steps in (1, 2, 5):  # with one step, 20,000 draws see every train problem
        spec = TaskSpec(steps=steps)
        train = {question_of(r) for seed in (0, 42) for r in sft_rows(spec, seed, 5000)}
        train |= {question_of(r) for seed in (0, 42) for r in grpo_rows(spec, seed, 5000)}
        test = {r["problem"] for seed in (1, 42) for r in eval_rows(spec, seed, 5)}
        assert test
        assert not train & test
        assert not any(map(in_test_split, train))
        assert all(map(in_test_split, test))


def test_about_a_tenth_is_held_out() -> None:
    problems = sample_problems(TaskSpec(), "train", 0, 5000) + sample_problems(TaskSpec(), "test", 0, 100)
    shuffled = {p.question[::-1] for p in problems}  # any other text: the split is a hash, not a pattern
    assert 0.07 < sum(map(in_test_split, shuffled)) / len(shuffled) < 0.13


def test_same_seed_same_rows_and_a_longer_draw_starts_alike() -> None:
    spec = TaskSpec()
    assert sft_rows(spec, 42, 300) == sft_rows(spec, 42, 300)
    assert sft_rows(spec, 42, 300) != sft_rows(spec, 43, 300)
    assert grpo_rows(spec, 42, 10) == grpo_rows(spec, 42, 300)[:10]
    assert eval_rows(spec, 42, 10) == eval_rows(spec, 42, 300)[:10]


def test_rows_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    code = (
        "import sys; from openr1.data.tiny_task import *; s = TaskSpec();"
        "print(sft_rows(s, 1, 50), grpo_rows(s, 1, 50), eval_rows(s, 1, 50));"
        "assert 'torch' not in sys.modules"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True)
        for seed in ("1", "2")
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert runs[0].stdout == runs[1].stdout != b""


@pytest.mark.parametrize("share", [0.0, 0.25, 0.4, 1.0])
def test_share_of_worked_solutions_is_exact_and_mixed(share: float) -> None:
    rows = sft_rows(TaskSpec(worked=share), seed=3, count=1000)
    worked = ["=" in row["completion"][0]["content"] for row in rows]
    assert sum(worked) == 1000 * share
    if 0 < share < 1:
        assert 0.7 < sum(worked[:500]) / (500 * share) < 1.3


def test_guessing_stays_near_one_in_ten() -> None:
    """No single part of a problem gives the answer away: best guess from the start digit or the last step."""
    problems = sample_problems(TaskSpec(), "train", 0, 12_000)
    for part in (lambda p: p.start, lambda p: p.operations[-1], lambda p: p.operations.count("*7")):
        best: dict[object, dict[str, int]] = {}
        for problem in problems:
            counts = best.setdefault(part(problem), {})
            counts[problem.answer] = counts.get(problem.answer, 0) + 1
        assert sum(max(counts.values()) for counts in best.values()) / len(problems) < 0.15


def test_names_are_parsed() -> None:
    assert parse_task("builtin:chain-sum") == TaskSpec()
    assert parse_task("builtin:chain-sum?steps=7&worked=0.25") == TaskSpec(7, 0.25)
    assert parse_model("builtin:tiny-qwen2") == ModelSpec()
    assert parse_model("builtin:tiny-qwen2?layers=3&hidden=192") == ModelSpec(3, 192)
    assert is_builtin("builtin:anything")
    assert not is_builtin("org/dataset")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("builtin:chainsum", "no built-in task"),
        ("org/chain-sum", "no built-in task"),
        ("builtin:chain-sum?step=5", "did you mean 'steps'"),
        ("builtin:chain-sum?steps=0", "from 1 to 26"),
        ("builtin:chain-sum?steps=27", "from 1 to 26"),
        ("builtin:chain-sum?steps=²", "from 1 to 26"),
        pytest.param("builtin:chain-sum?steps=" + "9" * 5000, "from 1 to 26", id="too many digits"),
        ("builtin:chain-sum?steps=", "from 1 to 26"),
        ("builtin:chain-sum?steps", "cannot read"),
        ("builtin:chain-sum?worked=nan", "share from 0 to 1"),
        ("builtin:chain-sum?worked=40%25", "share from 0 to 1"),
        ("builtin:chain-sum?worked=-0.1", "share from 0 to 1"),
        ("builtin:chain-sum?steps=5&steps=6", "twice"),
    ],
)
def test_a_bad_task_name_is_refused_with_a_reason(name: str, word: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(word)):
        parse_task(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("builtin:tiny", "no built-in model"),
        ("builtin:tiny-qwen2?layer=2", "did you mean 'layers'"),
        ("builtin:tiny-qwen2?layers=0", "from 1 to 9999"),
        pytest.param("builtin:tiny-qwen2?layers=" + "9" * 5000, "from 1 to 9999", id="too many digits"),
        ("builtin:tiny-qwen2?layers", "cannot read"),
        ("builtin:tiny-qwen2?layers=2&layers=3", "twice"),
        ("builtin:tiny-qwen2?hidden=100", "multiple of 64"),
    ],
)
def test_a_bad_model_name_is_refused_with_a_reason(name: str, word: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(word)):
        parse_model(name)


def test_more_test_problems_than_exist_are_refused() -> None:
    with pytest.raises(RecipeError, match="steps=1 has only"):
        eval_rows(TaskSpec(steps=1), 0, 500)


NASTY = [
    "",
    " leading and trailing \t\r\n ",
    "don 't , it 's . a ! b ?",  # what clean-up of spaces would mangle
    "<think>x</think><answer>12</answer> Start at 7, keep the last digit: a+3 b*7",
    "漢字かな العربية עברית ไทย",
    "🏳️‍🌈 👩‍👩‍👧 e\u0301 \u212b",
    "\u0000\u0007\u200b\u2028\ufeff\ufffd\U0010ffff",
    "Ġ Ċ ▁ ## </s> [UNK]",
    "1234567890 +12 *90 x^2 \\frac{1}{2} $\\boxed{7}$",
    "<|end|> <|user|> <| <|en",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("tiny")
    build_tiny_model(ModelSpec(), 42, path)
    return path


@pytest.mark.parametrize("text", NASTY)
def test_any_text_comes_back(folder: Path, text: str) -> None:
    from transformers import AutoTokenizer

    for tokenizer in (build_tokenizer(), AutoTokenizer.from_pretrained(folder)):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)
        assert tokenizer.unk_token_id not in ids


def test_a_conversation_ends_with_eos_and_keeps_its_tags(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    for row in sft_rows(TaskSpec(), 1, 20):
        messages = [{"role": "system", "content": "Be exact."}, *row["prompt"], *row["completion"]]
        completion = row["completion"][0]["content"]
        whole = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True)["input_ids"]
        ids, taught = whole["input_ids"], whole["assistant_masks"]
        assert ids[: len(prompt)] == prompt  # training and generation see the same prefix
        assert ids[-1] == tokenizer.eos_token_id
        assert taught == [0] * len(prompt) + [1] * (len(ids) - len(prompt))
        assert tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True) == completion
        assert "Be exact." in tokenizer.decode(prompt)


def test_a_step_costs_four_tokens(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("Start at 7, keep the last digit: a+3 b*7") == [
        "Start at ", "7", ", keep the last digit:", "Ġa", "+3", "Ġb", "*7",
    ]  # fmt: skip
    assert tokenizer.tokenize("7 a+3=0 b*7=0") == ["7", "Ġa", "+3", "=", "0", "Ġb", "*7", "=", "0"]


def test_equal_seeds_build_equal_bytes_and_leave_the_random_state(folder: Path, tmp_path: Path) -> None:
    import torch

    before = torch.random.get_rng_state()
    build_tiny_model(ModelSpec(), 42, tmp_path / "same")
    build_tiny_model(ModelSpec(), 43, tmp_path / "other")
    assert torch.equal(before, torch.random.get_rng_state())
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "same").iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "same" / name).read_bytes(), name
        equal = (folder / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
        assert equal == (name != "model.safetensors"), name


def test_the_folder_is_an_ordinary_qwen2_model(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = model.config
    assert config.model_type == "qwen2"
    assert config.hidden_size // config.num_attention_heads == 64
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    assert len(tokenizer) <= config.vocab_size
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    batch = tokenizer(["7", "7 a+3=0"], return_tensors="pt", padding=True, padding_side="left")
    with torch.no_grad():
        assert model.generate(**batch, max_new_tokens=4, do_sample=False).shape[0] == 2
