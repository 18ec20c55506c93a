"""A flat file of 2025 in today's keys: one pure function over the tables beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openr1.config.legacy.batch import ACCUMULATION, PER_DEVICE, global_batch
from openr1.config.legacy.pass_rate import generate_command
from openr1.config.legacy.pins import Pin, pins_of
from openr1.config.legacy.rules import CHANGED, GONE, SECRET, Rule
from openr1.config.legacy.vintage import Vintage, old_keys_of, vintage_of
from openr1.config.yaml_file import Loaded, plain

REWARD_VALUES = (
    "rewards keep their names and are graded by openr1's rules; --reward_compat open-r1 takes "
    "upstream's exact values of then, its defects included"
)


@dataclass(frozen=True)
class Fact:
    """What became of one key, for a notice and for the comment beside the key that took its place.

    `to` is the key that took its place (perhaps itself), or None where it was dropped.
    """

    key: str
    shown: str
    line: int
    says: str
    to: str | None

    @property
    def words(self) -> str:
        return f"line {self.line}, `{self.key}: {self.shown}`: {self.says}"


@dataclass(frozen=True)
class Translation:
    """A flat file's section in today's keys."""

    vintage: Vintage
    values: dict[str, Loaded]
    pins: dict[str, Pin]
    facts: tuple[Fact, ...]
    gpus: int | None = None
    """Training GPUs, where the file says that one more serves vLLM."""
    rewarded: bool = False
    """Whether it names open-r1's rewards, whose values are not those of today."""
    generate: str | None = None
    """The command that filters by pass rate as the file did, where that is what it was for."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person is told: what the file is, one line per key, and what is pinned."""
        said = [self.vintage.words, *(fact.words for fact in self.facts)]
        if self.pins:
            pinned = ", ".join(f"{key} {_shown(key, pin.value)}" for key, pin in self.pins.items())
            said.append(f"not in the file, and the default of {self.vintage.name}: {pinned}")
        if self.rewarded:
            said.append(REWARD_VALUES)
        if self.generate:
            said.append(f"the file was for filtering by pass rate, which trains nothing: {self.generate}")
        return tuple(said)


def translate(values: Mapping[str, Loaded], stage: str, known: set[str]) -> Translation | None:
    """Read an old flat file for its intent.

    Args:
        values: the file's top level, as loaded.
        stage: "sft" or "grpo".
        known: the keys that this stage has today; an old key that has come back is left alone.

    Returns:
        The file in today's keys, or None when nothing in it is old. Keys that neither then nor now meant
        anything stay, for the check of unknown keys to name.
    """
    then = {key: plain(loaded) for key, loaded in values.items()}
    old = old_keys_of(then, stage, set(GONE) - known)
    vintage = vintage_of(then, old)
    if vintage is None:
        return None
    kept: dict[str, Loaded] = {}
    facts: list[Fact] = []
    for key, loaded in values.items():
        rule = _rule(key, then[key], stage, known)
        if rule is None or (rule.to and rule.to not in known):  # the other stage's: named as it is written
            kept[key] = loaded
            continue
        to = rule.to
        if to and to != key and to in values:  # both spellings stand there: today's holds
            rule, to = Rule(f"{to}, which is also there, holds"), None
        if to:
            kept[to] = _with_value(rule, loaded, then[key])
        facts.append(Fact(key, _shown(key, then[key]), loaded.line, rule.says, to))
    gpus = _gpus(then, stage)
    facts += _batch(values, then, kept, stage, vintage)
    facts += _dead_cadence(values, then)
    facts += _dead_evaluation(values, then, kept)
    today = {key: plain(loaded) for key, loaded in kept.items()}
    # Whether vLLM generated then is known from the file as it was: its key may have gone to the plan.
    generated = {"use_vllm": then["use_vllm"]} if "use_vllm" in then else {}
    pins = pins_of(vintage.program, vintage.month, stage, generated | today)
    rewarded = stage == "grpo" and vintage.program == "open-r1" and "reward_compat" not in kept
    ordered = tuple(sorted(facts, key=lambda fact: fact.line))
    generate = generate_command(then) if stage == "grpo" else None
    return Translation(vintage, kept, pins, ordered, gpus, rewarded, generate)


def _rule(key: str, value: Any, stage: str, known: set[str]) -> Rule | None:
    """The first rule that is for this key and value."""
    rules = CHANGED.get(key, ()) if key in known else GONE.get(key, CHANGED.get(key, ()))
    return next((rule for rule in rules if rule.matches(stage, value)), None)


def _with_value(rule: Rule, loaded: Loaded, value: Any) -> Loaded:
    for old, new in rule.values.items():
        if type(old) is type(value) and old == value:
            return Loaded(new, loaded.line, None)
    return loaded


def _gpus(then: Mapping[str, Any], stage: str) -> int | None:
    """`num_processes: 7` with vLLM is seven GPUs that train and one that generates."""
    count = then.get("num_processes")
    serves = stage == "grpo" and bool(then.get("use_vllm")) and then.get("vllm_mode") != "colocate"
    return count if serves and isinstance(count, int) and count > 0 else None


def _batch(
    values: Mapping[str, Loaded],
    then: Mapping[str, Any],
    kept: dict[str, Loaded],
    stage: str,
    vintage: Vintage,
) -> list[Fact]:
    """Per-device numbers as the global batch they meant; the plan splits it for this machine."""
    found = global_batch(then, stage, vintage.month)
    if found is None:
        return []
    line = values[PER_DEVICE].line
    kept.pop(PER_DEVICE, None)
    kept.pop(ACCUMULATION, None)
    kept["global_batch_size"] = Loaded(found.value, line)
    what = "completions" if stage == "grpo" else "rows"
    says = f"{found.words} = {found.value} {what} a step, as global_batch_size; the plan splits it"
    facts = [Fact(PER_DEVICE, str(then[PER_DEVICE]), line, says, "global_batch_size")]
    if ACCUMULATION in values:
        shown, place = str(then[ACCUMULATION]), values[ACCUMULATION].line
        facts.append(Fact(ACCUMULATION, shown, place, "is part of global_batch_size", None))
    return facts


def _dead_cadence(values: Mapping[str, Loaded], then: Mapping[str, Any]) -> list[Fact]:
    """`save_steps` beside `save_strategy: "no"` saves nothing, which is easily overlooked."""
    if str(then.get("save_strategy")) != "no" or "save_steps" not in values:
        return []
    says = "saves nothing beside save_strategy: no; --save_strategy steps does"
    return [Fact("save_steps", str(then["save_steps"]), values["save_steps"].line, says, "save_steps")]


def _dead_evaluation(
    values: Mapping[str, Loaded], then: Mapping[str, Any], kept: dict[str, Loaded]
) -> list[Fact]:
    """`do_eval` alone got no rows: open-r1 stopped there with an error, after training; TRL did nothing."""
    strategy = then.get("eval_strategy", then.get("evaluation_strategy", "no"))
    if then.get("do_eval") is not True or str(strategy) != "no":
        return []
    kept.pop("do_eval")
    says = "evaluated nothing without an eval_strategy; --eval_strategy steps does"
    return [Fact("do_eval", "true", values["do_eval"].line, says, None)]


def _shown(key: str, value: Any) -> str:
    """A value on one line, short; secrets and long texts by what they are."""
    if key in SECRET:
        return ", ".join(value) if isinstance(value, dict) else "…"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    first = text.split("\n")[0]
    return first if len(first) <= 48 and first == text else first[:45] + "…"
