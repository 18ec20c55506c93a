"""Uploads and trackers need an account: looked for before anything starts, never asked for.

Nothing is uploaded or reported unless a recipe says so. An old file says so by habit (every recipe of
open-r1 does), so it gives way where there is no account; a recipe of today is refused with the command that
mends it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from openr1.config.origins import Origin, Setting
from openr1.config.resolve import Resolved
from openr1.errors import EnvironmentProblem
from openr1.hardware.doctor import hub_token_here, wandb_key_here
from openr1.hardware.packages import importable

PACKAGES = ("tensorboard", "trackio", "mlflow", "comet_ml", "clearml", "swanlab")
"""Trackers whose name is that of their package."""
HUB_FIX = "hf auth login, or --push_to_hub false"
WANDB_FIX = "pip install wandb && wandb login, or --report_to none"


def no_hub(environ: Mapping[str, str]) -> str | None:
    """Why nothing can be pushed from here, or None."""
    if environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set"
    return None if hub_token_here(environ) else "no hub token is here"


def no_wandb(environ: Mapping[str, str]) -> str | None:
    """Why W&B cannot be reported to, or None."""
    if not importable("wandb"):
        return "wandb is not installed"
    if environ.get("WANDB_MODE", "") in ("offline", "disabled") or wandb_key_here(environ):
        return None
    return "no W&B key is here"


def reports_to_wandb(resolved: Resolved) -> bool:
    """Whether `report_to` names W&B."""
    wanted = resolved.values.get("report_to") or ()
    return "wandb" in ([wanted] if isinstance(wanted, str) else wanted)


def give_way(resolved: Resolved, environ: Mapping[str, str] = os.environ) -> tuple[Resolved, list[str]]:
    """An old file's uploads and trackers, where there is no account for them, switched off and said."""
    said = []
    if _from_file(resolved, "push_to_hub") and resolved["push_to_hub"] and (why := no_hub(environ)):
        resolved = _with(resolved, "push_to_hub", False, why)
        said.append(f"push_to_hub: {why}, so nothing is uploaded; to upload: hf auth login")
    if _from_file(resolved, "report_to") and reports_to_wandb(resolved) and (why := no_wandb(environ)):
        wanted = resolved["report_to"]
        left = [] if isinstance(wanted, str) else [name for name in wanted if name != "wandb"]
        resolved = _with(resolved, "report_to", left or "none", why)
        said.append(f"report_to: {why}, so W&B is left out; metrics are in the run's metrics.jsonl")
    return resolved, said


def check_accounts(resolved: Resolved, environ: Mapping[str, str] = os.environ) -> None:
    """Before a launch.

    Raises:
        EnvironmentProblem: an upload or W&B is asked for and there is no account, or a tracker is not
            installed; says how to mend it.
    """
    if resolved.values.get("push_to_hub") and (why := no_hub(environ)):
        raise EnvironmentProblem(
            f"push_to_hub is asked for and {why}", where=resolved.where("push_to_hub"), fix=HUB_FIX
        )
    check_trackers(resolved)
    if reports_to_wandb(resolved) and (why := no_wandb(environ)):
        raise EnvironmentProblem(
            f"report_to: wandb is asked for and {why}", where=resolved.where("report_to"), fix=WANDB_FIX
        )


def check_trackers(resolved: Resolved) -> None:
    """Refuse a tracker whose package is not here; W&B has a check of its own, which also wants a key.

    Raises:
        EnvironmentProblem: with the command that installs it.
    """
    wanted = resolved.values.get("report_to") or ()
    for name in [wanted] if isinstance(wanted, str) else wanted:
        if name in PACKAGES and not importable(name):
            raise EnvironmentProblem(
                f"report_to: {name} is asked for and {name} is not installed",
                where=resolved.where("report_to"),
                fix=f"pip install {name}, or --report_to none",
            )


def named_target(resolved: Resolved) -> Resolved:
    """With `push_to_hub`, the repository is `{username}/{model}-{stage}` unless the recipe names one."""
    if not resolved["push_to_hub"] or resolved["hub_model_id"]:
        return resolved
    setting = resolved.settings["model_name_or_path"]
    if setting.origin.kind == "pipeline":  # a section's result lies in `…/model`: the recipe's name says more
        model = resolved.recipe
    else:
        model = str(setting.value or "model").rstrip("/").partition("?")[0]
    name = f"{model.rpartition('/')[2].rpartition(':')[2]}-{resolved.stage}"
    return resolved.with_values(
        "default", {"hub_model_id": (name, "openr1: {model}-{stage}, under your name")}
    )


def _from_file(resolved: Resolved, key: str) -> bool:
    return resolved.settings[key].origin.kind == "recipe"


def _with(resolved: Resolved, key: str, value: object, why: str) -> Resolved:
    setting = Setting(value, Origin("plan", f"the file asks for it, but {why}"))
    return replace(resolved, settings={**resolved.settings, key: setting})
