"""lighteval's faults (docs/evaluation.md, C1–C19 and B1–B10), one by one: none of them may reach our scores.

Those that other tests hold are in COVERED; a test sees to it that the list is whole and every name exists.
"""

from __future__ import annotations

import ast
import json
import math
import re
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from openr1.errors import ComponentFailed
from openr1.runs.files import read_lines
from openr1.sampling.backend import Engine
from openr1.sampling.draw import draw, prompt_characters
from openr1.sampling.ledger import Ledger
from openr1.sampling.requests import Completion, Request, SamplingParams, Unit, units_of
from tests.evaluation.in_process import canned, evaluated, write_rows

ROOT = Path(__file__).parents[2]
COVERED = {
    "C1": "tests/evaluation/test_lighteval.py::test_gsm8k_of_lightevals_registry_from_a_local_file",
    "C2": "tests/evaluation/test_faults.py::test_temperature_is_never_ignored",
    "C3": "tests/evaluation/test_faults.py::test_every_token_that_ends_a_turn_ends_it",
    "C4": "tests/evaluation/test_eval.py::test_a_checkpoint_overwritten_at_the_same_path_is_another_model",
    "C5": "tests/evaluation/test_eval.py::test_a_checkpoint_overwritten_at_the_same_path_is_another_model",
    "C6": "tests/evaluation/test_eval.py::test_kill_9_loses_and_repeats_nothing",
    "C7": "tests/evaluation/test_canned.py::test_every_kind_of_answer",
    "C8": "tests/evaluation/test_canned.py::test_every_kind_of_answer",
    "C9": "tests/evaluation/test_faults.py::test_one_answer_has_one_verdict_in_every_number",
    "C10": "tests/evaluation/test_canned.py::test_letters_count_where_an_answer_is_given",
    "C11": "tests/evaluation/test_faults.py::test_a_backend_that_leaves_answers_out_gives_no_score",
    "C12": "tests/evaluation/test_faults.py::test_votes_are_for_answers_and_not_for_spellings",
    "C13": "tests/sampling/test_backends.py::test_a_template_that_begins_with_bos_gets_no_second_one",
    "C14": "tests/evaluation/test_canned.py::test_a_context_too_short_changes_the_length_and_the_id",
    "C15": "tests/evaluation/test_faults.py::test_vllm_on_a_gpu_may_use_its_graphs",
    "C16": "tests/evaluation/test_faults.py::test_a_model_that_repeats_itself_stalls_nothing",
    "C17": "tests/evaluation/test_lighteval.py::test_scores_beside_ours_on_the_same_samples",
    "C18": "tests/evaluation/test_faults.py::test_one_problem_tells_no_error_and_has_an_interval",
    "C19": "tests/sampling/test_backends.py::test_two_processes_draw_what_one_does_and_survive_a_kill",
    "B1": "tests/evaluation/test_lighteval.py::test_the_work_arounds_are_still_needed",
    "B2": "tests/evaluation/test_lighteval.py::test_the_work_arounds_are_still_needed",
    "B3": "tests/evaluation/test_lighteval.py::test_the_work_arounds_are_still_needed",
    "B4": "tests/evaluation/test_lighteval.py::test_scores_beside_ours_on_the_same_samples",
    # lighteval's own vLLM backend, which is never loaded
    **{
        f"B{i}": "tests/evaluation/test_faults.py::test_lightevals_vllm_backend_is_not_loaded"
        for i in range(5, 11)
    },
}
WARM = SamplingParams(1.0, 0.95, None, 8, 3)
GREEDY = SamplingParams(0.0, 1.0, None, 12, 3)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    from openr1.data.tiny_model import ModelSpec, build_tiny_model

    build_tiny_model(ModelSpec(1, 64), 7, tmp_path / "tiny")
    return tmp_path / "tiny"


def requests(problems: int, samples: int = 1, words: str = "a") -> list[Request]:
    return [
        Request(i, j, ({"role": "user", "content": f"{i}: " + words * i},), "t")
        for i in range(problems)
        for j in range(samples)
    ]


def test_every_fault_has_its_test() -> None:
    expected = {f"C{i}" for i in range(1, 20)} | {f"B{i}" for i in range(1, 11)}
    assert COVERED.keys() == expected
    for place in COVERED.values():
        file, _, name = place.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, place
    page = (
        (ROOT / "docs" / "evaluation.md")
        .read_text(encoding="utf-8")
        .replace("B5–B10", "B5 | | B6 | | B7 | | B8 | | B9 | | B10")
    )
    assert expected <= set(re.findall(r"\| ([BC]\d+) \|", page)), "a fault is not in the page's table"


def test_temperature_is_never_ignored(model: Path) -> None:
    """C2: lighteval's transformers backend is greedy at one answer whatever the temperature, and refuses
    several, unless the model's own generation_config samples."""
    config = model / "generation_config.json"
    for said in ({"do_sample": False}, {"do_sample": True, "temperature": 0.01, "top_k": 1}):
        config.write_text(json.dumps(json.loads(config.read_text()) | said))
        sampler = Engine("transformers", str(model), dtype="float32").open()
        texts = {
            params.temperature: {
                c.text for _, found in sampler.run(units_of(requests(1, 8), 8), params) for c in found
            }
            for params in (GREEDY, WARM)
        }
        assert len(texts[0.0]) == 1
        assert len(texts[1.0]) > 4


def test_every_token_that_ends_a_turn_ends_it(model: Path) -> None:
    """C3: lighteval puts the tokenizer's one token in place of the model's list."""
    from openr1.sampling.transformers_backend import TransformersSampler

    sampler = Engine("transformers", str(model), dtype="float32").open()
    assert isinstance(sampler, TransformersSampler)
    ((_, (whole,)),) = sampler.run(units_of(requests(3)[2:], 1), GREEDY)
    ids = sampler.tokenizer(whole.text, add_special_tokens=False)["input_ids"]
    also = next(token for token in ids if token != ids[0])
    config = model / "generation_config.json"
    listed = [sampler.tokenizer.eos_token_id, also]
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": listed}))
    again = Engine("transformers", str(model), dtype="float32").open()
    ((_, (cut,)),) = again.run(units_of(requests(3)[2:], 1), GREEDY)
    assert (cut.finish_reason, cut.tokens) == ("stop", ids.index(also) + 1)
    assert whole.tokens > cut.tokens


def test_one_answer_has_one_verdict_in_every_number(here: Path) -> None:
    """C9: lighteval's avg@n reads the reasoning and pass@k does not, so that they differ on one sample."""
    data = write_rows(here / "m.jsonl", [{"problem": f"Problem {i}?", "answer": "7"} for i in range(2)])
    with canned(lambda q, n: "final answer is 5? </think> \\boxed{7}") as server:
        (score,), _, _ = evaluated("math_500", server=[server.url], dataset=data, num_samples=2)
    assert score["accuracy"] == score["pass_at"]["1"] == score["pass_at"]["2"] == score["majority"] == 1


class Forgetful:
    """A backend of somebody's own that leaves every third answer out and says nothing."""

    device, fingerprint, unit_size, context = "cpu", "forgetful", 1, None

    def prompt_lengths(self, asked: Sequence[Request]) -> list[int]:
        return []

    def run(self, units: Any, params: SamplingParams) -> Iterator[tuple[Unit, list[Completion]]]:
        for unit in units:
            if unit.number % 3:
                yield unit, [Completion("\\boxed{1}", 3, "stop")]

    def close(self) -> None: ...


def test_a_backend_that_leaves_answers_out_gives_no_score(tmp_path: Path) -> None:
    """C11: lighteval divides by the number asked for, however few there are (2 of 4, both right: 0.5)."""
    ledger = Ledger(tmp_path / "l.jsonl")
    with pytest.raises(ComponentFailed, match="gave 4 of 6 completions"):
        draw(Forgetful(), requests(3, 2), WARM, ledger, on_batch=lambda *_: None)
    assert len(Ledger(tmp_path / "l.jsonl")) == 4  # kept


def test_votes_are_for_answers_and_not_for_spellings(here: Path) -> None:
    """C12: four right answers in four spellings are four parties in lighteval's maj@n, and none wins."""
    said = ["\\frac{1}{2}", "0.5", "\\dfrac12", "1/2", "7", "7"]
    data = write_rows(here / "m.jsonl", [{"problem": "Half?", "answer": "\\frac{1}{2}"}])
    with canned(lambda q, n: f"\\boxed{{{said[n]}}}") as server:
        keys: dict[str, Any] = {"server": [server.url], "dataset": data, "num_samples": 6, "batch_size": 1}
        (score,), _, _ = evaluated("math_500", **keys)
    assert score["majority"] == 1
    assert score["accuracy"] == pytest.approx(4 / 6)


def test_vllm_on_a_gpu_may_use_its_graphs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C15: lighteval's engine is always eager, with 2,048 batched tokens and 128 sequences. The card and
    vLLM are stand-ins; what the engine is told is looked at."""
    import torch

    told: dict[str, Any] = {}

    class LLM:
        def __init__(self, **kwargs: Any) -> None:
            told.update(kwargs)

        def get_tokenizer(self) -> Any:
            return types.SimpleNamespace(chat_template="x")

    fake = types.ModuleType("vllm")
    fake.LLM = LLM  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    opened = Engine("vllm", str(model), tensor_parallel=2, gpu_memory_utilization=0.8).open()
    assert opened.device == "cuda"
    assert told["max_num_seqs"] == 256
    assert (told["tensor_parallel_size"], told["gpu_memory_utilization"]) == (2, 0.8)
    assert not told.keys() & {"enforce_eager", "max_num_batched_tokens"}  # vLLM's own choices
    assert told["max_model_len"] is None  # the model's own context, so that no prompt is cut (C14)


LOOPS = ("1 " * 100_000, "$ " * 100_000, "Wait, 7. " * 20_000, "\\boxed{" * 20_000)


def test_a_model_that_repeats_itself_stalls_nothing(here: Path) -> None:
    """C16: lighteval's regular expressions need minutes for such an answer, its metrics the main thread."""
    data = write_rows(
        here / "m.jsonl", [{"problem": f"Problem {i}?", "answer": "7"} for i in range(len(LOOPS) + 1)]
    )

    def answer(question: str, count: int) -> str:
        index = int(question.split("Problem ")[1].split("?")[0])
        return LOOPS[index] if index < len(LOOPS) else "\\boxed{\\frac{14}{2}}"

    found: list[dict[str, Any]] = []

    def work() -> None:
        scores, _, run = evaluated("math_500", server=[server.url], dataset=data)
        found.extend(read_lines(run / scores[0]["samples_file"]))

    with canned(answer) as server:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [row["verdict"] for row in found[:-1]] == ["no_answer"] * len(LOOPS)
    assert found[-1]["verdict"] == "right"  # off the main thread math-verify alone would call it wrong


@pytest.mark.parametrize("loop", LOOPS[:2])
def test_what_lightevals_metrics_read_is_bounded(loop: str) -> None:
    from openr1.evaluation.lighteval_bridge import READ_CHARS, final_text

    row = {"text": f"<think>\nhm\n</think>\n{loop} \\boxed{{7}}", "think_prefilled": False}
    assert len(final_text(row)) == READ_CHARS
    assert final_text(row).endswith("\\boxed{7}")


def test_one_problem_tells_no_error_and_has_an_interval(here: Path) -> None:
    """C18: lighteval has no error for one problem, one of 0 for equal scores, and no interval at all."""
    from openr1.evaluation.lighteval_bridge import _interval

    data = write_rows(here / "m.jsonl", [{"problem": "Problem 0?", "answer": "7"}])
    with canned(lambda q, n: "\\boxed{7}") as server:
        (score,), _, _ = evaluated("math_500", server=[server.url], dataset=data, num_samples=4)
    assert score["other_problems"] is None
    assert score["interval"][0] == pytest.approx(0.2065, abs=1e-3) and score["interval"][1] == 1.0  # Wilson
    for error in (None, 0.0):
        (low, high), method = _interval(1.0, error, 1)
        assert (low, high, method) == (pytest.approx(0.2065, abs=1e-3), 1.0, "Wilson")
    (low, high), _ = _interval(0.5, 0.1, 30)
    assert (low, high) == (pytest.approx(0.304, abs=1e-3), pytest.approx(0.696, abs=1e-3))
    (low, high), _ = _interval(41.0, 2.0, 30)  # no share, but points of 100 as BLEU has them
    assert (math.floor(low), math.ceil(high)) == (37, 45)


def test_lightevals_vllm_backend_is_not_loaded() -> None:
    """B5–B10: it asks for an old vLLM, ray and modules that are gone; the adapter needs nothing of it."""
    for file in (ROOT / "openr1").rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert "lighteval.models.vllm" not in source, file
        assert not re.search(r"^\s*(from|import) +ray\b", source, re.MULTILINE), file


def test_static_batches_are_of_one_length_the_longest_first(tmp_path: Path, model: Path) -> None:
    """lighteval sorts as well; unsorted, every batch is padded to the longest prompt in it."""
    seen: list[list[int]] = []

    class Watched(Forgetful):
        unit_size = 4

        def run(self, units: Any, params: SamplingParams) -> Iterator[tuple[Unit, list[Completion]]]:
            for unit in units:
                seen.append([prompt_characters(request) for request in unit.requests])
                yield unit, [Completion("x", 1, "stop") for _ in unit.requests]

    asked = requests(6, 2)
    drawn = draw(Watched(), asked, WARM, Ledger(tmp_path / "l.jsonl"), on_batch=lambda *_: None)
    flat = [length for batch in seen for length in batch]
    assert flat == sorted(flat, reverse=True)
    assert [(row["row"], row["index"]) for row in drawn.rows] == [(r.row, r.index) for r in asked]
