"""What training holds in memory: the activations of a mini-batch that backward needs, weights, gradients and sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.core import Kind
from pennyweight.cost.count import law, params
from pennyweight.cost.partly import repeated

if TYPE_CHECKING:
    from pennyweight.core import Op, Spec

_BYTE = 4  # of a value in float32
_INDEX = 2  # values that the number of a token takes the bytes of
_MOMENTS = {"sgd": 1, "adagrad": 1, "rmsprop": 1, "muon": 1}  # running values per weight; adam and its kin have two
_STATISTICS = 2  # per place that is normalised: mean and deviation
_ADDS = 2  # tensors read per one written: an addition, which backward needs nothing for


def activation_byte(spec: Spec) -> float:
    """Bytes kept from the forward pass of one mini-batch for the backward pass, at the most.

    A product keeps the inputs it multiplies, a normalisation its input and two statistics, a nonlinearity its input; an
    addition nothing. Attention keeps queries, keys, values and one sum per score's row, as fused kernels do (Dao et al.
    2022), no scores. Where a nonlinearity keeps its answer (ReLU), which the next product keeps anyway, it is less.
    With `recompute`, the blocks keep their inputs, and one at a time the rest (Chen et al. 2016, section 4).
    """
    batch, blocks = spec.train.batch, repeated(spec) if spec.train.recompute else ()
    kept = dict(zip(spec.ops, _kept(spec.ops), strict=True))
    outside = sum(byte * op.times for op, byte in kept.items() if op not in blocks)
    if not blocks:
        return batch * outside
    times = blocks[0].times
    given = blocks[0].n_in * blocks[0].positions * _BYTE
    return batch * (outside + times * given + sum(kept[op] * op.times for op in blocks) / times)


def training_byte(spec: Spec) -> float:
    """Bytes that training holds: weights, their gradients, the running values of the rule, and activations.

    Of a team in shards each worker holds a part of the former, and the whole weights while a step needs them.
    """
    copies: float = 2 + _MOMENTS.get(spec.train.optimizer, 2)
    team = spec.train.team
    if team.sync == "shard" and team.workers > 1:
        copies = 1 + copies / team.workers
    return params(spec) * copies * _BYTE + activation_byte(spec)


def _kept(ops: tuple[Op, ...]) -> list[float]:
    """Bytes that ONE of each row's operators keeps for one example."""
    before = (None, *(op.kind for op in ops))
    return [_values(op, after) * _BYTE for op, after in zip(ops, before, strict=False)]


def _values(op: Op, after: Kind | None) -> float:
    """Values that the operator keeps; `after` is the kind of the one before it, whose scores a product may weigh."""
    kind = op.kind
    if kind is Kind.EMBED or kind is Kind.SOFTMAX:
        return op.positions * (_INDEX if kind is Kind.EMBED else 1)
    if kind is Kind.COPY or (kind is Kind.POINTWISE and op.intake >= _ADDS):
        return 0.0
    if kind is Kind.MATMUL and after is Kind.SOFTMAX:
        return op.n_in * op.n_out * op.groups
    statistics = _STATISTICS * op.positions if kind is Kind.NORM else 0.0
    return law(op)[2] + statistics
