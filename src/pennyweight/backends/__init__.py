"""Where work really happens: one file is one backend, found by its file name."""

# ruff: file-ignore[non-empty-init-module] - the door of the room is its index; any other file would be a backend

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from pennyweight.backends.base import Backend, first_share
from pennyweight.errors import UnknownNameError

__all__ = ["Backend", "first_share", "load", "names"]


def names() -> tuple[str, ...]:
    """The names of all backends, without importing any (a file with an underscore is a part of one)."""
    found = (each.name for each in iter_modules(__path__))
    return tuple(sorted(name for name in found if "_" not in name and name != "base"))


def load(name: str) -> Backend:
    """Return the backend in the file `name`; raises `UnknownNameError` if there is none."""
    if name not in names():
        raise UnknownNameError.of("backend", name, names())
    module = import_module(f"{__name__}.{name}")
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Backend) and kind.__module__ == module.__name__
    ]
    backend: Backend = kinds[0]()
    return backend
