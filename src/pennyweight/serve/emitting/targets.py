"""The targets by name, and the files of a deployment for one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.errors import UnknownNameError
from pennyweight.serve.emitting import compose, kubernetes, onray, systemd

if TYPE_CHECKING:
    from collections.abc import Callable

    from pennyweight.serve.emitting.deployment import Deployment
    from pennyweight.serve.emitting.file import File

TARGETS: dict[str, Callable[[Deployment], tuple[File, ...]]] = {
    "kubernetes": kubernetes.files,
    "ray": onray.files,
    "compose": compose.files,
    "systemd": systemd.files,
}


def check_target(target: str) -> None:
    """Raise `UnknownNameError`, naming the nearest, for a target that there is none of."""
    if target not in TARGETS:
        raise UnknownNameError.of("target", target, TARGETS)


def emit(target: str, of: Deployment) -> tuple[File, ...]:
    """The files that run `of` on a target; raises `UnknownNameError` naming the nearest if there is none."""
    check_target(target)
    return TARGETS[target](of)
