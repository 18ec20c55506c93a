"""The final weights of a run that trained adapters: merged into the model they were trained on.

`model/` has to be a model by itself, for the next section, for vLLM, for whoever gets it. What was trained is
kept beside it in `adapter/`.
"""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

ADAPTER = "adapter_config.json"


def is_adapter(folder: Path) -> bool:
    """Whether `save_model` wrote adapters instead of a model."""
    return (folder / ADAPTER).is_file()


def merge(adapter: Path, into: Path, values: dict[str, Any]) -> None:
    """Write the whole model that base and adapters are together.

    The base is read anew, on the CPU and in the type it was published in: merging into 4 bits would round the
    adapters away, and under ZeRO-3 no process has the whole base.

    Args:
        adapter: the folder of the adapters, with the tokenizer.
        into: a new folder for the model.
        values: the section's, for `model_revision` and `trust_remote_code`.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trust = bool(values["trust_remote_code"])
    base = json.loads((adapter / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    revision = None if Path(base).is_dir() else values["model_revision"]
    model: Any = AutoModelForCausalLM.from_pretrained(
        base, revision=revision, trust_remote_code=trust, dtype="auto"
    )
    tokenizer = AutoTokenizer.from_pretrained(adapter, trust_remote_code=trust)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:  # tokens were added
        model.resize_token_embeddings(len(tokenizer))
    merged: Any = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.save_pretrained(into)
    tokenizer.save_pretrained(into)
    del model, merged
    gc.collect()
