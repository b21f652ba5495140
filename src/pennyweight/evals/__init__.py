"""How good an answer is: one file per metric, found by its file name."""

# ruff: file-ignore[non-empty-init-module] - the room's door is its index; a module for it would be taken for a metric

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from pennyweight.errors import UnknownNameError
from pennyweight.evals.metric import Metric


def load(name: str) -> Metric:
    """The metric in the file `name`; raises `UnknownNameError` naming the nearest ones if there is none."""
    known = _found()
    if name not in known:
        raise UnknownNameError.of("metric", name, known)
    return known[name]()


def names() -> tuple[str, ...]:
    """The names of all metrics."""
    return tuple(_found())


@cache
def _found() -> dict[str, type[Metric]]:
    """Every file here that defines a metric of its own; the others hold what metrics share."""
    found: dict[str, type[Metric]] = {}
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        module = import_module(f"{__name__}.{file.stem}")
        for value in vars(module).values():
            mine = isinstance(value, type) and issubclass(value, Metric) and value.__module__ == module.__name__
            if mine and value is not Metric:
                found[file.stem] = value
    return found
