"""Strategies by the name of their file."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from pennyweight import search
from pennyweight.errors import UnknownNameError
from pennyweight.search.base import Strategy


def load(name: str) -> type[Strategy]:
    """The strategy in the file of that name; raises `UnknownNameError`, naming those there are."""
    found = _strategy(name) if name in _files() else None
    if found is None:
        raise UnknownNameError.of("search strategy", name, names())
    return found


def names() -> tuple[str, ...]:
    """The names of all strategies, sorted."""
    return tuple(sorted(name for name in _files() if _strategy(name) is not None))


def _files() -> list[str]:
    return [each.name for each in pkgutil.iter_modules(search.__path__)]


def _strategy(name: str) -> type[Strategy] | None:
    module = import_module(f"{search.__name__}.{name}")
    own = (each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__)
    return next((each for each in own if issubclass(each, Strategy) and each is not Strategy), None)
