"""Frozen values to JSON and back, directed by the types of their fields; nothing is ever executed to read one."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from itertools import starmap
from numbers import Integral, Real
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pennyweight.core.artifact import canonical
from pennyweight.errors import BadInputError, CorruptError, PennyweightError

_T = TypeVar("_T")
_NOT_FINITE = frozenset({"inf", "-inf", "nan"})
_FIX = (
    "use the version of pennyweight that wrote it, or a newer one; if that fails too, restore the file from a backup."
)


def to_json(value: object) -> str:
    """Encode a frozen dataclass (or what one may hold) as JSON text with one spelling per value.

    Raises `BadInputError` for a value that JSON cannot hold, such as a model or an array.
    """
    try:
        return canonical(plain(value)).decode()
    except UnicodeEncodeError as error:
        raise BadInputError(f"A text cannot be kept: {error}.", "remove the characters that are no Unicode.") from error


def from_json(hint: type[_T], text: str | bytes) -> _T:
    """Decode what `to_json` wrote as a `hint`; raises `CorruptError` if the text holds anything else."""
    try:
        return build(hint, json.loads(text))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"A stored {_name(hint)} is no readable JSON.", _FIX) from error


def plain(value: object) -> Any:
    """Turn a value into dictionaries, lists, text and numbers; a number that is not finite becomes its name.

    Fields that say ``"stored": False`` in their metadata are left out.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Real):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value) if _is_stored(each)}
    raise BadInputError(
        f"A {type(value).__name__} cannot be kept as JSON.", "keep numbers, text, and lists or dictionaries of them."
    )


def build(hint: type[_T], data: object) -> _T:
    """Make a `hint` from what `plain` made of one; fields that are missing take their defaults.

    Raises `CorruptError` for anything that does not fit, unknown fields included.
    """
    return cast("_T", _build(hint, data))


def _is_stored(each: Field[Any]) -> bool:
    """Whether a field is part of what is written: not if it is worked out, or says so in its metadata."""
    return each.init and each.metadata.get("stored", True)


def _number(value: Real) -> int | float | str:
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else repr(number)


def _build(hint: Any, data: object) -> object:
    origin = get_origin(hint)
    if hint is Any or hint is object:
        return data
    if origin in {Union, types.UnionType}:
        return _optional(hint, data)
    if origin is tuple:
        return _tuple(hint, data)
    if origin is dict:
        return _dict(hint, data)
    if is_dataclass(hint):
        return _dataclass(cast("type[object]", hint), data)
    return _scalar(hint, data)


def _optional(hint: Any, data: object) -> object:
    if data is None:
        return None
    (inner,) = (each for each in get_args(hint) if each is not types.NoneType)
    return _build(inner, data)


def _tuple(hint: Any, data: object) -> tuple[object, ...]:
    kinds = get_args(hint)
    if not isinstance(data, list):
        raise _wrong(hint, data)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_build(kinds[0], each) for each in data)
    if len(kinds) != len(data):
        raise _wrong(hint, data)
    return tuple(starmap(_build, zip(kinds, data, strict=True)))


def _dict(hint: Any, data: object) -> dict[str, object]:
    if not isinstance(data, dict):
        raise _wrong(hint, data)
    return {key: _build(get_args(hint)[1], each) for key, each in data.items()}


def _dataclass(hint: type[object], data: object) -> object:
    if not isinstance(data, dict):
        raise _wrong(hint, data)
    hints = _hints(cast("Any", hint))
    known = {each.name: each for each in fields(cast("Any", hint)) if _is_stored(each)}
    unknown = sorted(set(data) - set(known))
    missing = [
        name
        for name, each in known.items()
        if name not in data and each.default is MISSING and each.default_factory is MISSING
    ]
    if unknown or missing:
        what = f"the unknown field {unknown[0]!r}" if unknown else f"no {missing[0]!r}"
        raise CorruptError(f"A stored {_name(hint)} has {what}.", _FIX)
    try:
        return hint(**{name: _build(hints[name], each) for name, each in data.items()})
    except CorruptError:
        raise
    except (PennyweightError, TypeError, ValueError) as error:
        raise CorruptError(f"A stored {_name(hint)} contradicts itself: {error}", _FIX) from error


def _scalar(hint: Any, data: object) -> object:
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(data)
        except ValueError:
            raise _wrong(hint, data) from None
    if hint is float and isinstance(data, str) and data in _NOT_FINITE:
        return float(data)
    if hint in {int, float} and isinstance(data, int | float) and not isinstance(data, bool):
        return data
    if hint in {str, bool} and isinstance(data, hint):
        return data
    raise _wrong(hint, data)


@cache
def _hints(hint: Any) -> dict[str, Any]:
    return get_type_hints(hint)


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))


def _wrong(hint: Any, data: object) -> CorruptError:
    return CorruptError(f"Where a {_name(hint)} should be stored, there is {str(data)[:60]!r}.", _FIX)
