"""What a narrow terminal does to what is printed: columns hold, words and commands stay whole."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from openr1.cli.printer import Printer, han_lines, hanging
from tests.conftest import Cli


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> tuple[Printer, io.StringIO]:
    out, printer = io.StringIO(), Printer()
    monkeypatch.setattr(printer, "console", lambda *, err=False: Console(file=out, width=40, highlight=False))
    return printer, out


def test_wrapped_lines_begin_where_their_text_began(printed: tuple[Printer, io.StringIO]) -> None:
    printer, out = printed
    printer.field("memory", "one two three four five six seven eight nine ten eleven", indent=2)
    printer.text("    four columns in, and so on every line that follows it")
    printer.note("a notice that is longer than forty columns are wide")
    first, *others = out.getvalue().splitlines()
    assert first.startswith("  memory      one two")
    assert others[0].startswith(" " * 14 + "six") or others[0].startswith(" " * 14)
    assert [line for line in others if line.startswith("    ") and "columns in" not in line]
    assert all(len(line) <= 40 for line in (first, *others))
    notice = [line for line in others if "•" in line]
    assert others[others.index(notice[0]) + 1].startswith("  ")


def test_a_command_is_never_broken(printed: tuple[Printer, io.StringIO]) -> None:
    printer, out = printed
    line = "openr1 sft my.yaml --a_long_key 1 --another_long_key 2 --output_dir /some/where"
    printer.command(line)
    assert line in out.getvalue()


def test_wide_letters_count_twice(
    printed: tuple[Printer, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    printer, out = printed
    monkeypatch.setenv("OPENR1_LANG", "zh")
    printer.field("memory", "x")
    assert out.getvalue() == "内存        x\n"  # four columns of label, eight of space


HELP = "读几个（openr1 samples RUN --wrong）。指令模型从不答对，多半是格式不认识：请看 prefill。"


@pytest.mark.parametrize("room", [24, 30, 41])
def test_chinese_breaks_between_its_letters_and_never_before_a_comma(room: int) -> None:
    lines = han_lines("  " + HELP, room)
    assert "".join(lines).replace(" ", "") == HELP.replace(" ", "")
    assert lines[0].startswith("  读") and not [line for line in lines[1:] if line[0] in " ，。：）"]
    assert not [line for line in lines if cell_len(line) > room or line.endswith("（")]
    assert all(cell_len(line) > room - 12 for line in lines[:-1])  # no line ends long before its end


def test_a_table_s_chinese_cells_fill_their_column(
    printed: tuple[Printer, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    printer, out = printed
    monkeypatch.setenv("OPENR1_LANG", "zh")
    table = Table(box=None, pad_edge=False)
    table.add_column("key")
    table.add_column("where it comes from", style="dim")
    table.add_row("  optim", "计划：torch 自带的注意力：对打包的行也精确，不用另装")
    printer.table(table)
    head, first, *_ = out.getvalue().splitlines()
    assert head.split() == ["键", "来源"] and first.startswith("  optim  计划：torch 自带的")
    assert cell_len(first.rstrip()) > 36

    table.add_row("fits", "[green]放得下[/]")
    printer.table(table)
    assert "放得下" in out.getvalue() and "[green]" not in out.getvalue()


def test_eight_cards_that_are_alike_are_one_row(cli: Cli) -> None:
    out = cli("hw-profile", "--simulate", "8xH100", COLUMNS="100").out
    assert "GPU 0–7" in out and "8 × H100, 79.2 GiB" in out and "GPU 1" not in out
    assert "9.0" in out.split("capability")[1].splitlines()[0]
    assert "GPU 0 " in cli("hw-profile", "--simulate", "RTX 3060", COLUMNS="100").out


def test_fit_is_offered_only_where_an_edit_suffices(cli: Cli) -> None:
    none = cli("sft", "openr1-distill-7b", "--dry-run", "--simulate", "RTX 3060", code=4).err
    assert "no single change makes it fit" in none and "--fit" not in none and "--force" in none
    some = cli("sft", "qwen1.5b-instruct", "--dry-run", "--simulate", "RTX 3060", code=4).err
    assert "--fit applies the first that suffices" in some


def test_where_there_is_no_room_lines_break_as_they_may() -> None:
    console = Console(file=io.StringIO(), width=30)
    assert hanging(console, " " * 20, "word " * 20) == " " * 20 + "word " * 20


def test_a_dry_run_at_100_columns_names_shipped_recipes_by_file_and_line(cli: Cli) -> None:
    done = cli("sft", "qwen0.5b-light", "--dry-run", "--simulate", "RTX 3060", COLUMNS="100")
    assert "recipe: qwen0.5b-light.yaml:" in done.out
    would = next(line for line in done.out.splitlines() if "-m openr1.training" in line)
    assert would.endswith(next(iter(done.out.split("run folder  ")[1].split())))


def test_a_section_that_cannot_be_split_does_not_hide_the_others(cli: Cli) -> None:
    words = ("hw-profile", "--simulate", "8xH100", "--for", "qwen1.5b-instruct", "--gpus", "7")
    out = cli(*words).out
    assert "cannot be split evenly over 7 ranks" in out and "--gpus 4" in out
    assert "section grpo" in out and "7 processes: --gpus 7" in out
    first, second = cli(*words, "--json").json["plans"]
    assert first["problem"]["what"] and first["plan"] is None
    assert second["plan"]["processes"] == 7 and second["problem"] is None


def test_a_simulated_machine_s_packages_are_not_said_to_be_missing(cli: Cli) -> None:
    out = cli("hw-profile", "--simulate", "RTX 3060").out
    assert "packages  a simulated machine" in out and "none of the training set" not in out


def test_rewards_are_checked_on_the_base_model_before_sft(cli: Cli, tiny: str) -> None:
    done = cli("grpo", tiny, "--check-rewards", "4")
    assert "section sft is not trained yet: completions are drawn from builtin:tiny-qwen2" in done.err
    assert "4 rows looked at" in done.out and "accuracy" in done.out
    assert not (cli.folder / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hw-profile", ["依据", "内存"]),
        ("sft qwen0.5b-light --dry-run --simulate RTX3060", ["运行目录", "来源", "将运行", "将写入"]),
        ("sft qwen1.5b-instruct --dry-run --simulate RTX3060", ["放不下", "有帮助", "处理"]),
    ],
)
def test_labels_are_in_the_reader_s_language(cli: Cli, words: str, said: list[str]) -> None:
    done = cli(*words.split(), code=None, OPENR1_LANG="zh")
    assert all(word in done.out + done.err for word in said), done.out + done.err
