"""Where templates of checkpoints run: they reach nothing but what they are given, and take no machine's memory or day.

Jinja's strictest sandbox keeps them from files and from Python. What it does not bound is bounded before it is made:
how long texts grow (by operators, methods, filters, or values that hold one another), how many turns one rendering
takes.
"""

# ruff: file-ignore[banned-module-level-imports] - it inherits from Jinja's classes; imported when asked for

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, final

from jinja2 import TemplateError, nodes
from jinja2.compiler import CodeGenerator
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pennyweight.runtimes.hf.bounds import TooMuchError, checked, counted, is_small, take, weighed

if TYPE_CHECKING:
    from collections.abc import Callable

_GROWING = """batch center e escape forceescape format indent join pprint replace slice string sum tojson urlencode
urlize wordwrap xmlattr"""  # filters whose text may be longer than what they are given
_MOST_FORM = 200  # characters of what says how a moment is written
_WIDTH = re.compile(r"%[^A-Za-z%]*\d")


class _Generation(Extension):
    """`{% generation %}` marks what an assistant said; the text stays as it is."""

    tags = {"generation"}  # ruff: ignore[mutable-class-default] - as Jinja declares it

    def parse(self, parser: Any) -> Any:
        """The statements between the marks."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


@final
class _Counting(CodeGenerator):
    """Makes of "~" what looks at what it joins."""

    def visit_Concat(self, node: Any, frame: Any) -> None:  # ruff: ignore[invalid-function-name] - as Jinja calls it
        self.write("environment.joined((")
        for each in node.nodes:
            self.visit(each, frame)
            self.write(", ")
        self.write("))")


@final
class _Sandbox(ImmutableSandboxedEnvironment):
    """Operators, calls and loops are looked at before they are carried out."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    code_generator_class = _Counting

    @staticmethod
    def joined(values: tuple[Any, ...]) -> str:
        """What a template's "~" makes of values."""
        return "".join(map(str, weighed(values)))

    def _parse(self, source: str, name: str | None, filename: str | None) -> Any:
        """The tree of a template, whose loops count their turns."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            turns = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
            loop.iter = turns.set_environment(self)
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if not is_small(operator, left, right):
            raise TooMuchError
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, called: Any, /, *args: Any, **more: Any) -> Any:
        take(1)
        if isinstance(called, LoopContext):
            args = tuple(map(counted, args))
        method = getattr(called, "__wrapped__", called)
        if isinstance(whole := getattr(method, "__self__", None), str):
            args = checked(method.__name__, (whole, *args), more)[1:]
        return super().call(context, called, *args, **more)


def sandbox() -> Any:
    """An environment with what model folders expect, and without what could take a machine's memory."""
    made = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], finalize=weighed)
    made.filters["tojson"] = _to_json
    made.filters |= {name: _watched(name, made.filters[name]) for name in _GROWING.split()}
    made.filters["counted"] = counted
    made.globals.update(raise_exception=_raise, strftime_now=_now, dict=_dict, range=_range)
    for name in ("lipsum", "cycler", "joiner"):
        made.globals.pop(name, None)
    return made


def _watched(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is asked first how much it could make."""
    skipped = 1 if hasattr(made, "jinja_pass_arg") else 0  # the context or the like comes first

    @wraps(made)
    def watching(*given: Any, **more: Any) -> Any:
        return made(*given[:skipped], *checked(name, given[skipped:], more), **more)

    return watching


def _range(*bounds: int) -> range:
    found = range(*bounds)
    take(len(found))
    return found


def _to_json(value: Any, indent: int | None = None, **more: Any) -> str:
    """JSON as it is, where Jinja's own is made for pages."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **more)


def _raise(message: str) -> str:
    raise TemplateError(message)


def _now(form: str) -> str:
    if len(form) > _MOST_FORM or _WIDTH.search(form):
        raise TooMuchError
    return datetime.now(UTC).astimezone().strftime(form)


def _dict(*args: Any, **more: Any) -> dict[Any, Any]:
    """Not the class itself, whose attributes a template could go on from."""
    return dict(*args, **more)
