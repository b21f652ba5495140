"""What executes a finished model: one file is one runtime, found by its file name."""

# ruff: file-ignore[non-empty-init-module] - the room's door is its index; a module for it would be taken for a runtime

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeGuard

from pennyweight.errors import UnknownNameError
from pennyweight.runtimes.base import Runtime

__all__ = ["Runtime", "load", "names"]


def load(name: str) -> Runtime:
    """Return the runtime named `name`; raise `UnknownNameError` listing the nearest if there is none."""
    kind = _kind(name) if name in _files() else None
    if kind is None:
        raise UnknownNameError.of("runtime", name, names())
    return kind()


def names() -> tuple[str, ...]:
    """The names of all runtimes, whether or not they work here, in alphabetical order."""
    return tuple(name for name in _files() if _kind(name) is not None)


@cache
def _files() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in iter_modules(__path__)))


@cache
def _kind(name: str) -> type[Runtime] | None:
    module = import_module(f"{__name__}.{name}")
    kinds = [value for value in vars(module).values() if _is_runtime(value) and value.__module__ == module.__name__]
    return kinds[0] if kinds else None


def _is_runtime(value: object) -> TypeGuard[type[Runtime]]:
    return isinstance(value, type) and issubclass(value, Runtime) and value is not Runtime
