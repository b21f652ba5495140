"""The roofline: what each kind of operator takes at best on a machine, and what each runtime makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.core import Kind
from pennyweight.cost.count import per_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.catalog import Device, Efficiency
    from pennyweight.core import Op

KINDS = tuple(Kind)
PARTS = len(KINDS) + 2  # seconds of each kind, of all operators' own overhead, of the call
_OWN, _CALL = len(KINDS), len(KINDS) + 1
_WHOLE_BITS = 8
_TREE = Kind.TREE
_TREE_BYTE = 4  # one value of one row, compared at one level while a tree is grown
_PASSES = 3


class Table:
    """An operator table with what was counted of it, since many plans share one."""

    __slots__ = ("_rows", "disk_byte", "is_grown", "is_whole", "ops")

    def __init__(self, ops: tuple[Op, ...], stored_byte: float = 0.0) -> None:
        self.ops = ops
        self.disk_byte = stored_byte
        self.is_whole = any(op.weight_bits <= _WHOLE_BITS and op.act_bits <= _WHOLE_BITS for op in ops)
        self.is_grown = any(op.kind is _TREE for op in ops)
        self._rows: dict[int, list[tuple[float, float]]] = {}

    def rows(self, batch: int) -> list[tuple[float, float]]:
        """FLOP and bytes of each row, for one example of a batch."""
        found = self._rows.get(batch)
        if found is None:
            found = self._rows[batch] = per_row(self.ops, batch)
        return found


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Seconds per FLOP (in the precision asked for, and in whole numbers), per byte and per operator, by kind.

    `rates` has for each kind its place among the parts and these four; `call_s` is the overhead of a call.
    """

    name: str
    rates: dict[Kind, tuple[int, float, float, float, float]]
    call_s: float

    @classmethod
    def of(cls, device: Device, name: str, prior: Efficiency) -> Ceiling:
        """The ceiling of `name` ("runtime/precision/…"): the device's rates times the share that the runtime reaches.

        Where calibration read the runtime's overheads, they are as many times the prior's as its reading is.
        """
        runtime, precision = name.split("/")[:2]
        scale = (device.call_s[runtime] + 2 * device.op_s[runtime]) / prior.probe_s if runtime in device.op_s else 1.0
        rates = {}
        for index, kind in enumerate(KINDS):
            share = prior.share[kind]
            whole = 1 / (device.rate("int8") * share)
            real = 1 / (device.rate(precision) * share)
            rates[kind] = (index, real, whole, 1 / (device.hbm_byte_s * share), prior.op_s[kind] * scale)
        return cls(name, rates, prior.call_s * scale)

    def forward(self, table: Table, batch: int) -> list[float]:
        """CPU seconds of one call on `batch` examples, part by part: ``max(flop / rate, byte / bandwidth) / share``.

        An operator whose weights and activations have at most eight bits runs at the rate of whole numbers.
        """
        parts, rates = [0.0] * PARTS, self.rates
        for op, (flop, byte) in zip(table.ops, table.rows(batch), strict=True):
            index, real, whole, moved, own = rates[op.kind]
            worked_s = flop * (whole if op.weight_bits <= _WHOLE_BITS and op.act_bits <= _WHOLE_BITS else real)
            moved_s = byte * moved
            parts[index] += (worked_s if worked_s > moved_s else moved_s) * batch
            parts[_OWN] += own * op.times
        parts[_CALL] = self.call_s
        return parts

    def learn(self, table: Table, batch: int, rows: float) -> list[float]:
        """CPU seconds of passing `rows` examples forward and backward in batches: three passes and a call per step.

        Trees are grown instead: every level compares every row in every feature, once.
        """
        grown = [op for op in table.ops if op.kind is _TREE]
        parts = self.forward(Table(tuple(op for op in table.ops if op.kind is not _TREE)) if grown else table, batch)
        steps = rows / batch
        parts = [_PASSES * steps * each for each in parts[:_CALL]] + [steps * parts[_CALL]]
        if grown:
            index, real, _, moved, own = self.rates[_TREE]
            compared = sum(op.times * op.positions * op.n_in for op in grown) * rows
            parts[index] += compared * max(real, _TREE_BYTE * moved)
            parts[_OWN] += own * sum(op.times for op in grown)
            parts[_CALL] = self.call_s
        return parts
