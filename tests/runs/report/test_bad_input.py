"""Run folders as they may be: half written, from the future, full of NaN, with texts that attack a reader."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from openr1.runs import manifest
from openr1.runs.files import write_json
from openr1.runs.listing import Entry, entry
from openr1.runs.report import draw, page
from openr1.runs.report.samples import by_reward, told_apart
from openr1.runs.report.scores import Pair
from openr1.runs.report.story import tell
from tests.conftest import Cli

EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><style>*{display:none}</style></think>{{7*7}}"
)
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b31m\u202egnp.exe\u2066"


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes, text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def check_harmless(html: str) -> Page:
    """Nothing is executed, nothing is loaded: no script, no handler, one style sheet, no address outside."""
    read = Page(html)
    assert not {"script", "img", "iframe", "object", "embed", "form", "base"} & set(read.tags)
    assert read.tags.count("style") == 1
    for tag, name, value in read.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("href", "src", "xlink:href", "action"):
            assert not re.match(r"\s*([a-z]+:|//)", value, re.IGNORECASE), (tag, name, value)
    policy = [v for tag, n, v in read.attributes if tag == "meta" and n == "content" and "default-src" in v]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    return read


def make(
    path: Path,
    rows: list[Any] | None = None,
    samples: list[Any] | None = None,
    values: dict[str, Any] | None = None,
    **fields: Any,
) -> Entry:
    """A GRPO run folder by hand; `rows` and `samples` may be text for a line that is no JSON."""
    found = manifest.new({"state": "finished", "section": "grpo", "stage": "grpo", "hash": "h", **fields})
    write_json(path / "manifest.json", found)
    lines = "".join(
        f"  {k}: {json.dumps(v)}  # recipe: r.yaml:1\n" for k, v in (values or {"seed": 1}).items()
    )
    (path / "resolved.yaml").write_text(f'stage: "grpo"\nplan: {{}}\nvalues:\n{lines}', encoding="utf-8")
    for name, content in (("metrics.jsonl", rows), ("samples/completions.jsonl", samples)):
        if content is not None:
            (path / name).parent.mkdir(exist_ok=True)
            text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in content)
            (path / name).write_text(text, encoding="utf-8")
    made = entry(path)
    assert made is not None
    return made


def render(made: Entry) -> str:
    return page.render_run(made, [tell(run) for run in made.runs], [])


def completion(text: str, reward: float = 1.0, step: int = 1) -> dict[str, Any]:
    return {
        "step": step,
        "prompt": [{"role": "user", "content": f"problem {text}"}],
        "completion": [{"role": "assistant", "content": text}],
        "rewards": {"accuracy": reward, f"mine {EVIL}": 0.5},
        "advantage": 0.1,
    }


def test_texts_that_attack_are_shown_and_never_executed(tmp_path: Path) -> None:
    rows = [
        {"step": n, "loss": n, f"rewards/{EVIL}/mean": 0.5, "rewards/$x^2$/mean": 0.1 * n}
        for n in range(1, 9)
    ]
    made = make(
        tmp_path / "run <b>&\"'",
        rows,
        [completion(EVIL), completion(ESCAPES, 0.0), completion(f"<think>{EVIL}", 0.5)],
        values={"system_prompt": EVIL, "model_name_or_path": ESCAPES},
        recipe=EVIL,
        machine=ESCAPES,
        git=EVIL,
        model=f"x/{EVIL}",
        error={"what": EVIL, "where": ESCAPES, "fix": EVIL},
        state=f"failed{EVIL}",
    )
    read = check_harmless(render(made))
    assert EVIL.replace("</think>", "") in read.text.replace("</think>", "")
    assert "⟨1B⟩[31mred" in read.text
    assert "⟨202E⟩gnp.exe" in read.text
    assert "$x^2$" in read.text  # as it is, not as a formula


def test_a_comparison_and_links_are_harmless_too(tmp_path: Path) -> None:
    rows = [{"step": n, "loss": n, f"rewards/{EVIL}/mean": 0.5} for n in range(1, 9)]
    score = {"model": EVIL, "task": ESCAPES, "accuracy": 0.5, "interval": [0.4, 0.6], "protocol": EVIL}
    a = make(tmp_path / "a", rows, values={"x": EVIL}, result={"scores": [score]})
    b = make(tmp_path / 'b "><i>&?#%', rows, values={"x": ESCAPES}, result={"scores": [score, "no score"]})
    page.write_run(b, [tell(b)], [])
    pair = Pair(EVIL, EVIL, ESCAPES, why_not=EVIL)
    sides = [(EVIL, a, [tell(a)]), (ESCAPES, b, [tell(b)])]
    read = check_harmless(page.render_two(a.path, sides, [pair]))
    (href,) = [value for tag, name, value in read.attributes if tag == "a" and name == "href"]
    assert href == "../b%20%22%3E%3Ci%3E%26%3F%23%25/report.html"


def test_a_terminal_gets_no_escapes(cli: Cli) -> None:
    rows = [{"step": n, "loss": n, f"rewards/{ESCAPES}/mean": 0.5} for n in range(1, 9)]
    score = {"model": ESCAPES, "task": ESCAPES, "accuracy": 0.5, "interval": [0.4, 0.6]}
    score |= {"mean_tokens": 3, "truncated": 0, "samples": 1, "problems": 2, "protocol": "p"}
    for name in ("one", "two"):
        make(
            cli.folder / "runs" / name,
            rows,
            [completion(ESCAPES)],
            values={"x": f"{name}{ESCAPES}"},
            section=ESCAPES,
            recipe=ESCAPES,
            command=f"openr1 grpo {ESCAPES}",
            state="failed",
            error={"what": ESCAPES, "fix": ESCAPES},
            result={"scores": [score]},
        )
    for words in (["report", "one"], ["report", "one", "two"], ["runs", "ls"], ["runs", "show", "one"]):
        done = cli(*words)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", done.out + done.err), words


def test_a_folder_half_written(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "logs" / "attempt-1").mkdir(parents=True)
    found = entry(folder)
    assert found is not None
    assert found.state == "half written"
    read = check_harmless(render(found))
    for words in ("no manifest yet", "resolved.yaml is missing"):
        assert words in read.text
    (folder / "resolved.yaml").write_text('stage: "grpo"\nplan: {"a": 1, "b\nvalues:\n  seed: 4')
    (folder / "metrics.jsonl").write_text('{"step": 1, "lo')
    read = check_harmless(render(found))
    assert "seed" in read.text


def test_without_metrics_and_with_an_empty_file(tmp_path: Path) -> None:
    made = make(tmp_path / "run")
    assert "metrics.jsonl is missing" in check_harmless(render(made)).text
    made = make(tmp_path / "run", rows=[])
    assert "holds no whole row yet" in check_harmless(render(made)).text


def test_nan_leaves_a_gap_and_is_said(tmp_path: Path) -> None:
    rows: list[Any] = [{"step": n, "loss": 1.0 / n, "grad_norm": 0.1, "reward": None} for n in range(1, 20)]
    rows[9] = {"step": 10, "loss": None, "grad_norm": "inf", "reward": None}
    rows[10] = '{"step": 11, "loss": NaN, "grad_norm": Infinity}'
    made = make(tmp_path / "run", rows)
    html = render(made)
    read = check_harmless(html)
    assert "2 values are no finite numbers, from step 10 on" in read.text
    assert "The gradient is not a finite number" in read.text
    loss = html[html.index('aria-label="Loss') :].split("</svg>")[0]
    assert "nan" not in loss.lower()
    assert 'aria-label="Reward:' not in html  # not one finite value: no curve


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"format": manifest.FORMAT + 1}, "newer openr1"),
        ({"format": "2b"}, "not a manifest"),
        ([], "not a manifest"),
        ("{", "cannot be read"),
    ],
)
def test_a_manifest_of_a_newer_version_and_a_broken_one(cli: Cli, content: Any, words: str) -> None:
    good, bad = cli.folder / "runs" / "good", cli.folder / "runs" / "bad"
    make(good, [{"step": 1, "loss": 1.0}])
    bad.mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    (bad / "manifest.json").write_text(text)
    newer = "newer" in words
    (bad / "metrics.jsonl").write_text('{"step": 1, "loss": 0.25}\n')
    done = cli("report", "bad", code=5 if newer else 0)
    advice = "pip install --upgrade openr1" if newer else "openr1 runs rm bad removes it"
    assert words in done.err and advice in " ".join(done.err.split())
    assert (bad / "report.html").exists() is not newer, "what else lies there is shown"
    assert "Traceback" not in done.err
    listed = cli("runs", "ls")
    assert "unreadable" in listed.out
    assert "good" in listed.out
    shown = cli("runs", "show", "bad").out
    for text in (listed.err, shown):
        assert words in text and advice in " ".join(text.split())
    cli("runs", "rm", "bad", "--yes")
    assert not bad.exists()


def test_manifests_whose_fields_have_other_types(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {"result": "text", "attempts": "text", "seconds": "text", "versions": [], "data": 3, "parents": []},
        {"result": {"scores": {"a": 1}}, "created": 3, "error": "text", "hash": 5, "model": 7},
        {"result": {"scores": [{"accuracy": 0.5, "interval": "x", "truncated": "y"}], "last": []}},
        {"result": {"funnel": [{"step": EVIL, "problems": 3, "samples": 0}, {"samples": "x"}, 4]}},
        {"result": {"scores": [{"metrics": {EVIL: 0.5, "b": "x"}, "errors": 3}, {"metrics": 3}]}},
        {"total_steps": "many", "stage": None, "section": 3, "command": ["openr1"]},
    ]
    for number, fields in enumerate(odd):
        made = make(tmp_path / str(number), [{"step": 1, "loss": 1.0}], **fields)
        check_harmless(render(made))
        assert made.changed


def test_samples_of_any_kind(tmp_path: Path) -> None:
    samples: list[Any] = [
        "no json",
        {"step": 1},
        {"step": 1, "prompt": 7, "completion": None, "rewards": [1], "advantage": "x"},
        {
            "step": "a",
            "prompt": "text",
            "completion": {"content": "text"},
            "rewards": {"r": None, "s": "inf"},
        },
        completion("\ud800 half a pair", 1.0),
    ]
    made = make(tmp_path / "run", [{"step": 1, "loss": 1}], samples)
    check_harmless(render(made))


def test_a_long_completion_is_cut_and_the_rest_counted(tmp_path: Path) -> None:
    samples = [completion("y" * 1_000_000, 2.0), *(completion(f"answer {n}", n / 500) for n in range(500))]
    made = make(tmp_path / "run", [{"step": 1, "loss": 1}], samples)
    html = render(made)
    assert "996,000 more characters" in html
    assert len(html) < 150_000
    (group,) = by_reward(made.path / "samples" / "completions.jsonl")
    assert len(group.exchanges) == 3


@pytest.mark.parametrize(
    ("text", "prefilled", "told"),
    [
        ("<think>\na\n</think>\n<answer>1</answer>", False, ("a", "<answer>1</answer>")),
        ("a</think>b", True, ("a", "b")),
        ("a</think>b", False, ("a", "b")),
        ("<think>cut o", False, ("cut o", "")),
        ("cut o", True, ("cut o", "")),
        ("plain", False, ("", "plain")),
        ("", False, ("", "")),
    ],
)
def test_reasoning_and_answer_are_told_apart(text: str, prefilled: bool, told: tuple[str, str]) -> None:
    assert told_apart(text, prefilled) == told


def test_secrets_are_not_on_the_page(tmp_path: Path) -> None:
    made = make(tmp_path / "run", [{"step": 1, "loss": 1}], values={"hub_token": "hf_verysecret", "seed": 1})
    html = render(made)
    assert "hf_verysecret" not in html
    assert "hub_token" in html


def test_without_matplotlib_the_page_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "can_draw", lambda: False)
    made = make(tmp_path / "run", [{"step": 1, "loss": 1.0}], result={"scores": [{"accuracy": 0.5}]})
    read = check_harmless(render(made))
    assert 'pip install "openr1[report]"' in read.text
    assert "svg" not in read.tags


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "run"
    make(folder, [{"step": 1, "loss": 1.0}])
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_one_may_not_write_to(cli: Cli, read_only: Path) -> None:
    done = cli("report", read_only, code=5)
    assert "cannot write" in done.err
    cli("report", read_only, "--out", "page.html")
    assert (cli.folder / "page.html").exists()
