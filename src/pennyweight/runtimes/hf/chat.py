"""A checkpoint's own words around a chat: its template, rendered where it can reach nothing but the messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.hf.bounds import MOST_TEXT, TooMuchError, bounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_TEMPLATE = 256 * 1024
_FIX = "download the model again, or take the template out of its folder."


@final
class ChatTemplate:
    """A template in Jinja as model folders have it; `words` are the special tokens that it may name ("bos_token", …).

    It is given what transformers gives it: `messages`, `add_generation_prompt`, `tools` and `documents` (none), and
    `raise_exception`, `strftime_now`, `tojson`. Raises `CorruptError` if it cannot be parsed.
    """

    def __init__(self, source: str, words: Mapping[str, str]) -> None:
        from jinja2 import TemplateError

        from pennyweight.runtimes.hf.sandbox import sandbox

        if len(source) > MOST_TEMPLATE:
            raise CorruptError(
                f"The chat template has {len(source)} characters, and {MOST_TEMPLATE} is the most.", _FIX
            )
        try:
            self._template = sandbox().from_string(source)
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
            with bounded():
                for part in self._template.generate({**self._words, **given}):
                    size += len(part)
                    if size > MOST_TEXT:
                        raise TooMuchError  # ruff: ignore[raise-within-try] - it ends the rendering as any other error does
                    parts.append(part)
        except Exception as error:
            raise BadInputError(
                f"The model's chat template refuses these messages: {_line(error)}", "give messages as its card says."
            ) from error
        return "".join(parts)


def _line(error: BaseException) -> str:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return said[0][:200]
