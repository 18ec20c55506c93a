"""`openr1 sft`: supervised fine-tuning of one section."""

from __future__ import annotations

from openr1.services.hw_profile import the_machine
from openr1.services.prepare import Prepared, prepare_stage
from openr1.services.request import Asked, Listener
from openr1.services.stage import Outcome, execute


def prepare(asked: Asked) -> Prepared:
    """What `openr1 sft` would do; nothing is written."""
    return prepare_stage("sft", asked, the_machine(asked.simulate, asked.profile))


def run(asked: Asked, listen: Listener) -> Outcome:
    """Fine-tune, or continue, or show what has finished."""
    return execute(prepare(asked), listen)
