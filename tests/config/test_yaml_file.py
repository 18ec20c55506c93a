"""YAML 1.2's meaning, lines, and every kind of file that is none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from openr1.config.yaml_file import load, plain, scalar
from openr1.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("2.0e5", 2.0e5),
        ("-.5", -0.5),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("2025-01-01", "2025-01-01"),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("[a, 1, no]", ["a", 1, "no"]),
        ("{a: 1e3}", {"a": 1000.0}),
        ('"1"', "1"),
        ("", ""),
        ("a: b: c", "a: b: c"),
        ("!!python/object/apply:os.system [true]", "!!python/object/apply:os.system [true]"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_infinity_and_nan() -> None:
    assert scalar(".inf") == math.inf
    assert scalar("-.inf") == -math.inf
    assert math.isnan(scalar(".nan"))


def test_values_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("# head\na: 1\nsft:\n  b: x\n\n  c: [1,\n    2]\n")
    top = load(path)
    assert top["a"].line == 2
    assert top["sft"].value["b"].line == 4
    assert top["sft"].value["c"].line == 6
    assert plain(top["sft"]) == {"b": "x", "c": [1, 2]}


def test_anchors_are_allowed_and_an_alias_bomb_is_cheap(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    path = tmp_path / "r.yaml"
    path.write_text("\n".join(lines))
    assert load(path)["a1"].value == [["x", "x"]] * 3


@pytest.mark.parametrize(
    ("content", "what", "line"),
    [
        (b"", "empty", None),
        (b"# nothing but a comment\n", "empty", None),
        (b"- a\n- b\n", "holds a list", 1),
        (b"just words\n", "single value", 1),
        (b"a: 1\nb: 2\na: 3\n", "stands twice (first on line 1)", 3),
        (b"a: [1, 2\nb: 3\n", "not valid YAML", 2),
        (b"a:\n\tb: 1\n", "a tab stands where the indentation is", 2),
        (b"a: 1\n---\nb: 2\n", "a second YAML document begins here", 2),
        (b"sft:\n  {a: 1}: 2\n", "a key must be a plain word", 2),
        (b"ok: 1\n\xff\xfe\x00binary", "not a text file", 2),
        (b"\x00\x01\x02", "not a text file", None),
        (b"a: !!python/object/apply:os.system ['echo hi']\n", "not allowed in a recipe", 1),
        (b"a: &x [*x]\n", "holds itself", 1),
        (b"sft: !!python/object:os.system {}\n", "not allowed in a recipe", 1),
        (b"? [a, b]\n: 1\n", "plain word", 1),
        (b"base: &b {x: 1}\nsft:\n  <<: *b\n", "merge keys", 3),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_place(
    tmp_path: Path, content: bytes, what: str, line: int | None
) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert what in caught.value.what and caught.value.fix
    assert str(path) in str(caught.value.where)
    if line:
        assert caught.value.where == f"{path}:{line}"


def test_missing_directory_and_huge_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="directory"):
        load(tmp_path)
    big = tmp_path / "big.yaml"
    big.write_bytes(b"a: " + b"x" * 1_100_000)
    with pytest.raises(RecipeError, match="too large"):
        load(big)
