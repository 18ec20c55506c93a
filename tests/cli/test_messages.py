"""Every kind of bad input: its exit code, and one message that says what, where and what to do."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Cli, only_run, small_disk

MODEL = ("--model_name_or_path", "builtin:tiny-qwen2?layers=1&hidden=64")
WRONG = "sft:\n  dataset_name: d\n  max_steps: ten\n  global_batch_size: 0\n"
MIXTURE = """\
model_name_or_path: builtin:tiny-qwen2
dataset_mixture:
  datasets:
    - {id: broken.jsonl, weight: 0.5}
"""
UNKNOWN = "sft:\n  lerning_rate: 1\n  num_generations: 4\n"

# words of the command, exit code, words of the message; in the parent, so each takes a moment
PARENT = [
    ("sft none.yaml", 3, ["no such file", "none.yaml"]),
    ("sft tiny-cpuu", 3, ["did you mean tiny-cpu"]),
    ("sft empty.yaml", 3, ["is empty", "empty.yaml"]),
    ("grpo binary.yaml", 3, ["not a text file", "binary.yaml:1"]),
    ("pipeline folder", 3, ["directory"]),
    ("sft list.yaml", 3, ["holds a list", "list.yaml:1"]),
    ("sft wrong.yaml", 3, ["`max_steps` must be a whole number", "wrong.yaml:3", "wrong.yaml:4"]),
    ("sft unknown.yaml", 3, ["unknown.yaml:2", "did you mean `learning_rate`", "belongs to grpo"]),
    ("sft grpo-flat.yaml", 3, ["this is a grpo recipe", "openr1 grpo grpo-flat.yaml"]),
    ("pipeline grpo-flat.yaml", 3, ["needs sections"]),
    ("sft eval-flat.yaml", 3, ["for openr1 eval (it sets `tasks`", "openr1 eval eval-flat.yaml"]),
    ("pipeline eval-flat.yaml", 3, ["a flat one of eval", "openr1 eval eval-flat.yaml"]),
    ("grpo generate-flat.yaml", 3, ["for openr1 generate", "openr1 generate generate-flat.yaml"]),
    ("eval generate-flat.yaml", 3, ["for openr1 generate", "openr1 generate generate-flat.yaml"]),
    ("generate eval-flat.yaml", 3, ["for openr1 eval", "openr1 eval eval-flat.yaml"]),
    ("sft tiny.yaml other.yaml", 2, ["one recipe at a time"]),
    ("sft tiny.yaml --config tiny.yaml", 2, ["two recipes"]),
    ("sft tiny.yaml --learnin_rate 1", 3, ["the command line", "`learning_rate`"]),
    ("pipeline tiny.yaml --grpo.bta 1", 3, ["`beta`"]),
    ("pipeline tiny.yaml --rl.beta 1", 3, ["names no section", "sft, grpo, eval"]),
    ("sft tiny.yaml --grpox.beta 1", 3, ["names no section"]),
    ("sft tiny.yaml --max_steps 0", 3, ["must be 1 or more, or -1", "--max_steps"]),
    ("sft tiny.yaml --learning_rate -1 --save_total_limit 0", 3, ["--learning_rate", "--save_total_limit"]),
    ("grpo tiny.yaml --temperature 0 --model builtin:tiny-qwen2", 3, ["above 0"]),
    ("grpo tiny.yaml --num_generations 1 --model builtin:tiny-qwen2", 3, ["2 or more"]),
    ("sft tiny.yaml --section nope", 2, ["no section `nope`", "sft, grpo, eval"]),
    ("sft tiny.yaml --section grpo", 2, ["openr1 grpo tiny.yaml --section grpo"]),
    ("sft tiny.yaml --model_name_or_path ./nothing", 3, ["no model at", "--model_name_or_path"]),
    ("sft tiny.yaml --model_name_or_path ./folder", 3, ["no config.json"]),
    ("sft tiny.yaml --model_name_or_path builtin:huge", 3, ["builtin:tiny-qwen2"]),
    ("sft tiny.yaml --dataset_name gone.jsonl", 3, ["no such dataset file", "--dataset_name"]),
    ("sft tiny.yaml --dataset_name zero.jsonl", 3, ["is empty", "zero.jsonl"]),
    ("sft tiny.yaml --dataset_name builtin:chain-sum?stepz=3", 3, ["steps"]),
    ("sft --model_name_or_path builtin:tiny-qwen2", 3, ["no dataset is named"]),
    ("sft weights.yaml", 3, ["weight must be", "here is -1", "weights.yaml:2", "datasets[2].weight"]),
    ("sft mixture.yaml", 3, ["no such dataset file: gone.jsonl", "mixture.yaml:2"]),
    ("sft twice.yaml", 3, ["both name what to train on", "twice.yaml:2"]),
    ("sft tiny.yaml --eval_split_size 2.5", 3, ["whole number of rows, or a share", "--eval_split_size"]),
    ("sft tiny.yaml --reasoning_style cot", 3, ["must be one of think", "--reasoning_style"]),
    ("sft --dataset_name zero.jsonl", 3, ["no model is named"]),
    ("sft tiny.yaml --output_dir full", 3, ["holds no run"]),
    ("sft tiny.yaml --attn_implementation flash_attention_2", 5, ["flash_attn", "leave attn_implementation"]),
    ("sft tiny.yaml --gpus 2", 5, ["no GPU", "--gpus"]),
    ("sft tiny.yaml --simulate 8xBanana --dry-run", 2, ["Banana", "8xH100"]),
    ("sft tiny.yaml --simulate 8xH100", 2, ["simulated", "--dry-run"]),
    ("sft tiny.yaml --profile fast", 2, ["light, h100x8, cpu"]),
    ("eval mat_500", 2, ["did you mean math_500"]),
    ("eval", 2, ["no task is named"]),
    ("eval math_500 --dataset gone.jsonl", 3, ["no such dataset file"]),
    ("eval gsm8k --protocol paper", 3, ["protocol", "quick"]),
    ("eval gsm8k --temperature -1", 3, ["temperature", "must be 0 or more"]),
    ("eval gsm8k --model ./folder", 3, ["no config.json"]),
    ("generate", 3, ["no model is named", "openr1 generate --model"]),
    ("bench --models gpt", 2, ["no model `gpt`"]),
    ("bench --benchmarks math500", 2, ["did you mean math_500"]),
    ("hw-profile --for none.yaml", 3, ["no such file"]),
]


@pytest.fixture
def broken(cli: Cli, tiny: str) -> Cli:
    """A folder full of files that are no recipes and no datasets."""
    files: dict[str, str | bytes] = {
        "empty.yaml": "",
        "binary.yaml": b"\x89PNG\r\n\x1a\n\x00\xff",
        "list.yaml": "- a\n- b\n",
        "wrong.yaml": WRONG,
        "unknown.yaml": UNKNOWN,
        "grpo-flat.yaml": "dataset_name: d\nnum_generations: 4\nreward_funcs: [accuracy]\n",
        "eval-flat.yaml": "tasks: [math_500]\nprotocol: quick\n",
        "generate-flat.yaml": "dataset_name: d\nprompt_column: problem\nmax_new_tokens: 8\n",
        "weights.yaml": MIXTURE + "    - {id: broken.jsonl, weight: -1}\n",
        "mixture.yaml": MIXTURE + "    - gone.jsonl\n",
        "twice.yaml": "model_name_or_path: builtin:tiny-qwen2\ndataset_name: zero.jsonl\n" + MIXTURE[39:],
        "folder/note.txt": "not a model",
        "full/thesis.tex": "years of work",
        "zero.jsonl": "",
        "nocolumns.jsonl": '{"a": 1}\n',
        "broken.csv": "prompt,completion\na,b\nc\n",
        "broken.jsonl": '{"prompt": "a", "completion": "b"}\n{"prompt": oops}\n',
    }
    for name, content in files.items():
        cli.write(name, content)
    return cli


@pytest.mark.parametrize(("words", "code", "said"), PARENT, ids=[case[0] for case in PARENT])
def test_refused_before_anything_starts(broken: Cli, words: str, code: int, said: list[str]) -> None:
    done = broken(*words.split(), code=code)
    for part in said:
        assert part in done.err, f"{part!r} is not in:\n{done.err}"
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not (broken.folder / "runs").exists()


# these need the training or sampling process, some seconds each
CHILD = [
    (("sft", *MODEL, "--dataset_name", "broken.jsonl"), 3, ["not JSON", "broken.jsonl:2"]),
    (("grpo", *MODEL, "--dataset_name", "nocolumns.jsonl"), 3, ["for the prompt", "it has: a"]),
    (("eval", "builtin:chain-sum", "--model", "owner/none"), 5, ["owner/none", "the hub cannot be reached"]),
]
MORE_OF_THE_CHILD = [
    (
        ("sft", *MODEL, "--dataset_name", "nocolumns.jsonl"),
        3,
        ["messages, or prompt and completion", "it has: a"],
    ),
    (("sft", *MODEL, "--dataset_name", "broken.csv"), 3, ["has 1 fields", "broken.csv:3"]),
    (
        ("sft", *MODEL, "--dataset_name", "owner/none", "--dataset_revision", "v2"),
        5,
        ["revision v2", "hf download owner/none --repo-type dataset --revision v2"],
    ),
    (("sft", *MODEL, "--dataset_name", "owner/none"), 5, ["the hub cannot be reached", "HF_ENDPOINT"]),
    (("eval", "gsm8k", "--model", "owner/none", "--dataset", "nocolumns.jsonl"), 3, ["for the problem"]),
]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [*CHILD, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_OF_THE_CHILD)],
)
def test_refused_by_the_child(broken: Cli, words: tuple[str, ...], code: int, said: list[str]) -> None:
    done = broken(*words, code=code)
    for part in said:
        assert part in done.err, f"{part!r} is not in:\n{done.err}"
    assert "Traceback" not in done.err
    assert json.loads(next(broken.folder.glob("runs/*/manifest.json")).read_text())["state"] == "failed"


def test_errors_for_programs_and_for_developers(broken: Cli) -> None:
    as_json = broken("sft", "unknown.yaml", "--json", code=3)
    problems = json.loads(as_json.out)["error"]["problems"]
    assert [p["where"] for p in problems] == ["unknown.yaml:2", "unknown.yaml:3"]
    assert as_json.err == ""
    assert "Traceback" in broken("sft", "none.yaml", "--debug", code=3).err


def test_a_place_that_cannot_be_written(cli: Cli, tiny: str) -> None:
    done = cli("sft", tiny, code=5, OPENR1_RUNS_DIR="/proc/nowhere")
    assert "cannot write there" in done.err
    assert "--output_dir" in done.err
    cli.write("a-file", "")
    assert "a file stands" in cli("sft", tiny, "--output_dir", "a-file", code=5).err


def test_a_second_command_in_the_same_run(cli: Cli, tiny: str) -> None:
    process = cli.start("sft", tiny)
    cli.when(process, "runs/*/logs/*/rank-0.log", "", lambda p: None)
    done = cli("sft", tiny, code=5)
    assert "going on already" in done.err
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.slow
def test_a_full_disk_loses_nothing(cli: Cli, tiny: str) -> None:
    """A checkpoint of this model takes about 1 MB: the second does not fit beside the first."""
    with small_disk(cli.folder / "runs", 2) as make_room:
        done = cli("sft", tiny, code=None)
        assert done.code == 5, done.out + done.err + cli.logs()
        assert "disk is full" in done.err
        assert "the same command again" in done.err
        make_room()
        again = cli("sft", tiny)
        assert "12 steps" in again.out
        assert (only_run(cli, "tiny-sft-*") / "model" / "model.safetensors").exists()
