"""Flat files of 2025 (open-r1, the light fork, TRL) read for their intent.

vintage   which time and which program a file is of, by the keys it holds
rules     what becomes of a key that is gone or has another meaning now
pins      what the file left to the defaults of its time, where those have changed
pass_rate the command that a pass-rate file stands for
batch     the global batch that its per-device numbers meant
translate all of it together: `translate(values, stage) -> Translation`
"""

from openr1.config.legacy.pass_rate import generate_command
from openr1.config.legacy.translate import Fact, Translation, translate
from openr1.config.legacy.vintage import Vintage, vintage_of

__all__ = ["Fact", "Translation", "Vintage", "generate_command", "translate", "vintage_of"]
