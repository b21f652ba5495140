"""The most memory that work on a plan holds, from the heads of shards alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.backends.large.decoders import SHARED_INPUTS
from pennyweight.backends.large.gptq import HESSIANS, WEIGHTS
from pennyweight.backends.large.inputs import SAMPLE
from pennyweight.backends.large.rounding import TILE_BYTE
from pennyweight.engine.shrinking.texts import LENGTH, SLAB, TOKENS

if TYPE_CHECKING:
    from pennyweight.engine.shrinking.planning import Plan
    from pennyweight.store.checkpoints import Outline, Tensor

PIECE_BYTE = 1 << 23  # of weights that are read at a time
WORKERS, SLOTS = 2, 6
_SPARE_BYTE = 32 << 20  # threads, heads of shards, what the allocator keeps
_TORCH_BYTE = 160 << 20  # the same of torch: its threads, packed operands of products
_WIDTHS = 12  # numbers per token that a block holds, over the widest input of a layer
_FLOAT = 4


def work_byte(plan: Plan) -> int:
    """Bytes that are held beside what the process holds already."""
    slot = PIECE_BYTE + PIECE_BYTE // 2 + PIECE_BYTE // plan.wish.rounding.group
    scales = (sum(e.byte for e in shard.entries if plan.origins[e.name].part == "scale") for shard in plan.shards)
    streamed = SLOTS * slot + WORKERS * TILE_BYTE + max(scales) + _SPARE_BYTE
    if plan.wish.calibration is not None:
        length = plan.wish.calibration.length(plan.source.config)
        blocks = max(_block_byte(plan, each, length) for each in plan.blocks)
        return streamed + _TORCH_BYTE + (blocks if plan.settled else max(blocks, _sensed_byte(plan, length)))
    return streamed if plan.wish.method == "rtn" else streamed + WORKERS * TILE_BYTE + _TORCH_BYTE


def _block_byte(plan: Plan, outline: Outline, length: int) -> int:
    """One block in float32 and what comes out of it, one text on its way, and what the method holds."""
    rounded = _rounded(plan, outline)
    widest, largest = max(each.shape[1] for each in rounded), max(each.count for each in rounded)
    held = WEIGHTS * _FLOAT * largest + (HESSIANS * _FLOAT * widest**2 if plan.wish.method == "gptq" else 0)
    widened = sum(each.count for each in rounded) * plan.wish.rounding.bits // 8 if plan.wish.mixed else 0
    made = outline.byte + widened  # all layers of a block may get the widest
    return _weights_byte(plan, outline) + made + _text_byte(plan, widest, length) + held + _sample_byte(rounded)


def _sensed_byte(plan: Plan, length: int) -> int:
    """One block in float32 and its codes of every width, one text forwards and backwards, or the states of all."""
    most = min(TOKENS, plan.wish.calibration.tokens if plan.wish.calibration else 0)
    found = 3 * _FLOAT * (most + SLAB) * _hidden(plan) + 3 * _FLOAT * SLAB * most
    for outline in plan.blocks:
        rounded = _rounded(plan, outline)
        widest, largest = max(each.shape[1] for each in rounded), max(each.count for each in rounded)
        codes = len(plan.wish.widths) * sum(each.count + _FLOAT * each.count // each.shape[1] for each in rounded)
        scales = len(plan.wish.widths) * _FLOAT * sum(each.count for each in rounded) // plan.wish.rounding.group
        text = 3 * _text_byte(plan, widest, min(length, LENGTH))
        held = WEIGHTS * _FLOAT * largest + _sample_byte(rounded)
        held += HESSIANS * _FLOAT * widest**2 if plan.wish.method == "gptq" else 0
        found = max(found, _weights_byte(plan, outline) + codes + scales + text + held)
    return found


def _hidden(plan: Plan) -> int:
    return max((each.shape[-1] for name, each in plan.source.tensors.items() if "embed_tokens" in name), default=0)


def _sources(plan: Plan, outline: Outline) -> list[Tensor]:
    return list({o.name: o for o in (plan.origins[entry.name].tensor for entry in outline.entries)}.values())


def _rounded(plan: Plan, outline: Outline) -> list[Tensor]:
    return [each for each in _sources(plan, outline) if each.name in plan.choice.rounded]


def _weights_byte(plan: Plan, outline: Outline) -> int:
    """A block in float32, one of its tensors as it is stored."""
    tensors = _sources(plan, outline)
    return _FLOAT * sum(each.count for each in tensors) + max(each.byte for each in tensors)


def _text_byte(plan: Plan, widest: int, length: int) -> int:
    heads = int(plan.source.config.get("num_attention_heads") or 1)
    return _FLOAT * (length * _WIDTHS * widest + 2 * length * length * heads)


def _sample_byte(rounded: list[Tensor]) -> int:
    """Tokens that are kept as they are, seen and held out, twice while they are put together, and what they become."""
    wide = sum(max((e.shape[1] for e in rounded if _ends(e, names)), default=0) for names in SHARED_INPUTS)
    out = max(each.shape[0] for each in rounded)
    return 2 * SAMPLE * _FLOAT * (2 * wide + 2 * out)


def _ends(tensor: Tensor, names: tuple[str, ...]) -> bool:
    return tensor.name.removesuffix(".weight").endswith(names)


def states_byte(plan: Plan) -> int:
    """Bytes on the disk of what goes into a block and what comes out of it, while a block is done.

    To choose widths, of what goes into every block, but of fewer tokens.
    """
    if plan.wish.calibration is None:
        return 0
    tokens = plan.wish.calibration.tokens
    most = 2 * tokens if plan.settled else max(2 * tokens, (len(plan.blocks) + 2) * min(TOKENS, tokens))
    return most * _FLOAT * _hidden(plan)
