"""The words of open-r1's own evaluation commands, as ours, each with a notice."""

from __future__ import annotations

import re

from openr1.errors import UsageError

# lighteval's argument -> our key
MODEL_ARGS = {
    "pretrained": "model",
    "model_name": "model",
    "revision": "model_revision",
    "dtype": "dtype",
    "max_model_length": "max_model_length",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "gpu_memory_utilisation": "gpu_memory_utilization",
    "trust_remote_code": "trust_remote_code",
    "seed": "seed",
    "batch_size": "batch_size",
}
GENERATION = {"max_new_tokens", "temperature", "top_p", "top_k", "seed"}
# The Makefile's variables of a command like `make evaluate MODEL=… TASK=… PARALLEL=data NUM_GPUS=8`
MAKE = {"MODEL": "model", "PARALLEL": "parallel", "NUM_GPUS": "gpus"}
IGNORED = {
    "--use-chat-template": "the chat template is always used",
    "--use_chat_template": "the chat template is always used",
    "--custom-tasks": "openr1 has these tasks (a file of your own: --custom_tasks FILE lighteval:TASK)",
    "--save-details": "samples are always kept",
    "--save_details": "samples are always kept",
}
SUITES = ("custom", "lighteval", "extended", "community")
LIGHTEVAL = "lighteval:"
"""Begins a task of lighteval's own, whose shots are passed on to it."""
_ONE = r"(?:[a-z_]+\|)?[\w:.@=-]+\|\d+(?:\|\d+)?"
TASK_STRING = re.compile(rf"{_ONE}(?:,{_ONE})*")
"""`custom|aime24|0|0`, or several behind commas; a `|` in a path or a system prompt is none of it."""


def translate(words: list[str]) -> tuple[list[str], list[str]]:
    """A command line with the seed's spellings replaced, and what to say about each.

    Raises:
        UsageError: an argument that says nothing here.
    """
    found: list[str] = []
    notices: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--model-args", "--model_args"):
            value = value if equals else (rest.pop(0) if rest else "")
            options = _model_args(value)
            found += options
            notices.append(f"`{name}` is read as {' '.join(options)}")
        elif name in IGNORED:
            takes_file = name == "--custom-tasks"
            if takes_file and not equals and rest:
                rest.pop(0)
            notices.append(f"`{name}` is not needed: {IGNORED[name]}")
        elif name in MAKE and equals:
            if value:
                found += [f"--{MAKE[name]}", value]
                notices.append(f"`{word}` is read as --{MAKE[name]} {value}")
        elif name == "TASK" and equals:
            found.append(value)
            notices.append(f"`{word}` is read as {value}")
        elif TASK_STRING.fullmatch(word) and not word.startswith(LIGHTEVAL):
            tasks = [_task(part) for part in word.split(",")]
            found += tasks
            notices.append(f"`{word}` is read as {' '.join(tasks)}")
        else:
            found.append(word)
    return found, notices


def take_gpus(words: list[str]) -> tuple[list[str], int | None]:
    """The words without the `--gpus N` that a translation put there, and N: it is no key of a section.

    Raises:
        UsageError: N is no number of GPUs.
    """
    if "--gpus" not in words:
        return words, None
    place = words.index("--gpus")
    number = words[place + 1]
    if not number.isdecimal() or number == "0":
        raise UsageError(f"`{number}` is no number of GPUs", where="the command line", fix="--gpus 8")
    return [*words[:place], *words[place + 2 :]], int(number)


def _task(text: str) -> str:
    """`custom|aime24|0|0`, `lighteval|aime24|0`, `aime24|0` -> aime24.

    Raises:
        UsageError: few-shot examples are asked for, or it is no task string.
    """
    parts = text.split("|")
    if parts[0] in SUITES and len(parts) > 1:
        parts = parts[1:]
    name, shots = parts[0], parts[1] if len(parts) > 1 else "0"
    if not name or not shots.isdigit() or len(parts) > 3:
        raise UsageError(f"`{text}` is no task", fix="openr1 eval math_500")
    if shots != "0":
        raise UsageError(
            f"`{text}` asks for {shots} examples in the prompt; these protocols have none",
            fix=f"openr1 eval 'lighteval:{name}|{shots}'",
        )
    return name.partition("@")[0]


def _model_args(text: str) -> list[str]:
    """`pretrained=M,dtype=bfloat16,generation_parameters={max_new_tokens:32768,temperature:0.6}` as options.

    Raises:
        UsageError: an argument that has no counterpart.
    """
    options: list[str] = []
    nested = re.search(r"generation_parameters=\{([^}]*)\}", text)
    if nested:
        text = text.replace(nested.group(0), "")
        for pair in filter(None, nested.group(1).split(",")):
            key, _, value = pair.partition(":")
            key = key.strip(" \"'")
            if key not in GENERATION:
                raise UsageError(
                    f"`{key}` in generation_parameters has no counterpart", fix=f"leave it out: {pair}"
                )
            options += [f"--{key}", value.strip(" \"'")]
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if key in ("data_parallel_size", "tensor_parallel_size") and equals:
            if value != "1":
                options += ["--parallel", key.partition("_")[0], "--gpus", value]
        elif key in MODEL_ARGS and equals:
            options += [f"--{MODEL_ARGS[key]}", value]
        elif key not in ("use_chat_template", "max_num_batched_tokens", "swap_space"):
            raise UsageError(
                f"`{pair}` in --model-args has no counterpart",
                where="--model-args",
                fix=f"known: {', '.join(MODEL_ARGS)}, generation_parameters",
            )
    return options
