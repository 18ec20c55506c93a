"""Train two steps with TRL's colocated vLLM, then answer greedily with vLLM and with the trained weights.

    python vllm_sync.py FOLDER [stock]

Prints one JSON line; `stock` leaves vLLM as it is.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"


def main(folder: Path, stock: bool) -> None:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    from openr1.data.tiny_model import build_tiny_model, parse_model
    from openr1.training.vllm import keep_linear_weights

    if not stock:
        keep_linear_weights()
    build_tiny_model(parse_model("builtin:tiny-qwen2?layers=1&hidden=64"), 3, folder / "start")
    rows = [{"prompt": [{"role": "user", "content": f"Start at {n}"}]} for n in range(8)]
    config = GRPOConfig(
        output_dir=str(folder / "out"), use_cpu=True, bf16=False, use_vllm=True, vllm_mode="colocate",
        vllm_max_model_length=64, max_completion_length=16, num_generations=4, max_steps=2,
        per_device_train_batch_size=8, learning_rate=1e-2, report_to="none", save_strategy="no", beta=0.0,
        model_init_kwargs={"dtype": "float32"}, gradient_checkpointing=False,
    )  # fmt: skip

    def reward(completion_ids: list[list[int]], **kwargs: object) -> list[float]:
        return [float(sum(ids) % 11) for ids in completion_ids]

    trainer = GRPOTrainer(
        str(folder / "start"), reward_funcs=reward, args=config, train_dataset=Dataset.from_list(rows)
    )
    trainer.train()
    trainer.vllm_generation.sync_weights()
    tokenizer = trainer.processing_class
    prompts = [
        tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
        for row in rows
    ]
    from vllm import SamplingParams

    params = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
    outputs = trainer.vllm_generation.llm.generate([{"prompt_token_ids": p} for p in prompts], params)
    served = [list(output.outputs[0].token_ids) for output in outputs]
    start = AutoModelForCausalLM.from_pretrained(folder / "start", dtype="float32")

    def greedy(model: torch.nn.Module, prompt: list[int]) -> list[int]:
        ids = torch.tensor([prompt])
        for _ in range(12):
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
        return ids[0, len(prompt) :].tolist()

    with torch.no_grad():
        # vLLM computes an fp32 model in bf16
        trained = [greedy(trainer.model.eval().bfloat16(), p) for p in prompts]
        before = [greedy(start.bfloat16(), p) for p in prompts]
    print("ANSWERS " + json.dumps({"served": served, "trained": trained, "before": before}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "stock" in sys.argv)
