"""Names, parameters and plug-ins."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from openr1 import rewards as ours
from openr1.errors import RecipeError
from openr1.rewards import check_reward_funcs, compat, get_reward_funcs, probe_rewards, reward_names
from openr1.rewards.registry import Reward


def test_every_name_builds_and_is_called_so() -> None:
    names = reward_names()
    assert [r.__name__ for r in get_reward_funcs(names)] == names


@pytest.mark.parametrize(
    ("names", "params", "what", "fix"),
    [
        (["acuracy"], {}, "unknown reward 'acuracy'", "accuracy"),
        (["accuracy,format"], {}, "unknown reward 'accuracy,format'", "'[accuracy, format]'"),
        (["cf_code"], {"code_eval_scoring_mode": "best"}, "unknown scoring mode 'best'", "partial"),
        ([{"cf_code": {"extract": 1}}], {}, "unknown parameter", None),
        ([{"ioi_code": {"test_names": []}}], {}, "unknown parameter", None),
        (["accuracy", "accuracy"], {}, "more than once", None),
        ([], {}, "empty", "accuracy"),
        ("accuracy", {}, "list", "[accuracy]"),
        ([{"cosine": {"max_length": 3}}], {}, "unknown parameter of reward cosine 'max_length'", "max_len"),
        ([{"format": {"x": 1}}], {}, "unknown parameter", None),
        ([{"a": 1, "b": 2}], {}, "one name", "cosine"),
        ([{"accuracy": {"grader": 1}}], {}, "unknown parameter", None),
        (["cosine"], {"cosine_max_length": 3}, "unknown reward parameter", "cosine_max_len"),
        ([{"repetition_penalty": {"max_penalty": 1.0}}], {}, "should not be positive", None),
        (["repetition_penalty"], {"repetition_max_penalty": 0.5}, "should not be positive", None),
        (["my_rewards.py"], {}, "names a file but no function", "my_rewards.py:FUNCTION"),
        (["missing.py:func"], {}, "does not exist", None),
        (["no_such_module_x:func"], {}, "does not import", None),
        (["math:nothing_here"], {}, "no function", None),
    ],
)
def test_refusals_name_the_way_out(names: Any, params: dict[str, Any], what: str, fix: str | None) -> None:
    with pytest.raises(RecipeError) as problem:
        get_reward_funcs(names, **params)
    assert what in str(problem.value)
    assert fix is None or fix in str(problem.value.fix)


@pytest.mark.parametrize(("returns", "said"), [([1.0], "1 values for 2"), (["x", "y"], "no number")])
def test_a_wrong_answer_of_a_persons_reward_names_its_place(returns: list[Any], said: str) -> None:
    def mine(completions: list[str], **kwargs: Any) -> list[Any]:
        return returns

    with pytest.raises(RecipeError, match=said) as problem:
        Reward("mine", mine, {}, plugin=True)(["a", "b"])
    assert problem.value.where == f"{__file__}:{mine.__code__.co_firstlineno}"
    assert "one number" in str(problem.value.fix)


def test_parameters_beside_the_name_and_flat() -> None:
    beside, flat = (
        get_reward_funcs([{"cosine": {"max_len": 7}}])[0],
        get_reward_funcs(["cosine"], cosine_max_len=7)[0],
    )
    assert beside.params == flat.params == {"max_len": 7}
    both = get_reward_funcs([{"cosine": {"max_len": 7}}], cosine_max_len=9)[0]
    assert both.params == {"max_len": 7}
    assert get_reward_funcs(["cosine"], cosine_max_len=None)[0].params == {}
    shared = get_reward_funcs(["format", "repetition_penalty"], think_prefilled=True)
    assert [r.params for r in shared] == [{"think_prefilled": True}, {}]
    assert get_reward_funcs([{"repetition_penalty": {"language": "en"}}])[0].params == {"language": "en"}


PLUGIN = """
def brevity(completions, limit=10, **kwargs):
    return [1.0 if len(c) <= limit else None for c in completions]
def short(completions, **kwargs):
    return [1.0]
def number(completions, **kwargs):
    return 1.0
def narrow(completions):
    return [0.0 for _ in completions]
async def later(completions, **kwargs):
    return [0.0 for _ in completions]
def raising(completions, **kwargs):
    return [kwargs["nothing"] for _ in completions]
def by_column(completions, difficulty, **kwargs):
    return [float(d) for d in difficulty]
def level(completions, difficulty=None, **kwargs):
    return [float(d) for d in difficulty]
CONSTANT = 3
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_rewards.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("module", ["my_rewards.py", "my_rewards", "./my_rewards.py"])
def test_plugins(plugin: Path, module: str) -> None:
    (reward,) = get_reward_funcs([{f"{module}:brevity": {"limit": 3}}])
    assert reward.__name__ == "brevity"
    assert reward(["ab", "abcd"], solution=["1", "2"], log_metric=None) == [1.0, None]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("narrow", "signature"),
        ("later", "coroutine"),
        ("CONSTANT", "no function"),
        ("nothing", "no function"),
    ],
)
def test_plugins_are_checked_when_named(plugin: Path, name: str, what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        get_reward_funcs([f"my_rewards.py:{name}"])


def test_names_are_checked_without_importing_plugins(plugin: Path) -> None:
    """The command line must not import torch, and a plug-in may."""
    (plugin / "heavy.py").write_text("raise SystemExit('imported')\n" + PLUGIN.replace("CONSTANT = 3", ""))
    check_reward_funcs(["accuracy", {"heavy.py:brevity": {"limit": 3}}, "package.module:func"])
    check_reward_funcs(["heavy.py:by_column"])
    for names, what in (
        ([{"heavy.py:brevity": {"limt": 3}}], "unknown parameter of reward brevity"),
        (["heavy.py:narrow"], "signature"),
        (["heavy.py:later"], "coroutine"),
        (["heavy.py:nothing"], "no function"),
        (["missing.py:f"], "does not exist"),
        (["heavy.py:brevity", "acuracy"], "unknown reward"),
        ([], "empty"),
        ("accuracy", "list"),
    ):
        with pytest.raises(RecipeError, match=what):
            check_reward_funcs(names)
    (plugin / "bad.py").write_text("def f(:\n")
    with pytest.raises(RecipeError, match="no Python") as problem:
        check_reward_funcs(["bad.py:f"])
    assert str(problem.value.where).endswith("bad.py:1")


def test_a_plugins_default_may_be_a_column(plugin: Path) -> None:
    assert get_reward_funcs(["my_rewards.py:level"])[0](["a"], difficulty=[3]) == [3.0]


def test_unknown_plugin_parameter(plugin: Path) -> None:
    with pytest.raises(RecipeError, match="unknown parameter of reward brevity"):
        get_reward_funcs([{"my_rewards.py:brevity": {"limt": 3}}])


@pytest.mark.parametrize(
    ("name", "what"), [("short", "1 values for 2"), ("number", "float for 2"), ("raising", "KeyError")]
)
def test_plugins_are_probed_at_start(plugin: Path, name: str, what: str) -> None:
    rows = [
        {"prompt": "p", "solution": "1"},
        {"prompt": "q", "solution": "2"},
        {"prompt": "r", "solution": "3"},
    ]
    with pytest.raises(RecipeError, match=what):
        probe_rewards(get_reward_funcs([f"my_rewards.py:{name}"]), rows)


def test_a_good_plugin_passes_the_probe_with_its_column(plugin: Path) -> None:
    rows = [{"prompt": "p", "difficulty": 1}, {"prompt": "q", "difficulty": 2}]
    probe_rewards(get_reward_funcs(["my_rewards.py:by_column", "accuracy"]), rows)


def test_a_plugin_that_does_not_import(plugin: Path) -> None:
    (plugin / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(RecipeError, match="nothing_of_this_name"):
        get_reward_funcs(["broken.py:f"])


def test_upstreams_names_are_here_and_in_compat() -> None:
    names = [
        "accuracy_reward", "format_reward", "tag_count_reward", "reasoning_steps_reward", "len_reward",
        "get_cosine_scaled_reward", "get_repetition_penalty_reward", "get_soft_overlong_punishment",
        "get_code_format_reward", "code_reward", "binary_code_reward", "extract_code", "get_reward_funcs",
        "cf_code_reward", "ioi_code_reward",
    ]  # fmt: skip
    for name in names:
        assert callable(getattr(ours, name)) and callable(getattr(compat, name))


def test_upstreams_call_of_get_reward_funcs() -> None:
    args = types.SimpleNamespace(reward_funcs=["accuracy", "cosine"], cosine_max_len=5)
    assert [r.params for r in get_reward_funcs(args)] == [{}, {"max_len": 5}]


def test_compat_in_a_recipe() -> None:
    rewards = get_reward_funcs(
        ["format", "cosine"], compat="open-r1", cosine_max_len=50, think_prefilled=True
    )
    assert [r.__name__ for r in rewards] == ["format", "cosine"]
    loose = [[{"content": "<think>a</think><answer>b</answer>"}]]
    assert rewards[0](loose) == [0.0]
    for names, what in (
        ([{"cosine": {"max_len": 3}}], "top level"),
        (["x.py:f"], "unknown"),
    ):
        with pytest.raises(RecipeError, match=what):
            get_reward_funcs(names, compat="open-r1")
    with pytest.raises(RecipeError, match="reward_compat"):
        get_reward_funcs(["format"], compat="verl")


def test_importing_rewards_is_light() -> None:
    code = (
        "import sys, openr1.rewards, openr1.rewards.compat, openr1.grading, openr1.evaluation.statistics\n"
        "heavy = {'torch', 'numpy', 'sympy', 'math_verify', 'transformers', 'trl', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
