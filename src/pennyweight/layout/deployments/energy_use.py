"""What serving a model takes in joules, watts and grams of carbon dioxide, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pennyweight.catalog.grids import PUE
from pennyweight.layout.energy.power import kg_co2e
from pennyweight.layout.energy.services import must_fit, served_of
from pennyweight.layout.energy.shapes import shape_of
from pennyweight.layout.energy.watts import JOULE, POWER, TOKENS
from pennyweight.layout.tables.finding import shipped

if TYPE_CHECKING:
    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.catalog.grids import Grid
    from pennyweight.core.dims import Dims
    from pennyweight.layout.energy.services import Use
    from pennyweight.layout.tables.energy_serving import Energy

_TOKENS = 1000.0

Ends = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Served:
    """Value and 90% interval of joules per generated token, watts of all devices, tokens per second, and carbon.

    `kg_co2e_1000` is kilograms of CO2 equivalent per 1,000 generated tokens, building included; `outside` says where
    nothing like it was measured, and what the nearest is.
    """

    joule_token: Ends
    power_w: Ends
    tokens_s: Ends
    kg_co2e_1000: Ends
    outside: str


def energy_of(model: Dims, device: Accelerator, use: Use, grid: Grid, pue: float = PUE) -> Served:
    """Ask for one service; weights that do not fit on its devices are refused."""
    shape = shape_of(model)
    must_fit(model.name, shape, device, use)
    learnt = cast("Energy", shipped("energy_serving"))
    told = learnt.served(served_of([shape], [device], [use]))
    ends = {
        name: (float(told[name].value[0]), float(told[name].low[0]), float(told[name].high[0]))
        for name in (JOULE, POWER, TOKENS)
    }
    value, low, high = (float(kg_co2e(_TOKENS * each, grid.kg_co2e_kwh, pue)) for each in ends[JOULE])
    return Served(ends[JOULE], ends[POWER], ends[TOKENS], (value, low, high), str(told[JOULE].outside[0]))
