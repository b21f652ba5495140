"""Texts passed through a model block by block, with and without some blocks, to see how well each guesses them.

A block is in memory once for all variants; variants that have dropped the same so far share their states, which lie on
the disk.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.store.checkpoints.writing import UNFINISHED
from pennyweight.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor as Values

    from pennyweight.backends.large.decoders import Decoder
    from pennyweight.engine.cutting.blockwise import Model

    Drops = frozenset[int]
    Listener = Callable[[int, Values, Values], None]

HEAD_BYTE = 1 << 26  # of rows of the head, float32, at a time
_EPSILON = 1e-6


@final
class Room:
    """States (texts, tokens, hidden), float32, in a file of their own; each text is read and replaced in place."""

    def __init__(self, folder: Path, number: int, shape: tuple[int, int, int]) -> None:
        self.path, self.shape = folder / f"trial-{number:05d}{UNFINISHED}", shape
        self._byte = 4 * shape[1] * shape[2]
        with explained(self.path, "states of texts"):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(self.path, flags, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._handle)
        self.path.unlink(missing_ok=True)

    def text(self, number: int) -> Values:
        """The states (tokens, hidden) of one text."""
        import torch

        room = torch.empty(self.shape[1], self.shape[2])
        view, at = memoryview(room.numpy()).cast("B"), number * self._byte
        with explained(self.path, "states of texts"):
            while view and (taken := os.preadv(self._handle, [view], at)):
                view, at = view[taken:], at + taken
        return room

    def put(self, number: int, states: Values) -> None:
        """Replace those of one text."""
        view, at = np.ascontiguousarray(states.numpy(), "<f4").data.cast("B"), number * self._byte
        with explained(self.path, "states of texts"):
            while view:
                taken = os.pwrite(self._handle, view, at)
                view, at = view[taken:], at + taken


@final
@dataclass(slots=True)
class Trial:
    """The texts `tokens` (texts, length) passed through the blocks of `model`; files go into `folder`."""

    model: Model
    decoder: Decoder
    folder: Path
    tokens: NDArray[np.int64]
    _made: int = 0

    def losses(self, variants: Sequence[Drops], listen: Listener | None = None) -> NDArray[np.float64]:
        """The loss per token (variants, texts), in nats, of the model without the blocks of each variant.

        `listen` hears the number of each block with what goes in and comes out, text by text, where nothing is
        dropped. Raises `BadInputError` if the model computes no finite numbers.
        """
        import torch

        with torch.no_grad(), ExitStack() as stack:
            rooms = {frozenset[int](): self._embedded(stack)}
            for number in range(self.model.layers):
                rooms = self._through(number, rooms, variants, (stack, listen))
            found = self._guessed(rooms)
        if not all(np.isfinite(each).all() for each in found.values()):
            raise BadInputError(
                "The text makes the model compute numbers that are infinite or none.",
                "calibrate with another text, or download the model again.",
            )
        return np.stack([found[each] for each in variants])

    def _embedded(self, stack: ExitStack) -> Room:
        room = self._room(stack)
        for number, text in enumerate(self.tokens):
            room.put(number, self.model.embedded(text))
        return room

    def _through(
        self, number: int, rooms: dict[Drops, Room], variants: Sequence[Drops], how: tuple[ExitStack, Listener | None]
    ) -> dict[Drops, Room]:
        """Pass all states through a block, or beside it."""
        stack, listen = how
        layer = self.decoder.block(number, self.model.weights(number))
        following: dict[Drops, Room] = {}
        wanted = {frozenset(each for each in variant if each <= number) for variant in variants}
        for past, room in rooms.items():
            beside = past | {number}
            if beside in wanted:
                following[beside] = self._copied(room, stack) if past in wanted else room
            if past in wanted or (not past and listen):
                self._run(layer, number, room, listen if not past else None)
                following[past] = room
        return following

    def _run(self, layer: Any, number: int, room: Room, listen: Listener | None) -> None:
        for text in range(len(self.tokens)):
            before = room.text(text)
            after = self.decoder.run(layer, number, before)
            room.put(text, after)
            if listen:
                listen(number, before, after)

    def _room(self, stack: ExitStack) -> Room:
        self._made += 1
        shape = (len(self.tokens), self.tokens.shape[1], self.decoder.hidden)
        return stack.enter_context(Room(self.folder, self._made, shape))

    def _copied(self, room: Room, stack: ExitStack) -> Room:
        made = self._room(stack)
        for text in range(len(self.tokens)):
            made.put(text, room.text(text))
        return made

    def _guessed(self, rooms: dict[Drops, Room]) -> dict[Drops, NDArray[np.float64]]:
        """Losses (texts,) of each: the head's rows are read some at a time."""
        import torch

        texts, length = self.tokens.shape
        following = torch.from_numpy(self.tokens[:, 1:].copy())
        sums = {each: torch.full((texts, length - 1), -torch.inf) for each in rooms}
        hits = {each: torch.zeros(texts, length - 1) for each in rooms}
        for first, rows in self.model.head(HEAD_BYTE):
            for past, room in rooms.items():
                for text in range(texts):
                    logits = self.model.normed(room.text(text)[:-1]) @ rows.t()
                    sums[past][text] = torch.logaddexp(sums[past][text], logits.logsumexp(-1))
                    place = following[text] - first
                    own = (place >= 0) & (place < len(rows))
                    taken = logits.gather(1, place.clamp(0, len(rows) - 1)[:, None])[:, 0]
                    hits[past][text] = torch.where(own, taken, hits[past][text])
        return {each: (sums[each] - hits[each]).double().mean(-1).numpy() for each in rooms}
