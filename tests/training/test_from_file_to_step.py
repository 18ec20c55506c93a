"""A small file in the layout of every dataset people use, from the file to the first training step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openr1.data.dialects import SOLUTION, SOLUTION_END, THOUGHT, THOUGHT_END
from openr1.training.run import train
from openr1.training.show_samples import show
from tests.conftest import Cli, rows_of
from tests.training.in_process import MODEL, child_of, write_rows

THINK = "<think>\nadd\n</think>\n\n2"
TAGGED = f"{THOUGHT}\n\nadd\n\n{THOUGHT_END}\n\n{SOLUTION}\n\n2\n\n{SOLUTION_END}"
USER, ANSWER = {"role": "user", "content": "1+1"}, {"role": "assistant", "content": THINK}
SYSTEM = {"role": "system", "content": "be brief"}
TALK = [{"from": "human", "value": "1+1"}, {"from": "gpt", "value": TAGGED}]
WHOLE = f"<|user|>1+1<|assistant|>{THINK}<|end|>"

# layout, one row, and the text that the model must see
SFT: dict[str, tuple[dict[str, Any], str]] = {
    "bespokelabs/Bespoke-Stratos-17k": (
        {"system": "be brief",
         "conversations": [{**TALK[0], "from": "user"}, {**TALK[1], "from": "assistant"}]},
        f"<|system|>be brief{WHOLE}",
    ),
    "HuggingFaceH4/Bespoke-Stratos-17k": (
        {"system": "be brief", "conversations": TALK,
         "messages": [SYSTEM, USER, {**ANSWER, "content": TAGGED}]},
        f"<|system|>be brief{WHOLE}",
    ),
    "open-r1/OpenR1-Math-220k": (
        {
            "problem": "1+1",
            "solution": "2",
            "answer": "2",
            "uuid": "7",
            "generations": ["3", THINK],
            "correctness_math_verify": [False, True],
            "messages": [USER, ANSWER],
        },
        WHOLE,
    ),
    "open-r1/Mixture-of-Thoughts": ({"messages": [USER, ANSWER], "num_tokens": 9, "source": "math"}, WHOLE),
    "open-r1/codeforces-cots": ({"prompt": "other", "messages": [USER, ANSWER], "id": "1/A"}, WHOLE),
    "open-thoughts/OpenThoughts-114k": (
        {"system": "be brief", "conversations": TALK}, f"<|system|>be brief{WHOLE}",
    ),
    "open-thoughts/OpenThoughts-114k metadata": (
        {"problem": "1+1", "deepseek_reasoning": "add", "deepseek_solution": "2", "domain": "math"},
        WHOLE,
    ),
    "AI-MO/NuminaMath-TIR": ({"problem": "1+1", "solution": "2", "messages": [USER, ANSWER]}, WHOLE),
    "HuggingFaceH4/numina-deepseek-r1-qwen-7b": (
        {
            "problem": "1+1",
            "solution": "2",
            "messages": [USER, ANSWER],
            "generation": "other",
            "distilabel_metadata": {"raw_output_text_generation_0": "other"},
            "model_name": "m",
        },
        WHOLE,
    ),
    "PrimeIntellect/SYNTHETIC-1": (
        {
            "problem_id": "p1",
            "task_type": "verifiable_math",
            "prompt": "1+1",
            "gold_standard_solution": "2",
            "verification_info": '{"ground_truth": "2"}',
            "llm_response": THINK,
            "score": 1.0,
        },
        WHOLE,
    ),
    "problem and solution": ({"problem": "1+1", "solution": THINK}, WHOLE),
    "problem and generations": (
        {"problem": "1+1", "generations": ["3", THINK], "correctness_math_verify": [False, True]},
        WHOLE,
    ),
    "alpaca": ({"instruction": "1+1", "input": "", "output": THINK}, WHOLE),
    "prompt and completion": ({"prompt": "1+1", "completion": THINK}, WHOLE),
    "conversational prompt and completion": ({"prompt": [SYSTEM, USER], "completion": [ANSWER]},
                                             f"<|system|>be brief{WHOLE}"),
    "sharegpt": ({"conversations": TALK, "id": "x"}, WHOLE),
    "conversations with roles": ({"conversations": [USER, ANSWER]}, WHOLE),
    "messages with a reasoning field": (
        {"messages": [USER, {"role": "assistant", "content": "2", "reasoning_content": "add"}]},
        WHOLE,
    ),
    "text": ({"text": "1+1=2"}, "1+1=2<|end|>"),
}  # fmt: skip


@pytest.mark.parametrize("layout", SFT)
def test_sft(layout: str, tmp_path: Path) -> None:
    row, seen = SFT[layout]
    path = write_rows(tmp_path / "rows.jsonl", [row] * 4)
    words = ("--dataset_name", path, "--max_steps", 1, "--global_batch_size", 2, "--max_length", 128)
    child, heard = child_of("sft", tmp_path, *words)
    child.config["plan"]["show_samples"] = 1
    sample = show(child)["samples"][0]
    assert "".join(piece["text"] for piece in sample["pieces"]) == seen
    assert sample["pieces"][-1]["learnt"]
    assert sample["pieces"][-1]["text"].endswith("<|end|>")  # the model learns to stop
    result = train(child)
    assert result["steps"] == 1
    assert f"columns of {path}: " in heard.notices
    (shown,) = (event["samples"] for event in heard.events if event["event"] == "rows")
    assert len(shown) == 3 and shown[0] == sample
    assert (child.run.model / "model.safetensors").exists()
    assert json.loads((child.run.path / "lengths.json").read_text())["rows"] == 4


GRPO: dict[str, tuple[dict[str, Any], str]] = {
    "AI-MO/NuminaMath-TIR": (
        {"problem": "1+1", "solution": "We add: $\\boxed{2}$.", "messages": [USER, ANSWER]},
        "problem → prompt, solution → solution",
    ),
    "DigitalLearningGmbH/MATH-lighteval": (
        {"problem": "1+1", "level": "Level 1", "type": "Algebra", "solution": "We add: $\\boxed{2}$."},
        "problem → prompt, solution → solution",
    ),
    "open-r1/OpenR1-Math-220k": (
        {"problem": "1+1", "solution": "2", "answer": "2", "uuid": "7", "messages": [USER, ANSWER]},
        "problem → prompt, solution → solution",
    ),
    "BytedTsinghua-SIA/DAPO-Math-17k": (
        {
            "data_source": "m",
            "prompt": [USER],
            "ability": "MATH",
            "reward_model": {"ground_truth": "2", "style": "rule"},
            "extra_info": {"index": "7"},
        },
        "prompt → prompt, reward_model.ground_truth → solution",
    ),
    "open-r1/DAPO-Math-17k-Processed": (
        {"prompt": "1+1", "solution": "2", "source_prompt": [USER], "ability": "MATH"},
        "prompt → prompt, solution → solution",
    ),
    "SynthLabsAI/Big-Math-RL-Verified": (
        {"problem": "1+1", "answer": "2", "domain": ["a"], "llama8b_solve_rate": None},
        "problem → prompt, answer → solution",
    ),
    "PrimeIntellect/SYNTHETIC-1": (
        {
            "problem_id": "p1",
            "task_type": "verifiable_math",
            "prompt": "1+1",
            "gold_standard_solution": "We add: 2",
            "verification_info": "{'ground_truth': '2'}",
            "llm_response": THINK,
            "score": 1.0,
        },
        "prompt → prompt, verification_info.ground_truth → solution",
    ),
    "conversations and an answer": (
        {"system": "be brief", "conversations": TALK, "answer": "2"},
        "conversations without its last answer → prompt, answer → solution, system → system message",
    ),
    "gsm8k": ({"question": "1+1", "answer": "add\n#### 2"}, "question → prompt, answer → solution"),
    "question and expected_answer": (
        {"question": "1+1", "expected_answer": "2"},
        "question → prompt, expected_answer → solution",
    ),
}


TWICE = "int twice(int n);"
CONTESTS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "open-r1/codeforces": (
        {
            "id": "1/A", "contest_id": "1", "prompt": "double the number", "language": "cpp",
            "time_limit": 1.0, "memory_limit": 64.0, "input_mode": "stdio", "generated_checker": None,
            "official_tests": [{"input": "1", "output": "2"}], "official_tests_complete": True,
            "generated_tests": 0,
        },
        ("cf_code", "code_format"),
        "prompt → prompt",
    ),
    "open-r1/ioi": (
        {
            "year": 2024, "id": "twice", "subtask": "01-all", "problem": "implement twice", "score": 7.0,
            "score_precision": 2, "time_limit": 1.0, "memory_limit": 2**28, "test_names": ["a"],
            "grader_files": [["graders/twice.h", TWICE]], "test_cases": [["1", "2"]],
        },
        ("ioi_code", "code_format", "format"),
        "problem → prompt",
    ),
}  # fmt: skip
CONTESTS["open-r1/ioi-test-cases"] = CONTESTS["open-r1/ioi"]


def beside(layout: str, row: dict[str, Any], folder: Path) -> tuple[dict[str, Any], str | dict[str, Any]]:
    """The row, and its reward, where the tests lie in a dataset of their own: open-r1/ioi-test-cases."""
    if layout != "open-r1/ioi-test-cases":
        return row, CONTESTS[layout][1][0]
    tests = {"year": 2024, "problem_id": "twice", "test_name": "a", "test_input": "1", "test_output": "2"}
    write_rows(folder / "2024" / "train.jsonl", [tests])
    head = "---\nconfigs:\n- config_name: '2024'\n  data_files: 2024/train.jsonl\n---\n"
    (folder / "README.md").write_text(head)
    return {k: v for k, v in row.items() if k != "test_cases"}, {"ioi_code": {"tests": str(folder)}}


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.parametrize("layout", CONTESTS)
def test_contests(layout: str, tmp_path: Path) -> None:
    row, rewards, mapping = CONTESTS[layout]
    row, judge = beside(layout, row, tmp_path / "tests")
    path = write_rows(tmp_path / "rows.jsonl", [row] * 4)
    words = ("--dataset_name", path, "--max_steps", 1, "--global_batch_size", 4, "--num_generations", 4)
    asked = ("--reward_funcs", json.dumps([judge, *rewards[1:]]), "--code_eval_scoring_mode", "partial")
    child, heard = child_of("grpo", tmp_path, *words, *asked, "--max_completion_length", 4)
    result = train(child)
    assert result["steps"] == 1
    assert mapping in heard.notices
    (step,) = (row for row in rows_of(child.run.path / "metrics.jsonl") if "loss" in row)
    # An untrained model writes no program: for Codeforces that costs, for the IOI it earns nothing.
    assert step[f"rewards/{rewards[0]}/mean"] == (-1.0 if rewards[0] == "cf_code" else 0.0)
    assert step["verdict/no_answer"] == 1.0


@pytest.mark.parametrize("spelt", [dict, str, json.dumps], ids=["struct", "SYNTHETIC-1", "json"])
def test_programs(spelt: Callable[[Any], Any], tmp_path: Path) -> None:
    """open-r1/verifiable-coding-problems-python: no gold answer, tests in a struct that the reward reads.

    SYNTHETIC-1 has what Python prints of it.
    """
    tests = [{"input": "1", "output": "2", "type": "stdin_stdout"}]
    row = {
        "problem_statement": "double the number",
        "gold_standard_solution": "print(2 * int(input()))",
        "verification_info": spelt({"language": "python", "test_cases": tests}),
        "source": "apps",
        "metadata": {"difficulty": "easy"},
    }
    path = write_rows(tmp_path / "rows.jsonl", [row] * 4)
    words = ("--dataset_name", path, "--max_steps", 1, "--global_batch_size", 2, "--num_generations", 2)
    rewards = ("--reward_funcs", "[code, format]", "--max_completion_length", 4)
    child, heard = child_of("grpo", tmp_path, *words, *rewards)
    assert train(child)["steps"] == 1
    assert "problem_statement → prompt, no gold answer" in heard.notices
    (step,) = (row for row in rows_of(child.run.path / "metrics.jsonl") if "loss" in row)
    assert step["rewards/code/mean"] == 0.0 and step["verdict/no_answer"] == 1.0


@pytest.mark.parametrize("layout", GRPO)
def test_grpo(layout: str, tmp_path: Path) -> None:
    row, mapping = GRPO[layout]
    path = write_rows(tmp_path / "rows.jsonl", [row] * 4)
    words = ("--dataset_name", path, "--max_steps", 1, "--global_batch_size", 2, "--num_generations", 2)
    child, heard = child_of("grpo", tmp_path, *words, "--max_completion_length", 4)
    result = train(child)
    assert result["steps"] == 1
    assert mapping in heard.notices
    (shown,) = (event["samples"] for event in heard.events if event["event"] == "rows")
    assert len(shown) == 3 and shown[0]["text"].endswith("1+1<|assistant|>") and "2" in shown[0]["gold"]
    kept = rows_of(child.run.samples / "completions.jsonl")
    assert len(kept) == 2
    assert not kept[0]["held_out"]


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_the_command_itself(stage: str, cli: Cli) -> None:
    row = {"system": "be brief", "problem": "1+1", "conversations": TALK, "expected_answer": "2"}
    cli.write("rows.jsonl", "".join(json.dumps(row) + "\n" for _ in range(4)))
    words = ("--dataset_name", "rows.jsonl", "--max_steps", 1, "--global_batch_size", 2)
    more: tuple[object, ...] = (
        "--max_length",
        128,
        "--eval_strategy=steps",
        "--eval_steps=1",
        "--eval_split_size=1",
    )
    if stage == "grpo":
        more = ("--num_generations", 2, "--max_completion_length", 4)
    done = cli(stage, *MODEL, *words, *more)
    assert "1 steps in" in done.out
    said = " ".join(done.err.split())
    assert "columns of rows.jsonl: " in said
    assert "system → system message" in said
    if stage == "sft":
        assert "is now <think>…</think>" in said
        assert "lengths ≤64" in said
        assert "row 2 <|system|>be brief<|user|>1+1<|assistant|><think>↵add↵</think>↵↵2<|end|>" in said
        assert "eval loss" in said
    else:
        assert "prompts have at most" in said
