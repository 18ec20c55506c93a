"""lighteval's own tasks through our samplers, its scores beside ours on the same samples, and its faults."""

from __future__ import annotations

import importlib
import importlib.util
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from openr1.cli.printer import Printer
from openr1.cli.scores_view import show_scores
from openr1.errors import RecipeError, UsageError
from openr1.runs.files import read_lines
from tests.conftest import Cli
from tests.evaluation.in_process import canned, evaluated, write_rows

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lighteval") is None, reason="lighteval is not installed"
)

# gold, what the model wrote, our verdict, lighteval's point, and why they differ ("" where they do not).
# fmt: off
SIDE_BY_SIDE = [
    ("42", "\\boxed{42}", "right", 1, ""),
    ("42", "no idea, it could be anything at all here", "no_answer", 0, ""),
    ("7", "final answer is 5? </think> \\boxed{7}", "right", 1, ""),  # C9: stock avg@n says wrong
    ("42", "<think>\nwe get 42, then maybe", "truncated", 0, ""),  # C7, C8: stock says right
    ("12", "The number is 11 or \\boxed{12} or 13", "right", 1, ""),
    ("12", "The answer is 11. Wait: 12", "wrong", 0, ""),
    ("\\text{east}", "\\boxed{East}", "right", 1, ""),
    ("10\\text{ cm}", "\\boxed{10}", "right", 1, ""),
    ("2,3", "\\boxed{3,2}", "right", 1, ""),
    ("\\frac{3}{4}", "<answer>3/4</answer>", "right", 0, "it knows no answer tags"),
    ("\\{1,2\\}", "\\boxed{(1,2)}", "wrong", 1, "it takes a tuple for a set"),
    ("\\frac{1}{2^{99}}", "\\boxed{\\frac{1}{2^{98}}}", "wrong", 1, "it rounds to six decimals"),
    ("50\\%", "\\boxed{50}", "right", 0, "it takes a percent sign for a hundredth"),
    ("\\frac{\\pi}{4}", "\\boxed{0.785398}", "right", 0, "it compares no decimals with exact values"),
    ("1000000", "\\boxed{1\\,000\\,000}", "right", 0, "thin spaces between thousands"),
    ("i", "\\boxed{\\sqrt{-1}}", "right", 0, "it knows no imaginary unit"),
    ("[0,1)", "\\boxed{0\\le x<1}", "right", 0, "an interval written as an inequality"),
    ("\\pm 2", "\\boxed{2,-2}", "right", 0, "both signs written out"),
    ("3", "So we have three cases, 1, 2 and 3", "no_answer", 1, "it takes any number for an answer (C8)"),
]
# fmt: on


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def number(question: str) -> int:
    return int(question.split("Problem ")[1].split("?")[0])


def details(run: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as parquet

    (file,) = (run / "lighteval" / "details").rglob("*.parquet")
    found: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    return found


def test_scores_beside_ours_on_the_same_samples(here: Path) -> None:
    """Every difference is one of lighteval's grading, and named above."""
    import torch

    rows = [{"problem": f"Problem {i}?", "answer": case[0]} for i, case in enumerate(SIDE_BY_SIDE)]
    write_rows(here / "d" / "test.jsonl", rows)
    random.seed(5)
    state = random.getstate()
    with canned(lambda q, n: SIDE_BY_SIDE[number(q)][1]) as server:
        (ours, theirs), _, run = evaluated(
            "math_500",
            "lighteval:r1_math_500",
            server=[server.url],
            dataset="d/test.jsonl",
            protocol="open-r1",
            num_samples=1,
        )
        prompts = [body["messages"][0]["content"] for body in server.asked]
    assert prompts[: len(rows)] == sorted(prompts[len(rows) :], key=number)  # asked alike
    verdicts = {row["row"]: row["verdict"] for row in read_lines(run / ours["samples_file"])}
    points = {number(row["doc"]["query"]): next(iter(row["metric"].values())) for row in details(run)}
    for index, (gold, text, verdict, point, why) in enumerate(SIDE_BY_SIDE):
        assert (verdicts[index], points[index]) == (verdict, point), (gold, text)
        assert bool(why) == ((verdict == "right") != bool(point))
    assert theirs["accuracy"] == pytest.approx(sum(case[3] for case in SIDE_BY_SIDE) / len(SIDE_BY_SIDE))
    assert theirs["metrics"].keys() == {"pass@k:k=1&n=1"}
    results = next((run / "lighteval" / "results").rglob("*.json"))
    assert json.loads(results.read_text())["results"]["r1_math_500|0"]["pass@k:k=1&n=1"] == theirs["accuracy"]
    # C17 and B4: its Pipeline seeds Python's generator and turns gradients off
    assert random.getstate() == state
    assert torch.is_grad_enabled()


def test_gsm8k_of_lightevals_registry_from_a_local_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golds = ["18", "3", "70000", "540"]
    data = write_rows(
        here / "gsm.jsonl",
        [{"question": f"Problem {i}?", "answer": f"So.\n#### {g}"} for i, g in enumerate(golds)],
    )

    def answer(question: str, count: int) -> str:
        index = number(question)
        return f"The answer is {golds[index] if index < 3 else '1'}."

    with canned(answer) as server:
        (score,), _, run = evaluated("lighteval:gsm8k", server=[server.url], dataset=data, max_new_tokens=20)
    assert score["metrics"] == {"extractive_match": 0.75}
    assert score["errors"]["extractive_match"] == pytest.approx(0.25)
    show_scores(Printer(), [score])
    said = "extractive_match  0.7500 ± 0.2500 (lighteval's)  95 %: 0.2600 – 1.0000"
    assert said in capsys.readouterr().out
    body = server.asked[0]
    assert body["messages"][0]["content"].startswith("Question: Problem")
    assert body["messages"][0]["content"].endswith("?\nAnswer:")  # lighteval's prompt
    assert body["max_tokens"] == 20  # C1: it would have cut the prompt to 20 tokens instead
    assert body["stop"] == ["Question:"]
    assert body["temperature"] == 0.6  # C2: its transformers backend would have been greedy all the same
    assert score["protocol"] == "lighteval-0.13.0 quick-v1 max_new_tokens=20"
    assert len(details(run)) == 4
    before = len(server.asked)
    assert before == 4
    ledger = list(read_lines(run / "samples" / "ledger.jsonl"))
    assert {row["task"] for row in ledger} == {"lighteval:gsm8k"}  # C6: every answer is kept as it comes
    (file,) = [f for f in (run / "samples").glob("*.jsonl") if f.name != "ledger.jsonl"]
    read = {number(row["problem"]): (row["verdict"], row["gold"].split()[-1]) for row in read_lines(file)}
    assert read == {i: ("right" if i < 3 else "wrong", gold) for i, gold in enumerate(golds)}


@pytest.mark.slow
def test_gsm8k_on_a_real_model_by_the_command(cli: Cli) -> None:
    """Local problems, the transformers backend with the task's own stop text, and its answers to read."""
    rows = [{"question": f"What is {i} and {i}?", "answer": f"So.\n#### {2 * i}"} for i in range(3)]
    write_rows(cli.folder / "gsm.jsonl", rows)
    words = ("eval", "lighteval:gsm8k", "--model", "builtin:tiny-qwen2?layers=1&hidden=64", "--threads", 1)
    words += ("--dataset", "gsm.jsonl", "--max_new_tokens", 12, "--temperature", 0)
    found = cli(*words, "--json").json
    (score,) = found["result"]["scores"]
    assert (score["problems"], score["metrics"].keys()) == (3, {"extractive_match"})
    assert 0 < score["mean_tokens"] <= 12
    assert list((cli.folder / found["run"] / "lighteval").rglob("results_*.json"))
    said = cli("samples", found["run"], "--wrong").out
    assert "What is 1 and 1?" in said and "lighteval's extractive_match" in said
    assert "finished earlier" in cli(*words).out


CUSTOM = """
from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc


def ask(line, task_name=None):
    words = "Say yes or no."
    return Doc(task_name=task_name, query=words + "\\n\\n" + line["q"], choices=[line["a"]], gold_index=0,
               instruction=words)


def task(name, metric):
    return LightevalTaskConfig(name=name, prompt_function=ask, hf_repo="none/none", hf_subset="default",
                               hf_avail_splits=["test"], evaluation_splits=["test"], generation_size=5,
                               stop_sequence=[], metrics=[metric])


TASKS_TABLE = [task("mine", Metrics.exact_match), task("likely", Metrics.loglikelihood_acc)]
"""


def test_a_users_own_task_file(here: Path) -> None:
    (here / "tasks.py").write_text(CUSTOM)
    data = write_rows(here / "d.jsonl", [{"q": "Is it?", "a": "yes"}, {"q": "Was it?", "a": "no"}])
    keys: dict[str, Any] = {"custom_tasks": "tasks.py", "dataset": data}
    with canned(lambda q, n: "yes") as server:
        (score,), _, _ = evaluated("lighteval:mine", server=[server.url], **keys)
        assert next(iter(score["metrics"].values())) == 0.5
        # It would have glued the instruction to the question: "Say yes or no.Is it?"
        assert {body["messages"][0]["content"] for body in server.asked} == {
            "Say yes or no.\n\nIs it?",
            "Say yes or no.\n\nWas it?",
        }
        assert server.asked[0]["max_tokens"] == 5  # the task's own limit, where nobody set another
        with pytest.raises(RecipeError, match="log-likelihoods"):
            evaluated("lighteval:likely", server=[server.url], **keys)
        with pytest.raises(UsageError) as caught:
            evaluated("lighteval:gsm8", server=[server.url], dataset=data)
        assert "did you mean lighteval:gsm8k" in str(caught.value.fix)
        (here / "old.py").write_text("TASKS_TABLE = [LightevalTaskConfig(suite=['custom'])]")
        with pytest.raises(RecipeError, match="custom tasks cannot be loaded"):
            evaluated("lighteval:mine", server=[server.url], custom_tasks="old.py", dataset=data)


def test_the_work_arounds_are_still_needed() -> None:
    """When one of these fails, lighteval has mended it: remove the work-around in lighteval_bridge.py."""
    import xxhash

    from openr1.evaluation.lighteval_bridge import BROKEN_MODULES, PACKAGE, lighteval

    with lighteval():
        pass
    from lighteval.models.transformers import transformers_model
    from lighteval.utils.utils import remove_reasoning_tags

    with pytest.raises(TypeError):  # B3
        xxhash.xxh64("text")
    for name in BROKEN_MODULES[1:]:  # B2
        stub = sys.modules.pop(f"{PACKAGE}.{name}")
        try:
            with pytest.raises(TypeError, match="model_name"):
                importlib.import_module(f"{PACKAGE}.{name}")
        finally:
            sys.modules[f"{PACKAGE}.{name}"] = stub
    tasks = Path(str(transformers_model.__file__)).parents[2] / "tasks" / "tasks"
    assert "https://raw.githubusercontent.com" in (tasks / "tiny_benchmarks.py").read_text()  # B1
    source = Path(str(transformers_model.__file__)).read_text()
    assert "torch.set_grad_enabled(False)" in source  # B4
    only_closed = "it is 7 </think> \\boxed{8}"
    assert remove_reasoning_tags(only_closed, [("<think>", "</think>")]) == only_closed  # C7
