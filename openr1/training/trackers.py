"""Where metrics go besides the run folder. Nowhere, unless a recipe's `report_to` says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

WANDB = {
    "wandb_project": "WANDB_PROJECT",
    "wandb_entity": "WANDB_ENTITY",
    "wandb_run_group": "WANDB_RUN_GROUP",
}
DEFAULT_PROJECT = "openr1"
FOLDERS = {"WANDB_DIR": "", "TENSORBOARD_LOGGING_DIR": "tensorboard"}
"""Where trackers keep their files, in the run folder; wandb makes a `wandb` of its own there. trackio has one
data base for all runs, in TRACKIO_DIR or the Hugging Face cache."""


def name_wandb_run(values: dict[str, Any]) -> None:
    """Tell wandb project, entity and group through its own variables, before the trainer starts it.

    What a recipe names holds; else what the environment says; else the project is `openr1`.
    """
    for key, variable in WANDB.items():
        if values[key]:
            os.environ[variable] = values[key]
    os.environ.setdefault(WANDB["wandb_project"], DEFAULT_PROJECT)


def keep_in_run(run: Path) -> None:
    """Trackers write into the run folder, unless their own variables name another place."""
    for variable, folder in FOLDERS.items():
        os.environ.setdefault(variable, str(run / folder))
