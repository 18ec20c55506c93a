"""One training stage, top to bottom: model, data, trainer, continue or begin, save."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openr1.data.chat_template import use_template
from openr1.data.load import load_data
from openr1.data.model_source import check_loadable, model_files
from openr1.errors import Interrupted, RecipeError
from openr1.runs.child import Child
from openr1.runs.manifest import read, update
from openr1.training.adapters import is_adapter, merge
from openr1.training.checkpoints import newest_whole, step_of
from openr1.training.libraries import needed_only
from openr1.training.ranks import first_goes_first, from_first, join, leave

SHOWN = 3  # rows that a run shows before it begins
PROBE_TOKENS = 64  # length of the rows with which the thread count is probed


def train(child: Child) -> dict[str, Any]:
    """Train what the run folder's resolved.yaml says; the final weights go to `model/`.

    Returns:
        The run's result: steps, seconds, and the last value of the metrics one compares.
    """
    child.events.send("phase", name="loading libraries")
    join(child)
    values, stage = child.values, child.config["stage"]
    with needed_only(stage, values):
        from trl import get_peft_config, get_quantization_config

        from openr1.training import show_samples
        from openr1.training.callbacks import Reporter, outside_torch, watchman
        from openr1.training.trackers import keep_in_run, name_wandb_run
        from openr1.training.trl_adapter import config_of, model_config
        from openr1.training.updates import rules_of

        if stage == "grpo":
            from openr1.training.grpo_trainer import OpenR1GRPOTrainer
        else:
            from openr1.training.sft_trainer import OpenR1SFTTrainer

    child.events.send("phase", name="loading model and data")
    with first_goes_first(child):
        source = model_files(values["model_name_or_path"], values["seed"], child.run.path)
        model = check_loadable(
            source, revision=values["model_revision"], trust_remote_code=values["trust_remote_code"]
        )
        dataset, held_out, facts = load_rows(child, stage, values)
        if "rehearsal" in child.config["plan"]:
            dataset = longest_rows(dataset, child.config["plan"]["rehearsal"]["rows"])
            if held_out is not None:
                held_out = longest_rows(held_out, child.config["plan"]["rehearsal"]["eval_rows"])
        if child.first:
            _same_data(child.run.path, facts)
    name_wandb_run(values)
    keep_in_run(child.run.path)
    models = model_config(stage, values)
    shared: dict[str, Any] = {
        "model": source,
        "quantization_config": get_quantization_config(models),
        "peft_config": get_peft_config(models),
    }
    trainer: Any
    if stage == "grpo":
        from openr1.training import vllm
        from openr1.training.grpo import CompletionLog, check_prompts, prefills_think, reward_functions

        prefilled = prefills_think(source, values, dataset[0]["prompt"])
        rewards = reward_functions(values, prefilled, [dataset[i] for i in range(min(2, len(dataset)))])
        check_prompts(child, values, source, model, dataset, rewards)
        _show(child, lambda: show_samples.prompts_shown(values, source, dataset, SHOWN))
        args = config_of(stage, values, child)
        shared |= {"args": args, "train_dataset": dataset, "eval_dataset": held_out}
        shared["processing_class"] = _own_template(source, values)
        vllm.ready(args, getattr(model.get_text_config(), "max_position_embeddings", None))
        trainer = OpenR1GRPOTrainer(reward_funcs=rewards, **shared)
        drop = values["drop_finished_rows"]
        trainer.drop_finished_rows = args.device.type == "cpu" if drop is None else drop
        trainer.add_callback(CompletionLog(child, trainer, values["log_samples"]))
    else:
        from openr1.training.sft import prepare

        ready = prepare(child, values, source, dataset, held_out)
        if ready.tokenizer is not None:
            _show(child, lambda: show_samples.rows_shown(ready, SHOWN))
        args = ready.args
        shared |= {"args": args, "train_dataset": ready.tokens, "eval_dataset": ready.held_out}
        trainer = OpenR1SFTTrainer(processing_class=ready.tokenizer, **shared)
    trainer.child, trainer.keep = child, values["save_total_limit"]
    trainer.rules = rules_of(stage, values, args.per_device_train_batch_size)
    reporter = Reporter(child)
    trainer.add_callback(reporter)
    trainer.add_callback(watchman(child, trainer.model, reporter.telemetry))
    trainer.add_callback(reporter.telemetry)
    meter = None
    if "rehearsal" in child.config["plan"]:
        from openr1.training.phases import PhaseMeter, measured_by_all

        meter = PhaseMeter(outside_torch(child.config["plan"].get("memory")))
        meter.watch(trainer)
    revisions = None
    if args.push_to_hub and child.first:
        from openr1.training.hub import HubRevisions

        revisions = HubRevisions(child, trainer.hub_model_id)
        trainer.add_callback(revisions)
    _threads(child, trainer, args)
    _score_tasks(child, trainer, reporter)

    found = from_first(child, lambda: _where_to_continue(child))
    checkpoint = Path(found) if found else None
    child.check_stop()
    child.events.send("phase", name="first step")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if reporter.stopping and trainer.state.global_step < trainer.state.max_steps:
        whole, _ = newest_whole(child.run.checkpoints)
        kept = f"the checkpoint of step {step_of(whole)} is whole" if whole else "no checkpoint was kept"
        raise Interrupted(f"stopped after step {trainer.state.global_step}; {kept}")

    child.interruptible = False
    if held_out is not None and values["eval_strategy"] == "no":  # do_eval: once, at the end
        trainer.evaluate()
    _save_final(child, trainer)
    if revisions is not None:
        trainer.create_model_card(model_name=values["hub_model_id"].rpartition("/")[2])
    measured = reporter.measured() if meter is None else measured_by_all(child, meter, reporter)
    trainer.end()
    leave(child)
    if revisions is not None:  # the other ranks need not wait for it
        revisions.finish(trainer.push_in_progress, child.run.checkpoints / "README.md")
    return _result(trainer, facts) | measured


def _score_tasks(child: Child, trainer: Any, reporter: Any) -> None:
    """Run the recipe's eval tasks now and then, where that was asked for and one rank has the whole model."""
    plan = child.config["plan"]
    if "eval_tasks" not in plan or "rehearsal" in plan:
        return
    if plan.get("sharding") == "zero3" or trainer.is_fsdp_enabled:
        text = "eval tasks are not run while training: under this sharding no rank has the whole model"
        child.events.send("notice", text=text)
        return
    from openr1.training.task_scores import TaskScores

    trainer.add_callback(TaskScores(child, trainer, reporter, plan["eval_tasks"]))


def _show(child: Child, rows: Callable[[], list[dict[str, Any]]]) -> None:
    """Some rows as the model will see them, where a run begins; one that continues has shown them."""
    begins = newest_whole(child.run.checkpoints)[0] is None
    if child.first and begins and "rehearsal" not in child.config["plan"]:
        child.events.send("rows", stage=child.config["stage"], samples=rows())


def longest_rows(dataset: Any, count: int) -> Any:
    """The rows with the most text, the longest first: a rehearsal trains on the worst case."""
    sizes = [len(json.dumps(row, default=str)) for row in dataset]
    order = sorted(range(len(sizes)), key=lambda index: -sizes[index])
    return dataset.select(order[:count])


def load_rows(child: Child, stage: str, values: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """The section's rows and those held out, with what was found said once: the mapping of the columns, the
    shares of a mixture, how reasoning was written."""
    from openr1.training.grpo import reads_gold

    needs_gold = stage != "grpo" or reads_gold(values)
    dataset, held_out, facts = load_data(stage, values, needs_gold)
    if "parts" in facts:
        for part in facts["parts"]:
            share = part["rows"] / sum(p["rows"] for p in facts["parts"])
            text = (
                f"{part['name']}: {part['rows']:,} of {part['of']:,} rows, {100 * share:.1f} % of the mixture"
            )
            child.events.send("notice", text=f"{text}; columns: {part['columns']}")
    elif facts["columns"] != "built-in":
        child.events.send("notice", text=f"columns of {facts['name']}: {facts['columns']}")
    for text in facts.pop("notices"):
        child.events.send("notice", text=text)
    if "eval" in facts:
        text = f"evaluated while training: {facts['eval']['rows']:,} rows ({facts['eval']['from']})"
        child.events.send("notice", text=text)
    return dataset, held_out, facts


def _own_template(source: str, values: dict[str, Any]) -> Any:
    """A tokenizer with the recipe's chat template for GRPO; None leaves the loading to TRL."""
    if not values["chat_template"]:
        return None
    from transformers import AutoTokenizer

    # GRPO continues its prompts, so these are padded and cut on the left; as TRL does by itself.
    tokenizer = AutoTokenizer.from_pretrained(
        source,
        revision=values["model_revision"],
        trust_remote_code=values["trust_remote_code"],
        padding_side="left",
        truncation_side="left",
    )
    use_template(tokenizer, values["chat_template"])
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
    asked = child.values["threads"]
    if child.ranks > 1:  # side by side they would disturb each other's trial
        asked = asked or max(1, cores // int(os.environ["LOCAL_WORLD_SIZE"]))
    threads = set_threads(child.run.path, asked, cores, forward_and_backward)
    if child.first:
        update(child.run.path, threads=threads)


def _where_to_continue(child: Child) -> str | None:
    """The newest whole checkpoint; broken newer ones are removed, and both are said."""
    checkpoint, broken = newest_whole(child.run.checkpoints)
    for folder in broken:
        shutil.rmtree(folder, ignore_errors=True)
        child.events.send("notice", text=f"{folder.name} was cut off while being written and is not used")
    if checkpoint:
        child.events.send("notice", text=f"continuing after step {step_of(checkpoint)}")
    return str(checkpoint) if checkpoint else None


def _save_final(child: Child, trainer: Any) -> None:
    """Write `model/` under another name first: a folder of that name is always whole."""
    child.events.send("phase", name="saving the model")
    draft = child.run.path / ".model"
    trainer.save_model(str(draft), _internal_call=True)  # `hub` uploads it, once it is whole here
    if trainer.args.should_save:
        if is_adapter(draft):
            child.events.send("phase", name="merging the adapters")
            adapter = child.run.path / "adapter"
            shutil.rmtree(adapter, ignore_errors=True)
            merge(draft.rename(adapter), draft, child.values)
        shutil.rmtree(child.run.model, ignore_errors=True)
        draft.rename(child.run.model)


def _result(trainer: Any, facts: dict[str, Any]) -> dict[str, Any]:
    wanted = ("loss", "reward", "completions/mean_length", "mean_token_accuracy", "num_tokens")
    last: dict[str, Any] = {}
    for row in trainer.state.log_history:
        last.update({k: v for k, v in row.items() if k in wanted})
    return {"steps": trainer.state.global_step, "rows": facts["rows"], "last": last}
