"""`openr1 generate`: completions of one model for the rows of one dataset, on this machine."""

from __future__ import annotations

from openr1.config.names import keys_of
from openr1.config.recipe import Recipe, Section, find, parse
from openr1.config.resolve import resolve
from openr1.errors import RecipeError
from openr1.services.evaluate import label_of
from openr1.services.hw_profile import the_machine
from openr1.services.lineage import MODEL, check_dataset, check_model
from openr1.services.recipes import overrides_for, section_of
from openr1.services.request import Asked, Listener
from openr1.services.stage import Outcome, Prepared, execute, locate_run, prepare_section

DEFAULT_DATASET = "AI-MO/NuminaMath-TIR"


def prepare(asked: Asked) -> Prepared:
    """What `openr1 generate` would do; nothing is written."""
    machine = the_machine(asked.simulate, asked.profile)
    if asked.recipe:
        recipe = parse(find(asked.recipe), "generate")
        section = section_of(recipe, "generate", asked.section)
    else:
        section = Section("generate", "generate", {}, 0)
        model = str(asked.overrides.get(MODEL, ("", ""))[0])
        recipe = Recipe(
            label_of(model.partition("?")[0].replace(":", "-")) or "generate", None, {}, (section,)
        )
    overrides = overrides_for(section, asked.overrides, keys_of("generate"), strict=True)
    resolved = resolve(recipe, section, overrides=overrides)
    if not resolved["dataset_name"]:
        resolved = resolved.with_values(
            "default", {"dataset_name": (DEFAULT_DATASET, "openr1: upstream's dataset")}
        )
    if not resolved[MODEL]:
        raise RecipeError("no model is named", fix="openr1 generate --model MODEL --dataset FILE")
    check_dataset(resolved["dataset_name"], resolved.where("dataset_name"))
    model = check_model(str(resolved[MODEL]), resolved.where(MODEL))
    run = locate_run(recipe, resolved, asked)
    return prepare_section(resolved, run, machine, asked, extra_plan={"model": model})


def run(asked: Asked, listen: Listener) -> Outcome:
    """Generate, or continue, or show what has finished."""
    return execute(prepare(asked), listen)
