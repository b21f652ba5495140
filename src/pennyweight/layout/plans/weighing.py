"""How many bytes each of many layouts takes on its fullest device, and how many it may take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.core.layout import RECOMPUTES, Layout
from pennyweight.layout.memory import fitting
from pennyweight.layout.memory import training as memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.layout.memory.training import Parts
    from pennyweight.layout.plans.spreading import Spread
    from pennyweight.layout.plans.training import TrainWork

    Floats = NDArray[np.float64]

_SELECTIVE, _FULL = float(RECOMPUTES.index("selective")), float(RECOMPUTES.index("full"))
_DEGREES = ("tp", "pp", "dp", "cp", "ep", "etp", "chunks", "zero", "micro_batch")


def counted(work: TrainWork, spread: Spread) -> Parts:
    """Bytes (m, t) by part of what a device holds by arithmetic; every stage is taken as full as the fullest."""
    grid = spread.grid()
    setting = replace(
        memory.setting_of(Layout(precision=work.precision), work.sequence),
        **{name: getattr(grid, name) for name in _DEGREES},
        micro_batches=work.global_batch / (grid.dp * grid.micro_batch),
        sequence_parallel=grid.sequence_parallel,
        selective=1.0 * (grid.recompute == _SELECTIVE),
        full=1.0 * (grid.recompute == _FULL),
    )
    return fitting.counted(work.dims, setting)


def held(total: Floats, spread: Spread, device: Accelerator) -> tuple[Floats, Floats]:
    """Bytes (m, t) one `device` holds in all, and may hold at most, where `total` (m, t) are counted."""
    found = fitting.held(total, spread.rows["devices"][:, None], device)
    return found.total, found.high
