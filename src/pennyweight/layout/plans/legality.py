"""The rules of layouts, as masks over columns of degrees, each with what to say where nothing keeps it.

They are those of Megatron-LM: tensor parallelism divides heads and blocks and stays inside the fast links, key-value
heads are split or repeated, there are no more stages than layers, experts are dealt out evenly or each is split like a
block, a batch is a whole number of micro-batches, interleaved stages take them in whole rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.plans.training import TrainWork

    Whole = NDArray[np.int64]
    Mask = NDArray[np.bool_]
    Rows = Mapping[str, Whole]

WASTE = 1.25  # how much fuller than the mean the fullest stage may be, unless asked for


class Rule(NamedTuple):
    """Which rows keep a rule (m,), and what to say if none does."""

    kept: Mask
    problem: str
    fix: str


def keep(rows: Rows, rules: Iterable[Rule]) -> dict[str, Whole]:
    """The rows that keep every rule; where the first rules leave none, the one that took the last is the error."""
    left = np.ones(len(next(iter(rows.values()))), dtype=bool)
    for rule in rules:
        left &= rule.kept
        if not left.any():
            raise BadInputError(rule.problem, rule.fix)
    return {name: column[left] for name, column in rows.items()}


def splits(rows: Rows, work: TrainWork, domain: int) -> list[Rule]:
    """Rules of a model's width and of its sequence."""
    dims, tp, cp = work.dims, rows["tp"], rows["cp"]
    heads = (dims.heads % tp == 0) & ((dims.kv_heads % tp == 0) | (tp % dims.kv_heads == 0))
    sequence = work.sequence % np.where(cp > 1, 2 * cp, 1) == 0
    return [
        Rule(
            tp <= domain,
            f"Fast links join {domain} of these devices, fewer than the tensor parallelism asked for.",
            f"give --tp {domain} or less.",
        ),
        Rule(
            heads & (dims.ffn % tp == 0) & (dims.hidden % tp == 0),
            f"{dims.name} has {dims.heads} heads, {dims.kv_heads} of keys, and blocks {dims.ffn} wide, which so many "
            "devices cannot share.",
            "give a tensor parallelism (--tp) that divides them.",
        ),
        Rule(
            sequence,
            f"Sequences of {work.sequence} tokens cannot be cut for the context parallelism asked for.",
            "give a --cp twice of which divides the tokens of a sequence.",
        ),
    ]


def stages(rows: Rows, work: TrainWork, *, asked: bool) -> list[Rule]:
    """Rules of a model's depth; stages may be uneven as far as they were `asked` for, or waste little."""
    dims, pp = work.dims, rows["pp"]
    even = fullest(dims.layers, rows) <= WASTE * dims.layers
    return [
        Rule(
            pp <= dims.layers,
            f"{dims.name} has {dims.layers} layers, too few for so many stages.",
            f"give --pp {dims.layers} or less.",
        ),
        Rule(
            even | asked,
            f"The {dims.layers} layers of {dims.name} do not fill so many stages.",
            "ask for a number of stages (--pp) that nearly divides them.",
        ),
    ]


def experts(rows: Rows, work: TrainWork) -> list[Rule]:
    """Rules of where experts go."""
    dims, ep = work.dims, rows["ep"]
    ranks = rows["tp"] * rows["dp"] * rows["cp"]
    split = (dims.experts > 0) & (ep == 1)
    return [
        Rule(
            (max(dims.experts, 1) % ep == 0) & (ranks % ep == 0),
            f"{dims.name} has {dims.experts} experts, which cannot be spread so.",
            "give a --ep that divides the experts and tp · dp · cp.",
        ),
        Rule(
            ~split | (dims.moe_ffn % rows["tp"] == 0),
            f"An expert of {dims.name} is {dims.moe_ffn} wide, which so many devices cannot share.",
            "give a tensor parallelism (--tp) that divides it, or spread whole experts (--ep 2 or more).",
        ),
    ]


def batches(rows: Rows, work: TrainWork) -> list[Rule]:
    """Rules of how a batch is dealt out."""
    batch, dp, micro, chunks, pp = work.global_batch, rows["dp"], rows["micro_batch"], rows["chunks"], rows["pp"]
    passes = batch // (dp * micro)
    return [
        Rule(
            batch % dp == 0,
            f"A batch of {batch} sequences cannot be dealt out to the replicas that so many devices make.",
            "give a --global-batch that is a multiple of the replicas, fewer devices, or more --tp and --pp.",
        ),
        Rule(
            batch % (dp * micro) == 0,
            f"What a replica gets of {batch} sequences is no whole number of micro-batches.",
            "give a smaller --micro-batch, or a --global-batch that is a multiple of replicas · micro-batch.",
        ),
        Rule(
            (chunks == 1) | ((pp > 1) & (chunks * pp <= work.dims.layers) & (passes % pp == 0)),
            "Stages cannot be interleaved so: a pipeline takes micro-batches in rounds of as many as it has stages.",
            "give --chunks 1, or stages whose number divides the micro-batches of a replica.",
        ),
    ]


def fullest(layers: int, rows: Rows) -> Whole:
    """Layers of the model (m,) if every stage were as full as the fullest one."""
    apart = rows["pp"] * rows.get("chunks", np.ones_like(rows["pp"]))
    return -(-layers // apart) * apart
