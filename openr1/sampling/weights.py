"""Names for weights: a checkpoint overwritten at the same path is a different model."""

from __future__ import annotations

import hashlib
from pathlib import Path

# What decides the answers beside the weights: the shape, the tokenizer and its chat template.
BESIDE = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)

SAMPLED = 1 << 16


def model_fingerprint(source: str, commit: str | None = None) -> str:
    """A short name for what a folder or a hub id holds.

    Args:
        source: hub id or folder.
        commit: of the hub repository, where it is known; without it the id itself is all there is.
    """
    folder = Path(source)
    if not folder.is_dir():
        return f"{source}@{commit[:12]}" if commit else source
    digest = hashlib.sha256()
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.pt")])
    for path in [*weights, *(folder / name for name in BESIDE)]:
        if not path.is_file():
            continue
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:16]


def weights_signature(source: str) -> str | None:
    """A name for a local folder's weights that takes no time: path, sizes and a sample of the bytes.

    Two checkpoints of one shape differ in nearly every byte, so a few are enough to tell that a path holds
    other weights than it did. None for what is no folder.
    """
    folder = Path(source)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.pt")]):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            for part in range(5):
                file.seek(max(0, (size - SAMPLED) * part // 4))
                digest.update(file.read(SAMPLED))
    for name in BESIDE:
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]
