"""What a predictor has worked out, kept for the plans that ask the same again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, final

from pennyweight.cost.count import disk_byte
from pennyweight.cost.roofline import Table

if TYPE_CHECKING:
    from pennyweight.catalog import Efficiency
    from pennyweight.core import Cost, Form, Op, ServeSpec, Spec, TrainSpec
    from pennyweight.cost.roofline import Ceiling

_K = TypeVar("_K")
_V = TypeVar("_V")
_MOST = 4096
_NEAR = 256  # plans that hold the very same operators are asked for one after the other


def keep(memory: dict[_K, _V], question: _K, answer: _V, most: int = _MOST) -> _V:
    """Return the answer and remember it; a memory that is full starts anew.

    A question is made of values and of objects that it holds on to, so it never becomes that of other objects.
    """
    if len(memory) >= most:
        memory.clear()
    memory[question] = answer
    return answer


@final
class Tables:
    """Counted operator tables, one for all operators that are equal; comparing them is spared where they are the same.

    Different levers often come to equal operators, and plans that differ in serving alone hold the same.
    """

    __slots__ = ("_equal", "_same")

    def __init__(self) -> None:
        self._equal: dict[tuple[Op, ...], Table] = {}
        self._same: dict[int, tuple[tuple[Op, ...], Table]] = {}

    def of(self, spec: Spec) -> Table:
        """The table of the operators of `spec`."""
        ops = spec.ops
        held = self._same.get(id(ops))
        if held is None or held[0] is not ops:
            table = self._equal.get(ops) or keep(self._equal, ops, Table(ops, disk_byte(spec)))
            held = keep(self._same, id(ops), (ops, table), _NEAR)
        return held[1]


@final
@dataclass(frozen=True, slots=True)
class Known:
    """Answers by all that they follow from.

    What a prediction costs, how sure that is and the bytes held meanwhile; what passing rows through training costs and
    how sure that is; what neighbours say of a place; the ceiling of a runtime.
    """

    tables: Tables = field(default_factory=Tables)
    answering: dict[tuple[Table, ServeSpec], tuple[Cost, float, float]] = field(default_factory=dict)
    passing: dict[tuple[str, Table, Form, TrainSpec, float], tuple[Cost, float]] = field(default_factory=dict)
    corrections: dict[tuple[str, str, tuple[float, ...]], tuple[float, float]] = field(default_factory=dict)
    ceilings: dict[tuple[str, str, str], tuple[Ceiling, Efficiency]] = field(default_factory=dict)
