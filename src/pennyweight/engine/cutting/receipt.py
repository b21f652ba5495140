"""What came of a cut: sizes before and after, what was dropped and how much it was worth, what it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.cost.hf_config import from_config
from pennyweight.cost.transformer import forward_flop, kv_byte_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pennyweight.cost.meter import Measurement
    from pennyweight.engine.cutting.layers import Chosen
    from pennyweight.engine.cutting.planning import Plan

_CONTEXT, _KV_BYTE = 8192, 2


@final
@dataclass(frozen=True, slots=True)
class Size:
    """Numbers in tensors, their bytes, FLOP per token read over `context` tokens, bytes kept of each in 16 bits."""

    parameters: int
    byte: int
    flop_token: float
    kv_byte_token: float
    context: int


@final
@dataclass(frozen=True, slots=True)
class Dropped:
    """What went: blocks (`chosen`, with what was measured), groups of heads and the worth of each by block.

    `neurons` of each block, `tokens` of the vocabulary. `moved` is how far outputs of layers moved on tokens held out,
    as a share of their length.
    """

    chosen: Chosen | None
    groups: Mapping[int, Sequence[int]]
    worth: Mapping[int, Sequence[float]]
    neurons: int
    tokens: int
    moved: Mapping[str, float]

    @property
    def blocks(self) -> tuple[int, ...]:
        """The old numbers of the blocks that went."""
        return self.chosen.dropped if self.chosen else ()

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "blocks": self.chosen.facts() if self.chosen else None,
            "groups": {str(number): list(each) for number, each in self.groups.items()},
            "worth": {str(number): list(each) for number, each in self.worth.items()},
            "neurons": self.neurons,
            "tokens": self.tokens,
            "moved": dict(self.moved),
        }


@final
@dataclass(frozen=True, slots=True)
class Receipt:
    """Sizes `before` and `after`, what was `dropped`, what it took, the memory promised and the memory held.

    `kept_shards` of `shards` were finished before, by a run that was cut off.
    """

    before: Size
    after: Size
    dropped: Dropped
    seconds: float
    cpu_s: float
    joule: float
    peak_byte: float
    most_byte: float
    shards: int
    kept_shards: int

    @classmethod
    def of(
        cls, measured: Measurement, sizes: tuple[Size, Size], dropped: Dropped, rest: tuple[float, int, int]
    ) -> Receipt:
        """Put together what was measured; `rest` is the memory promised, shards, and those that were there."""
        most, shards, kept = rest
        took = (measured.wall_s, measured.cpu_s, measured.joule, measured.peak_byte)
        return cls(*sizes, dropped, *took, most, shards, kept)

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**asdict(self), "dropped": self.dropped.facts()}


def sizes_of(plan: Plan, kept: Sequence[int]) -> tuple[Size, Size]:
    """Sizes before and after, the blocks `kept` staying; FLOP and bytes per token are counted from the config."""
    whole = sum(each.count for each in plan.source.tensors.values())
    return (
        _size(dict(plan.source.config), whole, plan.source.byte),
        _size(plan.config(kept), plan.parameters, plan.byte),
    )


def _size(config: Mapping[str, Any], parameters: int, byte: int) -> Size:
    dims = from_config(config)
    context = min(dims.max_context or _CONTEXT, _CONTEXT)
    flop = float(forward_flop(dims, context).total) / context
    return Size(parameters, byte, flop, float(kv_byte_token(dims, _KV_BYTE)), context)
