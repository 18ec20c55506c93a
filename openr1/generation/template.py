r"""The prompt template: how a row of the dataset becomes the user turn that is sent.

Jinja with the row's columns as variables and `instruction` for the prompt column, as distilabel calls it;
`{prompt}` alone, as open-r1's generate_reasoning.py writes it, is understood too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from openr1.errors import RecipeError

FILES = (".jinja", ".jinja2", ".j2", ".txt", ".md")
BACKSPACE = "\b"
INSTRUCTION = "instruction"


def read_template(text: str) -> str:
    """A template as given: Jinja text, or a file that holds it.

    Raises:
        RecipeError: it names a file that cannot be read.
    """
    if "{" in text or "\n" in text or not text.endswith(FILES):
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"the prompt template cannot be read: {error}",
            where=text,
            fix="name a file, or write the template itself, with {{ instruction }}",
        ) from error


class PromptTemplate:
    """A checked template. `render` is what a row becomes."""

    def __init__(self, text: str, where: str = "prompt_template") -> None:
        """Compile a template.

        Args:
            text: Jinja text, or a file's name.
            where: the place it comes from, for messages.

        Raises:
            RecipeError: it is no Jinja (with its line), or never uses the row.
        """
        from jinja2 import StrictUndefined, TemplateSyntaxError, meta
        from jinja2.sandbox import SandboxedEnvironment

        self.text = read_template(text)
        self.where, self._shown = where, "the template" if self.text == text else text
        self.plain = not re.search(r"\{[{%]", self.text)
        environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        try:
            self.names = meta.find_undeclared_variables(environment.parse(self.text))
            self._template = environment.from_string(self.text)
        except TemplateSyntaxError as error:
            raise RecipeError(
                f"the prompt template is no Jinja: {error.message}",
                where=f"{where}, line {error.lineno} of {self._shown}",
                fix="write {{ instruction }} where the problem goes",
            ) from error
        if not self.names and not (self.plain and "{prompt}" in self.text):
            raise RecipeError(
                "the prompt template never uses the row, so that every prompt would be the same",
                where=where,
                fix="write {{ instruction }} where the problem goes",
            )

    def check(self, columns: Collection[str]) -> None:
        """Raises RecipeError for a variable that is no column."""
        from openr1.config.names import nearest

        for name in sorted(self.names - set(columns) - {INSTRUCTION}):
            near = nearest(name, columns)
            hint = f"did you mean {{{{ {near} }}}}? " if near else ""
            raise RecipeError(
                f"the prompt template uses `{name}`, which is no column",
                where=f"{self.where}, line {self._line_of(name)} of {self._shown}",
                fix=f"{hint}there is: {INSTRUCTION}, {', '.join(columns)}",
            )

    def render(self, row: Mapping[str, Any], instruction: str) -> str:
        """The user turn for one row.

        Raises:
            RecipeError: the template fails on this row, with the template's line.
        """
        if self.plain:
            return self.text.replace("{prompt}", instruction)
        try:
            return str(self._template.render({**row, INSTRUCTION: instruction}))
        except Exception as error:  # jinja2's own, and whatever an expression in the template raises
            raise RecipeError(
                f"the prompt template fails: {error}",
                where=f"{self.where}, line {_failing_line(error)} of {self._shown}",
                fix="mend the template, or the row",
            ) from error

    def _line_of(self, name: str) -> int:
        for number, line in enumerate(self.text.splitlines(), 1):
            if re.search(rf"\b{re.escape(name)}\b", line):
                return number
        return 1


def _failing_line(error: BaseException) -> int:
    """The template's line in a traceback: jinja2 gives its frames the template's own line numbers."""
    trace, line = error.__traceback__, 1
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
