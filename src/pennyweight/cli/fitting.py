"""`pennyweight fit`: does a model fit on a device, what fills it, and which change would make it fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError
from pennyweight.units import percent, si

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.core.layout import Layout
    from pennyweight.layout.memory.fitting import Fit, Use

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """Training or serving (None: both), and the numbers of each; None is the default."""

    layout: Layout
    train: bool | None
    seq: int
    batch: int
    context: int
    utilization: float
    cache: str


def tell_fit(words: Sequence[str], on: Sequence[str], asked: Asked, *, json: bool) -> None:
    """Tell for each device whether the model, the first of `words`, fits; further words are devices too."""
    from pennyweight.catalog.accelerators import accelerator
    from pennyweight.cost.hf_config import dims_of
    from pennyweight.layout.memory.fitting import fit

    names = [name for given in (*on, *words[1:]) for name in given.split(",") if name]
    if not names:
        raise BadInputError("No device is named.", "give one or more: --on l4 a100-80gb.")
    devices, dims = [accelerator(name) for name in names], dims_of(words[0])
    found = {use: [fit(dims, device, asked.layout, how) for device in devices] for use, how in _uses(asked).items()}
    if json:
        facts = {use: [asdict(each) for each in fits] for use, fits in found.items()}
        say_json({"model": dims.name, "layout": asdict(asked.layout), **facts})
        return
    for use, fits in found.items():
        _show(f"{use.capitalize()} {dims.name}: bytes on each of {_count(asked.layout, use)}", fits)


def _uses(asked: Asked) -> dict[str, Use]:
    from pennyweight.layout.memory.fitting import Serving, Training

    uses: dict[str, Use] = {}
    if asked.train is not False:
        uses["training"] = Training(asked.seq)
    if asked.train is not True:
        uses["serving"] = Serving(asked.batch, asked.context, asked.utilization, asked.cache)
    return uses


def _count(layout: Layout, use: str) -> str:
    devices = layout.devices if use == "training" else layout.tp * layout.pp
    return "one device" if devices == 1 else f"{devices} devices"


def _show(title: str, fits: Sequence[Fit]) -> None:
    parts = [name for name in fits[0].parts if any(each.parts[name] for each in fits)]
    heads = ["device", *parts, "total", "may be", "of", "verdict"]
    say_table(title, heads, [_row(each, parts) for each in fits], range(1, len(heads) - 1))
    for each in fits:
        if each.verdict != "fits":
            say(f"{each.accelerator}: {_advice(each)}")


def _row(fit: Fit, parts: Sequence[str]) -> list[str]:
    sizes = [fit.parts[name] for name in parts]
    ends = [fit.total_byte, fit.high_byte, fit.capacity_byte]
    taken = f"{fit.verdict} ({percent(fit.total_byte / fit.capacity_byte, 0)})"
    return [fit.accelerator, *(si(size, "B") for size in (*sizes, *ends)), taken]


def _advice(fit: Fit) -> str:
    if not fit.remedies:
        return "no change of these settings makes it fit; take a smaller model, or a device with more memory."
    told = [f"{each.change} ({si(each.total_byte, 'B')}, {each.devices} devices)" for each in fit.remedies[:_SHOWN]]
    return f"would fit with {'; or with '.join(told)}."
