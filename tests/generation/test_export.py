"""Verification and export of canned samples: verdicts, the layouts' columns and types, card, upload."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset, load_dataset

from openr1.data.layouts import Wanted, grpo_layout, sft_layout
from openr1.errors import EnvironmentProblem, RecipeError
from openr1.generation.card import card
from openr1.generation.export import export, push
from openr1.generation.layouts import LAYOUTS, Chosen
from openr1.generation.samples import SampleSet, problem_of
from openr1.generation.verify import Judged, Verdicts, can_verify, gold_columns, verify
from openr1.rewards.sandbox import walls

TESTS = json.dumps(
    {"language": "python", "test_cases": [{"input": "2", "output": "4", "type": "stdin_stdout"}]}
)
DOUBLE = "<think>\nx\n</think>\n```python\nprint(2 * int(input()))\n```"
ROWS: list[dict[str, Any]] = [
    {
        "problem": "1+1?",
        "solution": "It is $2$.",
        "answer": "2",
        "source": "a",
        "messages": [{"role": "user", "content": "old"}],
    },
    {"problem": "2+2?", "solution": "", "answer": None, "source": "b", "messages": []},
    {"problem": "3+3?", "solution": r"so \boxed{6}", "answer": "", "source": None, "messages": None},
]
FACTS = ["model_revision", "fingerprint", "dataset", "dataset_config", "dataset_split", "prompt_template"]
FACTS += ["system_prompt", "num_generations", "truncated"]
TEXTS = [[r"<think>a</think>\boxed{2}", r"<think>a</think>\boxed{3}", "<think>a"], ["4"], [r"\boxed{6}"]]


def no_card(counts: dict[str, int], files: dict[str, str]) -> str:
    return ""


def sample(text: str, **more: Any) -> dict[str, Any]:
    cut = text == "<think>a"
    return {"text": text, "tokens": len(text), "finish_reason": "length" if cut else "stop", **more}


@pytest.fixture
def made(tmp_path: Path) -> SampleSet:
    """Three problems with their completions, as a sampling leaves them."""
    samples = SampleSet(tmp_path)
    problems = [
        problem_of(
            i, row, [{"role": "user", "content": f"Solve {row['problem']}"}], [sample(t) for t in texts]
        )
        for i, (row, texts) in enumerate(zip(ROWS, TEXTS, strict=True))
    ]
    counts = samples.write(problems, {"columns": list(ROWS[0]), "prompt_column": "problem", "model": "m"})
    assert counts["rows"] == 3 and counts["samples"] == 5
    assert counts["truncated_samples"] == 1 and counts["complete_samples"] == 4
    return samples


def judge(made: SampleSet, path: Path, **more: Any) -> Counter[str]:
    asked = {"columns": made.facts["columns"], "solution_column": None, "reward_funcs": None, **more}
    return verify(made.problems(), path, on_chunk=lambda done, counts: None, **asked)


def judged_in(path: Path, row: int) -> Judged:
    found = Verdicts(path).get(row)
    assert found is not None
    return found


def test_verdicts_of_every_kind_and_a_gold_from_the_first_column_that_has_one(
    made: SampleSet, tmp_path: Path
) -> None:
    path = tmp_path / "v.jsonl"
    counts = judge(made, path)
    found = {judged.row: judged for judged in Verdicts(path).all()}
    assert found[0].verdicts == ["right", "wrong", "truncated"]
    assert found[1].verdicts == ["gold_unparsable"]  # its row has no answer at all
    assert found[2].verdicts == ["right"]  # answer is empty: the solution's box
    assert found[0].extracted == ["2", "3", None]
    assert counts == {"right": 2, "wrong": 1, "truncated": 1, "gold_unparsable": 1}


def test_a_verification_that_was_cut_off_goes_on_with_what_is_missing(
    made: SampleSet, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    judge(made, whole)
    lines = whole.read_text().splitlines(keepends=True)
    forged = lines[0].replace('"wrong"', '"no_answer"')  # so that judging it again would show
    cut.write_text(forged + lines[1][:9])
    counts = judge(made, cut)
    assert cut.read_text() == "".join([forged, *lines[1:]])
    assert counts["no_answer"] == 1 and sum(counts.values()) == 5


def test_rewards_by_name_are_kept_per_completion(made: SampleSet, tmp_path: Path) -> None:
    judge(
        made,
        tmp_path / "v.jsonl",
        reward_funcs=["accuracy", {"reasoning_steps": {"steps": 1}}],
        solution_column="answer",
    )
    rewards = judged_in(tmp_path / "v.jsonl", 0).rewards
    assert rewards == [0.5, 0.0, 0.0]
    assert judged_in(tmp_path / "v.jsonl", 1).rewards == [0.0]  # no gold: of the steps alone


def test_programs_run_in_the_sandbox(tmp_path: Path) -> None:
    try:
        walls()
    except EnvironmentProblem as error:
        pytest.skip(error.what)
    samples = [sample(DOUBLE), sample(DOUBLE.replace("2 *", "3 *")), sample("none"), sample("<think>a")]
    problem = problem_of(0, {"problem": "double", "verification_info": TESTS}, [], samples)
    counts = verify(
        [problem],
        tmp_path / "v.jsonl",
        columns=["problem", "verification_info"],
        solution_column=None,
        reward_funcs=None,
        on_chunk=lambda done, counts: None,
    )
    assert judged_in(tmp_path / "v.jsonl", 0).verdicts == ["right", "wrong", "no_answer", "truncated"]
    assert sum(counts.values()) == 4


def test_nothing_to_judge_by(made: SampleSet, tmp_path: Path) -> None:
    assert not can_verify(["problem", "text"], None)
    with pytest.raises(RecipeError, match="gold answer") as caught:
        judge(made, tmp_path / "v.jsonl", columns=["problem"])
    assert "it has: problem" in str(caught.value.fix)
    with pytest.raises(RecipeError, match="no column `gold`"):
        gold_columns(["answer"], "gold")


def chosen(made: SampleSet, raw: bool = True) -> Iterator[Chosen]:
    verdicts = {
        0: Judged(0, ["right", "wrong", "truncated"], ["2", "3", None], []),
        1: Judged(1, ["gold_unparsable"], ["4"], []),
        2: Judged(2, ["right"], ["6"], []),
    }
    for problem in made.problems():
        kept = {0: [0, 1], 1: [], 2: [0]}[problem.row]
        if kept:
            yield Chosen(problem, verdicts[problem.row], kept, 0.5, "problem", raw, "m")


@pytest.fixture
def exported(made: SampleSet, tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    facts = {
        **made.facts,
        "model_revision": "abc",
        "fingerprint": "f",
        "dataset": "d.jsonl",
        "dataset_config": None,
        "dataset_split": "train",
        "prompt_template": "Solve {{ problem }}",
        "system_prompt": None,
        "num_generations": 3,
        "truncated": "keep",
        "versions": {},
        "sampling": {"temperature": 0.6, "top_p": 0.95, "top_k": None, "max_new_tokens": 9, "seed": 1},
    }
    funnel = [
        {"step": "sampled", "problems": 3, "samples": 5},
        {"step": "right", "problems": 2, "samples": 2},
    ]
    found = {"ngram_size": 8, "match": "strict", "sets": {"math_500": 500}, "by_set": {"math_500": 1}}
    counts = export(
        lambda: chosen(made),
        LAYOUTS,
        folder,
        lambda counts, files: card(facts, {"keep": "right"}, funnel, files, found),
    )
    assert counts == {"messages": 3, "full": 2, "openr1-math": 2, "distilabel": 3}
    return folder


def load(folder: Path, layout: str | None) -> Dataset:
    return load_dataset(str(folder), layout, split="train")


def test_messages_for_sft(exported: Path) -> None:
    rows = load(exported, None)  # the first layout is the default configuration
    assert rows[0]["messages"] == [
        {"content": "1+1?", "role": "user"},
        {"content": TEXTS[0][0], "role": "assistant"},
    ]
    assert rows["verdict"] == ["right", "wrong", "right"]
    assert rows["source"] == ["a", "a", None]
    assert "prompt" not in rows.column_names
    layout = sft_layout(rows.column_names, Wanted())
    assert layout.words.startswith("messages → messages")
    assert layout.row_of(rows[0])["messages"][1]["content"] == TEXTS[0][0]


def test_full_feeds_grpo(exported: Path) -> None:
    rows = load(exported, "full")
    assert rows[0]["generations"] == TEXTS[0]
    assert rows[0]["correctness_math_verify"] == [True, False, None]
    assert rows[0]["correctness_count"] == 1 and rows[0]["pass_rate"] == 0.5 and rows[0]["kept"] == [0, 1]
    assert rows[0]["api_metadata"][0]["completion_tokens"] == len(TEXTS[0][0])
    row = grpo_layout(rows.column_names, Wanted()).row_of(rows[0])
    assert row["prompt"] == [{"role": "user", "content": "1+1?"}]


def test_the_columns_of_openr1_math_220k(exported: Path) -> None:
    """Names, order and types as the dataset has them on the hub (feature types as `datasets` prints them)."""
    features = {name: str(kind) for name, kind in load(exported, "openr1-math").features.items()}
    text, texts, flags = "Value('string')", "List(Value('string'))", "List(Value('bool'))"
    assert features == {
        "problem": text,
        "solution": text,
        "answer": text,
        "problem_type": text,
        "question_type": text,
        "source": text,
        "uuid": text,
        "is_reasoning_complete": flags,
        "generations": texts,
        "correctness_math_verify": flags,
        "correctness_llama": flags,
        "finish_reasons": texts,
        "correctness_count": "Value('int64')",
        "messages": "List({'content': Value('string'), 'role': Value('string')})",
    }
    assert next(iter(features)) == "problem" and list(features)[-1] == "messages"


def test_the_columns_of_numina_deepseek_r1_qwen_7b(exported: Path) -> None:
    rows = load(exported, "distilabel")
    assert rows.column_names == [*ROWS[0], "generation", "distilabel_metadata", "model_name"]
    assert rows[1]["generation"] == TEXTS[0][1]
    assert rows[0]["distilabel_metadata"] == {
        "raw_input_text_generation_0": [{"content": "Solve 1+1?", "role": "user"}],  # what was sent
        "raw_output_text_generation_0": TEXTS[0][0],
    }
    assert rows[0]["messages"] == [{"role": "user", "content": "old"}]  # the dataset's own


def test_the_card_says_how_to_make_it_again(exported: Path) -> None:
    text = (exported / "README.md").read_text()
    for part in (
        "`m` at revision `abc`",
        "| temperature | 0.6 |",
        "Solve {{ problem }}",
        "| right | 2 | 2 |",
    ):
        assert part in text
    assert "| math_500 | 500 | 1 |" in text
    assert "config_name: openr1-math" in text


def test_what_was_sent_can_stand_before_the_answer(made: SampleSet, tmp_path: Path) -> None:
    export(lambda: chosen(made, raw=False), ["messages"], tmp_path / "dataset", no_card)
    assert load(tmp_path / "dataset", None)[0]["messages"][0]["content"] == "Solve 1+1?"


def test_two_exports_are_never_taken_for_each_other(made: SampleSet, tmp_path: Path) -> None:
    """`datasets` caches a local folder by its name and card; ours of the same name hold different rows."""
    found = []
    for place, raw in (("a", True), ("b", False), ("a", False)):  # the last writes the first anew
        facts = {**made.facts, **dict.fromkeys(FACTS), "sampling": {}, "versions": {}}
        write = lambda counts, files, facts=facts: card(facts, {}, [], files, None)  # noqa: E731
        export(lambda raw=raw: chosen(made, raw), ["messages"], tmp_path / place / "dataset", write)  # type: ignore[misc]
        found.append(load(tmp_path / place / "dataset", None)[0]["messages"][0]["content"])
    assert found == ["1+1?", "Solve 1+1?", "Solve 1+1?"]


def test_nothing_left_is_no_dataset_and_an_older_one_is_replaced(made: SampleSet, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    (folder / "old").mkdir(parents=True)
    assert export(lambda: iter(()), ["messages"], folder, no_card) == {}
    assert not folder.exists()


def test_types_are_those_of_all_rows_together(tmp_path: Path) -> None:
    def problems() -> Iterator[Chosen]:
        for number in range(2500):  # more than one chunk; the column is null, then whole, then a fraction
            value = None if number < 1200 else number if number < 2400 else number + 0.5
            problem = problem_of(number, {"problem": "p", "score": value}, [], [sample("2")])
            yield Chosen(problem, None, [0], None, "problem", True, "m")

    export(problems, ["messages"], tmp_path / "dataset", no_card)
    rows = load(tmp_path / "dataset", None)
    assert str(rows.features["score"]) == "Value('float64')"
    assert (rows[0]["score"], rows[1300]["score"], rows[2499]["score"]) == (None, 1300.0, 2499.5)


def test_the_upload_is_private_unless_said_otherwise(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    calls: list[tuple[str, dict[str, Any]]] = []

    class Hub:  # the hub, which no test reaches
        def create_repo(self, name: str, **more: Any) -> Any:
            calls.append((name, more))
            return SimpleNamespace(repo_id=f"me/{name}")

        def upload_folder(self, **more: Any) -> None:
            calls.append(("upload", more))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    said: list[str] = []
    assert push(exported, "traces", True, said.append) == "https://huggingface.co/datasets/me/traces"
    assert calls[0] == ("traces", {"repo_type": "dataset", "private": True, "exist_ok": True})
    assert calls[1][1]["folder_path"] == str(exported) and calls[1][1]["repo_id"] == "me/traces"
    assert said == ["uploading to me/traces (private)"]

    def refuse(self: Any, name: str, **more: Any) -> None:
        raise OSError("401 Unauthorized")

    monkeypatch.setattr(Hub, "create_repo", refuse)
    with pytest.raises(EnvironmentProblem, match="401 Unauthorized") as caught:
        push(exported, "traces", True, said.append)
    assert str(exported) in str(caught.value.fix)
