"""The roofline: what each kind of operator takes at best on a machine, and what each runtime makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.core import Kind
from pennyweight.cost.count import per_row, reached

if TYPE_CHECKING:
    from pennyweight.catalog import Device, Efficiency
    from pennyweight.core import Op

    Row = tuple[int, float, float, bool, int, float]

KINDS = tuple(Kind)
# The parts of a prediction: seconds of each kind; what ragged widths add to working and to moving kinds; all operators'
# own overhead; the call.
PARTS = len(KINDS) + 4
RAGGED_WORK, RAGGED_MOVE, OWN, CALL = range(len(KINDS), PARTS)
_EVEN = PARTS  # where what no part wants is put
_AT = {kind: at for at, kind in enumerate(KINDS)}
_LANES = 16  # float32 numbers in the widest vector register; kernels work on channels in blocks of as many
_FEW = 4  # input channels that kernels for images take as they are
_WHOLE_BITS = 8
_TREE = Kind.TREE
_CONV, _LINEAR = Kind.CONV, Kind.LINEAR
_BLOCKED = frozenset({Kind.POINTWISE, Kind.POOL, Kind.NORM})
_TREE_BYTE = 4  # one value of one row, compared at one level while a tree is grown
_PASSES = 3


class Table:
    """An operator table with what was counted of it, since many plans share one.

    Kernels round channels up to whole vector registers, so FLOP and bytes are those of the rounded widths. Rows whose
    widths are no multiples ("ragged") may also lose the faster kernel; what that adds is learned by runtime. `family`
    says what kind of trees are in it: "RandomForest" and "GradientBoosting" cost scikit-learn very differently.
    """

    __slots__ = ("_padding", "_places", "_rows", "disk_byte", "family", "is_grown", "is_whole", "ops")

    def __init__(self, ops: tuple[Op, ...], stored_byte: float = 0.0) -> None:
        self.ops = ops
        self.disk_byte = stored_byte
        self.is_whole = any(op.weight_bits <= _WHOLE_BITS and op.act_bits <= _WHOLE_BITS for op in ops)
        self.family = next((_family(op.name) for op in ops if op.kind is _TREE), "")
        self.is_grown = bool(self.family)
        self._padding = [_padding(op) for op in ops]
        self._rows: dict[int, list[Row]] = {}
        self._places: dict[int, tuple[float, ...]] = {}

    def rows(self, batch: int) -> list[Row]:
        """Each row as a call on `batch` examples has it.

        The place of its kind, FLOP, bytes, whole-number arithmetic or not, the part for a ragged width, times.
        """
        found = self._rows.get(batch)
        if found is None:
            found = self._rows[batch] = [
                (
                    _AT[op.kind],
                    flop * work * batch,
                    byte * move * batch,
                    op.weight_bits <= _WHOLE_BITS and op.act_bits <= _WHOLE_BITS,
                    ragged,
                    op.times * reached(op, batch),
                )
                for op, (work, move, ragged), (flop, byte) in zip(
                    self.ops, self._padding, per_row(self.ops, batch), strict=True
                )
            ]
        return found

    def place(self, batch: int) -> tuple[float, ...]:
        """Where a call on `batch` examples lies among others, in steps of about e times as much.

        Logarithms of FLOP, of bytes and of the number of operators, and how ragged the widths are: the same in every
        runtime, since what a runtime does badly others often do too.
        """
        found = self._places.get(batch)
        if found is None:
            flop = byte = ragged = number = 0.0
            for _, worked, moved, _, part, times in self.rows(batch):
                flop, byte, number = flop + worked, byte + moved, number + times
                ragged += moved if part != _EVEN else 0.0
            found = self._places[batch] = (
                math.log(flop + 1),
                math.log(byte + 1) / 2,
                math.log(number) / 2,
                2 * ragged / (byte or 1.0),
                math.log(batch) / 2,
            )
        return found


def _padding(op: Op) -> tuple[float, float, int]:
    """How many times more is worked and moved than counted, and the part that pays for a ragged width."""
    kind, n_out = op.kind, op.n_out
    if kind is _CONV or kind is _LINEAR:
        pad, ragged = _up(n_out), n_out % _LANES != 0
        if kind is _CONV and op.groups == 1 and op.n_in > _FEW:
            pad, ragged = pad * _up(op.n_in), ragged or op.n_in % _LANES != 0
        return pad, 1.0, RAGGED_WORK if ragged and kind is _CONV else _EVEN
    if kind in _BLOCKED:
        return 1.0, _up(n_out), RAGGED_MOVE if n_out % _LANES else _EVEN
    return 1.0, 1.0, _EVEN


def _family(name: str) -> str:
    return name.removesuffix("Classifier").removesuffix("Regressor") or "Tree"


def _up(width: int) -> float:
    return -(-width // _LANES) * _LANES / width


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Seconds per FLOP (in the precision asked for, and in whole numbers), per byte and per operator, by kind.

    `rates` has these four for each kind, in the order of `KINDS`; `ragged_work` and `ragged_move` are what a
    ragged width adds, as a share of the seconds of what works and what moves; `call_s` is the overhead of a call.
    """

    name: str
    rates: tuple[tuple[float, float, float, float], ...]
    ragged_work: float
    ragged_move: float
    call_s: float

    @classmethod
    def of(cls, device: Device, name: str, prior: Efficiency) -> Ceiling:
        """The ceiling of `name` ("runtime/precision/…"): the device's rates times the share that the runtime reaches.

        Where calibration read the runtime's overheads, they are as many times the prior's as its reading is.
        """
        runtime, precision = name.split("/")[:2]
        scale = (device.call_s[runtime] + 2 * device.op_s[runtime]) / prior.probe_s if runtime in device.op_s else 1.0
        rates = []
        for kind in KINDS:
            share = prior.share[kind]
            whole = 1 / (device.rate("int8") * share)
            real = 1 / (device.rate(precision) * share)
            rates.append((real, whole, 1 / (device.hbm_byte_s * share), prior.op_s[kind] * scale))
        return cls(name, tuple(rates), prior.ragged_work, prior.ragged_move, prior.call_s * scale)

    def forward(self, table: Table, batch: int) -> list[float]:
        """CPU seconds of one call on `batch` examples, part by part: ``max(flop / rate, byte / bandwidth) / share``.

        An operator whose weights and activations have at most eight bits runs at the rate of whole numbers.
        """
        parts, rates = [0.0] * (PARTS + 1), self.rates
        for at, flop, byte, is_whole, ragged, times in table.rows(batch):
            real, whole, moved, own = rates[at]
            worked_s = flop * (whole if is_whole else real)
            moved_s = byte * moved
            taken_s = max(moved_s, worked_s)
            parts[at] += taken_s
            parts[ragged] += taken_s
            parts[OWN] += own * times
        parts[RAGGED_WORK] *= self.ragged_work
        parts[RAGGED_MOVE] *= self.ragged_move
        parts[CALL] = self.call_s
        parts.pop()
        return parts

    def learn(self, table: Table, batch: int, rows: float) -> list[float]:
        """CPU seconds of passing `rows` examples forward and backward in batches: three passes and a call per step.

        Trees are grown instead: every level compares every row in every feature, once.
        """
        grown = [op for op in table.ops if op.kind is _TREE]
        parts = self.forward(Table(tuple(op for op in table.ops if op.kind is not _TREE)) if grown else table, batch)
        steps = rows / batch
        parts = [_PASSES * steps * each for each in parts[:CALL]] + [steps * parts[CALL]]
        if grown:
            real, _, moved, own = self.rates[_AT[_TREE]]
            compared = sum(op.times * op.positions * op.n_in for op in grown) * rows
            parts[_AT[_TREE]] += compared * max(real, _TREE_BYTE * moved)
            parts[OWN] += own * sum(op.times for op in grown)
            parts[CALL] = self.call_s
        return parts
