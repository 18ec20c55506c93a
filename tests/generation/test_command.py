"""`openr1 generate` for real, from the samples to the export, and `openr1 sft` on what came out."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

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
    alone = cli(
        "generate", "--from", run, "--only", "decontaminate", "--against", "t=t.jsonl", "--match", "open-r1"
    )
    assert "contaminated problems: 1 (t 1)" in alone.out  # `3+3,` and `3 + 3,` differ, the rest does not


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


LOCAL = (*MODEL, "--dataset", "d.jsonl")

# words after `generate`, exit code, what the message holds, what its place holds, what it advises
# fmt: off
REFUSED: list[tuple[tuple[str, ...], int, str, str, str]] = [
    (("--from", "nowhere"), 2, "no run `nowhere`", "--from", "runs ls"),
    (("--from", "trained"), 2, "one of sft, not of generate", "trained", "openr1 generate"),
    (("--from", "empty"), 2, "no samples yet", "empty", "again"),
    (("--from", "whole", "--temperature", "1"), 3, "no effect with --from", "--temperature", "leave it out"),
    (("--from", "whole", "--only", "verify,fliter"), 3, "'filter'", "--only", ""),
    (("--from", "whole", "--against", "mat_500"), 2, "unknown evaluation set", "--against", "math_500?"),
    (("--from", "whole", "--against", "gone.jsonl"), 3, "no such dataset file", "--against", "check"),
    (("--from", "whole", "--layouts", "alpaca"), 3, "'openr1-math'", "--layouts", ""),
    (("--from", "whole", "--only", "verify", "--hub_dataset_id", "a/b"), 3, "export step", "--hub", "add"),
    (("--from", "whole", "--only", "export", "--choose", "first"), 3, "filter step", "--choose", "add"),
    (("--from", "whole", "--pass_rate_min", "1", "--pass_rate_max", "0"), 3, "above", "--pass_", "swap"),
    (("--from", "whole", "--reward_funcs", "acuracy"), 3, "unknown reward", "--reward_funcs", "accuracy?"),
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
