"""Where a model's files are: hub id, local folder, or built on the spot (child processes only)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openr1.data.tiny_model import PREFIX, build_tiny_model, parse_model
from openr1.errors import EnvironmentProblem, OpenR1Error, RecipeError


def model_files(name: str, seed: int, scratch: Path) -> str:
    """A name that `from_pretrained` takes; a `builtin:` model is built from the seed first.

    Args:
        name: hub id, local folder, or builtin:NAME.
        seed: seed of a built-in model's weights.
        scratch: folder under which a built-in model is written.
    """
    if not name.startswith(PREFIX):
        return name
    folder = scratch / "start"
    if not (folder / "config.json").exists():
        draft = scratch / ".start"
        build_tiny_model(parse_model(name), seed, draft)
        draft.rename(folder)
    return str(folder)


def check_loadable(name: str, **kwargs: Any) -> Any:
    """The model's config; or the reason why it cannot be loaded, before anything heavy is done.

    Raises:
        RecipeError: no such model, or a folder without one.
        EnvironmentProblem: the hub cannot be reached.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, **kwargs)
    except (OSError, ValueError) as error:
        raise explain_missing(error, name) from error


def explain_missing(error: Exception, name: str) -> OpenR1Error:
    """transformers raises OSError for everything; its text tells a wrong name from a missing network."""
    text = " ".join(str(error).split())
    if Path(name).is_dir():
        return RecipeError("this folder holds no model that can be loaded", where=name, fix=text[:200])
    if "connect" in text.lower() or "offline" in text.lower():
        return EnvironmentProblem(
            f"the model {name} is not on this machine and the hub cannot be reached",
            where=name,
            fix="connect, set HF_ENDPOINT to a mirror, or give a local model folder",
        )
    if "gated" in text or "authorized" in text:
        return EnvironmentProblem(
            f"the model {name} is gated",
            where=name,
            fix="accept its terms on its hub page, then `hf auth login`",
        )
    return RecipeError(f"no model `{name}`", where=name, fix=f"check the spelling ({text[:160]})")
