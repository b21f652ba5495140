"""`pennyweight energy`: joules per token, watts and carbon of serving a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.units import mass, si

if TYPE_CHECKING:
    from pennyweight.layout.energy.services import Use

# What people call the work, and what the table of measurements calls it.
TASKS = {
    "chat": "lm-arena-chat",
    "reasoning": "gpqa",
    "code": "sourcegraph-fim",
    "image": "image-chat",
    "video": "video-chat",
}


def tell_energy(model: str, on: str, use: Use, place: tuple[str, float], *, json: bool) -> None:
    """Say what serving `model` on the device `on` takes; `place` is the grid and how much the building adds."""
    from pennyweight.catalog.accelerators import accelerator
    from pennyweight.catalog.grids import grid
    from pennyweight.cost.hf_config import dims_of
    from pennyweight.layout.deployments.energy_use import energy_of

    dims, device, power = dims_of(model), accelerator(on), grid(place[0])
    found = energy_of(dims, device, use, power, place[1])
    if json:
        facts = {name: getattr(found, name) for name in ("joule_token", "power_w", "tokens_s", "kg_co2e_1000")}
        ends = {name: dict(zip(("value", "low", "high"), each, strict=True)) for name, each in facts.items()}
        asked = {"model": dims.name, "device": device.name, "grid": power.name, "pue": place[1], "use": asdict(use)}
        say_json({**asked, **ends, "outside": found.outside})
        return
    say(f"{dims.name} on {use.devices:g} × {device.name}, {use.batch:g} sequences at once, {use.output:g} tokens each")
    rows = [
        ["energy per token", *(si(each, "J") for each in found.joule_token)],
        ["power of all devices", *(si(each, "W") for each in found.power_w)],
        ["tokens per second", *(f"{each:,.0f}" for each in found.tokens_s)],
        [f"CO2e per 1,000 tokens ({power.place})", *(mass(each) for each in found.kg_co2e_1000)],
    ]
    say_table("", ["", "expected", "low", "high"], rows, (1, 2, 3))
    say("Nine of ten measured services of models it had not seen lay between low and high.")
    if found.outside:
        say(f"Unlike what was measured: {found.outside}.")


def use_of(counts: tuple[int, int, int], output: int, task: str, precision: str, prompt: int | None) -> Use:
    """How the model is served: devices, batch and replicas; the task by the name people use."""
    from pennyweight.errors import UnknownNameError
    from pennyweight.layout.energy.services import Use

    if task not in TASKS:
        raise UnknownNameError.of("task", task, TASKS)
    devices, batch, replicas = counts
    return Use(devices, batch, output, TASKS[task], precision, replicas, prompt or 0)
