"""`openr1 bench --speed`: what this machine samples and trains per second, by doing a little of both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from openr1.planning.calibration import fingerprint
from openr1.planning.speeds import Speed, load, record
from openr1.services import evaluate, sft
from openr1.services.hw_profile import the_machine
from openr1.services.request import Asked, Listener

TINY = "builtin:tiny-qwen2"
TASK = "builtin:chain-sum?steps=5"
SAMPLES, TOKENS = 256, 64  # answers and their length, in one evaluation
STEPS, ROWS = 12, 32  # optimizer steps of a fine-tuning, and rows in each


def measure(asked: Asked, model: str | None, listen: Listener) -> dict[str, Any]:
    """Sample and train with the real commands and keep what they reached.

    Args:
        model: whose shape is measured; None takes the built-in one.

    Returns:
        machine, model, sampling and training (tokens per second), runs.
    """
    machine = the_machine(asked.simulate, asked.profile)
    name = model or TINY
    store = load(fingerprint(machine))
    shared: dict[str, tuple[Any, str]] = {"model_name_or_path": (name, name)}
    sampled = evaluate.run(
        [TASK],
        replace(
            asked,
            fresh=True,
            overrides={
                **shared,
                "limit": (SAMPLES, str(SAMPLES)),
                "max_new_tokens": (TOKENS, str(TOKENS)),
                "temperature": (1.0, "1.0"),
            },
        ),
        listen,
    )
    trained = sft.run(
        replace(
            asked,
            fresh=True,
            overrides={
                **shared,
                "dataset_name": (TASK, TASK),
                "limit": (STEPS * ROWS, str(STEPS * ROWS)),
                "global_batch_size": (ROWS, str(ROWS)),
                "max_steps": (STEPS, str(STEPS)),
                "save_strategy": ("no", "no"),
                "logging_steps": (1, "1"),
            },
        ),
        listen,
    )
    (score,) = sampled.result["scores"]
    training = _training_rate(trained.prepared.run.metrics)
    new = [Speed(store.machine, "sampling", name, score["tokens_per_second"])]
    if training:
        new.append(Speed(store.machine, "training", name, training))
    record(load(fingerprint(machine)), new)
    return {
        "machine": store.machine,
        "model": name,
        "sampling": score["tokens_per_second"],
        "training": training,
        "runs": [str(sampled.prepared.run.path), str(trained.prepared.run.path)],
    }


def _training_rate(metrics: Any) -> float | None:
    """Median tokens per second over the steps, the first two left out: they warm up."""
    import statistics

    from openr1.runs.files import read_lines

    rates = [row["tokens_per_second"] for row in read_lines(metrics) if row.get("tokens_per_second")]
    return statistics.median(rates[2:]) if len(rates) > 2 else None
