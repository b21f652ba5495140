"""The laws of counting: operations, bytes and parameters of every kind of operator, and of a whole spec."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.core import Count, Kind
from pennyweight.cost.partly import passes
from pennyweight.cost.sizes import resized
from pennyweight.cost.wires import Tensors, sent_byte

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.core import Op, Spec

# Members of an enumeration are looked up on every access; this runs for every row of every plan.
_CONV, _LINEAR, _MATMUL, _EMBED, _TREE = Kind.CONV, Kind.LINEAR, Kind.MATMUL, Kind.EMBED, Kind.TREE

_INDEX_BITS = 64  # of a token in an embedding's input
_SPLIT_VALUES = 4  # a split stores its feature, its threshold and where its two children are
_BIAS_BITS = 32  # below 16-bit weights, biases and scales stay in this width
_HALF = frozenset({"bfloat16", "float16"})
_PRODUCTS = frozenset({_CONV, _LINEAR, _MATMUL})
_PASSES = 3  # a training step is one pass forward and, in cost, two backward


def law(op: Op) -> tuple[float, float, float, float]:
    """What ONE of the row's `times` operators needs for one example: FLOP, weights, values read, values written.

    One multiply-add is 2 FLOP; only products count (the convention of `torch.utils.flop_counter`), so what is pointwise
    costs bytes. Weights are those of the matrix, without the `per_out` values of each output channel.

    * CONV: ``2 · n_in · n_out · fan / groups`` at every position of the coarser grid (output positions; input positions
      if it upsamples). LINEAR: the same, but each of the `n_in` inputs has `fan` values.
    * MATMUL: ``2 · n_in · n_out`` per row; the second factor, `groups` times ``n_in · n_out`` values, is read too.
    * TREE: one FLOP per comparison (`positions` of them) and per leaf value added (`n_out`). A tree of `fan` nodes has
      ``(fan - 1) / 2`` splits of four values and ``(fan + 1) / 2`` leaves of `n_out` values.
    * EMBED copies one row of its ``n_in × n_out`` table per position; its index is counted where bytes are.
    * NORM, POINTWISE, POOL, SOFTMAX, COPY: no FLOP; `intake` values are read for each that is written.
    """
    kind = op.kind
    n_in, n_out, positions, intake = op.n_in, op.n_out, op.positions, op.intake
    read, written = n_in * positions * intake, n_out * positions
    if kind is _CONV:
        matrix = n_in * n_out * op.fan / op.groups
        return 2 * matrix * (positions if intake >= 1 else positions * intake), matrix, read, written
    if kind is _LINEAR:
        matrix = n_in * n_out * op.fan / op.groups
        return 2 * matrix * positions, matrix, read * op.fan, written
    if kind is _MATMUL:
        product = n_in * n_out
        return 2 * product * positions, 0.0, n_in * positions + product * op.groups, written
    if kind is _TREE:
        splits = (op.fan - 1) / 2
        return positions + n_out, splits * _SPLIT_VALUES + (splits + 1) * n_out, positions, n_out
    if kind is _EMBED:
        return 0.0, n_in * n_out, 0.0, written
    return 0.0, 0.0, read, written


def flop(op: Op) -> float:
    """FLOP of the row (all its `times` operators) for one example. Zeros are multiplied like any other weight."""
    return law(op)[0] * op.times * op.share


def reached(op: Op, batch: int = 1) -> float:
    """The chance that anybody in a `batch` reaches the operator, where each does with the chance `op.share`."""
    return 1.0 if op.share >= 1 else 1 - (1 - op.share) ** batch


def weights(op: Op) -> float:
    """Stored values of the row: the matrices or trees and what each output channel has besides."""
    return (law(op)[1] + op.per_out * op.n_out) * op.times


def per_row(ops: Iterable[Op], batch: int = 1) -> list[tuple[float, float]]:
    """For each row, the FLOP and the bytes moved for one example of a `batch`.

    Bytes are those of the weights, shared by the batch, and of the activations in and out. A table of embeddings and a
    tree are touched only where they are read: each position (comparison) one row (split), and never more than the whole
    of it per batch.
    """
    found = []
    for op in ops:
        flops, matrix, read, written = law(op)
        found.append((flops * op.times * op.share, _moved(op, matrix, read + written, batch)))
    return found


def count(spec: Spec) -> Count:
    """What ONE prediction needs when `spec.serve.batch` are made at a time, and the bytes of the stored model.

    `hbm_byte` has this prediction's share of the weights and its own activations, each read and written once per
    operator. `disk_byte` is the whole model: it is stored once, however many predictions are made.
    """
    batch = spec.serve.batch
    flops = byte = bits = 0.0
    for op in spec.ops:
        each, matrix, read, written = law(op)
        flops += each * op.times * op.share
        byte += _moved(op, matrix, read + written, batch)
        bits += _stored(op, matrix)
    return Count(flops, byte, 0.0, bits / 8)


def count_training(spec: Spec) -> Count:
    """What training takes: three forward passes for every row in every epoch, in batches of `spec.train.batch`.

    Passes spent on choosing the rows are added at the same price. Where `spec.train.precision` has 16 bits, products
    read and write 16 bits.
    The backward pass costs twice the forward one: a product for the gradient of the inputs and one for that of the
    weights (Kaplan et al. 2020, appendix B). Trees are grown, not descended: each level compares every row in every
    feature. Where only a part of the network learns, less passes backward (`partly.passes`). Where it begins with
    smaller rows, its operators have fewer places there (`sizes.resized`). `net_byte` is what workers that train
    together send each other.
    """
    train, looked = spec.train, spec.data.looked
    grown = sum(op.times * op.positions * op.n_in for op in spec.ops if op.kind is _TREE) * spec.data.rows
    passed = _passed(spec) * (_PASSES * (spec.passes - train.small * (spec.passes - looked)))
    if train.small:
        first = replace(spec, ops=resized(spec, train.size))
        passed += _passed(first) * (_PASSES * train.small * (spec.passes - looked))
    return passed + Count(flop=grown, hbm_byte=grown * _BIAS_BITS / 8, net_byte=wire_byte(spec))


def _passed(spec: Spec) -> Count:
    """One example in a batch of training, all its passes taken for one."""
    few = spec.train.precision in _HALF
    shares = [(op, share) for op, share in passes(spec) if op.kind is not _TREE]
    ops = [_halved(op) if few and op.kind in _PRODUCTS else op for op, _ in shares]
    learned = [
        (share * flops, share * byte)
        for (flops, byte), (_, share) in zip(per_row(ops, spec.train.batch), shares, strict=True)
    ]
    return Count(flop=sum(flops for flops, _ in learned), hbm_byte=sum(byte for _, byte in learned))


def learning_share(spec: Spec) -> float:
    """The FLOP of a training step as a share of what it takes where all weights learn, on rows of full size."""
    small, whole = spec.train.small, sum(map(flop, spec.ops))
    if not (spec.train.learns or small or spec.train.recompute) or not whole:
        return 1.0
    share = _learned(spec)
    if small:
        share += small * (_learned(replace(spec, ops=resized(spec, spec.train.size))) - share)
    return share / whole


def _learned(spec: Spec) -> float:
    return sum(share * flop(op) for op, share in passes(spec))


def _halved(op: Op) -> Op:
    """The product as 16-bit numbers are given to it."""
    return replace(op, weight_bits=min(16, op.weight_bits), act_bits=min(16, op.act_bits))


def params(spec: Spec) -> float:
    """Stored values of the model, running statistics included."""
    return sum(weights(op) for op in spec.ops)


def disk_byte(spec: Spec) -> float:
    """Bytes of the stored model.

    Where a share of the weights is zero, the others are stored with a bitmap, one bit per weight. For a 2:4 pattern
    that is exactly its own index of two bits per kept weight; unstructured, it beats 32-bit coordinates above a density
    of 3%. What would be larger than the dense matrix is stored dense.
    """
    return sum(_stored(op, law(op)[1]) for op in spec.ops) / 8


def wire_byte(spec: Spec) -> float:
    """Bytes that the workers of the training send each other, all of them together: measured, else as counted."""
    train = spec.train
    if train.team.workers < 2:
        return 0.0
    return train.team.sent_byte or sent_byte(train, spec.data.rows, [_learned_of(op) for op in _learning(spec)])


def _learning(spec: Spec) -> list[Op]:
    """The rows whose weights change."""
    train = spec.train
    if not train.learns:
        return [op for op in spec.ops if op.kind is not _TREE]
    named = [op for op in spec.ops if op.name in train.learns]
    return named + [op for op, share in passes(spec) if share == 1 and op not in spec.ops]


def _learned_of(op: Op) -> Tensors:
    """The row's weights; of four values beside each channel of a norm two are running statistics."""
    statistics = max(0, op.per_out - 2) if op.kind is Kind.NORM else 0
    beside = (op.per_out - statistics) * op.n_out
    return Tensors(op.n_out, law(op)[1] / op.n_out, beside, statistics * op.n_out, op.times)


def data_byte(spec: Spec) -> float:
    """Bytes of the training data as it is stored: what is kept, and what a pass over it moves."""
    return spec.data.rows * spec.data.row_byte * spec.data.stored


def _stored(op: Op, matrix: float) -> float:
    """Bits of the row on disk."""
    bits = op.disk_bits
    each = min(bits, op.density * bits + 1) if op.density < 1 else bits
    beside = op.per_out * op.n_out * _beside_bits(bits) if op.per_out else 0.0
    return (matrix * each + beside) * op.times


def _moved(op: Op, matrix: float, values: float, batch: float) -> float:
    if op.share < 1:  # who comes shares the weights, and where nobody comes they are not read
        comes = op.share * batch / reached(op, round(batch)) if op.share else 1.0
        return op.share * _moved(replace(op, share=1.0), matrix, values, comes)
    kind = op.kind
    if kind is _EMBED:
        matrix = min(op.positions * batch, op.n_in) * op.n_out
        values += op.positions * _INDEX_BITS / op.act_bits
    elif kind is _TREE:
        matrix *= min(1.0, op.positions * batch / op.fan)
    bits = matrix * op.weight_bits
    if op.per_out:
        bits += op.per_out * op.n_out * _beside_bits(op.weight_bits)
    return (bits / batch + values * op.act_bits) * op.times / 8


def _beside_bits(bits: float) -> float:
    return bits if bits >= 16 else _BIAS_BITS
