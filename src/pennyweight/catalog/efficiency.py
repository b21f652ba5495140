"""How far each runtime is from a device's roofline, and what it takes beyond the arithmetic: the prior of predictions.

The table `efficiency.csv` has one figure per row:

* ``share`` of the roofline reached by an operator kind: its seconds are the roofline's divided by this share (above one
  where activations stay in cache, which the roofline charges to main memory);
* ``op_s``: seconds that one operator takes however small it is (dispatch, allocation), zero where it is fused away;
* ``ragged_work`` and ``ragged_move``: what convolutions, and what passes over their channels, take more where a width
  is no multiple of a vector register, as a share of their seconds: the faster kernels want whole ones;
* ``call_s``: seconds that one call takes whatever the model;
* ``memory_byte``: what the process holds before any model is loaded;
* ``thread_tax``: the share of further CPU seconds that each thread beyond the first costs;
* ``probe_s``: what calibration read (``call_s + 2 op_s`` of its chain of layers) on the machine of the fit; overheads
  elsewhere are as many times larger as calibration reads there.

The kind ``*`` stands for all kinds without a row of their own, the runtime ``*`` for runtimes that are not in the
table.
``onnxruntime/float32/int8`` says what ``onnxruntime`` says of other precisions: in float32, the graph in whole numbers.
``torch.train`` and ``sklearn.train`` are training, per pass forward; a training step has three.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from pennyweight.catalog.reading import table_of
from pennyweight.core import Kind
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ANY = "*"
_BY_KIND = ("share", "op_s")
_WHOLE = ("ragged_work", "ragged_move", "call_s", "memory_byte", "thread_tax", "probe_s")


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The figures of one runtime; `share` and `op_s` by operator kind."""

    share: Mapping[str, float]
    op_s: Mapping[str, float]
    ragged_work: float
    ragged_move: float
    call_s: float
    memory_byte: float
    thread_tax: float
    probe_s: float


@cache
def load_efficiency() -> dict[str, Efficiency]:
    """The table by runtime; ``"*"`` is always there."""
    return parse_efficiency(table_of("efficiency.csv"))


def parse_efficiency(rows: tuple[dict[str, str], ...]) -> dict[str, Efficiency]:
    """Gather the rows of each runtime; what a runtime does not say, the runtime ``*`` says."""
    figures: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        if row["figure"] not in {*_BY_KIND, *_WHOLE}:
            raise BadInputError(
                f"There is no figure {row['figure']!r} of efficiency.", "use one of those in its docstring."
            )
        figures.setdefault(row["runtime"], {})[row["figure"], row["kind"]] = float(row["value"])
    if _ANY not in figures:
        raise BadInputError("The efficiency table has no rows for other runtimes.", "add rows with the runtime *.")
    return {runtime: _gather([figures[each] for each in _line(runtime) if each in figures]) for runtime in figures}


def _line(runtime: str) -> list[str]:
    """From the narrowest name to the widest: ``a/b/c``, ``a/b``, ``a``, ``*``."""
    words = runtime.split("/")
    return ["/".join(words[:n]) for n in range(len(words), 0, -1)] + [_ANY]


def _gather(tables: list[dict[tuple[str, str], float]]) -> Efficiency:
    def find(figure: str, kind: str) -> float:
        for table in tables:
            for key in ((figure, kind), (figure, _ANY)):
                if key in table:
                    return table[key]
        raise BadInputError(f"The efficiency table has no {figure} of {kind}.", "add a row for it.")

    share, op_s = ({kind.value: find(figure, kind.value) for kind in Kind} for figure in _BY_KIND)
    return Efficiency(share, op_s, *(find(figure, _ANY) for figure in _WHOLE))
