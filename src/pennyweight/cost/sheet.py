"""The operator table while it is being written: rows, whose weights they hold, and which widths they share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any

from pennyweight.core import Kind, Op
from pennyweight.cost.widths import Lane, Widths

if TYPE_CHECKING:
    from collections.abc import Iterable

_WEIGHT = re.compile(r"(\.parametrizations)?\.weight(\.original\d?|_v)?$")
_PLAIN_NDIM = 3  # up to (batch, position, channel) the channels come last, above that they come second


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the traced graph: its shape and, if known, which axis holds channels.

    `key` names what a constant is made of, empty if it depends on the input; `stored` is how many of its values the
    model stores. `fake` is the tensor without memory that carries type and strides.
    """

    shape: tuple[int, ...]
    lane: Lane | None = None
    key: str = ""
    stored: int = 0
    fake: Any = None

    @property
    def size(self) -> int:
        """The number of values."""
        return prod(self.shape)

    @property
    def constant(self) -> bool:
        """Whether it is the same for every input."""
        return bool(self.key)


@dataclass(frozen=True, slots=True)
class Call:
    """One operator of the traced graph: its name, the module it is in, its arguments by name, and what it returns.

    `leaf`: the module does nothing else. `rigid`: it checks the width of its input, which therefore may not change.
    """

    op: str
    path: str
    leaf: bool
    rigid: bool
    given: dict[str, Any]
    out: Value
    target: Any = None
    raw: tuple[Any, ...] = ()

    def named(self, part: str = "") -> str:
        """The name of a row without weights: its module's if that has only the one, else with the operator's."""
        if self.leaf and not part:
            return self.path
        return ".".join(filter(None, (self.path, part or self.op)))

    def holding(self, weight: Value) -> str:
        """The name of the row that holds `weight`: its module's, or the parameter's if the module has several."""
        return self.path if self.leaf else title(weight.key)

    def tensors(self) -> list[Value]:
        """All tensors among the arguments."""
        flat: list[Any] = []
        for value in self.given.values():
            flat += value if isinstance(value, (list, tuple)) else [value]
        return [value for value in flat if isinstance(value, Value)]

    def inputs(self) -> list[Value]:
        """The tensors among the arguments that depend on the input."""
        return [value for value in self.tensors() if not value.constant]


@dataclass(slots=True)
class Row:
    """A row being written: width groups are still numbers, and equal weights may still be found again."""

    op: Op
    reads: int | None = None
    writes: int | None = None


@dataclass(slots=True)
class Sheet:
    """All rows so far."""

    rows: list[Row] = field(default_factory=list)
    widths: Widths = field(default_factory=Widths)
    owners: dict[str, Row] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def unique(self, name: str) -> str:
        """The name, numbered if it was taken before."""
        found, n = name, 1
        while found in self.names:
            found, n = f"{name}_{n}", n + 1
        self.names.add(found)
        return found

    def ops(self) -> tuple[Op, ...]:
        """The finished rows."""
        name = self.widths.name
        return tuple(replace(row.op, reads=name(row.reads), writes=name(row.writes)) for row in self.rows)

    def freeze(self, values: Iterable[Value]) -> None:
        """Forbid the channels of these tensors to change."""
        for value in values:
            self.widths.freeze(value.lane)

    def take(self, value: Value, axis: int) -> Lane | None:
        """The lane of `value` if it lies on `axis`; a lane elsewhere is frozen, for it would change what is counted."""
        lane = value.lane
        if lane is not None and lane.axis == axis % len(value.shape):
            return lane
        self.widths.freeze(lane)
        return None

    def own(self, values: Iterable[Value]) -> int:
        """Count the stored values of these constants that no row holds yet."""
        total = 0
        for value in values:
            if value.stored and value.key not in self.held:
                self.held.add(value.key)
                total += value.stored
        return total

    def spread(self, call: Call, kind: Kind, lane: Lane | None, **more: Any) -> None:
        """Write a row without a matrix for `call.out`; of `more`, `stored` is the number of values it holds beside."""
        stored, name = more.pop("stored", 0), self.unique(more.pop("name", "") or call.named())
        shape, size = call.out.shape, call.out.size
        width = lane.width if lane else channels(shape)
        per_out, rest = divmod(stored, width)
        group = lane.group if lane else None
        op = Op(name, kind, width, width, positions=exact(size, width), per_out=0 if rest else per_out, **more)
        self.rows.append(Row(self.typed(op, call.out), group, group))
        if rest:
            alone = Op(self.unique(f"{name}.stored"), Kind.POINTWISE, 1, 1, positions=0, per_out=stored)
            self.rows.append(Row(self.typed(alone, call.out)))

    def weigh(self, row: Row, weight: Value) -> None:
        """Write a row with a matrix; weights met before are not stored again."""
        before = self.owners.get(weight.key)
        if before is None:
            self._write(row, weight)
        elif before.op.kind is Kind.EMBED and row.op.kind is not Kind.EMBED:
            before.op = replace(before.op, kind=Kind.COPY, n_in=before.op.n_out)
            self._write(row, weight)
            self._pin(row)
        elif _same_matrix(before.op, row.op):
            self._again(before, row)
        else:
            self._borrow(row)
            self._pin(before)

    def _write(self, row: Row, weight: Value) -> None:
        row.op = replace(row.op, name=self.unique(row.op.name))
        self.owners[weight.key] = row
        self.rows.append(row)

    def _again(self, before: Row, row: Row) -> None:
        """Use the same matrix at more positions."""
        one, other = before.op, row.op
        positions = one.positions + other.positions
        intake = (one.positions * one.intake + other.positions * other.intake) / positions
        before.op = replace(one, positions=positions, intake=intake)
        for mine, yours in ((before.reads, row.reads), (before.writes, row.writes)):
            if mine is not None and yours is not None:
                self.widths.tie(mine, yours)
            else:
                self.widths.pin(mine)
                self.widths.pin(yours)

    def _borrow(self, row: Row) -> None:
        """Use a matrix that another row stores, in another shape: a product, or a copied row of a table."""
        op = row.op
        kind = Kind.COPY if op.kind is Kind.EMBED else Kind.MATMUL
        inner = op.n_out if op.kind is Kind.EMBED else op.n_in * op.fan // op.groups
        self.rows.append(Row(replace(op, name=self.unique(op.name), kind=kind, n_in=inner, fan=1, groups=1, intake=1)))
        self._pin(row)

    def _pin(self, row: Row) -> None:
        self.widths.pin(row.reads)
        self.widths.pin(row.writes)

    @staticmethod
    def typed(op: Op, values: Value, weight: Value | None = None) -> Op:
        """Set the bits of activations and weights from the tensors' types."""
        act = _bits(values)
        held = _bits(weight) if weight is not None else act
        return replace(op, act_bits=act, weight_bits=held, disk_bits=held)


def exact(whole: int, part: int) -> float:
    """The ratio, an integer where it is one."""
    return whole // part if whole % part == 0 else whole / part


def title(key: str) -> str:
    """The row's name for the parameter it holds: the module's path, or the parameter's if it is not called weight."""
    path = key.partition("[")[0]
    return _WEIGHT.sub("", path) or path


def channels(shape: tuple[int, ...]) -> int:
    """The number of channels of a tensor that has nothing else to say about it."""
    if not shape:
        return 1
    return shape[-1] if len(shape) <= _PLAIN_NDIM else shape[1]


def _bits(value: Value) -> float:
    fake = value.fake
    return 8.0 * fake.element_size() if fake is not None and fake.is_floating_point() else 32.0


def _same_matrix(one: Op, other: Op) -> bool:
    return (one.kind, one.n_in, one.n_out, one.fan, one.groups) == (
        other.kind,
        other.n_in,
        other.n_out,
        other.fan,
        other.groups,
    )
