"""What compressors carry from one exchange to the next, through all their parts, so that it can be kept in files."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any


def residue(part: Any) -> Any:
    """All that the next answers of `part` depend on: errors not told yet, rows begun with, random numbers to come.

    `part` is an exchange, a codec, or what one is made of; settings, which do not change, are in it too.
    """
    import torch

    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, tuple | list):
        return [residue(each) for each in part]
    if is_dataclass(part):
        return {each.name: residue(getattr(part, each.name)) for each in fields(part)}
    return part


def give_back(part: Any, kept: dict[str, Any]) -> None:
    """Let `part`, made as it was then, go on from what `residue` returned."""
    import torch

    for name, value in kept.items():
        now = getattr(part, name)
        if isinstance(now, torch.Generator):
            now.set_state(value)
        elif is_dataclass(now):
            give_back(now, value)
        elif isinstance(now, tuple):
            for each, theirs in zip(now, value, strict=True):
                give_back(each, theirs)
        elif now is None or isinstance(now, torch.Tensor | list):
            setattr(part, name, value)
