"""What machines draw while they train, and what that stands for: watts, joules, kilograms of CO2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.catalog.grids import Grid, grid
from pennyweight.errors import UnknownNameError
from pennyweight.layout.energy.power import Draw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.catalog.offer import Offer

# A machine of eight H100 drew at most 8.4 kW; its devices' limits are 5.6 (Latif et al. 2024, arXiv 2412.08602).
HOST_SHARE = 1.5
# Nine in ten of measured watts are within this factor of `power.Draw`, whose mean error on devices left out is 18%.
SPREAD = 1.45
_STREAMING = ("elementwise", "optimizer")
_AGAIN = ("matmul", "attention", "recompute")


def device_w(device: Accelerator, parts_s: Mapping[str, float], mfu: float) -> float:
    """Watts of one device and its share of the machine, from the parts of a step and the share of the peak it reaches.

    What is computed again draws as what is computed once; kernels that only move numbers use all of the bandwidth.
    """
    step_s, matrix_s = sum(parts_s.values()), sum(parts_s[name] for name in _AGAIN)
    compute = min(mfu * matrix_s / max(matrix_s - parts_s["recompute"], 1e-12), 1.0)
    memory = sum(parts_s[name] for name in _STREAMING) / step_s
    return HOST_SHARE * float(Draw().watts(device, memory, compute))


def grid_of(name: str | None, offer: Offer | None) -> Grid:
    """The grid called `name`, else that of the offer's region, else (sold without saying where) the world's."""
    if name is not None:
        return grid(name)
    if offer is None:
        return grid("world")
    try:
        return grid(offer.region, offer.cloud)
    except UnknownNameError:
        return grid("world")
