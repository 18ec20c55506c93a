"""Make the recordings anew: `python tests/runs/recordings/record.py FOLDER [NAME …]`.

Runs the real command on tiny-cpu in FOLDER, once per line below, and keeps metrics.jsonl here (floats in six
digits, without the columns that no rule reads) with stage, steps and command in index.json; of evaluations
and generations the result, in results.json. About twenty minutes on two cores. What has a fault starts from a
model of good-42, so record that first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FAULTS = HERE / "faults.py"
STABLE = '{"num_decay_steps": 5, "num_stable_steps": 5, "min_lr_ratio": 0.0}'

# name -> (fault in the process, words of the command)
UNTRAINED = ["grpo", "tiny-cpu", "--max_steps", "24"]
GRPO = [*UNTRAINED, "--model", "runs/good-42/sft"]
SFT = ["sft", "tiny-cpu", "--max_steps", "24"]
UNCLIPPED = ["--max_grad_norm", "1e9", "--logging_steps", "1"]
RECORDINGS: dict[str, tuple[str | None, list[str]]] = {
    "reward-flat": (None, [*UNTRAINED, "--model", "builtin:tiny-qwen2"]),
    "groups-equal": (None, [*GRPO, "--reward_funcs", "[format]"]),
    "length-collapse": (None, [*GRPO, "--reward_funcs", f"[{FAULTS}:shortest]", "--learning_rate", "3e-3"]),
    "length-limit": (None, [*GRPO, "--max_completion_length", "8"]),
    "entropy-gone": (
        None,
        [*GRPO, "--reward_funcs", f"[{FAULTS}:monotonous]", "--learning_rate", "3e-3"],
    ),
    "kl-explodes": (None, [*GRPO, "--beta", "0.001", "--learning_rate", "1e-2"]),
    "loss-zero-start": (None, [*GRPO, "--loss_type", "grpo"]),
    "lr-ended": (
        None,
        [*GRPO, "--lr_scheduler_type", "warmup_stable_decay", "--lr_scheduler_kwargs", STABLE],
    ),
    "gradient-explodes": (
        None,
        [*SFT, *UNCLIPPED, "--model", "runs/good-42/sft", "--learning_rate", "0.02", "--warmup_steps", "60"],
    ),
    "not-finite": (None, [*SFT, *UNCLIPPED, "--learning_rate", "1e6"]),
    "data-wait": ("slow_data", ["sft", "tiny-cpu", "--max_steps", "80"]),
    "gpu-throttled": ("hot_card", ["sft", "tiny-cpu", "--max_steps", "80"]),
}
DROPPED = ("time", "epoch", "clip_ratio/", "completions/min_", "completions/max_", "step_time")


MODEL = ["--model", "runs/good-42/grpo", "--temperature", "1", "--top_p", "1"]
TASK = "builtin:chain-sum?steps=5"
EVAL = ["eval", TASK, *MODEL, "--limit", "200"]
GENERATE = ["generate", "--dataset_name", TASK, "--num_generations", "2", "--temperature", "1"]
TRAINED = [*GENERATE, "--limit", "100", "--model", "runs/good-42/grpo"]
# Evaluations and generations have results instead of rows.
RESULTS: dict[str, list[str]] = {
    "eval-cut-off": [*EVAL, "--max_new_tokens", "16"],
    "eval-no-answer": [*EVAL, "--max_new_tokens", "64", "--prefill", "<answer>\n\n</answer>\n"],
    "eval-not-judged": ["eval", f"{HERE / 'golds.py'}:golds", *MODEL, "--max_new_tokens", "64"],
    "generate-cut-off": [*TRAINED, "--max_new_tokens", "16"],
    "generate-good": [*TRAINED, "--max_new_tokens", "64"],
    "generate-nothing-right": [
        *[*GENERATE, "--limit", "50", "--model", "builtin:tiny-qwen2"],
        *["--max_new_tokens", "400", "--truncated", "keep"],
    ],
}
SCORE = ("model", "task", "problems", "accuracy", "truncated", "no_answer", "unjudged")
COUNTS = ("rows", "samples", "truncated", "verdicts")


def run(folder: Path, name: str, fault: str | None, words: list[str]) -> Path:
    """The run's folder, after its end or failure."""
    words = [*words, "--run_name", name, "--quiet"]
    env = os.environ | {"OPENR1_RUNS_DIR": "runs", "XDG_CACHE_HOME": str(folder / "cache")}
    code = "from openr1.__main__ import main; main()"
    if fault:  # the same command, whose training process is ours
        argv = f"[sys.executable, {str(FAULTS)!r}, {fault!r}, str(run)]"
        code = (
            "import sys; from openr1.launch import command\n"
            f"command.local = lambda stage, run, threads=None: command.Command({argv})\n" + code
        )
    subprocess.run([sys.executable, "-c", code, *words], cwd=folder, env=env, check=False)
    return folder / "runs" / name


def keep(run: Path, name: str, command: str) -> None:
    """Copy metrics.jsonl, small; add the recording to the index."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    with (HERE / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            kept = {k: _short(v) for k, v in row.items() if not k.startswith(DROPPED)}
            file.write(json.dumps(kept) + "\n")
    manifest = json.loads((run / "manifest.json").read_text())
    index = HERE / "index.json"
    found: dict[str, Any] = json.loads(index.read_text()) if index.exists() else {}
    found[name] = {
        "stage": manifest["stage"],
        "total_steps": manifest["total_steps"],
        "command": command.replace(str(FAULTS), "tests/runs/recordings/faults.py"),
    }
    index.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", encoding="utf-8")


def keep_result(run: Path, name: str, command: str) -> None:
    """Add what the rules read of a result to results.json."""
    manifest = json.loads((run / "manifest.json").read_text())
    result, path = manifest["result"], HERE / "results.json"
    kept = {key: result[key] for key in COUNTS if key in result}
    if "scores" in result:
        kept = {"scores": [{key: score[key] for key in SCORE} for score in result["scores"]]}
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    said = command.replace(str(HERE), "tests/runs/recordings")
    found[name] = {"stage": manifest["stage"], "command": said, "result": kept}
    path.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", encoding="utf-8")


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    folder, names = Path(sys.argv[1]).resolve(), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    for seed in (42, 1, 2, 3):
        good = f"good-{seed}"
        if not names or good in names:
            words = ["pipeline", "tiny-cpu", "--seed", str(seed)]
            pipeline = run(folder, good, None, words)
            for section in ("sft", "grpo"):
                keep(pipeline / section, f"{good}-{section}", f"openr1 {' '.join(words)}")
            for section in ("eval", "greedy"):
                keep_result(pipeline / section, f"{good}-{section}", f"openr1 {' '.join(words)}")
    for name, (fault, words) in RECORDINGS.items():
        if not names or name in names:
            said = f"openr1 {' '.join(words)}" + (f", with faults.{fault} in its process" if fault else "")
            keep(run(folder, name, fault, words), name, said)
    for name, words in RESULTS.items():
        if not names or name in names:
            keep_result(run(folder, name, None, words), name, f"openr1 {' '.join(words)}")


if __name__ == "__main__":
    main()
