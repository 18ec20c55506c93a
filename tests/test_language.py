"""Messages in two languages: the catalogue is whole, its places agree, and the command speaks it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openr1.cli.configs_view import type_in_words
from openr1.cli.live import OUTCOMES, WATCHED
from openr1.config.names import keys_of
from openr1.config.schema import STAGES, own_fields
from openr1.config.units import UNITS
from openr1.evaluation.published import _verdict, published
from openr1.grading.verdict import Verdict
from openr1.language import catalogue, language, translate
from openr1.runs.health import rules
from openr1.runs.report.charts import CHARTS
from openr1.services.configs import _meaning
from openr1.services.hw_profile import hw_profile, sections_of, the_machine
from tests.conftest import Cli

ROOT = Path(__file__).parents[1] / "openr1"
# The rooms whose messages a learner meets.
ROOMS = ("cli", "config", "planning", "services")
ERRORS = {
    "RecipeError",
    "UsageError",
    "DoesNotFit",
    "PlanDoesNotFit",
    "EnvironmentProblem",
    "ComponentFailed",
}
HAN = re.compile("[一-鿿]")
# A command to type is the same in every language.
COMMAND = re.compile(r"(openr1|pip install|--[\w{}-]+) [^一-鿿]*|\{\} --help|`\{\}`|\{\}|\.\d?f")


def templates(node: ast.expr) -> Iterator[str]:
    """The messages an expression can be, with `{}` for what is put in at run time."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
        yield "".join(map(str, parts))
    elif isinstance(node, ast.IfExp):
        yield from templates(node.body)
        yield from templates(node.orelse)


def messages() -> Iterator[tuple[str, str]]:
    """File and message of every `what` and `fix` in the rooms."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS:
                    words = [*node.args[:1], *(k.value for k in node.keywords if k.arg in ("what", "fix"))]
                    for expression in words:
                        yield from ((path.name, found) for found in templates(expression) if found)


def shown() -> Iterator[tuple[str, str]]:
    """File and text of the labels, heads and sentences that the views print in the reader's language."""
    for path in sorted((ROOT / "cli").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in ("say", "note", "hint", "translate") and node.args:
                    yield from ((path.name, text.strip()) for text in templates(node.args[0]))
                if name == "_say" and len(node.args) > 2:
                    yield from ((path.name, text) for text in templates(node.args[2]))
                if name in ("field", "add_column", "label") and node.args:
                    lines = (line for text in templates(node.args[0]) for line in text.split("\n"))
                    yield from ((path.name, f"[{line}]") for line in lines if line.strip("{}: "))
            if (
                isinstance(node, ast.For)
                and isinstance(node.iter, (ast.Tuple, ast.List))
                and prints_each(node)
            ):
                for word in ast.walk(node.iter):
                    if isinstance(word, ast.Constant) and isinstance(word.value, str):
                        yield path.name, f"[{word.value}]"


def prints_each(loop: ast.For) -> bool:
    calls = (n.func for n in ast.walk(loop) if isinstance(n, ast.Call))
    return any(getattr(func, "attr", "") in ("add_column", "field") for func in calls)


def notices() -> Iterator[tuple[str, str]]:
    """What services say beside the answer: `notices.append(...)` and events of that name."""
    for path in sorted((ROOT / "services").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                keys = [getattr(key, "value", None) for key in node.keys]
                for key in {"text", "name"} & {*keys} if "event" in keys else ():
                    yield from ((path.name, text) for text in templates(node.values[keys.index(key)]))
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "text":
                yield from ((path.name, text) for text in templates(node.value))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("notices.append", "said.append"):
                yield from ((path.name, text) for text in templates(node.args[0]))


def health() -> Iterator[tuple[str, str]]:
    for rule in rules():
        for text in (rule.title, rule.seen, rule.expected, rule.advice):
            yield rule.id, re.sub(r"\{\w+\}", "{}", text)


def edits() -> Iterator[tuple[str, str]]:
    """What the planner proposes where something does not fit, in words."""
    for file in ("planning/edits.py", "services/out_of_memory.py"):
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Edit" and len(node.args) > 1:
                yield from ((file, text) for text in templates(node.args[1]))


def charts() -> Iterator[tuple[str, str]]:
    """The curves' names and how each should look, in the terminal and on the page."""
    for chart in CHARTS:
        yield from ((chart.id, text) for text in (chart.title, *chart.expected.values()))


def phases() -> Iterator[tuple[str, str]]:
    """What a run says it is doing, and what it counts."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("events.send"):
                named = {k.arg: k.value for k in node.keywords}
                if ast.literal_eval(node.args[0]) == "phase" and "name" in named:
                    yield from ((path.name, text) for text in templates(named["name"]))
                if "unit" in named:
                    yield from ((path.name, f"[{text}]") for text in templates(named["unit"]))
    yield from (("live.py", f"[{name}]") for _, name in WATCHED)
    yield from (("live.py", f"[{name}]") for name in OUTCOMES.values())


def answers() -> Iterator[tuple[str, str]]:
    """The advice on an evaluation, and why two cannot be compared."""
    tree = ast.parse((ROOT / "evaluation/advice.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and node.value is not None:
            yield from (("advice.py", text) for text in templates(node.value) if " " in text)
    tree = ast.parse((ROOT / "services/report.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        reason = isinstance(node, ast.keyword) and node.arg == "why_not"
        if reason or (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "few"):
            yield from (("report.py", text) for text in templates(node.value))


def seen() -> Iterator[tuple[str, str]]:
    """What a run's children notice on the way, where they say it in one piece."""
    for room in ("training", "evaluation", "generation"):
        for path in sorted((ROOT / room).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("events.send"):
                    said = [k.value for k in node.keywords if k.arg == "text"]
                    yield from ((path.name, text) for one in said for text in templates(one))
    tree = ast.parse((ROOT / "evaluation/estimate.py").read_text(encoding="utf-8"))
    told = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "tokens_per_second"]
    for node in ast.walk(told[0]):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            yield from (("estimate.py", text) for text in templates(node.value.elts[1]))


def known(text: str) -> str:
    """A word of a page as the catalogue has it: as a label, or as a sentence."""
    return f"[{text}]" if f"[{text}]" in catalogue() else text


def own_keys() -> Iterator[tuple[str, str]]:
    """What `configs explain` says of openr1's own keys, and the units of all."""
    for stage in STAGES:
        yield from ((f"{stage}.{key}", help) for key, help in own_fields(stage).items())
    yield from (("units.py", f"[{unit}]") for unit in UNITS.values())


def phases_of_memory() -> Iterator[tuple[str, str]]:
    """The phases that the plan's memory and a rehearsal are told by, as the views name them."""
    for file in ("planning/phases.py", "training/phases.py"):
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "found":
                yield from ((file, f"[{name}]") for name in templates(node.slice))
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("METHODS", "found"):
                named = [v for v in ast.walk(node.value) if isinstance(v, ast.Dict)]
                names = [k for d in named for k in (d.values if file.startswith("training") else d.keys)]
                yield from ((file, f"[{name}]") for one in names if one for name in templates(one))
    yield "rehearsal_view.py", "[optimizer step]"


TEMPLATES = sorted((ROOT / "runs/report").glob("*.j2"))
QUOTED = re.compile(r"""('[^']*'|"[^"]*")\)?\|(?:t|say)\b""")


def page() -> Iterator[tuple[str, str]]:
    """What stands on a run's page: in its templates, and in the code that fills them."""
    for path in TEMPLATES:
        for found in QUOTED.finditer(path.read_text(encoding="utf-8")):
            text = found[1][1:-1]
            yield path.name, known("{}" + text if text.startswith(" ") else text)
    for path in sorted((ROOT / "runs/report").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in ("translate", "label", "translate_label", "story.problems.append"):
                    yield from ((path.name, known(text)) for text in templates(node.args[0]))
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "UNPLANNED":
                yield from ((path.name, text) for text in templates(node.value))
    for chart in CHARTS:
        yield from ((chart.id, known(unit)) for unit in [chart.unit] if unit not in ("", "GiB", "°C"))


def reasons() -> Iterator[tuple[str, str]]:
    """Why an answer got its verdict."""
    verdicts = {str(verdict) for verdict in Verdict}
    grading = [ROOT / "grading" / f"{name}.py" for name in ("grader", "pool", "cost", "extract", "worker")]
    for path in (*grading, ROOT / "evaluation/grade.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words: list[ast.expr] = []
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Judged", "Extraction"):
                words = [getattr(arg, "value", arg) for arg in node.args]  # `*(… if … else …)` too
            if isinstance(node, ast.Return) and node.value is not None:
                words = [node.value]
            words += [one for word in list(words) if isinstance(word, ast.Tuple) for one in word.elts]
            for word in list(words):
                if isinstance(word, ast.IfExp):
                    words += [*getattr(word.body, "elts", []), *getattr(word.orelse, "elts", [])]
            for text in (text for word in words for text in templates(word)):
                if " " in text.strip() and text not in verdicts:
                    yield path.name, text


def checks() -> Iterator[tuple[str, str]]:
    """What `hw-profile --check` finds: the name, and the words."""
    tree = ast.parse((ROOT / "hardware/doctor.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("words", "old"):
            yield from (("doctor.py", text) for text in templates(node.value))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Check":
            yield from (("doctor.py", text) for text in templates(node.args[2]) if text != "{}: {}")


def test_the_templates_of_a_page_hold_no_english_past_the_catalogue() -> None:
    assert len(TEMPLATES) == 3
    for path in TEMPLATES:
        text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        outside = re.sub(r"<!?[^>]*>", " ", text)
        assert not re.findall("[A-Za-z]{3,}", outside), path.name
        labels = re.findall(r'(?:data-label|title|alt|aria-label)="([^"]*)"', text)
        assert not [value for value in labels if re.search("[a-z]{3}", value)], path.name


def test_what_bench_says_of_a_score_is_in_the_catalogue() -> None:
    said = [_verdict(z, causes) for z in (0.0, 9.0) for causes in ([], ["another copy of the problems"])]
    notes = [row.note for row in published() if row.note]
    assert len(set(said)) == 4 and notes
    said += [f"open-r1 README 2025-02 prints 56.6: {note}" for note in notes]
    assert not [text for text in said if re.search("[a-z]{5}", translate(text, "zh").replace("README", ""))]


def test_no_message_is_translated_twice() -> None:
    """YAML would take the last and say nothing."""
    text = (ROOT / "messages_zh.yaml").read_text(encoding="utf-8")
    written = re.findall(r'^("(?:[^"\\]|\\.)*"):', text, re.MULTILINE)
    assert len(written) == len(set(written)) == len(catalogue())


def plain_words() -> Iterator[tuple[str, str]]:
    """English that the views print past the catalogue: `text` is for what is no sentence of ours."""
    for path in sorted((ROOT / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "text" and node.args:
                yield from ((path.name, text) for text in templates(node.args[0]))


def test_no_view_prints_english_past_the_catalogue() -> None:
    found = list(plain_words())
    assert len(found) > 20  # the reader of the code still finds them
    assert not [(file, text) for file, text in found if re.search("[a-z]{3}", text.replace("{}", ""))]


@pytest.mark.parametrize(
    ("gather", "least"),
    [
        (shown, 120),
        (notices, 5),
        (health, 60),
        (edits, 5),
        (charts, 30),
        (phases, 20),
        (answers, 6),
        (checks, 12),
        (seen, 12),
        (page, 90),
        (reasons, 20),
        (own_keys, 140),
        (phases_of_memory, 8),
    ],
)
def test_what_a_learner_meets_is_in_the_catalogue(
    gather: Callable[[], Iterator[tuple[str, str]]], least: int
) -> None:
    found = {(file, text) for file, text in gather() if re.search("[a-z]{2}", text.replace("{}", ""))}
    assert len(found) >= least  # the reader of the code still finds them
    missing = sorted({(f, m) for f, m in found if m not in catalogue() and not COMMAND.fullmatch(m)})
    assert not missing, "\n".join(f"{file}: {text}" for file, text in missing)


@pytest.mark.parametrize("machine", ["cpu", "RTX 3060", "2xRTX 4090", "8xH100"])
def test_every_reason_of_a_plan_is_in_the_catalogue(machine: str) -> None:
    """The reasons and warnings that the shipped recipes' plans give, as they are put together."""
    said: set[str] = set()
    training = [p for p in (ROOT.parent / "configs").glob("*.yaml") if "generate" not in p.stem]
    sections = [section for recipe in training for section in sections_of(str(recipe))]
    for planning in hw_profile(simulate=machine, sections=sections).plans:
        if planning.refused is not None:
            said |= {planning.refused.what, planning.refused.fix or ""}
        if (plan := planning.plan) is not None:
            said |= {chosen.reason for chosen in plan.values.values()} | set(plan.warnings)
            said |= {plan.threads.reason, plan.global_batch_size.reason, plan.step_seconds.reason}
            said |= {plan.processes_reason, plan.sharding_reason, plan.memory_reason}
    assert len(said) > 20
    english = sorted(s for s in said if s and not COMMAND.fullmatch(s) and not HAN.search(translate(s, "zh")))
    assert not english, "\n".join(english)


MACHINES = ("cpu", "RTX 3060", "2xRTX 3060", "RTX 4090", "2xRTX 4090", "A100-80GB", "4xA100-80GB", "8xH100")


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_known_of_a_machine_is_in_the_catalogue(machine: str) -> None:
    """The profile's sentence, and how everything else is known."""
    found = the_machine(machine)
    facts = [
        found.profile,
        found.driver,
        found.cpu_cores,
        found.ram_bytes,
        found.disk_free_bytes,
        found.nodes,
    ]
    facts += [fact for gpu in found.gpus for fact in (gpu.name, gpu.interconnect, gpu.compute_capability)]
    english = sorted({f.reason for f in facts if not HAN.search(translate(f.reason, "zh"))})
    assert not english, "\n".join(english)


def test_a_refusal_names_its_causes_in_chinese(cli: Cli) -> None:
    words = ("sft", "openr1-distill-7b", "--dry-run", "--simulate", "RTX 3060")
    what = cli(*words, code=4, OPENR1_LANG="zh").err.splitlines()[0]
    assert "权重 28.4、梯度 28.4、优化器状态" in what
    assert not re.search("[a-z]{4}", what.partition("放不下")[2])


def test_edits_together_and_phases_are_told_in_chinese(cli: Cli) -> None:
    """An edit made of two, and the bars of `hw-profile --for`."""
    words = ("grpo", "qwen-math-7b-simple-rl", "--dry-run", "--simulate", "RTX 3060")
    fixes = cli(*words, code=4, OPENR1_LANG="zh").err
    assert "采样：慢 3 到 8 倍；QLoRA：在 4 位的基座上" in fixes
    bars = ("hw-profile", "--for", "qwen1.5b-instruct", "--simulate", "RTX 3060")
    said = cli(*bars, OPENR1_LANG="zh", COLUMNS="200").out.partition("sft 一节")[2]
    assert re.search("  对数概率 +█", said) and not re.search(
        r"\b(update|rollout|load|save|log-probs)\b", said
    )


@pytest.mark.parametrize("stage", STAGES)
def test_every_key_s_type_is_told_in_chinese(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way a type is put together: lists of choices, bounds, and nothing."""
    told = {_meaning(key, stage)[1] for key in keys_of(stage)}
    english = re.compile(r"\b(or|of|and|at|list|lists|texts?|numbers?|map|above|anything|whole)\b")
    assert len(told) > 5
    monkeypatch.setenv("OPENR1_LANG", "zh")
    said = {kind: type_in_words(kind) for kind in told}
    assert not {kind: words for kind, words in said.items() if english.search(words) or words == kind}


def test_recipes_and_keys_are_told_in_chinese(cli: Cli) -> None:
    """What fits in part, what it needs, and what type a key has."""
    listed = cli("configs", "ls", "--simulate", "RTX 3060", OPENR1_LANG="zh", COLUMNS="100").out
    assert "sft, grpo 放不下" in listed and "[" not in listed and not re.search(r"\bfits?\b|cores", listed)
    told = cli("configs", "explain", "learning_rate", OPENR1_LANG="zh").out
    assert "数（0 或更大）" in told
    own = cli("configs", "explain", "global_batch_size", OPENR1_LANG="zh").out
    assert not re.search("per optimizer step|rows", own.partition("设置了")[0])


def test_every_message_of_these_rooms_is_in_the_catalogue() -> None:
    found = set(messages())
    assert len(found) > 100  # the reader of the code still finds them
    missing = sorted({(f, m) for f, m in found if m not in catalogue() and not COMMAND.fullmatch(m)})
    assert not missing, "\n".join(f"{file}: {message}" for file, message in missing)


@pytest.mark.parametrize("english", sorted(catalogue()))
def test_a_translation_uses_the_places_the_message_has(english: str) -> None:
    places = {int(number) for number in re.findall(r"\{\[?(\d+)\]?\}", catalogue()[english])}
    assert places <= set(range(english.count("{}"))), catalogue()[english]
    assert "{}" not in catalogue()[english]
    assert catalogue()[english] != english.strip("[]") or english == "[GPU]"  # which it is in Chinese too


def test_the_closer_of_two_templates_is_taken_and_values_are_translated() -> None:
    assert translate("unknown key `x` in the sft section", "zh") == "sft 一节里有未知的键 `x`"
    assert translate("`seed` must be a whole number, not 'a'", "zh") == "`seed` 必须是 整数，而不是 'a'"
    assert translate("no entry has this", "zh") == "no entry has this"
    assert translate("unknown key `x`", "en") == "unknown key `x`"
    assert translate("1 h 07 min left", "zh") == "还剩 1 h 07 min"
    assert translate("a strange thing of 15 tokens", "zh") == "a strange thing of 15 tokens"


@pytest.mark.parametrize(
    ("environ", "spoken"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "OPENR1_LANG": "zh"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "OPENR1_LANG": "en"}, "en"),
    ],
)
def test_the_language_is_openr1_lang_s_then_the_locale_s(environ: dict[str, str], spoken: str) -> None:
    assert language(environ) == spoken


def test_the_command_speaks_chinese_and_json_stays_english(cli: Cli) -> None:
    cli.write("r.yaml", "sft:\n  lerning_rate: 1\n")
    done = cli("sft", "r.yaml", code=3, OPENR1_LANG="zh")
    assert "错误" in done.err and "sft 一节里有未知的键 `lerning_rate`" in done.err
    assert "您是不是想写 `learning_rate`？" in done.err and "r.yaml:2" in done.err
    english = cli("sft", "r.yaml", "--json", code=3, OPENR1_LANG="zh").json
    assert english["error"]["what"] == "unknown key `lerning_rate` in the sft section"
