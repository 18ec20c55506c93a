"""One training stage, top to bottom: model, data, trainer, continue or begin, save."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from openr1.data.load import training_set
from openr1.data.model_source import check_loadable, model_files
from openr1.errors import Interrupted, RecipeError
from openr1.runs.child import Child
from openr1.runs.manifest import read, update
from openr1.training.checkpoints import newest_whole, step_of

PROBE_TOKENS = 64  # length of the rows with which the thread count is probed


def train(child: Child) -> dict[str, Any]:
    """Train what the run folder's resolved.yaml says; the final weights go to `model/`.

    Returns:
        The run's result: steps, seconds, and the last value of the metrics one compares.
    """
    values, stage = child.values, child.config["stage"]
    child.events.send("phase", name="loading libraries")
    from trl import get_peft_config, get_quantization_config

    from openr1.training.callbacks import Reporter, watchman
    from openr1.training.trl_adapter import config_of, model_config
    from openr1.training.updates import rules_of

    child.events.send("phase", name="loading model and data")
    source = model_files(values["model_name_or_path"], values["seed"], child.run.path)
    check_loadable(source, revision=values["model_revision"], trust_remote_code=values["trust_remote_code"])
    dataset, facts = training_set(stage, values)
    _same_data(child.run.path, facts)
    args = config_of(stage, values, child)
    models = model_config(stage, values)
    shared: dict[str, Any] = {
        "model": source,
        "args": args,
        "train_dataset": dataset,
        "quantization_config": get_quantization_config(models),
        "peft_config": get_peft_config(models),
        "processing_class": _own_template(stage, source, values),
    }
    trainer: Any
    if stage == "grpo":
        from openr1.training.grpo import CompletionLog, prefills_think, reward_functions
        from openr1.training.grpo_trainer import OpenR1GRPOTrainer

        prefilled = prefills_think(source, values, dataset[0]["prompt"])
        rewards = reward_functions(values, prefilled, [dataset[i] for i in range(min(2, len(dataset)))])
        trainer = OpenR1GRPOTrainer(reward_funcs=rewards, **shared)
        drop = values["drop_finished_rows"]
        trainer.drop_finished_rows = args.device.type == "cpu" if drop is None else drop
        trainer.add_callback(CompletionLog(child, trainer, values["log_samples"]))
    else:
        from openr1.training.sft_trainer import OpenR1SFTTrainer

        trainer = OpenR1SFTTrainer(**shared)
    trainer.child, trainer.keep = child, values["save_total_limit"]
    trainer.rules = rules_of(stage, values, args.per_device_train_batch_size)
    reporter = Reporter(child)
    trainer.add_callback(reporter)
    trainer.add_callback(watchman(child, trainer.model))
    _threads(child, trainer, args)

    checkpoint = _where_to_continue(child)
    child.check_stop()
    child.events.send("phase", name="first step")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if child.stop_asked and trainer.state.global_step < trainer.state.max_steps:
        whole, _ = newest_whole(child.run.checkpoints)
        kept = f"the checkpoint of step {step_of(whole)} is whole" if whole else "no checkpoint was kept"
        raise Interrupted(f"stopped after step {trainer.state.global_step}; {kept}")

    child.interruptible = False
    _save_final(child, trainer)
    trainer.end()
    return _result(trainer, facts) | reporter.measured()


def _own_template(stage: str, source: str, values: dict[str, Any]) -> Any:
    """A tokenizer with the recipe's chat template; None leaves the loading to TRL."""
    template = values["chat_template"]
    if not template:
        return None
    from transformers import AutoTokenizer

    # GRPO continues its prompts, so these are padded and cut on the left; as TRL does by itself.
    sides = {"padding_side": "left", "truncation_side": "left"} if stage == "grpo" else {}
    tokenizer = AutoTokenizer.from_pretrained(
        source, revision=values["model_revision"], trust_remote_code=values["trust_remote_code"], **sides
    )
    path = Path(template)
    tokenizer.chat_template = path.read_text(encoding="utf-8") if path.is_file() else template
    return tokenizer


def _same_data(run: Path, facts: dict[str, Any]) -> None:
    """A run that continues must see the rows it began with."""
    before = (read(run) or {}).get("data")
    if before and before["fingerprint"] != facts["fingerprint"]:
        raise RecipeError(
            f"the dataset has changed since this run began ({before['rows']} rows then, {facts['rows']} now)",
            where=facts["name"],
            fix="put the old rows back to continue, or start over with --fresh",
        )
    update(run, data=facts)


def _threads(child: Child, trainer: Any, args: Any) -> None:
    """On a CPU, train with the number of threads that is fastest for this model and micro-batch."""
    if trainer.accelerator.device.type != "cpu":
        return
    import torch

    from openr1.sampling.threads import set_threads

    model, rows = trainer.model, args.per_device_train_batch_size
    length = min(PROBE_TOKENS, getattr(args, "max_length", None) or PROBE_TOKENS)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.config.vocab_size, (rows, length), generator=generator)

    def forward_and_backward() -> None:
        model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
        model.zero_grad(set_to_none=True)

    cores = int(child.config["plan"]["cores"])
    threads = set_threads(child.run.path, child.values["threads"], cores, forward_and_backward)
    update(child.run.path, threads=threads)


def _where_to_continue(child: Child) -> Path | None:
    """The newest whole checkpoint; broken newer ones are removed, and both are said."""
    checkpoint, broken = newest_whole(child.run.checkpoints)
    for folder in broken:
        shutil.rmtree(folder, ignore_errors=True)
        child.events.send("notice", text=f"{folder.name} was cut off while being written and is not used")
    if checkpoint:
        child.events.send("notice", text=f"continuing after step {step_of(checkpoint)}")
    return checkpoint


def _save_final(child: Child, trainer: Any) -> None:
    """Write `model/` under another name first: a folder of that name is always whole."""
    child.events.send("phase", name="saving the model")
    draft = child.run.path / ".model"
    trainer.save_model(str(draft))
    if trainer.args.should_save:
        shutil.rmtree(child.run.model, ignore_errors=True)
        draft.rename(child.run.model)


def _result(trainer: Any, facts: dict[str, Any]) -> dict[str, Any]:
    wanted = ("loss", "reward", "completions/mean_length", "mean_token_accuracy", "num_tokens")
    last: dict[str, Any] = {}
    for row in trainer.state.log_history:
        last.update({k: v for k, v in row.items() if k in wanted})
    return {"steps": trainer.state.global_step, "rows": facts["rows"], "last": last}
