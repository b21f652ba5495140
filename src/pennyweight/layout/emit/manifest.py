"""YAML, as much of it as manifests need: maps, lists and scalars, every text quoted unless it is a plain script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Value: TypeAlias = "str | int | float | bool | Mapping[str, Value] | Sequence[Value] | None"

_PLAIN_KEY = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_BREAKS = frozenset("\x85\u2028\u2029\ufeff")


def documents(values: Iterable[Value]) -> str:
    """Several YAML documents as one text."""
    return "---\n".join("\n".join(_lines(each, 0)) + "\n" for each in values)


def _lines(value: Value, depth: int) -> list[str]:
    pad = "  " * depth
    if value is None or isinstance(value, str | int | float) or not value:
        return [pad + _scalar(value)]
    if isinstance(value, Mapping):
        return [line for key, each in value.items() for line in _entry(f"{pad}{_key(key)}:", each, depth)]
    return [line for each in value for line in _item(each, depth)]


def _entry(head: str, value: Value, depth: int) -> list[str]:
    if isinstance(value, str) and _is_block(value):
        return [f"{head} |", *(f"{'  ' * (depth + 1)}{line}" if line else "" for line in value[:-1].split("\n"))]
    if value is None or isinstance(value, str | int | float) or not value:
        return [f"{head} {_scalar(value)}"]
    return [head, *_lines(value, depth + 1)]


def _item(value: Value, depth: int) -> list[str]:
    """One of a list: its first line after the dash, the others below it."""
    if isinstance(value, str) and _is_block(value):
        return _entry("  " * depth + "-", value, depth)
    first, *rest = _lines(value, depth + 1)
    return ["  " * depth + "- " + first.lstrip(" "), *rest]


def _is_block(text: str) -> bool:
    """Whether a text of several lines can stand as it is: it ends in one line break and starts with no blank."""
    body = text[:-1]
    readable = all(each == "\n" or (each.isprintable() and each not in _BREAKS) for each in body)
    return text.endswith("\n") and "\n" in body and readable and body[:1] not in {" ", "\n"} and body[-1:] != "\n"


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _WORDS else _scalar(key)


def _scalar(value: Value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        text = repr(value)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")  # else a text to YAML 1.1
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    return "{}" if isinstance(value, Mapping) else "[]"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if 0xD800 <= code < 0xE000:
        raise BadInputError("A manifest cannot hold half a character.", "give names in UTF-8.")
    if character.isprintable() and character not in _BREAKS:
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
