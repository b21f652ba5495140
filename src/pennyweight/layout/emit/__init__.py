"""Launch files that run a plan on existing engines: one file per target, found by its file name."""

# ruff: file-ignore[non-empty-init-module] - the room's door is its index; a module for it would be taken for a target

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.emit.launch import Launch, Serve, Train
from pennyweight.layout.emit.target import Target

__all__ = ["Launch", "Serve", "Target", "Train", "check_kind", "check_pairs", "emit", "load", "targets"]

_STARTED = ("nvidia", "amd")


def emit(target: str, launch: Launch) -> str:
    """The launch file of `launch` for `target`.

    Raises `UnknownNameError` for a target that is not there, and `BadInputError` for what it cannot express.
    """
    found = check_kind(target, launch.kind)
    if launch.reads is not None:
        check_pairs(target)
    device = launch.accelerator
    if device.vendor not in _STARTED:
        raise BadInputError(
            f"Launch files start devices of NVIDIA and AMD, and {device.name} is of {device.vendor}.",
            "plan on a GPU, or give the layout (--json) to the launcher of these devices.",
        )
    return found.text(launch)


def check_kind(target: str, kind: str) -> Target:
    """The target, if it starts what is to be done: `train` or `serve`."""
    found = load(target)
    if kind not in found.kinds:
        others = ", ".join(name for name in targets() if kind in load(name).kinds)
        raise BadInputError(f"{target} does not {kind} models.", f"use one that does: {others}.")
    return found


def check_pairs(target: str) -> None:
    """Refuse a target that cannot start two pools of servers."""
    if not load(target).pairs:
        others = ", ".join(name for name in targets() if load(name).pairs)
        raise BadInputError(
            f"{target} files start one pool of servers, and this plan has one for prompts and one for answers.",
            f"use --emit {others}, or plan with --pools aggregated.",
        )


def load(name: str) -> Target:
    """The target in the file `name`; raises `UnknownNameError` naming the nearest if there is none."""
    if name not in _found():
        raise UnknownNameError.of("launch target", name, _found())
    return _found()[name]()


def targets() -> tuple[str, ...]:
    """The names of all targets."""
    return tuple(_found())


@cache
def _found() -> dict[str, type[Target]]:
    """Every file here that defines a target of its own; the others hold what targets share."""
    found: dict[str, type[Target]] = {}
    for file in sorted(module.name for module in iter_modules(__path__)):
        module = import_module(f"{__name__}.{file}")
        for value in vars(module).values():
            mine = isinstance(value, type) and issubclass(value, Target) and value.__module__ == module.__name__
            if mine and value is not Target:
                found[file] = value
    return found
