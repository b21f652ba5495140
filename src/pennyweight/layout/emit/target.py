"""What writes launch files for one engine or scheduler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pennyweight.layout.emit.launch import Launch


class Target(ABC):
    """One file of this room: the `kinds` of work it starts, how its file ends, and the text.

    `pairs` is whether it can start two pools of servers, one that reads prompts and one that answers.
    """

    kinds: ClassVar[tuple[str, ...]]
    suffix: ClassVar[str]
    pairs: ClassVar[bool] = False

    @abstractmethod
    def text(self, launch: Launch) -> str:
        """The launch file; raises `BadInputError` for what it cannot express, never leaves it out."""
