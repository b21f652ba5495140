"""The most memory that a cut holds, from the heads of shards alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.engine.cutting.columns import MATRICES
from pennyweight.engine.cutting.layers import TRIAL_TOKENS
from pennyweight.engine.cutting.passing import HEAD_BYTE
from pennyweight.engine.cutting.reading import PIECE_BYTE

if TYPE_CHECKING:
    from pennyweight.engine.cutting.planning import Plan

_SPARE_BYTE = 64 << 20  # threads, heads of shards, what allocators keep
_TORCH_BYTE = 192 << 20
_WIDTHS = 12  # numbers per token that a block holds, over the widest input of a layer
_SAMPLES = 4  # of states of a few tokens, between whose ends blocks may go
_FLOAT = 4


def work_byte(plan: Plan) -> int:
    """Bytes that are held beside what the process holds already."""
    if plan.parts is None or plan.before is None or plan.wish.calibration is None:
        return 4 * PIECE_BYTE + _SPARE_BYTE
    length, hidden = plan.wish.calibration.length(plan.source.config), int(plan.source.config["hidden_size"])
    widest = max(hidden, plan.before.ffn, plan.before.sizes["queries"])
    block = plan.parts.blocks[0].values()
    text = _FLOAT * (length * _WIDTHS * widest + 2 * length * length * plan.before.heads)
    held = 2 * _FLOAT * sum(each.count for each in block) + 2 * max(each.byte for each in block) + text
    chosen = fitted = 0
    if plan.wish.layers:
        samples = (plan.wish.layers + _SAMPLES) * _FLOAT * 1024 * hidden
        rows = min(HEAD_BYTE, _FLOAT * int(plan.source.config.get("vocab_size") or HEAD_BYTE) * max(hidden, length))
        chosen = 5 * rows + samples
    if plan.wish.is_fitted:
        matrix = widest * widest if plan.wish.mend else widest
        fitted = _FLOAT * (MATRICES * matrix + 4 * widest * hidden + 4 * 512 * widest)
    return held + max(chosen, fitted) + 4 * PIECE_BYTE + _SPARE_BYTE + _TORCH_BYTE


def disk_byte(plan: Plan) -> int:
    """Bytes on the disk that are needed for a while: states of texts between blocks."""
    if plan.wish.calibration is None or plan.before is None:
        return 0
    hidden = int(plan.source.config["hidden_size"])
    variants = plan.before.layers + 1 if plan.wish.by in {"best", "loss", "greedy"} else 3
    trial = variants * TRIAL_TOKENS * hidden * _FLOAT if plan.wish.layers else 0
    return max(trial, 2 * _FLOAT * plan.wish.calibration.tokens * hidden if plan.wish.is_fitted else 0)
