"""The recipe's eval section as something a training section runs now and then (`eval_tasks_steps`)."""

from __future__ import annotations

from typing import Any

from openr1.config.names import keys_of
from openr1.config.recipe import Recipe
from openr1.config.resolve import Resolved, resolve
from openr1.errors import RecipeError
from openr1.services.recipes import overrides_for
from openr1.services.request import Asked

KEY = "eval_tasks_steps"
LIGHTEVAL = "lighteval:"


def tasks_while_training(recipe: Recipe, resolved: Resolved, asked: Asked) -> dict[str, Any]:
    """What the plan needs for it: the first eval section's values, with protocol quick; nothing when unasked.

    Raises:
        RecipeError: the recipe has no eval section with tasks, or only tasks that cannot be run this way.
    """
    if not resolved.values.get(KEY):
        return {}
    where = resolved.where(KEY)
    for section in recipe.of_stage("eval"):
        overrides = overrides_for(section, asked.overrides, keys_of("eval"), strict=False)
        values = dict(resolve(recipe, section, overrides=overrides).values)
        if not values["tasks"]:
            continue
        bridged = [name for name in values["tasks"] if name.startswith(LIGHTEVAL)]
        if bridged:
            raise RecipeError(
                f"{bridged[0]} cannot be run while training",
                where=where,
                fix="name openr1's own tasks in the first eval section, e.g. tasks: [math_500]",
            )
        return {"eval_tasks": {**values, "protocol": "quick", "every": int(resolved[KEY])}}
    raise RecipeError(
        f"{KEY} is set, and the recipe has no eval section with tasks",
        where=where,
        fix="add one: eval: {tasks: [math_500], limit: 100}",
    )
