"""What is asked and how it is called: protocols, tasks, files, the seed's own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openr1.errors import DoesNotFit, EnvironmentProblem, RecipeError, UsageError
from openr1.evaluation.problems import data_fingerprint, problems_of
from openr1.evaluation.protocol import PROTOCOLS, conditions_of, default_protocol, differences
from openr1.evaluation.tasks import GPQA_WRONG, TASKS, task_named
from openr1.services.seed_words import translate
from tests.evaluation.in_process import prepared, write_rows

MATH = TASKS["math_500"]
NOTHING = {"limit": None, "problem_column": None, "answer_column": None, "seed": 1}


def conditions(task: str = "math_500", **values: Any) -> Any:
    return conditions_of(TASKS[task], {"protocol": "quick", **values})


def test_ids_name_what_differs() -> None:
    assert conditions().id() == "quick-v1"
    assert conditions().id(100) == "quick-v1 max_new_tokens=100"
    assert conditions(temperature=0.0, top_p=1.0).id() == "quick-v1 temperature=0"
    assert conditions(temperature=0.6, num_samples=1).id() == "quick-v1"  # said, and no other
    assert conditions(num_samples=3, max_new_tokens=8).id() == "quick-v1 num_samples=3 max_new_tokens=8"
    assert conditions(num_samples=3).id(with_samples=False) == "quick-v1"
    assert conditions(max_new_tokens=1_234_567).id().endswith("max_new_tokens=1234567")
    ids = {conditions(system_prompt=text).id() for text in ("a", "b", None)}
    assert len(ids) == 3  # two system prompts are two protocols
    assert (
        conditions(prefill="<think>\n").id() == f"quick-v1 {conditions(prefill='<think>' + chr(10)).id()[9:]}"
    )
    assert conditions_of(MATH, {"protocol": "r1-paper", "prefill": ""}).id() == "r1-paper-v1 prefill=off"


def test_answers_per_problem() -> None:
    table = {
        name: [conditions_of(TASKS[t], {"protocol": name}).num_samples for t in TASKS] for name in PROTOCOLS
    }
    assert list(TASKS) == ["math_500", "aime24", "aime25", "gpqa:diamond", "gsm8k"]
    assert table == {
        "quick": [1, 4, 4, 1, 1],
        "open-r1": [4, 64, 64, 8, 1],
        "r1-paper": [16, 64, 64, 64, 1],
        "open-r1-2025-02": [1, 1, 1, 1, 1],
    }
    for name, greedy in (("r1-paper", False), ("open-r1", False), ("open-r1-2025-02", True)):
        base = PROTOCOLS[name]
        assert (base.temperature, base.max_new_tokens) == (0.0 if greedy else 0.6, 32768)


def test_prompts_word_by_word() -> None:
    """As open-r1 (#392) and simple-evals have them; a change needs a new version of the protocol."""
    assert conditions_of(MATH, {"protocol": "open-r1"}).prompt.format(problem="P") == (
        "Solve the following math problem efficiently and clearly.  The last line of your response should be "
        "of the following format: 'Therefore, the final answer is: $\\boxed{ANSWER}$. I hope it is correct' "
        "(without quotes) where ANSWER is just the final number or expression that solves the problem. Think "
        "step by step before answering.\n\nP"
    )
    letter = conditions_of(TASKS["gpqa:diamond"], {"protocol": "r1-paper"}).prompt
    assert letter.format(problem="Q", A="a", B="b", C="c", D="d") == (
        "Answer the following multiple choice question. The last line of your response should be of the "
        "following format: 'Answer: $LETTER' (without quotes) where LETTER is one of ABCD. Think step by "
        "step before answering.\n\nQ\n\nA) a\nB) b\nC) c\nD) d"
    )
    assert conditions_of(MATH, {"protocol": "open-r1-2025-02"}).prompt == "{problem}"
    paper = conditions_of(MATH, {"protocol": "r1-paper"}).prompt.format(problem="{x}")
    assert paper == "{x}\n\nPlease reason step by step, and put your final answer within \\boxed{}."


def test_defaults_by_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_protocol("light")[0] == default_protocol("cpu")[0] == "quick"
    assert default_protocol("h100x8")[0] == "open-r1"
    large = prepared("math_500", "aime24", simulate="8xH100").resolved
    assert (large["protocol"], large["max_new_tokens"], large["num_samples"]) == ("open-r1", 32768, None)
    small = prepared("math_500", simulate="RTX 3060", max_new_tokens=9).resolved
    assert (small["protocol"], small["max_new_tokens"], small["num_samples"]) == ("quick", 9, 1)
    assert str(small.settings["temperature"].origin) == "default: protocol quick"


def test_what_two_protocols_do_not_share() -> None:
    ours, theirs = conditions().as_dict(4096), conditions_of(MATH, {"protocol": "r1-paper"}).as_dict(32768)
    assert differences(ours, theirs) == [
        "another prefill",
        "num_samples 1 instead of 16",
        "max_new_tokens 4096 instead of 32768",
    ]
    assert differences(ours, ours) == []
    greedy = conditions(temperature=0.0).as_dict(10)
    assert differences(greedy, {**greedy, "top_p": 0.1}) == []


def test_names_and_near_names() -> None:
    assert task_named("gpqa") is TASKS["gpqa:diamond"]
    assert task_named("lighteval:gsm8k").name == "lighteval:gsm8k"
    for wrong, said in (("math500x", "math_500"), ("aime_24", "aime24"), ("gpqa:dimond", "gpqa:diamond")):
        with pytest.raises(UsageError) as caught:
            task_named(wrong)
        assert f"did you mean {said}" in str(caught.value.fix)
    with pytest.raises(UsageError, match="hidden tests"):
        task_named("lcb:codegeneration")
    for task in TASKS.values():
        assert task.revision is not None and len(task.revision) == 40


def test_columns_are_found_named_or_asked_for(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [{"aufgabe": "1+1?", "loesung": "So\n#### 2"}])
    with pytest.raises(RecipeError) as caught:
        problems_of(MATH, [MATH], {**NOTHING, "dataset": file}, "{problem}")
    assert "for the problem" in caught.value.what
    assert "it has: aufgabe, loesung; set problem_column" in str(caught.value.fix)
    named = {**NOTHING, "dataset": file, "problem_column": "aufgabe", "answer_column": "loesung"}
    (problem,) = problems_of(MATH, [MATH], named, "{problem}!").problems
    assert (problem.prompt, problem.gold) == ("1+1?!", "2")
    with pytest.raises(RecipeError, match="no column `frage`"):
        problems_of(MATH, [MATH], {**named, "problem_column": "frage"}, "{problem}")


def test_parquet_json_and_folders(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = [{"problem": f"p{i}", "answer": str(i)} for i in range(3)]
    Dataset.from_list(rows).to_parquet(str(tmp_path / "d" / "math_500.parquet"))
    write_rows(tmp_path / "d" / "gsm8k.jsonl", [{"question": "q", "answer": "#### 7"}])
    both = [MATH, TASKS["gsm8k"]]
    values = {**NOTHING, "dataset": str(tmp_path / "d")}
    found = [problems_of(task, both, values, "{problem}") for task in both]
    assert [len(f.problems) for f in found] == [3, 1]
    assert found[1].problems[0].gold == "7"
    with pytest.raises(RecipeError, match="which file of this folder holds aime24"):
        problems_of(TASKS["aime24"], [*both, TASKS["aime24"]], values, "{problem}")
    single = str(tmp_path / "d" / "gsm8k.jsonl")
    with pytest.raises(RecipeError, match="one file cannot be the problems of 2 tasks"):
        problems_of(MATH, both, {**values, "dataset": single}, "{problem}")


def test_another_copy_of_the_problems_is_said(tmp_path: Path) -> None:
    rows = [{"problem": f"p{i}", "answer": str(i)} for i in range(500)]
    file = write_rows(tmp_path / "m.jsonl", rows)
    found = problems_of(MATH, [MATH], {**NOTHING, "dataset": file, "limit": 10}, "{problem}")
    assert len(found.problems) == 10
    assert found.facts["rows"] == 500  # what is there, not what is taken
    (said,) = found.notices
    assert "not the known copy of math_500" in said and MATH.fingerprint in said
    pairs = [(r["problem"], r["answer"]) for r in rows]
    assert found.facts["fingerprint"] == data_fingerprint(pairs[::-1])  # in any order


ANSWERS = {
    "aime24": "204 113 371 385 110 104 721 25 809 116 104 294 540 197 480 "
    "73 236 45 33 80 55 699 127 902 468 601 23 321 211 315",
    "aime25": "70 588 16 117 279 504 821 77 62 81 259 510 204 60 735 "
    "468 49 82 106 336 293 237 610 149 907 113 19 248 104 240",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_of_the_aime_the_answers_are_known_and_the_text_is_not(tmp_path: Path, name: str) -> None:
    """The official answers, with and without leading zeros; the fingerprint of the text is said and kept."""
    task, answers = TASKS[name], ANSWERS[name].split()
    assert len(answers) == task.rows == 30
    for padded in (False, True):
        rows = [{"problem": f"p{i}", "answer": a.zfill(3) if padded else a} for i, a in enumerate(answers)]
        file = write_rows(tmp_path / "a.jsonl", rows[::-1])
        found = problems_of(task, [task], {**NOTHING, "dataset": file}, "{problem}")
        (said,) = found.notices
        assert f"not known yet; this one: {found.facts['fingerprint']}" in said
        assert "and the known gold answers" in said
    rows[3]["answer"] = "384"  # as the answer key once had it
    file = write_rows(tmp_path / "a.jsonl", rows)
    (said,) = problems_of(task, [task], {**NOTHING, "dataset": file}, "{problem}").notices
    assert "its gold answers differ (fingerprint of the answers" in said and str(task.answers) in said


def test_of_gpqa_the_size_is_known_and_the_rest_is_said(tmp_path: Path) -> None:
    names = ("Question", "Correct Answer", *GPQA_WRONG)
    file = write_rows(tmp_path / "g.jsonl", [{n: f"{n} {i}" for n in names} for i in range(198)])
    task = TASKS["gpqa:diamond"]
    found = problems_of(task, [task], {**NOTHING, "dataset": file}, "{problem}")
    (said,) = found.notices
    assert said == (
        f"the fingerprint of {task.name} is not known yet; this one: {found.facts['fingerprint']}, "
        "kept with the score (198 problems)"
    )


def test_the_same_problem_twice_keeps_two_ids(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "m.jsonl", [{"problem": "p", "answer": "1"}] * 2)
    found = problems_of(MATH, [MATH], {**NOTHING, "dataset": file}, "{problem}")
    assert len({p.id for p in found.problems}) == 2


def test_a_gated_dataset_says_what_to_accept_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise DatasetNotFoundError("Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub. You must be …")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    monkeypatch.setattr("openr1.data.sources._commit", lambda name, revision: revision)  # known to anyone
    task = TASKS["gpqa:diamond"]
    with pytest.raises(EnvironmentProblem) as caught:
        problems_of(task, [task], {**NOTHING, "dataset": None}, "{problem}")
    assert "gated" in caught.value.what
    assert "https://huggingface.co/datasets/Idavidrein/gpqa" in str(caught.value.fix)
    assert "hf auth login" in str(caught.value.fix)


def test_the_pinned_revision_is_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    seen: dict[str, Any] = {}

    def load(name: str, config: str | None, **kwargs: Any) -> Any:
        seen.update(kwargs, name=name)
        return datasets.Dataset.from_list([{"problem": "p", "answer": 204}])

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("openr1.data.sources._commit", lambda name, revision: revision)  # the hub's word
    task = TASKS["aime24"]
    found = problems_of(task, [task], {**NOTHING, "dataset": None}, "{problem}")
    assert (seen["name"], seen["revision"], seen["split"]) == (task.hub, task.revision, "train")
    assert found.facts["revision"] == task.revision
    assert found.problems[0].gold == "204"
    assert "1 problems; the published aime24 has 30" in found.notices[0]


SEED = [
    (["custom|aime24|0|0"], ["aime24"]),
    (["lighteval|math_500|0|0,lighteval|gpqa:diamond|0|0"], ["math_500", "gpqa:diamond"]),
    (["math_500|0"], ["math_500"]),
    (
        ["--model-args", "pretrained=M,dtype=bfloat16,max_model_length=9,gpu_memory_utilisation=0.8"],
        ["--model", "M", "--dtype", "bfloat16", "--max_model_length", "9", "--gpu_memory_utilization", "0.8"],
    ),
    (
        ["--model_args=model_name=M,data_parallel_size=8,,generation_parameters={max_new_tokens:9,top_p:0.9}"],
        ["--max_new_tokens", "9", "--top_p", "0.9", "--model", "M", "--parallel", "data", "--gpus", "8"],
    ),
    (["--model-args=pretrained=/a=b/c,tensor_parallel_size=1"], ["--model", "/a=b/c"]),
    (["aime24", "--use-chat-template"], ["aime24"]),
    (["aime24", "--custom-tasks", "src/open_r1/evaluate.py"], ["aime24"]),
    (["MODEL=M", "TASK=aime24", "PARALLEL=data", "NUM_GPUS=8"],
     ["--model", "M", "aime24", "--parallel", "data", "--gpus", "8"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "ours"), SEED, ids=[" ".join(words)[:50] for words, _ in SEED])
def test_the_seeds_spellings(words: list[str], ours: list[str]) -> None:
    found, notices = translate(words)
    assert found == ours
    assert notices


def test_our_own_words_pass_unchanged_and_what_means_nothing_is_refused() -> None:
    words = ["math_500", "--model", "a|b", "lighteval:x", "--dataset=f", "--temperature", "0.5"]
    assert translate(["math_500", "--dataset=f"]) == (["math_500", "--dataset=f"], [])
    assert translate(words) == (words, [])
    few = ["lighteval:gsm8k|5", "--system_prompt", "say <|a|> or 1|2 things"]
    assert translate(few) == (few, [])  # lighteval's own task, with its own examples
    with pytest.raises(UsageError, match="asks for 5 examples"):
        translate(["lighteval|gsm8k|5|0"])
    with pytest.raises(UsageError, match="quantum"):
        translate(["--model-args", "pretrained=M,quantum=1"])


def test_what_a_plan_samples_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    distill = "deepseek-ai/DeepSeek-R1-Distill-Qwen-"

    def sampling(**keys: Any) -> dict[str, Any]:
        plan: dict[str, Any] = prepared("math_500", **keys).plan["sampling"]
        return plan

    eight = sampling(simulate="8xH100", model_name_or_path=distill + "1.5B", backend="vllm")
    assert [e["CUDA_VISIBLE_DEVICES"] for e in eight["environments"]] == [str(i) for i in range(8)]
    large = sampling(simulate="4x RTX 4090", model_name_or_path=distill + "14B", backend="vllm")
    assert (large["tensor_parallel"], large["environments"]) == (4, [])
    assert sampling(simulate="8xH100", gpus=4, parallel="tensor", backend="vllm")["tensor_parallel"] == 4
    with pytest.raises(RecipeError) as caught:  # 12 heads
        sampling(simulate="8xH100", model_name_or_path=distill + "1.5B", parallel="tensor", backend="vllm")
    assert "8 GPUs cannot share the 12 attention heads" in caught.value.what
    assert "--gpus 4" in str(caught.value.fix)
    with pytest.raises(EnvironmentProblem, match="--gpus 9"):
        sampling(simulate="8xH100", gpus=9)
    with pytest.raises(RecipeError, match="needs GPUs"):
        sampling(parallel="tensor", simulate="cpu")
    two = sampling(processes=2, simulate="cpu")
    assert len(two["environments"]) == 2 and two["backend"] == "transformers"
    with pytest.raises(DoesNotFit, match=r"weights take 28\.4 GiB and 14\.4 GiB of memory") as refused:
        sampling(simulate="cpu", model_name_or_path=distill + "7B")
    assert "a smaller model" in str(refused.value.fix)
    with pytest.raises(DoesNotFit) as refused:
        sampling(simulate="cpu", processes=3)
    assert str(refused.value.fix) == "--processes 1; or --dtype bfloat16"
    served = sampling(server=["http://a:1"], simulate="8xH100")
    assert served["backend"] == "server" and served["requires"] == ["aiohttp"]


def test_the_protocol_and_the_model_nobody_named_are_said_and_name_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here, there = prepared("math_500", simulate="cpu"), prepared("math_500", simulate="8xH100")
    for found, name in ((here, "quick"), (there, "open-r1")):
        assert found.resolved["protocol"] == name
        assert found.resolved.settings["protocol"].origin.kind == "profile"
        assert any(f"protocol {name}, by the machine's profile" in said for said in found.notices)
        assert found.resolved["model_name_or_path"] == "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
        assert any("no model is named: deepseek-ai/DeepSeek-R1" in said for said in found.notices)
    assert here.run.path != there.run.path
    same = prepared("math_500", simulate="8xH100", protocol="quick")
    assert same.run.path == here.run.path  # said or chosen, the same questions
    assert not any("protocol quick" in said for said in same.notices)
    served = prepared("math_500", server=["http://a:1"])
    assert served.resolved["model_name_or_path"] is None  # the servers say what they serve


def test_the_estimate_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = write_rows(tmp_path / "m.jsonl", [{"problem": "p", "answer": "1"}] * 50)
    model = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
    keys: dict[str, Any] = {"dataset": file, "model_name_or_path": model, "simulate": "8xH100"}
    (found,) = prepared("math_500", **keys, limit=40).plan["estimate"]
    assert (found["problems"], found["samples"]) == (40, 160)
    assert found["most_tokens"] == 160 * 32768
    assert found["tokens"] == 160 * 4000
    assert 0 < found["hours"] < 0.1
    assert "lengths assumed" in found["basis"]
    (unknown,) = prepared("math_500", **{**keys, "model_name_or_path": "owner/unheard-of"}).plan["estimate"]
    assert unknown["hours"] is None
    assert "not known" in unknown["basis"]


def test_lengths_and_speeds_of_earlier_runs_are_used(tmp_path: Path) -> None:
    from openr1.planning.speeds import Speed, load, record

    store = tmp_path / "speeds.json"
    mine = [
        Speed("cpu:x:2", "sampling", "m", 100.0, "math_500", 800.0, 4096),
        Speed("other", "sampling", "m", 9.0),
    ]
    record(load("cpu:x:2", store), mine, store)
    found = load("cpu:x:2", store)
    assert found.sampling("m") == 100.0
    assert found.sampling("n") is None
    assert found.length("math_500", "m", 8192) == 800.0
    assert found.length("math_500", "m", 32768) is None  # it had a quarter of the room
    store.write_text("not json")
    assert load("cpu:x:2", store).seen == ()
