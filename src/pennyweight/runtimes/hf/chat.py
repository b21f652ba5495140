"""A checkpoint's own words around a chat: its template, rendered where it can reach nothing but the messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_TEMPLATE = 256 * 1024
MOST_TEXT = 8 * 2**20
_MOST_RANGE = 1_000_000  # numbers that the ranges of one rendering may have in all
_MOST_TIMES = 10_000  # by which a template may multiply, so that a word does not become a gigabyte
_FIX = "download the model again, or take the template out of its folder."


@final
class ChatTemplate:
    """A template in Jinja as model folders have it; `words` are the special tokens that it may name ("bos_token", …).

    It is given what transformers gives it: `messages`, `add_generation_prompt`, `tools` and `documents` (none), and
    `raise_exception`, `strftime_now`, `tojson`. Raises `CorruptError` if it cannot be parsed.
    """

    def __init__(self, source: str, words: Mapping[str, str]) -> None:
        from jinja2 import TemplateError

        if len(source) > MOST_TEMPLATE:
            raise CorruptError(
                f"The chat template has {len(source)} characters, and {MOST_TEMPLATE} is the most.", _FIX
            )
        try:
            self._template = _environment().from_string(source)
        except (TemplateError, RecursionError) as error:
            raise CorruptError(f"The chat template cannot be read: {_line(error)}.", _FIX) from error
        self._words = dict(words)

    def render(self, messages: Sequence[tuple[str, str]]) -> str:
        """The text of messages (role, content), up to where the model answers.

        Raises `BadInputError` for messages that the template refuses, or cannot put together.
        """
        said = [{"role": role, "content": content} for role, content in messages]
        given = {"messages": said, "tools": None, "documents": None, "add_generation_prompt": True}
        parts, size = [], 0
        try:
            for part in self._template.generate({**self._words, **given, "range": _ranges()}):
                size += len(part)
                if size > MOST_TEXT:
                    raise _TooMuchError  # ruff: ignore[raise-within-try] - it ends the rendering as any other error does
                parts.append(part)
        except Exception as error:
            raise BadInputError(
                f"The model's chat template refuses these messages: {_line(error)}", "give messages as its card says."
            ) from error
        return "".join(parts)


class _TooMuchError(Exception):
    """A template makes more than a chat can be."""

    def __str__(self) -> str:
        return "it makes too much of them"


def _environment() -> Any:
    """Jinja's strictest sandbox, with what model folders expect, and without what could take a machine's memory."""
    from jinja2 import nodes
    from jinja2.compiler import CodeGenerator
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what an assistant said; the text stays as it is."""

        tags = {"generation"}  # ruff: ignore[mutable-class-default] - as Jinja declares it

        def parse(self, parser: Any) -> Any:
            """The statements between the marks."""
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    class Counting(CodeGenerator):
        def visit_Concat(self, node: Any, frame: Any) -> None:  # ruff: ignore[invalid-function-name] - as Jinja calls it
            self.write("environment.joined((")
            for each in node.nodes:
                self.visit(each, frame)
                self.write(", ")
            self.write("))")

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "*", "**", "%"})
        code_generator_class = Counting

        joined = staticmethod(_joined)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if not _small(operator, left, right):
                raise _TooMuchError
            return super().call_binop(context, operator, left, right)

    made = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = _to_json
    made.globals.update(raise_exception=_raise, strftime_now=_now, dict=_dict)
    for name in ("lipsum", "cycler", "joiner"):
        made.globals.pop(name, None)
    return made


def _joined(values: tuple[Any, ...]) -> str:
    """What a template's "~" makes of values."""
    texts = [str(each) for each in values]
    if sum(map(len, texts)) > MOST_TEXT:
        raise _TooMuchError
    return "".join(texts)


def _small(operator: str, left: Any, right: Any) -> bool:
    """Whether what two values make is no more than a chat can be."""
    if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
        return len(left) + len(right) <= MOST_TEXT
    if operator in {"+", "%"}:
        return not isinstance(left, str)
    return all(isinstance(each, int | float) and abs(each) <= _MOST_TIMES for each in (left, right))


def _ranges() -> Any:
    """A `range` whose numbers are counted over a whole rendering."""
    left = [_MOST_RANGE]

    def counted(*bounds: int) -> range:
        found = range(*bounds)
        left[0] -= len(found)
        if left[0] < 0:
            raise _TooMuchError
        return found

    return counted


def _to_json(value: Any, indent: int | None = None, **more: Any) -> str:
    """JSON as it is, where Jinja's own is made for pages."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **more)


def _raise(message: str) -> str:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now(UTC).astimezone().strftime(form)


def _dict(*args: Any, **more: Any) -> dict[Any, Any]:
    """Not the class itself, whose attributes a template could go on from."""
    return dict(*args, **more)


def _line(error: BaseException) -> str:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return said[0][:200]
