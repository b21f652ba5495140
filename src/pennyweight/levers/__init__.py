"""One file is one cost-saving method, found by its file name."""

# ruff: file-ignore[non-empty-init-module] - the room's door is its index; a module for it would be taken for a lever

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeGuard

from pennyweight.core import Lever
from pennyweight.errors import BadInputError, UnknownNameError

__all__ = ["find", "load"]


def find() -> dict[str, type[Lever]]:
    """Every lever by name, in stage order and then alphabetically; imports no heavy library."""
    kinds = {name: _kind(name) for name in _files()}
    return dict(sorted(kinds.items(), key=lambda pair: (pair[1].stage, pair[0])))


def load(name: str) -> type[Lever]:
    """Return the lever named `name`; raise `UnknownNameError` listing the nearest if there is none."""
    if name not in _files():
        raise UnknownNameError.of("lever", name, _files())
    return _kind(name)


@cache
def _files() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_")))


@cache
def _kind(name: str) -> type[Lever]:
    module = import_module(f"{__name__}.{name}")
    kinds = [value for value in vars(module).values() if _is_lever(value) and value.__module__ == module.__name__]
    if len(kinds) != 1:
        raise BadInputError(
            f"levers/{name}.py holds {len(kinds)} levers.", "keep exactly one public Lever subclass in each file."
        )
    return kinds[0]


def _is_lever(value: object) -> TypeGuard[type[Lever]]:
    return isinstance(value, type) and issubclass(value, Lever) and not value.__name__.startswith("_")
