"""Networks of which only a part learns: what passes backward, and where an adapter of low rank is cheaper to train."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.core import Kind

if TYPE_CHECKING:
    from pennyweight.core import Op, Spec

_FORWARD, _BEHIND, _ALL = 1 / 3, 2 / 3, 1.0
_PASSES = 3
_MATRICES = frozenset({Kind.CONV, Kind.LINEAR})
_WEIGHTED = frozenset({Kind.CONV, Kind.LINEAR, Kind.EMBED})


def repeated(spec: Spec) -> tuple[Op, ...]:
    """The rows of the blocks that the network repeats, merged in the table as ``blocks.*.…``; empty if it has none."""
    times = {op.name.partition("*")[0]: op.times for op in spec.ops if "*" in op.name}
    most = max(times, key=lambda each: times[each], default=None)
    return tuple(op for op in spec.ops if "*" in op.name and op.name.partition("*")[0] == most)


def takes_adapter(op: Op, rank: int) -> bool:
    """Whether the row can learn through a product of two matrices of rank `rank` for less than it takes itself.

    What is saved is one pass, the gradient of the weights; what is added is three passes over ``rank · (n_in · fan +
    n_out)`` weights in place of ``n_in · n_out · fan`` (Hu et al. 2021, section 4.1; for convolutions the first factor
    has the kernel).
    """
    if rank < 1 or op.kind not in _MATRICES or op.groups > 1 or op.intake < 1:
        return False
    return _PASSES * rank * (op.n_in * op.fan + op.n_out) < op.n_in * op.n_out * op.fan


def adapted(spec: Spec) -> tuple[Op, ...]:
    """The rows that take an adapter."""
    train = spec.train
    return tuple(op for op in spec.ops if op.name not in train.learns and takes_adapter(op, train.adapt))


def passes(spec: Spec) -> list[tuple[Op, float]]:
    """The rows of training, each with the share that is made of its three passes.

    All of them where weights learn: forward, and the gradients of inputs and of weights. Two of three behind the first
    row that learns where they do not; one before it, for nothing passes backward there. Products of two activations
    have two gradients of inputs. Adapters are rows of their own. What is computed anew passes forward twice.
    """
    train, ops = spec.train, spec.ops
    again = frozenset(repeated(spec)) if train.recompute else frozenset()
    if not train.learns:
        return [(op, _ALL + _FORWARD * (op in again)) for op in ops]
    taking = set(adapted(spec))
    found: list[tuple[Op, float]] = []
    begun = False
    for op in ops:
        learns = op.name in train.learns
        begun = begun or learns or op in taking
        fixed = op.kind in _WEIGHTED and not learns
        once = _FORWARD if not begun else _BEHIND if fixed else _ALL
        found.append((op, once + _FORWARD * (begun and op in again)))
        if op in taking:
            found += [(factor, _ALL) for factor in _factors(op, train.adapt)]
    return found


def _factors(op: Op, rank: int) -> tuple[Op, Op]:
    """The two rows of an adapter: into `rank` channels as the row itself does, and out of them at every position."""
    down = replace(op, name=f"{op.name} down", n_out=rank, per_out=0)
    up = replace(op, name=f"{op.name} up", kind=Kind.LINEAR, n_in=rank, fan=1, intake=1, per_out=0)
    return down, up
