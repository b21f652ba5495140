"""Block after block: read, narrowed by what a text brings to it, written, and passed through as it is then.

As in rounding, a block's shard is entered in the journal after the states that go into the next block are on the disk,
so what was cut off goes on there. Queries and neurons that stay are fitted so that the outputs of `o_proj` and
`down_proj` stay near what they were; neurons see the attention as it is after heads have gone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.backends.large.decoders import Decoder
from pennyweight.backends.large.grids import torch_type
from pennyweight.backends.large.inputs import Inputs, gather, moved_share
from pennyweight.backends.large.rounding import as_stored
from pennyweight.engine.cutting.columns import Left, fitted, without
from pennyweight.engine.cutting.shaping import AXES
from pennyweight.engine.shrinking.calibrating import is_held
from pennyweight.engine.shrinking.states import Shape as StatesShape
from pennyweight.engine.shrinking.states import States, Writing, forget
from pennyweight.store.checkpoints import Shard
from pennyweight.store.disk import explained, put, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor as Values

    from pennyweight.engine.cutting.blockwise import Model
    from pennyweight.engine.cutting.planning import Plan
    from pennyweight.store.checkpoints.journal import Journal

_MOST_BYTE = 10_000_000


@final
@dataclass(slots=True)
class Narrowing:
    """A block whose `weights` (float32, by their names within it) become fewer; `kept` says which numbers stay.

    `moved` is how far outputs of attention and feed-forward moved on tokens held out, as a share of their length.
    """

    weights: dict[str, Values]
    dtypes: Mapping[str, str]
    kept: dict[str, Values] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)
    groups: tuple[Sequence[int], Sequence[float]] = ((), ())

    def drop(self, name: str, left: Left, held: Values) -> None:
        """Take from a layer the inputs that are not `left`, and what makes these from the layers before."""
        import torch

        key, (part, _) = f"{name}.weight", AXES[name]
        stored = left.weights.to(torch_type(self.dtypes[key])).float()
        whole = torch.zeros_like(self.weights[key])
        whole[:, left.kept] = stored
        self.moved[name] = moved_share(self.weights[key], whole, held)
        self.weights[key] = stored.contiguous()
        self.kept[part] = left.kept

    def narrow(self, part: str, kept: Values) -> None:
        """Keep these rows of the layers that make that part."""
        self.kept[part] = kept
        for local in list(self.weights):
            if AXES.get(local.rpartition(".")[0]) == (part, 0):
                self.weights[local] = self.weights[local][kept].contiguous()


def narrowed_blocks(
    plan: Plan, model: Model, journal: Journal, how: tuple[Sequence[int], Callable[[int], None]]
) -> tuple[int, dict[str, float]]:
    """Write the shards of all blocks of `how` that are not finished; how many were, and how far outputs moved.

    Raises `BadInputError` for a text or tokenizer that does not go with the model.
    """
    import torch

    with torch.no_grad():
        blocks = _Blocks(plan, model, journal, how)
        done, states = blocks.begun()
        for place in range(done, len(plan.blocks)):
            states = blocks.do(place, states)
    return done, states.errors


@final
class _Blocks:
    """The blocks that stay, one of them in memory at a time."""

    def __init__(
        self, plan: Plan, model: Model, journal: Journal, how: tuple[Sequence[int], Callable[[int], None]]
    ) -> None:
        if plan.wish.calibration is None or plan.before is None or plan.after is None:
            raise ValueError("blocks are narrowed with a text only")
        self._plan, self._model, self._journal = plan, model, journal
        self._numbers, self._watch = how
        self._before, self._after = plan.before, plan.after
        config = plan.source.config
        heads = {"num_attention_heads": plan.after.heads, "num_key_value_heads": plan.after.groups}
        heads |= {"head_dim": plan.after.head}
        self._decoders = (
            Decoder(config),
            Decoder({**config, **heads}),
            Decoder({**config, **heads, "intermediate_size": plan.after.ffn}),
        )
        self._tokens = plan.wish.calibration.sequences(plan.source.folder, config)
        self._shape: StatesShape = (len(self._tokens), self._tokens.shape[1], self._decoders[0].hidden)
        held = sum(map(is_held, range(len(self._tokens))))
        self._seen = (len(self._tokens) - held) * self._tokens.shape[1]

    def begun(self) -> tuple[int, States]:
        """How many blocks are finished, and the states that go into the next."""
        done = 0
        for outline in self._plan.blocks:
            if not self._journal.whole(outline.file):
                break
            done += 1
        found = States.found(self._journal.folder, done, self._going_into(done)) if done else None
        if found is None:
            forget(self._journal.folder)
            return 0, self._embedded()
        for number in self._numbers[:done]:
            self._watch(self._byte(number))
        return done, found

    def do(self, place: int, states: States) -> States:
        """Do one block; the states that go into the next."""
        number = self._numbers[place]
        dtypes = {local: each.dtype for local, each in self._model.parts.blocks[number].items()}
        made = Narrowing(self._model.weights(number), dtypes)
        if self._plan.wish.heads:
            self._drop_heads(number, made, states)
        if self._plan.wish.ffn:
            self._drop_neurons(number, made, states)
        errors = states.errors | {
            f"{self._model.parts.prefix}.{number}.{name}": share for name, share in made.moved.items()
        }
        following = self._passed(place, made, states, errors)
        _note(self._journal.folder, number, made)
        self._write(place, made)
        states.remove()
        self._watch(self._byte(number))
        return following

    def _drop_heads(self, number: int, made: Narrowing, states: States) -> None:
        import torch

        shared = self._before.heads // self._before.groups
        unit, gone = shared * self._before.head, self._before.groups - self._after.groups
        left = self._left((number, 0), made, states, ("self_attn.o_proj", unit, gone))
        groups = left.kept[::unit] // unit
        width = torch.arange(self._before.head)
        made.narrow("queries", left.kept)
        made.narrow("keys", (groups[:, None] * self._before.head + width).reshape(-1))
        stay = set(groups.tolist())
        made.groups = ([each for each in range(self._before.groups) if each not in stay], left.worth.tolist())

    def _drop_neurons(self, number: int, made: Narrowing, states: States) -> None:
        gone = self._before.ffn - self._after.ffn
        left = self._left((number, 1), made, states, ("mlp.down_proj", 1, gone))
        made.narrow("neurons", left.kept)

    def _left(self, at: tuple[int, int], made: Narrowing, states: States, asked: tuple[str, int, int]) -> Left:
        """What is left of the inputs of a layer, its weights being changed already."""
        (number, stage), (name, unit, gone) = at, asked
        decoder, weights = self._decoders[stage], made.weights[f"{name}.weight"]
        layer = decoder.block(number, made.weights)
        inputs = Inputs(weights.shape[1], self._seen, moments=self._plan.wish.mend)
        gather(layer, lambda each: decoder.run(layer, number, each), self._texts(states), [(name, inputs)])
        if self._plan.wish.mend:
            left = fitted(weights, inputs.hessian, unit, gone)
        else:
            left = without(weights, inputs.square, unit, gone)
        made.drop(name, left, inputs.held)
        return left

    def _texts(self, states: States) -> Iterator[tuple[Values, bool]]:
        for number in range(self._shape[0]):
            yield states.text(number), is_held(number)

    def _passed(self, place: int, made: Narrowing, states: States, errors: dict[str, float]) -> States:
        number, shape = self._numbers[place], self._going_into(place + 1)
        decoder = self._decoders[2]
        layer: Any = decoder.block(number, made.weights)
        with Writing(self._journal.folder, place + 1, shape) as writing:
            for text in range(shape[0]):
                writing.add(decoder.run(layer, number, states.text(text)))
            return writing.finish(errors)

    def _write(self, place: int, made: Narrowing) -> None:
        outline = self._plan.blocks[place]
        shard = Shard(self._journal.folder, outline)
        try:
            shard.open()
            for entry in outline.entries:
                local = entry.name.partition(f".{place}.")[2]
                shard.write(_stored(made.weights[local], entry.dtype))
            self._journal.add(outline.file, shard.finish())
        finally:
            shard.abandon()

    def _going_into(self, place: int) -> StatesShape:
        """What states before a block are like; none are needed behind the last."""
        return self._shape if place < len(self._plan.blocks) else (0, *self._shape[1:])

    def _embedded(self) -> States:
        with Writing(self._journal.folder, 0, self._shape) as writing:
            for sequence in self._tokens:
                writing.add(self._model.embedded(sequence))
            return writing.finish({})

    def _byte(self, number: int) -> int:
        return sum(each.byte for each in self._model.parts.blocks[number].values())


def _stored(values: Values, dtype: str) -> NDArray[np.uint8]:
    return as_stored(values.contiguous().numpy().reshape(-1), dtype).view(np.uint8)


def _note(folder: Path, number: int, made: Narrowing) -> None:
    """Which groups of heads went, and what each was worth: kept beside the shard until all is done."""
    gone, worth = made.groups
    put(_path(folder, number), json.dumps([list(gone), list(worth)]).encode(), "the facts of a block")


def noted(folder: Path, numbers: Sequence[int]) -> dict[int, tuple[list[int], list[float]]]:
    """Of each block the groups of heads that went, and what each group was worth."""
    found = {}
    for number in numbers:
        path = _path(folder, number)
        if path.is_file():
            with explained(path, "the facts of a block"):
                gone, worth = json.loads(read(folder, path.name, _MOST_BYTE))
            found[number] = (gone, worth)
    return found


def forget_notes(folder: Path) -> None:
    """Remove them."""
    for path in folder.glob(".cut-*"):
        path.unlink(missing_ok=True)


def _path(folder: Path, number: int) -> Path:
    return folder / f".cut-{number:05d}"
