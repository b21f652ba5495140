"""Where several processes serve, each says twice a second what its lanes have done: any of them may be asked."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from pennyweight.serve.answering.shelf import Shelf
    from pennyweight.serve.counters import Counters

EVERY_S = 0.5


@final
@dataclass(slots=True, eq=False)
class Posting:
    """Brings what the lanes on a shelf have done into the counters; all other numbers are there at once."""

    counters: Counters
    shelf: Shelf
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep(self) -> None:
        """Do so until told to stop, and once more then."""
        while not self.stopping.is_set():
            self.counters.batched(self.shelf.all())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), EVERY_S)
        self.counters.batched(self.shelf.all())
