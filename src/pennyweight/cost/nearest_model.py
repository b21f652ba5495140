"""Which model a name means, and what stands in for it where the catalog does not have it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from pennyweight.catalog.model_names import Said, keys, said, spellings
from pennyweight.catalog.models import model, model_aliases
from pennyweight.cost.standing_in import scaled, usual
from pennyweight.cost.transformer import active_parameters, parameters
from pennyweight.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.core.dims import Dims

_WORD = 3  # letters that families must begin with
_SAME_WORD = 0.8  # how alike these must be
_HUNDREDS = 1e11
_ALMOST = 0.04  # by how much parameters may differ from the size in a name, which is rounded
_SIZED = 3.0  # how many times as large a relative may be made
_SPARSE = 1.0  # what it costs a relative that only one of the two says to have experts
_LOG_SIZE = 0.35  # what it costs to be e times as large


@dataclass(frozen=True, slots=True)
class Nearest:
    """The dimensions that a name means; not `exactly` where others stand in for them, and then what does (`note`).

    `sized`: they have the parameters that the name says.
    """

    dims: Dims
    exactly: bool
    note: str
    sized: bool = True


@lru_cache(maxsize=4096)
def nearest_model(text: str) -> Nearest:
    """The catalog's model that `text` names in any spelling, precision or framework, or one that stands in for it.

    Raises `UnknownNameError` where the name says neither a family that is known nor a size.
    """
    found = known_model(text)
    return stand_in(text) if found is None else Nearest(found, exactly=True, note="")


def known_model(text: str) -> Dims | None:
    """The catalog's model of this name, in other spellings too; None where there is none."""
    for name in spellings(text):
        try:
            return model(name)
        except UnknownNameError:
            continue
    found = next((_keys()[each] for each in keys(text) if each in _keys()), None)
    return model(found) if found else None


def stand_in(text: str, but: Iterable[str] = ()) -> Nearest:
    """What stands in for the model called `text`; models of the catalog in `but` do not.

    The relative of the most similar name and size, made as large as the name says; with no relative, a usual
    transformer of that size; with no size, the relative as it is. Raises `UnknownNameError` with neither.
    """
    asked, left_out = said(text), frozenset(but)
    relative = _relative(asked, left_out)
    name = text.strip()[:100] or "unnamed"
    if not asked.parameters:
        if relative is None:
            raise UnknownNameError.of("model", text.strip()[:100].lower(), _keys().values())
        return Nearest(relative, exactly=False, note=f"{relative.name} stands in for {name}", sized=False)
    if relative is None or not _reaches(relative, asked):
        made = usual(name, asked.parameters, asked.active)
        return Nearest(made, exactly=False, note=f"a usual transformer of {_size(asked)} stands in for {name}")
    note = f"{relative.name} stands in for {name}"
    if abs(math.log(asked.parameters / _counts(relative)[0])) < _ALMOST:
        return Nearest(relative, exactly=False, note=note)
    made = scaled(relative, name, asked.parameters, _active(relative, asked))
    return Nearest(made, exactly=False, note=f"{note}, made to have {_size(asked)}")


def _size(asked: Said) -> str:
    every, active = (
        f"{each / 1e9:.3g}" if each < _HUNDREDS else f"{each / 1e9:,.0f}" for each in (asked.parameters, asked.active)
    )
    return f"{every} billion parameters" + (f", {active} of them active" if asked.sparse else "")


def _active(relative: Dims, asked: Said) -> float:
    """Active parameters asked for; where the name says none and the relative has experts, in the same proportion."""
    whole, used = _counts(relative)
    return asked.active if asked.sparse or not relative.experts else asked.parameters * used / whole


def _reaches(relative: Dims, asked: Said) -> bool:
    """Whether a relative can be made as large: it has experts if the other has, and is not of quite another size."""
    whole, used = _counts(relative)
    if asked.sparse and not relative.experts:
        return False
    times = max(asked.parameters / whole, _active(relative, asked) / used)
    least = min(asked.parameters / whole, _active(relative, asked) / used)
    return times <= _SIZED and least >= 1 / _SIZED


def _relative(asked: Said, left_out: frozenset[str]) -> Dims | None:
    """The model of the catalog whose name and size are nearest; None where no family is alike."""
    found = [
        (_far(asked, likeness, name), name)
        for family, names in _families().items()
        if (likeness := _likeness(asked.family, family))
        for name in names
        if name not in left_out
    ]
    return model(min(found)[1]) if found else None


def _far(asked: Said, likeness: float, name: str) -> float:
    if not asked.parameters:
        return 1.0 - likeness
    d = model(name)
    whole, used = _counts(d)
    size = abs(math.log(asked.parameters / whole)) + abs(math.log(asked.active / used)) * asked.sparse
    return 1.0 - likeness + _LOG_SIZE * size + _SPARSE * (asked.sparse != bool(d.experts))


def _likeness(one: str, other: str) -> float:
    """How alike two families are, from 0 to 1: not at all if they do not begin with the same word, or nearly."""
    roots = [re.match(r"[a-z]*", each) for each in (one, other)]
    first, second = (root[0] if root else "" for root in roots)
    if min(len(first), len(second)) < _WORD:
        return 0.0
    if not (first.startswith(second) or second.startswith(first) or _ratio(first, second) >= _SAME_WORD):
        return 0.0
    return 0.5 + 0.5 * _ratio(one, other)


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


@cache
def _counts(d: Dims) -> tuple[float, float]:
    return float(parameters(d)), float(active_parameters(d))


@cache
def _keys() -> dict[str, str]:
    """The model of every spelling; the first that has it keeps it, and whole names come first."""
    named = [(keys(alias), name) for alias, name in model_aliases()]
    found = {each[0]: name for each, name in reversed(named)}
    for shorter, name in named:
        for each in shorter[1:]:
            found.setdefault(each, name)
    return found


@cache
def _families() -> dict[str, tuple[str, ...]]:
    """The models of every family."""
    found: dict[str, dict[str, None]] = {}
    for alias, name in model_aliases():
        found.setdefault(said(alias).family, {})[name] = None
    return {family: tuple(names) for family, names in found.items() if family}
