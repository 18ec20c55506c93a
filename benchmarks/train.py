"""Stock TRL and openr1's trainers on the same rows, model, seed and steps, side by side.

    python benchmarks/train.py                      # everything this machine can do, five rounds
    python benchmarks/train.py update sft --rounds 3 --json result.json

Scenarios:
    update   GRPO on rollouts that are given: both trainers see the very same rows and rewards
    step     GRPO with real sampling; lengths follow the same law in both
    sft      SFT on ragged rows, and at equal lengths against a plain PyTorch loop
    command  `trl sft|grpo` and `openr1 sft|grpo`, from the shell to the saved model

Either side is a process of its own; they take turns, and each ratio is that of two neighbours.
Stock runs with the best of its micro-batch sizes for the same global batch, found first. Tokens are real
ones: prompt and completion, without padding. No row is cut or dropped in either.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LENGTHS = HERE / "tiny_lengths.json"  # completion lengths of the tiny pipeline's GRPO, step by step
GROUP = 8
RESULT = "result: "
WARM_UP = 1  # steps that are not counted: allocators and kernels warm up


@dataclass(frozen=True)
class Job:
    """One process: what to train, and how."""

    scenario: str  # update, step, sft, loop
    ours: bool
    model: str  # builtin name, or a shape of SHAPES
    rows: int  # global batch
    micro_batch: int
    law: str = "lognormal"  # or recorded, equal
    median: float = 60
    sigma: float = 0.6
    longest: int = 256
    idle: float = 0.0  # share of the groups without spread
    steps: int = 2
    rules: dict[str, Any] = field(default_factory=lambda: {"trim": True, "skip": True})
    config: dict[str, Any] = field(default_factory=dict)


SHAPES = {
    "qwen2.5-0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
                     "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen2.5-1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
                     "num_attention_heads": 12, "num_key_value_heads": 2, "tie_word_embeddings": True},
}  # fmt: skip


# In the measured process.


def build_model(name: str, folder: Path) -> str:
    """A model folder with random weights."""
    from openr1.data.tiny_model import build_tiny_model, build_tokenizer, parse_model

    if name not in SHAPES:
        build_tiny_model(parse_model(name), 0, folder)
        return str(folder)
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    ends = {
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    model = Qwen2ForCausalLM(
        Qwen2Config(vocab_size=151_936, max_position_embeddings=32_768, **SHAPES[name], **ends)
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def drawn_lengths(job: Job, rows: int, seed: int) -> list[int]:
    import random

    generator = random.Random(seed)
    if job.law == "equal":
        return [job.longest] * rows
    if job.law == "recorded":
        steps = json.loads(LENGTHS.read_text(encoding="utf-8"))["completions"]
        return [steps[seed % len(steps)][i % len(steps[0])] for i in range(rows)]
    return [
        max(2, min(job.longest, int(generator.lognormvariate(math.log(job.median), job.sigma))))
        for _ in range(rows)
    ]


class Clock:
    """Seconds by part of a step. Parts that run inside others are taken out of these."""

    def __init__(self) -> None:
        self.total: dict[str, float] = {}
        self.open: list[float] = []

    def wrap(self, owner: Any, method: str, part: Any) -> None:
        inner = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            name = part() if callable(part) else part
            if name is None:
                return inner(*args, **kwargs)
            begun = now()
            self.open.append(0.0)
            try:
                return inner(*args, **kwargs)
            finally:
                spent = now() - begun
                self.total[name] = self.total.get(name, 0.0) + spent - self.open.pop()
                if self.open:
                    self.open[-1] += spent

        setattr(owner, method, timed)


def now() -> float:
    """Seconds: of the wall with a GPU, of this process's one thread without: other programs do not count."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def measure(job: Job) -> dict[str, Any]:
    """Train `job.steps` steps; seconds by part, real tokens, peak memory."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    forget_peak()
    if job.scenario == "loop":
        return plain_loop(job)
    from transformers import TrainerCallback

    begun = time.perf_counter()
    folder = Path(tempfile.mkdtemp())
    cuda = torch.cuda.is_available()
    settings: dict[str, Any] = {
        "output_dir": str(folder / "out"), "report_to": [], "seed": 1, "save_strategy": "no",
        "disable_tqdm": True,
        "per_device_train_batch_size": job.micro_batch,
        "gradient_accumulation_steps": job.rows // job.micro_batch,
        "max_steps": job.steps + WARM_UP, "learning_rate": 1e-6, "logging_steps": 1, "log_level": "error",
        "use_cpu": not cuda, "bf16": cuda, "gradient_checkpointing": False, "logging_strategy": "no",
        "model_init_kwargs": {"dtype": "float32"},
    } | job.config  # fmt: skip
    make = sft_trainer if job.scenario == "sft" else grpo_trainer
    trainer, real = make(job, settings, build_model(job.model, folder / "model"))
    if job.ours:
        from openr1.training.updates import Rules

        budget = job.rules.get("budget", job.micro_batch * (job.longest + 64))
        trainer.drop_finished_rows = job.scenario == "step" and not cuda
        trainer.rules = Rules(job.rules["trim"], job.rules["skip"] and job.scenario != "sft", budget)
    forwarded = count_forwarded(trainer.model)
    clock = Clock()
    clock.wrap(trainer, "training_step", "update")
    if job.scenario != "sft":
        clock.wrap(trainer, "_generate_single_turn", "rollout")
        clock.wrap(trainer, "_calculate_rewards", "reward")
        no_gradient = lambda: None if torch.is_grad_enabled() else "log-probs"  # noqa: E731
        clock.wrap(trainer, "_get_per_token_logps_and_entropies", no_gradient)

    class Steps(TrainerCallback):
        start = end = wall_start = wall = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.end, self.wall = now(), time.perf_counter()
            if state.global_step == WARM_UP:
                clock.total.clear()
                forwarded["tokens"] = 0
                real["tokens"] = 0 if job.scenario != "sft" else -trainer._total_train_tokens
                self.start, self.wall_start = self.end, self.wall

    steps = Steps()
    trainer.add_callback(steps)
    ready = time.perf_counter()
    trainer.train()
    spent = steps.end - steps.start
    if job.scenario == "sft":
        real["tokens"] += trainer._total_train_tokens
    parts = {name: seconds / job.steps for name, seconds in clock.total.items()}
    return {
        "startup": ready - begun,
        "step": spent / job.steps,
        "wall": (steps.wall - steps.wall_start) / job.steps,
        "parts": parts | {"other": spent / job.steps - sum(parts.values())},
        "tokens": real["tokens"] / job.steps,
        "forwarded": forwarded["tokens"] / job.steps,
        "peak_gib": peak_gib(),
    }


def count_forwarded(model: Any) -> dict[str, int]:
    """Tokens that go through the model with a gradient, padding included: what real tokens cost."""
    import torch

    counted = {"tokens": 0}

    def hook(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if torch.is_grad_enabled() and ids is not None:
            counted["tokens"] += ids.numel()

    model.register_forward_pre_hook(hook, with_kwargs=True)
    return counted


def peak_gib() -> float:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved() / 2**30
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 2**20  # type: ignore[index]
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def forget_peak() -> None:
    """Start counting peak memory anew; where that is not possible, it is the process's."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def grpo_trainer(job: Job, settings: dict[str, Any], model: str) -> tuple[Any, dict[str, Any]]:
    """A GRPO trainer whose rollouts are given (update), or sampled with the law's lengths (step)."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, LogitsProcessor, LogitsProcessorList
    from trl import GRPOConfig, GRPOTrainer

    from openr1.training.grpo_trainer import OpenR1GRPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    end = tokenizer.eos_token_id
    real = {"tokens": 0, "calls": 0}

    class WithLaw(OpenR1GRPOTrainer if job.ours else GRPOTrainer):  # type: ignore[misc]
        def _generate_single_turn(self, prompt_ids: Any, *more: Any, **kwargs: Any) -> Any:
            real["calls"] += 1
            if job.scenario == "step":
                completions, logps = super()._generate_single_turn(prompt_ids, *more, **kwargs)
            else:
                generator = torch.Generator().manual_seed(real["calls"])
                completions, logps = [], None
                for length in drawn_lengths(job, len(prompt_ids), real["calls"]):
                    ids = torch.randint(10, 250, (length,), generator=generator).tolist()
                    completions.append(ids if length >= job.longest else [*ids[:-1], end])
            real["tokens"] += sum(map(len, prompt_ids)) + sum(map(len, completions))
            return completions, logps

    class Law(LogitsProcessor):
        """Ends rows with the law's hazard at every position, whatever the weights say."""

        def __init__(self) -> None:
            self.first: int | None = None

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            hazard = hazards[input_ids.shape[1] - self.prompt]
            scores[:, end] = -torch.inf
            rest = torch.logsumexp(scores, dim=1)
            scores[:, end] = rest + math.log(hazard / (1 - hazard)) if hazard < 1 else 1e9
            return scores

    def reward(number: Any, **_: Any) -> list[float]:
        """Every other completion is right, but for the groups that shall be without spread."""
        return [0.0 if n % 100 < 100 * job.idle else float(i % 2) for i, n in enumerate(number)]

    idle = [(i * 50) % 100 for i in range(4096)]  # every other group
    digits = "a+4 b+3 c+4 d+7 e*7"
    rows = [
        {"prompt": f"Start at {i % 10}, keep the last digit: {digits[: 3 + i % 17]}", "number": n}
        for i, n in enumerate(idle)
    ]
    own = {"num_generations": GROUP, "max_completion_length": job.longest, "shuffle_dataset": False}
    trainer = WithLaw(
        model=model,
        args=GRPOConfig(**(own | settings)),
        reward_funcs=reward,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    if job.scenario == "step":
        hazards = hazard_of(job)
        processor = Law()
        generate = trainer.model.generate

        def with_law(*args: Any, **kwargs: Any) -> Any:
            processor.prompt = kwargs["input_ids"].shape[1]
            return generate(*args, logits_processor=LogitsProcessorList([processor]), **kwargs)

        trainer.model.generate = with_law
    return trainer, real


def hazard_of(job: Job) -> list[float]:
    """P(length = t + 1 | length > t) for t = 0, 1, ..., from many drawn lengths."""
    counts = [0] * (job.longest + 2)
    for seed in range(200):
        for length in drawn_lengths(job, 100, seed):
            counts[min(length, job.longest + 1)] += 1
    hazards, left = [], sum(counts)
    for length in range(1, job.longest + 2):
        hazards.append(min(1.0, max(counts[length], 1e-9) / left) if left else 1.0)
        left -= counts[length]
    return hazards


def ragged_rows(job: Job) -> list[dict[str, list[int]]]:
    import random

    generator = random.Random(7)
    lengths = drawn_lengths(job, job.rows * (job.steps + WARM_UP), 11)
    return [{"input_ids": [generator.randint(10, 250) for _ in range(length)]} for length in lengths]


def sft_trainer(job: Job, settings: dict[str, Any], model: str) -> tuple[Any, dict[str, Any]]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from openr1.training.sft_trainer import OpenR1SFTTrainer

    real = {"tokens": 0}  # see measure: the trainer counts by itself, and the loader reads ahead
    base = OpenR1SFTTrainer if job.ours else SFTTrainer
    args = SFTConfig(**({"max_length": job.longest} | settings))
    trainer = base(model=model, args=args, train_dataset=Dataset.from_list(ragged_rows(job)))
    return trainer, real


def plain_loop(job: Job) -> dict[str, Any]:
    """The least one can do: forward, fused loss of the model's own, backward, clip, AdamW."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tempfile.mkdtemp()
    model = AutoModelForCausalLM.from_pretrained(
        build_model(job.model, Path(folder) / "model"), dtype=torch.float32
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    rows = [torch.tensor(row["input_ids"]) for row in ragged_rows(job)]
    begun = 0.0
    for step in range(job.steps + WARM_UP):
        if step == WARM_UP:
            begun = now()
        batch = torch.stack(rows[step * job.rows : (step + 1) * job.rows])
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    step_seconds = (now() - begun) / job.steps
    tokens = job.rows * job.longest
    return {
        "step": step_seconds,
        "wall": step_seconds,
        "parts": {},
        "tokens": tokens,
        "forwarded": tokens,
        "startup": 0.0,
        "peak_gib": peak_gib(),
    }


# In the measuring process.


class Worker:
    """A process that measures one side of a case, job after job; its peak memory is that side's."""

    def __init__(self) -> None:
        env = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (a pipe that nobody reads would fill up)
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log}
        self.process = subprocess.Popen([sys.executable, __file__, "--worker"], env=env, text=True, **pipes)

    def __call__(self, job: Job) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        print(json.dumps(asdict(job)), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith(RESULT):
                return json.loads(line.removeprefix(RESULT))  # type: ignore[no-any-return]
        self.log.seek(0)
        raise SystemExit(f"{job}\n{self.log.read()[-3000:]}")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def work() -> None:
    """A worker's side: a job per line in, a result per line out."""
    for line in sys.stdin:
        print(RESULT + json.dumps(measure(Job(**json.loads(line)))), flush=True)


def splits_of_stock(stock: Worker, job: Job) -> dict[int, float]:
    """Seconds of a step of stock's by micro-batch, for this global batch."""
    return {
        micro: stock(replace(job, ours=False, micro_batch=micro))["step"]
        for micro in sorted({job.rows, max(1, job.rows // 8), max(1, job.rows // 32)})
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def side_by_side(
    workers: tuple[Worker, Worker], name: str, stock: Job | None, ours: Job, rounds: int, part: str | None
) -> dict[str, Any]:
    """Stock and ours in turn; ratios of neighbours. Stock without a job of its own gets its best split."""
    tried = {} if stock else splits_of_stock(workers[0], ours)
    stock = stock or replace(ours, ours=False, micro_batch=min(tried, key=lambda m: tried[m]))
    workers[1](replace(ours, steps=1))
    pairs = [(workers[0](stock), workers[1](ours)) for _ in range(rounds)]

    def speed(result: dict[str, Any]) -> float:
        seconds = result["parts"][part] if part else result["step"]
        return float(result["tokens"] / seconds)

    ratios = [speed(b) / speed(a) for a, b in pairs]
    middle = lambda side, key: statistics.median(pair[side][key] for pair in pairs)  # noqa: E731
    row = {
        "name": name,
        "ratio": spread(ratios),
        "of": part or "step",
        "rounds": rounds,
        "stock": {"micro_batch": stock.micro_batch, "step_seconds_by_micro_batch": tried},
        "ours": {"micro_batch": ours.micro_batch},
    }
    for side, who in enumerate(("stock", "ours")):
        row[who] |= {
            "tokens_per_second": statistics.median(speed(pair[side]) for pair in pairs),
            "step_seconds": middle(side, "step"),
            "wall_seconds": middle(side, "wall"),
            "startup_seconds": middle(side, "startup"),
            "peak_gib": middle(side, "peak_gib"),
            "forwarded_per_real_token": middle(side, "forwarded") / middle(side, "tokens"),
            "parts": {
                key: statistics.median(pair[side]["parts"].get(key, 0.0) for pair in pairs)
                for key in sorted({k for pair in pairs for k in pair[side]["parts"]})
            },
        }
    show(row)
    return row


def show(row: dict[str, Any]) -> None:
    ratio = row["ratio"]
    print(
        f"\n{row['name']}: {ratio['median']:.2f}x ({ratio['least']:.2f}-{ratio['most']:.2f}) by {row['of']}"
    )
    tried = row["stock"]["step_seconds_by_micro_batch"]
    if tried:
        print(
            "  stock's step by micro-batch:", ", ".join(f"{k}: {1000 * v:.0f} ms" for k, v in tried.items())
        )
    for who in ("stock", "ours"):
        one = row[who]
        parts = ", ".join(f"{k} {1000 * v:.0f}" for k, v in one["parts"].items())
        print(
            f"  {who:5} {one['tokens_per_second']:9.0f} real tokens/s"
            f"  step {1000 * one['step_seconds']:.0f} ms ({parts})"
            f"  {one['forwarded_per_real_token']:.2f} tokens forwarded per real one"
            f"  micro-batch {one['micro_batch']}  peak {one['peak_gib']:.2f} GiB",
            flush=True,
        )


def cases(scenario: str) -> list[tuple[str, Job, str | None]]:
    """Name, openr1's job and the part compared (None: the whole step)."""
    import torch

    on_gpu = torch.cuda.is_available()
    model = "qwen2.5-0.5b" if on_gpu else "builtin:tiny-qwen2?layers=4&hidden=128"
    base = Job("update", True, model, rows=32, micro_batch=4 if on_gpu else 32)
    if on_gpu:
        base = replace(base, median=300, longest=1024)
    found = []
    if scenario in ("update", "step"):
        part = "update" if scenario == "update" else None
        for idle in (0.0, 0.5):
            one = replace(base, scenario=scenario, idle=idle)
            found.append((f"{scenario}, log-normal lengths, {idle:.0%} of groups idle", one, part))
            tiny = replace(
                one, law="recorded", longest=64, model="builtin:tiny-qwen2", rows=128, micro_batch=128
            )
            if not on_gpu:
                found.append((f"{scenario}, tiny pipeline's lengths, {idle:.0%} of groups idle", tiny, part))
        if scenario == "update":
            old = {"steps_per_generation": 2}  # two optimizer steps per rollout need the old log-probs
            found.append(("update and old log-probs", replace(base, config=old), None)) if on_gpu else None
    elif scenario == "sft":
        ragged = replace(base, scenario="sft", median=80, sigma=0.8, longest=512)
        found.append(("sft, ragged rows", ragged, None))
    return found


def run_scenario(scenario: str, rounds: int) -> Iterator[dict[str, Any]]:
    if scenario == "command":
        yield commands(rounds)
        return
    workers = Worker(), Worker()
    for name, ours, part in cases(scenario):
        yield side_by_side(workers, name, None, ours, rounds, part)
    if scenario == "sft":
        tiny = "builtin:tiny-qwen2?layers=4&hidden=128"
        equal = Job("sft", True, tiny, rows=16, micro_batch=16, law="equal", longest=256, steps=4)
        name = "sft, equal lengths, against a plain loop"
        yield side_by_side(workers, name, replace(equal, scenario="loop"), equal, rounds, None)
    for worker in workers:
        worker.close()


def commands(rounds: int) -> dict[str, Any]:
    """Wall time of the two commands on the same little training, start-up included."""
    from openr1.data.tiny_model import ModelSpec, build_tiny_model

    folder = Path(tempfile.mkdtemp())
    build_tiny_model(ModelSpec(), 0, folder / "model")
    (folder / "data").mkdir()
    conversation = {
        "prompt": [{"role": "user", "content": "2+2"}],
        "completion": [{"role": "assistant", "content": "4"}],
    }
    text = "".join(json.dumps(conversation) + "\n" for _ in range(512))
    (folder / "data" / "train.jsonl").write_text(text, encoding="utf-8")
    shared = ["--model_name_or_path", str(folder / "model"), "--max_steps", "20", "--learning_rate", "1e-3"]
    stock = [
        str(Path(sys.executable).with_name("trl")), "sft", *shared, "--dataset_name", str(folder / "data"),
        "--per_device_train_batch_size", "16", "--use_cpu", "--bf16", "False",
        "--gradient_checkpointing", "False",
        "--report_to", "none", "--output_dir", str(folder / "stock"),
    ]  # fmt: skip
    ours = [
        sys.executable,
        "-m",
        "openr1",
        "sft",
        *shared,
        "--dataset_name",
        str(folder / "data" / "train.jsonl"),
    ]
    ours += ["--global_batch_size", "16"]
    pairs = []
    for number in range(rounds):
        pairs.append((wall(stock), wall([*ours, "--output_dir", str(folder / f"ours-{number}")])))
    row: dict[str, Any] = {"name": "command, sft of 20 small steps", "of": "wall", "rounds": rounds}
    row["ratio"] = spread([a / b for a, b in pairs])
    for side, who in enumerate(("stock", "ours")):
        row[who] = {"seconds": spread([pair[side] for pair in pairs])}
    print(
        f"\n{row['name']}: {row['ratio']['median']:.2f}x; stock {row['stock']}, ours {row['ours']}",
        flush=True,
    )
    return row


def wall(argv: list[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{argv}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - begun


def machine() -> dict[str, Any]:
    import torch

    packages = ("torch", "transformers", "trl", "accelerate", "openr1")
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", default=["update", "step", "sft", "command"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work()
        return
    result = {"machine": machine(), "rows": []}
    for scenario in asked.scenarios:
        for row in run_scenario(scenario, asked.rounds):
            result["rows"].append(row)
            if asked.json:
                asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
