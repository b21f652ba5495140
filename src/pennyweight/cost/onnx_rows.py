"""The rows of an ONNX graph's operator table as they grow: each stored tensor is counted once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pennyweight.core import Kind, Op
from pennyweight.cost.sheet import channels, exact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.cost.onnx_nodes import Node, Tensor

_PARTS = frozenset(
    {"Slice", "Gather", "GatherElements", "GatherND", "ArrayFeatureExtractor"}
)  # they read no more than they write


@dataclass(slots=True)
class Rows:
    """Rows, and what is `held` already: the stored tensors by name, with the row that counts each."""

    rows: list[Op] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)

    def own(self, tensors: Iterable[Tensor | None]) -> int:
        """Count stored values that no row holds yet, single numbers aside."""
        total = 0
        for tensor in tensors:
            if tensor is not None and tensor.stored > 1 and tensor.key not in self.held:
                self.held[tensor.key] = len(self.rows)
                total += tensor.stored
        return total

    def weigh(self, op: Op, weight: Tensor) -> None:
        """Add a row with a matrix; one that is stored elsewhere is only read here."""
        before = self.held.get(weight.key)
        if before is not None and self.rows[before].kind is Kind.EMBED:
            table = self.rows[before]
            self.rows[before] = replace(table, kind=Kind.COPY, n_in=table.n_out)
            before = None
        if before is None:
            self.held[weight.key] = len(self.rows)
            self.rows.append(op)
        else:
            inner = op.n_in * op.fan // op.groups
            self.rows.append(replace(op, kind=Kind.MATMUL, n_in=inner, fan=1, groups=1, intake=1))

    def spread(self, node: Node, kind: Kind, **more: Any) -> None:
        """Add a row without a matrix, with the constants it uses besides."""
        if node.out.shape is None:
            return
        stored = self.own(node.held())
        width = more.pop("width", 0) or channels(node.out.shape)
        per_out, rest = divmod(stored, width)
        moving = node.moving()
        intake = 1.0 if node.op in _PARTS else sum(tensor.size for tensor in moving) / max(1, node.out.size)
        bits = moving[0].bits if all(tensor.whole for tensor in moving) else node.out.bits
        positions = exact(sum(out.size for out in node.outputs if node.op == "Split") or node.out.size, width)
        op = Op(node.name, kind, width, width, positions=positions, per_out=0 if rest else per_out, intake=intake)
        op = replace(op, act_bits=bits, **more)
        self.rows.append(op)
        if rest:
            self.rows.append(Op(f"{node.name}.stored", Kind.POINTWISE, 1, 1, positions=0, per_out=stored))
