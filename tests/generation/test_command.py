"""`openr1 generate` for real, from the samples to the export, and `openr1 sft` on what came out."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openr1.cli.common import asked_from
from openr1.cli.generate_view import show_generation
from openr1.cli.printer import Printer
from openr1.config.schema import own_defaults
from openr1.errors import RecipeError, UsageError
from openr1.generation.run import Generation
from openr1.generation.samples import SampleSet, problem_of
from tests.conftest import Cli, only_run, rows_of, small_disk
from tests.sampling.fake_server import serving

MODEL = ("--model", "builtin:tiny-qwen2?layers=1&hidden=64", "--threads", "1")
ROWS = [
    {"problem": "What is 0+0, now that nobody has any apples left at all?", "answer": "0"},
    {"problem": "What is 1+1, when each of two friends brings one pear?", "answer": "2"},
    {"problem": "What is 2+2, as seen by a cat that chases its own tail?", "answer": "4"},
    {"problem": "What is 3+3, if you count it slowly on the fingers of your hands?", "answer": "6"},
]
TEST_SET = [{"problem": "what is 3 + 3, if you count it slowly on the fingers of your feet"}]


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, Path]:
    """A run with upstream's flags and every step, which other runs take their samples from."""
    cli = Cli(tmp_path_factory.mktemp("generate"))
    cli.write("d.jsonl", jsonl(ROWS))
    cli.write("t.jsonl", jsonl(TEST_SET))
    done = cli(
        *("generate", *MODEL, "--hf-dataset", "d.jsonl", "--num-generations", 2, "--max-tokens", 8),
        *("--input-batch-size", 4, "--client-replicas", 2, "--retries", 3, "--keep", "any"),
        *("--against", "t.jsonl", "--prompt-template", "Solve: {{ instruction }}", "--run_name", "first"),
    )
    assert "--client_replicas has no effect" in done.err
    assert "contaminated problems: 1 (t 1), each shares 8 words with a test item" in " ".join(
        done.out.split()
    )
    return cli, cli.folder / "runs" / "first"


def test_one_question_is_answered_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasoning and answer told apart, and neither a run nor the scratch folder stays."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    cli = Cli(tmp_path)
    said = {"text": "<think>12 and 30</think>It is 42.", "tokens": 9}
    with serving(lambda body: said) as server:
        words = ("generate", "--server", server.url, "--prompt", "What is 12+30?")
        found = cli(*words, "--json", TMPDIR=str(scratch)).json
    (one,) = found["completions"]
    assert (one["reasoning"], one["answer"].strip()) == ("12 and 30", "It is 42.")
    assert found["prompt"] == "What is 12+30?"
    assert not list(scratch.glob("openr1-prompt-*")) and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("beside", [("--dataset", "d.jsonl"), ("--dry-run",), ("--run_name", "x")])
def test_a_question_beside_a_dataset_is_refused(cli: Cli, beside: tuple[str, ...]) -> None:
    done = cli("generate", *MODEL, "--prompt", "1+1?", *beside, code=2)
    assert "--prompt asks one question" in done.err and "leave one of them out" in done.err


def test_every_step_leaves_its_file(sampled: tuple[Cli, Path]) -> None:
    _, run = sampled
    rows = rows_of(run / "samples.jsonl")
    assert [row["answer"] for row in rows] == ["0", "2", "4", "6"]
    assert rows[0]["sent"] == [{"role": "user", "content": f"Solve: {ROWS[0]['problem']}"}]
    assert all(len(row["generations"]) == len(row["is_reasoning_complete"]) == 2 for row in rows)
    assert len(rows_of(run / "verdicts.jsonl")) == 4
    (evidence,) = rows_of(run / "contamination.jsonl")
    assert evidence["row"] == 3
    assert evidence["hits"] == [
        {
            "set": "t",
            "item": 0,
            "ngram": "what is 3 3 if you count it",
            "test_problem": TEST_SET[0]["problem"],
        }
    ]
    funnel = json.loads((run / "funnel.json").read_text())["funnel"]
    counts = [(step["step"], step["problems"], step["samples"]) for step in funnel]
    assert counts == [
        ("sampled", 4, 8),
        ("verified", 4, 8),
        ("kept", 4, 8),
        ("not contaminated", 3, 6),
        ("exported (messages)", 3, 6),
    ]
    assert "Solve: {{ instruction }}" in (run / "dataset" / "README.md").read_text()
    assert json.loads((run / "manifest.json").read_text())["result"]["exported"] == {"messages": 6}


def test_the_export_goes_straight_into_sft(sampled: tuple[Cli, Path]) -> None:
    cli, run = sampled
    done = cli(
        "sft", *MODEL, "--dataset", run / "dataset", "--max_steps", 1, "--global_batch_size", 2, "--json"
    )
    assert done.json["result"]["steps"] == 1
    assert done.json["result"]["rows"] == 6


def test_the_same_command_shows_what_has_finished(sampled: tuple[Cli, Path]) -> None:
    cli, run = sampled
    logs = sorted(run.glob("logs/*"))
    words = ("--dataset", "d.jsonl", "--num-generations", 2, "--max-new-tokens", 8, "--batch_size", 4)
    more = ("--keep", "any", "--against", "t.jsonl", "--prompt-template", "Solve: {{ instruction }}")
    done = cli("generate", *MODEL, *words, *more, "--run_name", "first")
    assert "finished earlier" in done.out
    assert sorted(run.glob("logs/*")) == logs


def test_steps_from_a_finished_run(sampled: tuple[Cli, Path]) -> None:
    cli, run = sampled
    words = ("generate", "--from", "first", "--only", "filter,export", "--keep", "any", "--choose", "first")
    done = cli(*words, "--layouts", "full,openr1-math", "--json").json
    assert done["section"] == "generate"
    result = done["result"]
    assert result["steps"] == ["filter", "export"]
    assert result["exported"] == {"full": 3, "openr1-math": 3}  # that run's contaminated problem stays out
    assert Path(cli.folder / result["dataset"]).is_relative_to(cli.folder / "runs")
    assert not (cli.folder / done["run"] / "verdicts.jsonl").exists()
    manifest = json.loads((cli.folder / done["run"] / "manifest.json").read_text())
    assert manifest["parents"] == {"generate": json.loads((run / "manifest.json").read_text())["hash"]}
    again = cli("generate", "--from", run, "--only", "filter,export", "--keep", "any", "--choose", "first",
                "--layouts", "full,openr1-math", "--json").json  # fmt: skip
    assert again["was_finished"] and again["run"] == done["run"]  # the same run, named by its path
    # A run of steps is one to take from: its selection, and the samples of the run that it is from itself.
    words = ("--only", "decontaminate,export", "--against", "t=t.jsonl", "--match", "open-r1")
    alone = cli("generate", "--from", done["run"], *words, "--run_name", "third")
    assert "contaminated problems: 1 (t 1)" in alone.out  # `3+3,` and `3 + 3,` differ, the rest does not
    assert "messages: 3 rows" in alone.out and "runs/first/samples.jsonl" in alone.out
    third = json.loads((cli.folder / "runs" / "third" / "manifest.json").read_text())
    assert third["parents"] == {"generate": done["run"].rpartition("-")[2]}


def test_nothing_right_is_said_and_exports_nothing(sampled: tuple[Cli, Path]) -> None:
    cli, run = sampled
    done = cli("generate", "--from", "first", "--only", "verify,filter,export", "--run_name", "none-right")
    assert "no completion is left" in done.err
    assert "right" in done.out and "0.0 %" in done.out
    assert not (cli.folder / "runs" / "none-right" / "dataset").exists()
    assert run.joinpath("dataset").exists()


def test_running_servers_sample(cli: Cli) -> None:
    """Two servers share the work; what they say is verified, filtered and exported like any other."""
    cli.write("d.jsonl", jsonl(ROWS))

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        asked = str(body["messages"][-1]["content"])
        return {"text": f"<think>hm</think>\\boxed{{{2 if '1+1' in asked else 9}}}", "tokens": 7}

    with serving(answer) as one, serving(answer) as two:
        words = ("generate", "--dataset", "d.jsonl", "--num-generations", 3, "--temperature", 1)
        done = cli(*words, "--server", one.url, f"--server={two.url}", "--json").json
        assert len(one.asked) + len(two.asked) == 12 and one.asked and two.asked
        refused = cli(*words, "--vllm-server-url", one.url, "--model", "another", code=3).err
    assert "does not serve `another`; it serves tiny" in " ".join(refused.split())
    assert done["result"]["verdicts"] == {"wrong": 9, "right": 3}
    assert done["result"]["exported"] == {"messages": 3}
    run = cli.folder / done["run"]
    assert json.loads((run / "sampling.json").read_text())["model"] == "tiny"
    assert all(row["is_reasoning_complete"] == [True] * 3 for row in rows_of(run / "samples.jsonl"))


def test_cut_off_samples_are_drawn_again_with_more_room(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": "a"}]))
    words = ("generate", *MODEL, "--dataset", "d.jsonl", "--max-new-tokens", 3, "--truncated", "retry")
    done = cli(*words, "--retry_max_new_tokens", 5)
    assert "1 samples were cut off; they are drawn again with 5 new tokens" in done.err
    (row,) = rows_of(only_run(cli, "*") / "samples.jsonl")
    assert row["tokens"] == [5]
    assert "no column holds a gold answer" in done.err


def test_a_backspace_is_flagged_where_it_is_written_and_where_it_is_sent(cli: Cli) -> None:
    cli.write("d.jsonl", jsonl([{"problem": "a \boxed{}"}, {"problem": "b"}]))
    cli.write(
        "r.yaml", 'generate:\n  prompt_template: "\\boxed{} {{ instruction }}"\n  dataset_name: d.jsonl\n'
    )
    done = cli("generate", "r.yaml", *MODEL, "--max-new-tokens", 2)
    assert "the prompt template holds a backspace" in done.err
    assert "2 of 2 prompts hold a backspace" in done.err


def test_upstreams_flags_mean_what_they_meant(broken: Cli) -> None:
    """Those of its four scripts: each is understood, or a remark says why not."""
    given = (
        *("--hf-dataset", "d.jsonl", "--hf-dataset-config", "c", "--hf-dataset-split", "test"),
        *("--hf-output-dataset", "me/traces", "--prompt-column", "question_text", "--timeout", 600),
        *("--vllm-server-url", "http://one:8000/v1", "--api-addr", "two:8000", "--input-batch-size", 32),
        *("--max-tokens", 99, "--top-p", 0.9, "--retries", 3, "--client-replicas", 2, "--uuid-column", "id"),
        *("--max-model-len", 4096, "--private", "--cleanup", "--prompt-template", "{prompt}"),
    )
    done = broken("generate", *given, "--dry-run", "--json").json
    expected = {
        "dataset_name": "d.jsonl",
        "dataset_config": "c",
        "dataset_split": "test",
        "hub_dataset_id": "me/traces",
        "prompt_column": "question_text",
        "server_timeout": 600,
        "server": ["http://one:8000/v1", "two:8000"],
        "batch_size": 32,
        "max_new_tokens": 99,
        "top_p": 0.9,
        "max_model_length": 4096,
        "private": True,
        "prompt_template": "{prompt}",
    }
    assert {key: done["values"][key]["value"] for key in expected} == expected
    ignored = ["client_replicas", "retries", "uuid_column", "cleanup"]
    assert all(any(said.startswith(f"--{key} has no effect") for said in done["notices"]) for key in ignored)


def test_two_names_of_one_key_that_differ_are_refused() -> None:
    names = {"hf_dataset": "dataset_name", "dataset": "dataset_name"}
    with pytest.raises(UsageError, match="`--dataset` and another name of `dataset_name` are given: b and a"):
        asked_from(["--hf-dataset", "a", "--dataset", "b"], renamed=names)
    _, asked = asked_from(["--hf-dataset", "a", "--dataset", "a"], renamed=names)
    assert asked.overrides == {"dataset_name": ("a", "a")}


LOCAL = (*MODEL, "--dataset", "d.jsonl")

# words after `generate`, exit code, what the message holds, what its place holds, what it advises
# fmt: off
REFUSED: list[tuple[tuple[str, ...], int, str, str, str]] = [
    (("--from", "nowhere"), 2, "no run `nowhere`", "--from", "runs ls"),
    (("--from", "trained"), 2, "one of sft, not of generate", "trained", "openr1 generate"),
    (("--from", "empty"), 2, "no samples yet", "empty", "again"),
    (("--from", "whole", "--temperature", "1"), 3, "no effect with --from", "--temperature", "leave it out"),
    (("--from", "whole", "--only", "verify,fliter"), 3, "one of verify, filter, ", "--only", ""),
    (("--from", "whole", "--against", "mat_500"), 2, "unknown evaluation set", "--against", "math_500?"),
    (("--from", "whole", "--against", "gone.jsonl"), 3, "no such dataset file", "--against", "check"),
    (("--from", "whole", "--layouts", "alpaca"), 3, "full, openr1-math, ", "--layouts", ""),
    (("--from", "whole", "--only", "verify", "--hub_dataset_id", "a/b"), 3, "export step", "--hub", "add"),
    (("--from", "whole", "--only", "export", "--choose", "first"), 3, "filter step", "--choose", "add"),
    (("--from", "whole", "--pass_rate_min", "1", "--pass_rate_max", "0"), 3, "above", "--pass_", "swap"),
    (("--from", "whole", "--reward_funcs", "acuracy"), 3, "unknown reward", "--reward_funcs", "accuracy?"),
    ((*LOCAL, "--output-file", "out.jsonl"), 2, "no `--output_file`", "command line", "--output_dir FOLDER"),
    ((*LOCAL, "--dataset-start-index", "200"), 2, "no `--dataset_start_index`", "", "'train[0:200]'"),
    ((*LOCAL, "--prompt-template", "a.jinja"), 3, "is no Jinja", "line 2 of a.jinja", "{{"),
    ((*LOCAL, "--prompt-template", "a {{ b }"), 3, "is no Jinja", "line 1 of the template", "{{"),
    ((*LOCAL, "--prompt-template", "none.jinja"), 3, "cannot be read", "none.jinja", "file"),
    ((*LOCAL, "--prompt-template", "Solve!"), 3, "never uses the row", "--prompt_template", ""),
]
# fmt: on


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    cli = Cli(tmp_path_factory.mktemp("broken"))
    cli.write("d.jsonl", jsonl([{"question_text": "a", "answer": "1"}]))
    for name, stage in (("trained", "sft"), ("empty", "generate"), ("whole", "generate")):
        manifest = {"format": 1, "state": "interrupted", "hash": "0", "stage": stage, "section": stage}
        cli.write(f"runs/{name}/manifest.json", json.dumps(manifest))
    cli.write("a.jinja", "Solve\n{{ instruction }")
    cli.write("runs/whole/samples.jsonl", "")
    cli.write("runs/whole/sampling.json", json.dumps({"model": "m", "columns": ["problem"]}))
    return cli


@pytest.mark.parametrize(
    ("words", "code", "what", "where", "fix"), REFUSED, ids=[" ".join(case[0][-2:]) for case in REFUSED]
)
def test_refused_before_anything_starts(
    broken: Cli, words: tuple[str, ...], code: int, what: str, where: str, fix: str
) -> None:
    done = broken("generate", *words, "--json", code=code)
    error = json.loads(done.out)["error"]
    assert what in error["what"]
    assert where in (error["where"] or "")
    assert fix in (error["fix"] or "")
    assert sorted(p.name for p in (broken.folder / "runs").iterdir()) == ["empty", "trained", "whole"]


@pytest.mark.parametrize(
    ("words", "what", "where", "fix"),
    [
        ((), "for the prompt", "d.jsonl", "question_text, answer"),
        (("--prompt-column", "problem"), "no column `problem`", "d.jsonl", "question_text, answer"),
        (
            ("--prompt-column", "question_text", "--prompt-template", "{{ question }}"),
            "`question`, which is no column",
            "line 1 of the template",
            "{{ question_text }}",
        ),
    ],
)
def test_refused_by_the_child(broken: Cli, words: tuple[str, ...], what: str, where: str, fix: str) -> None:
    done = broken("generate", *MODEL, "--dataset", "d.jsonl", *words, "--output_dir", "out", "--json", code=3)
    error = json.loads(done.out)["error"]
    assert what in error["what"]
    assert where in error["where"]
    assert fix in error["fix"]
    subprocess.run(["rm", "-r", str(broken.folder / "out")], check=True)


BEFORE: list[tuple[dict[str, Any], str, str]] = [
    ({"only": ["verify"]}, "no column for the gold answer", "set solution_column"),
    ({"solution_column": "gold"}, "no column `gold`", "set solution_column"),
    ({"pass_rate_min": 0.1}, "a pass rate needs right answers or rewards", "name reward_funcs"),
    ({"reward_funcs": ["format", "cosine"]}, "`cosine` needs a column solution or answer", "another reward"),
    ({"against": ["gone=gone.jsonl"]}, "no such dataset file: gone.jsonl", "check the path"),
]


@pytest.mark.parametrize(("values", "what", "fix"), BEFORE, ids=[case[1] for case in BEFORE])
def test_what_later_steps_lack_is_told_before_anything_is_sampled(
    tmp_path: Path, values: dict[str, Any], what: str, fix: str
) -> None:
    generation = generation_of(tmp_path, **values)
    with pytest.raises(RecipeError) as caught:
        generation._check(["problem"], "d.jsonl")
    assert what in caught.value.what and fix in str(caught.value.fix)


def generation_of(folder: Path, **values: Any) -> Generation:
    """The steps of a run, without the process around them."""
    events = SimpleNamespace(send=lambda *args, **fields: None)
    child = SimpleNamespace(
        values=own_defaults("generate") | values,
        run=SimpleNamespace(path=folder),
        config={"plan": {}},
        events=events,
        check_stop=lambda: None,
    )
    return Generation(child)  # type: ignore[arg-type]


def test_rewards_that_need_no_gold_answer_make_a_pass_rate(tmp_path: Path) -> None:
    good, bad = "<think>\na\n</think>\n<answer>\nb\n</answer>", "b"
    each = [[good, bad], [good, good], [bad, bad]]

    def samples(texts: list[str]) -> list[dict[str, Any]]:
        return [{"text": text, "finish_reason": "stop", "tokens": 3} for text in texts]

    problems = [
        problem_of(row, {"prompt": f"{row}"}, [{"role": "user", "content": f"{row}"}], samples(texts))
        for row, texts in enumerate(each)
    ]
    made = SampleSet(tmp_path)
    made.write(problems, {"columns": ["prompt"], "prompt_column": "prompt", "dataset": "d.jsonl"})
    generation = generation_of(tmp_path, reward_funcs=["format"], pass_rate_min=0.1, pass_rate_max=0.9)
    generation._check(["prompt"], "d.jsonl")
    generation.samples, generation.facts = made, made.facts
    assert generation.steps == ["verify", "filter", "export"]
    generation._verify()
    generation._filter()
    assert [line["pass_rate"] for line in rows_of(tmp_path / "selection.jsonl")] == [0.5, 1.0, 0.0]
    assert [line["chosen"] for line in rows_of(tmp_path / "selection.jsonl")] == [[0, 1], [], []]
    assert "verdicts" not in generation.result  # nothing was there to judge by


@pytest.mark.slow
def test_a_pass_rate_of_rewards_that_need_no_gold_answer_feeds_grpo(cli: Cli) -> None:
    """As the recipes of open-r1's compute_pass_rate.py say it, by its flags."""
    cli.write("d.jsonl", jsonl([{"prompt": f"{n}", "solution": str(n)} for n in range(6)]))
    texts = ["<think>\na\n</think>\n<answer>\nb\n</answer>", "b"]

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        row = int(body["messages"][-1]["content"])
        return {"text": texts[body["seed"] % 2 if row < 4 else row % 2], "tokens": 3}

    with serving(answer) as server:
        words = ("generate", "--dataset", "d.jsonl", "--server", server.url, "--num-generations", 8)
        more = ("--max-completion-length", 64, "--pass_rate_min", 0.1, "--pass_rate_max", 0.9)
        kept = ("--keep", "any", "--truncated_as", "wrong", "--layouts", "full", "--seed", 3)
        done = cli(*words, *more, *kept, "--reward_funcs", "format", "--json").json
        cli.write("e.jsonl", jsonl([{"prompt": f"{n}"} for n in range(6)]))
        bare = cli(*(w if w != "d.jsonl" else "e.jsonl" for w in words), *more, *kept[2:],
                   "--reward_funcs", "format", "--json").json  # fmt: skip
    assert done["result"]["exported"] == bare["result"]["exported"] == {"full": 4}
    assert bare["result"]["funnel"][-2]["step"] == "pass rate" and "verdicts" not in bare["result"]
    trained = cli(
        *("grpo", *MODEL, "--dataset", done["result"]["dataset"], "--max_steps", 1, "--num_generations", 2),
        *("--global_batch_size", 4, "--max_completion_length", 8, "--reward_funcs", "accuracy", "--json"),
    ).json
    assert trained["result"]["steps"] == 1


@pytest.mark.parametrize(("layout", "stage"), [("messages", "sft"), ("full", "grpo")])
def test_the_training_that_takes_the_export_is_named(
    layout: str, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {"samples": 8, "rows": 4, "mean_tokens": 1.0, "truncated": 0.0, "file": "samples.jsonl"}
    show_generation(Printer(), {**result, "dataset": "d", "exported": {layout: 3}})
    assert f"next:  openr1 {stage} RECIPE --dataset d" in capsys.readouterr().out


def test_an_evaluation_set_that_is_not_here(sampled: tuple[Cli, Path]) -> None:
    cli, _ = sampled
    done = cli("generate", "--from", "first", "--only", "decontaminate", "--against", "math_500", code=5)
    assert "the hub cannot be reached" in done.err
    assert "--against math_500=FILE" in done.err


def test_a_full_disk_loses_nothing(cli: Cli) -> None:
    """The samples fit, their export does not; with room again the same command ends."""
    with small_disk(cli.folder / "runs", 2) as make_room:
        words = [{"problem": f"{i}: {random.Random(i).randbytes(300).hex()}"[:380]} for i in range(900)]
        cli.write("d.jsonl", jsonl(words))
        command = ("generate", *MODEL, "--dataset", "d.jsonl", "--max-new-tokens", 1, "--batch_size", 300)
        done = cli(*command, code=None)
        assert done.code == 5, done.out + done.err + cli.logs()
        assert "disk is full" in done.err
        make_room()
        ledger = only_run(cli, "*") / "samples" / "ledger.jsonl"
        before = ledger.read_bytes()
        again = cli(*command, "--json").json["result"]
        assert again["samples"] == 900 and again["exported"] == {"messages": 900}
        assert ledger.read_bytes()[: before.rfind(b"\n") + 1] == before[: before.rfind(b"\n") + 1]
        assert len({row["key"] for row in rows_of(ledger)}) == len(rows_of(ledger)) == 900
