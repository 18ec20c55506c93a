"""From the names in a recipe to reward functions a trainer can call."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ..config.references import is_reference
from ..errors import RecipeError
from . import code, codeforces, form, mathematics, olympiad, plugins, repetition, sandbox

RewardFunc = Callable[..., "list[float | None]"]

# What a trainer passes beside the dataset's columns; never a parameter of the recipe.
TRAINER_ARGUMENTS = frozenset(
    {"completions", "prompts", "completion_ids", "trainer_state", "log_metric", "log_extra", "environments"}
)
GOLD = ("solution", "answer")


@dataclass(frozen=True)
class RewardSpec:
    """A reward by name.

    Args:
        func: the reward function; its keyword parameters are what a recipe may set.
        columns: dataset columns it needs: one of each tuple.
        flat: names under which open-r1 recipes set a parameter at the top level → the parameter.
        check: refuses settings that cannot work, before anything starts.
        machine: called with some rows and the settings where the reward will run, refuses a machine that
            cannot judge them.
    """

    func: RewardFunc
    columns: tuple[tuple[str, ...], ...] = ()
    flat: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Mapping[str, Any]], None] | None = None
    machine: Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], None] | None = None


def _has_sandbox(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> None:
    sandbox.walls()


REGISTRY: dict[str, RewardSpec] = {
    "accuracy": RewardSpec(mathematics.accuracy_reward, (GOLD,)),
    "format": RewardSpec(form.format_reward),
    "tag_count": RewardSpec(form.tag_count_reward),
    "reasoning_steps": RewardSpec(form.reasoning_steps_reward),
    "cosine": RewardSpec(
        mathematics.cosine_reward,
        (GOLD,),
        {
            "cosine_min_value_wrong": "min_value_wrong",
            "cosine_max_value_wrong": "max_value_wrong",
            "cosine_min_value_correct": "min_value_correct",
            "cosine_max_value_correct": "max_value_correct",
            "cosine_max_len": "max_len",
        },
    ),
    "length": RewardSpec(mathematics.len_reward, (GOLD,)),
    "repetition_penalty": RewardSpec(
        repetition.repetition_penalty_reward,
        (),
        {"repetition_n_grams": "ngram_size", "repetition_max_penalty": "max_penalty"},
        repetition.check_settings,
    ),
    "soft_overlong_punishment": RewardSpec(
        repetition.soft_overlong_reward,
        (),
        {"max_completion_len": "max_completion_len", "soft_punish_cache": "soft_punish_cache"},
    ),
    "code": RewardSpec(code.code_reward, (("verification_info",),), machine=_has_sandbox),
    "binary_code": RewardSpec(code.binary_code_reward, (("verification_info",),), machine=_has_sandbox),
    "cf_code": RewardSpec(
        codeforces.cf_code_reward,
        (("official_tests",),),
        {"code_eval_scoring_mode": "scoring_mode"},
        codeforces.check_settings,
        codeforces.check_machine,
    ),
    "ioi_code": RewardSpec(
        olympiad.ioi_code_reward,
        tuple((column,) for column in olympiad.NEEDED),
        machine=olympiad.check_machine,
    ),
    "code_format": RewardSpec(form.code_format_reward, (), {"code_language": "code_language"}),
}

PER_COMPLETION = "return a list with one number, or None, for each of the completions"
# The run tells every reward that wants to know; recipes do not set these.
SHARED = ("think_prefilled", "max_completion_length")
# Keyword parameters of built-in rewards that are the dataset's columns, or for code that calls them.
NOT_SETTABLE = {
    "solution",
    "answer",
    "language",
    "verification_info",
    "official_tests",
    *olympiad.NEEDED,
    "grader",
    "extract",
    *SHARED,
}


class Reward:
    """A reward function with its parameters; what a trainer calls and names its metric after.

    Args:
        name: shown in metrics as `rewards/NAME/mean`.
        func: the function.
        params: keyword arguments that are the same for every call.
        columns: dataset columns it needs.
        plugin: it comes from outside this package.
        reserved: parameters that a dataset column of the same name must not set.
    """

    def __init__(
        self,
        name: str,
        func: RewardFunc,
        params: Mapping[str, Any],
        columns: Sequence[tuple[str, ...]] = (),
        plugin: bool = False,
        reserved: Collection[str] = (),
    ) -> None:
        self.__name__ = self.name = name
        self.func = func
        self.params = dict(params)
        self.columns = tuple(columns)
        self.plugin = plugin
        self._reserved = set(reserved) | set(params)

    def check_machine(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Refuse a machine that cannot judge, before anything costs time.

        Raises:
            EnvironmentProblem: no sandbox, no compiler, no tests.
        """
        spec = None if self.plugin else REGISTRY.get(self.name)
        if spec is not None and spec.machine is not None:
            spec.machine(rows, self.params)

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self.params.items())
        return f"Reward({self.name}{': ' + settings if settings else ''})"

    def __call__(self, completions: Sequence[Any], **arguments: Any) -> list[float | None]:
        """Score a batch.

        Raises:
            RecipeError: the function returned another number of values than there are completions, or what
                is no number.
        """
        for name in self._reserved & arguments.keys():
            del arguments[name]
        values = self.func(completions=completions, **(arguments | self.params))
        if not isinstance(values, Sequence) or len(values) != len(completions):
            got = f"{len(values)} values" if isinstance(values, Sequence) else type(values).__name__
            raise RecipeError(
                f"reward {self.name} returned {got} for {len(completions)} completions",
                where=place_of(self.func),
                fix=PER_COMPLETION,
            )
        try:
            return [None if v is None else float(v) for v in values]
        except (TypeError, ValueError) as error:
            raise RecipeError(
                f"reward {self.name} returned what is no number: {error}",
                where=place_of(self.func),
                fix=PER_COMPLETION,
            ) from error


def place_of(func: RewardFunc) -> str | None:
    """File and line of a function; None for one that is not written in Python."""
    code = getattr(inspect.unwrap(func), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else None


def parameters(func: RewardFunc) -> set[str]:
    """Keyword parameters of a reward function that a recipe may set."""
    signature = inspect.signature(func).parameters.values()
    return {
        p.name
        for p in signature
        if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        and p.name not in TRAINER_ARGUMENTS
        and p.default is not p.empty
    }


def settable(spec: RewardSpec) -> set[str]:
    """Parameters of a built-in reward that a recipe may set: no columns, nothing the run itself provides."""
    return parameters(spec.func) - NOT_SETTABLE | (
        {"language"} if spec.func is repetition.repetition_penalty_reward else set()
    )


def reward_names() -> list[str]:
    """Names of the built-in rewards."""
    return list(REGISTRY)


def split_entry(entry: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """One entry of `reward_funcs`: a name, or `{name: {parameter: value}}`.

    Raises:
        RecipeError: neither of the two.
    """
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, params),) = entry.items()
        if params is None or isinstance(params, Mapping):
            return str(name), dict(params or {})
    raise RecipeError(
        f"a reward is a name or one name with its parameters, got {entry!r}",
        fix="reward_funcs: [accuracy, {cosine: {max_len: 2048}}]",
    )


def get_reward_funcs(names: Any, *, compat: str | None = None, **params: Any) -> list[Reward]:
    """The reward functions of a recipe, in order.

    Args:
        names: a list (or an object with one as `reward_funcs`, as open-r1 calls it) of
            built-in names, `file.py:function`, `package.module:function`, or `{name: {parameter: value}}`.
        compat: `"open-r1"` for upstream's exact values (`reward_compat` in a recipe).
        params: parameters for all of them: open-r1's flat ones (`cosine_max_len`, `repetition_n_grams`, …),
            and what the run knows: `think_prefilled`, `max_completion_length`. None means not set.

    Raises:
        RecipeError: unknown reward or parameter, with the nearest ones.
    """
    if hasattr(names, "reward_funcs"):  # upstream's call: one object with everything on it
        flat = {key for spec in REGISTRY.values() for key in spec.flat}
        found = {key: getattr(names, key) for key in flat if hasattr(names, key)}
        return get_reward_funcs(names.reward_funcs, compat=compat, **(found | params))
    if isinstance(names, str):
        raise RecipeError("reward_funcs is a list", fix=f"reward_funcs: [{names}]")
    entries = [split_entry(e) for e in names]
    if not entries:
        raise RecipeError("reward_funcs is empty", fix="reward_funcs: [accuracy, format]")
    _check_flat(params)
    if compat is not None:
        return _as_upstream(compat, entries, params)
    rewards = [_build(name, own, params) for name, own in entries]
    twice = {r.name for r in rewards if [q.name for q in rewards].count(r.name) > 1}
    if twice:
        raise RecipeError(f"reward {', '.join(sorted(twice))} is named more than once")
    return rewards


def check_reward_funcs(names: Any, *, compat: str | None = None, **params: Any) -> None:
    """What `get_reward_funcs` would refuse, found without importing a plug-in, which may import torch.

    Raises:
        RecipeError: as `get_reward_funcs`; what only an import can tell is left to it.
    """
    entries = [] if isinstance(names, str) else [split_entry(e) for e in names]
    outside = [(name, own) for name, own in entries if is_reference(name)]
    if compat is not None or not outside:
        get_reward_funcs(names, compat=compat, **params)
        return
    for name, own in outside:
        accepted = plugins.inspect_source(name)
        for key in own:
            if accepted is not None and key not in accepted:
                raise _unknown(f"parameter of reward {name.rsplit(':', 1)[1]}", key, sorted(accepted))
    inside = [{name: own} for name, own in entries if not is_reference(name)]
    if inside:
        get_reward_funcs(inside, **params)
    else:
        _check_flat(params)


def _as_upstream(
    compat: str, entries: Sequence[tuple[str, dict[str, Any]]], params: Mapping[str, Any]
) -> list[Reward]:
    """open-r1's own rewards; they take their parameters flat and know no plug-ins."""
    if compat != "open-r1":
        raise RecipeError(f"unknown reward_compat {compat!r}", fix="reward_compat: open-r1")
    from . import compat as upstream

    for name, own in entries:
        if name not in REGISTRY:
            raise _unknown_reward(name)
        if own:
            raise RecipeError(
                f"with reward_compat the parameters of {name} are set at the top level",
                fix=", ".join(REGISTRY[name].flat) or f"{name} has none",
            )
    given = {k: v for k, v in params.items() if v is not None and k not in SHARED}
    names = [name for name, _ in entries]
    funcs = upstream.get_reward_funcs(SimpleNamespace(reward_funcs=names, **given))
    return [Reward(n, f, {}, REGISTRY[n].columns) for n, f in zip(names, funcs, strict=True)]


def _check_flat(params: Mapping[str, Any]) -> None:
    known = {flat for spec in REGISTRY.values() for flat in spec.flat} | set(SHARED)
    for key in params:
        if key not in known:
            raise _unknown("reward parameter", key, sorted(known))


def _build(name: str, own: dict[str, Any], shared: Mapping[str, Any]) -> Reward:
    if is_reference(name):
        func = plugins.load(name)
        accepted, columns = plugins.accepted_parameters(func), ()
        label = name.rsplit(":", 1)[1]
        flat: Mapping[str, str] = {}
        takes = accepted
    else:
        spec = REGISTRY.get(name)
        if spec is None:
            raise _unknown_reward(name)
        func, label, flat = spec.func, name, spec.flat
        accepted, columns = settable(spec), spec.columns  # type: ignore[assignment]
        takes = parameters(func)
    if accepted is not None:
        for key in own:
            if key not in accepted:
                raise _unknown(f"parameter of reward {label}", key, sorted(accepted))
    given = {k: shared[k] for k in SHARED if shared.get(k) is not None and takes is not None and k in takes}
    given |= {target: shared[key] for key, target in flat.items() if shared.get(key) is not None}
    settings = given | own
    if name in REGISTRY and (check := REGISTRY[name].check) is not None:
        check(settings)
    if name not in REGISTRY:
        return Reward(label, func, settings, columns, plugin=True)
    reserved = settable(REGISTRY[name]) | {"grader", "extract", *SHARED}
    return Reward(label, func, settings, columns, reserved=reserved)


def _unknown_reward(name: str) -> RecipeError:
    error = _unknown("reward", name, list(REGISTRY))
    listed = [part.strip() for part in name.split(",")]
    if len(listed) > 1 and all(part in REGISTRY for part in listed):
        error.fix = f"several go as a list: '[{', '.join(listed)}]'"
    if name.endswith(".py") or "/" in name:
        return RecipeError(f"reward {name!r} names a file but no function", fix=f"{name}:FUNCTION")
    return error


def _unknown(kind: str, name: str, known: Sequence[str]) -> RecipeError:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    fix = f"did you mean {' or '.join(near)}?" if near else f"there is: {', '.join(known) or 'none'}"
    return RecipeError(f"unknown {kind} {name!r}", fix=fix)
