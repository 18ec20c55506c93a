"""A recipe file: shared keys, and one section per stage of the pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from openr1.config.catalogue import TRAINING_STAGES
from openr1.config.checked import checked, mend
from openr1.config.legacy import Translation, generate_command, translate
from openr1.config.legacy.rules import GONE
from openr1.config.names import all_keys, explain_unknown, keys_of, nearest
from openr1.config.schema import STAGES
from openr1.config.yaml_file import Loaded, load, plain
from openr1.errors import RecipeError, RecipeErrors, UsageError

SHIPPED = (Path(__file__).parents[2] / "configs", Path(__file__).parents[1] / "_recipes")


@dataclass(frozen=True)
class Section:
    """One stage of a recipe, as written: nothing merged, nothing checked but the keys."""

    name: str
    stage: str
    values: dict[str, Loaded]
    line: int
    old: Translation | None = None
    """How the section was read, where it stands in a flat file of 2025."""


@dataclass(frozen=True)
class Recipe:
    """A parsed file. A flat single-stage file is a recipe whose one section is named after the stage."""

    name: str
    path: Path | None
    shared: dict[str, Loaded] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()

    def place(self, line: int) -> str:
        """`file:line`, the file seen from the current folder where it lies below, a shipped one by name."""
        return f"{_shown(self.path)}:{line}"

    @property
    def word(self) -> str:
        """What names this recipe in a command: a shipped one's name, else its path."""
        if self.path and shipped().get(self.path.stem) == self.path:
            return self.path.stem
        return _shown(self.path)

    def of_stage(self, stage: str) -> list[Section]:
        return [s for s in self.sections if s.stage == stage]

    def section(self, name: str) -> Section:
        """Raises UsageError when there is no section of that name."""
        for section in self.sections:
            if section.name == name:
                return section
        names = ", ".join(s.name for s in self.sections) or "none"
        raise UsageError(f"no section `{name}` in this recipe", where=str(self.path), fix=f"it has: {names}")


def _shown(path: Path | None) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd())) if path else "recipe"
    except ValueError:
        assert path is not None
        is_shipped = any(folder.resolve() in path.resolve().parents for folder in SHIPPED)
        return path.name if is_shipped else str(path)


def shipped() -> dict[str, Path]:
    """The recipes that come with openr1, by name. From a checkout or an installed wheel alike."""
    for folder in SHIPPED:
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.rglob("*.yaml"))}
    return {}


def find(name: str) -> Path:
    """The file a person means by a path, or by a shipped recipe's name without path or suffix.

    Raises:
        RecipeError: when it is neither; names the nearest shipped one.
    """
    path = Path(name)
    if path.exists() or path.suffix in (".yaml", ".yml"):
        by_name = shipped().get(path.stem)
        return by_name if not path.exists() and by_name and path.parent.name in ("configs", "") else path
    if name in shipped():
        return shipped()[name]
    near = nearest(name, shipped())
    raise RecipeError(
        f"no recipe `{name}`: neither a file nor a shipped name",
        where=name,
        fix=f"did you mean {near}?" if near else f"shipped recipes: {', '.join(shipped())}",
    )


def parse(path: Path, command: str) -> Recipe:
    """Read a recipe and sort its keys into shared ones and sections.

    Args:
        path: the file.
        command: the stage asked for (sft, grpo, eval, generate) or "pipeline"; decides what a flat file is.

    Raises:
        RecipeErrors: all keys that do not exist, each with its line and the nearest one that does.
    """
    top = load(path)
    shared: dict[str, Loaded] = {}
    sections: list[Section] = []
    problems: list[RecipeError] = []
    for key, loaded in top.items():
        if isinstance(loaded.value, dict) and (key in STAGES or "stage" in loaded.value):
            sections.append(_section(path, key, loaded, problems))
        elif key in STAGES:
            problems.append(
                RecipeError(
                    f"`{key}:` opens a section, which is a map",
                    where=f"{path}:{loaded.line}",
                    fix=f"indent its keys; a section without any is `{key}: {{}}`",
                )
            )
        elif _no_stage(key, loaded.value):
            problems.append(_which_stage(path, key, loaded))
        else:
            shared[key] = loaded
    if not sections and not problems:
        sections, shared = [_flat(path, shared, command)], {}
    _check_keys(path, shared, sections, problems)
    if problems:
        problems += _wrong_values(path, shared, sections)
        problems.sort(key=lambda p: int((p.where or ":0").rsplit(":", 1)[-1]))
        raise problems[0] if len(problems) == 1 else RecipeErrors(problems)
    return Recipe(path.stem, path, shared, tuple(sections))


def _no_stage(key: str, value: object) -> bool:
    """Whether a map is meant as a section, and nothing says of which stage."""
    return isinstance(value, dict) and key not in all_keys() and any(k in all_keys() for k in value)


def _which_stage(path: Path, name: str, loaded: Loaded) -> RecipeError:
    near = nearest(name, STAGES)
    return RecipeError(
        f"`{name}:` looks like a section, and nothing says of which stage",
        where=f"{path}:{loaded.line}",
        fix=f"did you mean `{near}:`?" if near else f"add `stage: {_stage_of(loaded.value)}` to its keys",
    )


def flat_stage(path: Path) -> str | None:
    """The stage of a flat file, the one that knows most of its keys; None for a file with sections."""
    top = load(path)
    if any(key in STAGES or (isinstance(v.value, dict) and "stage" in v.value) for key, v in top.items()):
        return None
    return _stage_of(top)


def _known(stage: str) -> set[str]:
    """The keys that a flat file of this stage may hold, those of 2025 included."""
    return keys_of(stage) | (set(GONE) if stage in TRAINING_STAGES else set())


def _stage_of(values: dict[str, Loaded]) -> str:
    """The stage that knows most of the keys; the first of `STAGES` where several do."""
    return max(STAGES, key=lambda stage: sum(key in _known(stage) for key in values))


def _section(path: Path, name: str, loaded: Loaded, problems: list[RecipeError]) -> Section:
    values: dict[str, Loaded] = loaded.value
    stage = values["stage"].value if "stage" in values else name
    if stage not in STAGES:
        near = nearest(str(stage), STAGES) or _stage_of(values)
        problems.append(
            RecipeError(
                f"`stage: {stage}` is none of {', '.join(STAGES)}",
                where=f"{path}:{values['stage'].line}",
                fix=f"did you mean `stage: {near}`?",
            )
        )
        stage = name if name in STAGES else near
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        problems.append(
            RecipeError(
                f"a section's name becomes a folder; `{name}` cannot",
                where=f"{path}:{loaded.line}",
                fix="use letters, digits, `-`, `_` and `.`",
            )
        )
    return Section(name, stage, values, loaded.line)


def _flat(path: Path, values: dict[str, Loaded], command: str) -> Section:
    """A file without sections belongs to one stage: the command's, unless another knows more of its keys."""
    said = values["stage"].value if "stage" in values else None
    if said is not None and said not in STAGES:
        raise RecipeError(
            f"`stage: {said}` is none of {', '.join(STAGES)}",
            where=f"{path}:{values['stage'].line}",
            fix=f"did you mean `stage: {nearest(str(said), STAGES) or _stage_of(values)}`?",
        )
    stage = said or _stage_of(values)
    if command == "pipeline":
        raise RecipeError(
            f"a pipeline needs sections (sft:, grpo:, eval:); this file is a flat one of {stage}",
            where=str(path),
            fix=f"openr1 {stage} {path}   or give it sections: openr1 configs migrate {path}",
        )
    telling = [key for key in values if key in _known(stage) - _known(command)]
    if said not in (None, command):
        _refuse_kind(path, values, command, stage, ["stage"])
    if len(telling) > sum(key in _known(command) - _known(stage) for key in values):
        _refuse_kind(path, values, command, stage, telling)
    old = translate(values, command, keys_of(command)) if command in TRAINING_STAGES else None
    return Section(command, command, old.values if old else values, 1, old)


def _refuse_kind(
    path: Path, values: dict[str, Loaded], command: str, stage: str, telling: list[str]
) -> NoReturn:
    """A flat file of another stage than the command's: what it is, and the command it is for."""
    keys = ", ".join(f"`{key}`" for key in telling[:3])
    what, fix = f"this is a {stage} recipe (it sets {keys})", f"openr1 {stage} {path}"
    if stage not in TRAINING_STAGES:
        what = f"this is a flat file for openr1 {stage} (it sets {keys})"
    elif command not in TRAINING_STAGES:
        filters = generate_command({key: plain(loaded) for key, loaded in values.items()})
        what = f"this is a flat file for training, openr1 {stage} (it sets {keys})"
        then = "eval TASK" if command == "eval" else "generate --dataset_name DATASET"
        fix = f"openr1 {stage} {path}   trains with it; then: openr1 {then} --model_name_or_path RUN"
        if filters:
            what, fix = "this is a flat file that filters a dataset by pass rate", filters
    raise RecipeError(what, where=f"{path}:{values[telling[0]].line}", fix=fix)


def _wrong_values(path: Path, shared: dict[str, Loaded], sections: list[Section]) -> list[RecipeError]:
    """What is wrong with the values beside keys that do not exist: one look at the file mends all."""
    found: dict[int, RecipeError] = {}
    for section in sections:
        known = keys_of(section.stage)
        asked = {
            key: value for key, value in {**shared, **section.values}.items() if key in known - {"stage"}
        }
        for key, reason in checked(section.stage, asked)[1].items():
            where, fix = f"{path}:{asked[key].line}", mend(section.stage, key, asked[key])
            found[asked[key].line] = RecipeError(f"`{key}` {reason}", where=where, fix=fix)
    return list(found.values())


def _check_keys(
    path: Path, shared: dict[str, Loaded], sections: list[Section], problems: list[RecipeError]
) -> None:
    for key, loaded in shared.items():
        if key not in all_keys():
            problems.append(
                RecipeError(
                    f"unknown key `{key}`", where=f"{path}:{loaded.line}", fix=explain_unknown(key, None)
                )
            )
    for section in sections:
        for key, loaded in section.values.items():
            if key not in keys_of(section.stage):
                problems.append(
                    RecipeError(
                        f"unknown key `{key}` in the {section.name} section",
                        where=f"{path}:{loaded.line}",
                        fix=explain_unknown(key, section.stage),
                    )
                )
