"""How many bytes each of many layouts takes on its fullest device, and how many it may take."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pennyweight.core.layout import RECOMPUTES, Layout
from pennyweight.layout.memory import fitting
from pennyweight.layout.memory import training as memory
from pennyweight.layout.memory.remedies import Training, Wish

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.core.dims import Dims
    from pennyweight.layout.memory.training import Parts
    from pennyweight.layout.plans.spreading import Spread
    from pennyweight.layout.plans.training import TrainWork

    Floats = NDArray[np.float64]

_SELECTIVE, _FULL = float(RECOMPUTES.index("selective")), float(RECOMPUTES.index("full"))


class Around(NamedTuple):
    """What a device holds beside what is counted: a share of that, so many bytes, and the margin of the upper end."""

    share: float
    byte: float
    margin: float


def counted(work: TrainWork, spread: Spread) -> Parts:
    """Bytes (m, t) by part of what a device holds by arithmetic; every stage is taken as full as the fullest."""
    grid = spread.grid()
    blank = memory.setting_of(Layout(precision=work.precision), work.sequence)
    degrees = {name: getattr(grid, name) for name in ("tp", "pp", "dp", "cp", "ep", "chunks", "zero", "micro_batch")}
    setting = replace(
        blank,
        **degrees,
        micro_batches=work.global_batch / (grid.dp * grid.micro_batch),
        etp=np.where(grid.ep > 1.0, 1.0, grid.tp),
        sequence_parallel=grid.sequence_parallel,
        selective=1.0 * (grid.recompute == _SELECTIVE),
        full=1.0 * (grid.recompute == _FULL),
    )
    parts = memory.training(work.dims, setting)
    fuller = (spread.layers / work.dims.layers)[:, None]
    return replace(parts, **{each.name: getattr(parts, each.name) * fuller for each in fields(parts)})


def held(total: Floats, spread: Spread, work: TrainWork, device: Accelerator) -> tuple[Floats, Floats]:
    """Bytes (m, t) one `device` holds in all, and may hold at most, where `total` (m, t) are counted."""
    devices = spread.rows["devices"]
    kinds = [around(work.dims, device, each) for each in (1, 2, device.node_devices + 1)]
    which = (devices > 1) * 1 + (devices > device.node_devices)
    share, byte, margin = (np.array(column)[which][:, None] for column in zip(*kinds, strict=True))
    whole = total * (1.0 + share) + byte
    return whole, whole * margin


@lru_cache(maxsize=512)
def around(dims: Dims, device: Accelerator, devices: int) -> Around:
    """What comes on top on so many devices, by the model that says of one layout whether it fits."""
    found = fitting.predict(Wish(dims, Layout(dp=devices), Training()), device)
    beside = found.parts["workspace"] + found.parts["context"]
    rest = found.total_byte - beside - found.parts["unused"]
    return Around(found.parts["unused"] / rest, beside, found.high_byte / found.total_byte)
