"""From a model, a device and how it is used to a service whose energy can be asked for; many at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.energy.joules import PROMPTS, Served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.layout.energy.shapes import Shape

# Bytes of a parameter outside experts and inside them, with the scales of blocks.
BYTES = {
    "fp32": (4.0, 4.0),
    "bf16": (2.0, 2.0),
    "fp16": (2.0, 2.0),
    "fp8": (1.0, 1.0),
    "mxfp8": (1.0, 1.0),
    "int8": (1.0, 1.0),
    "mxfp4": (2.0, 0.55),
    "nvfp4": (2.0, 0.5625),
    "int4": (0.55, 0.55),
}
_OTHER_PROMPT = 250.0
_NUMBER_BYTE = 2.0  # of keys and values
_USABLE = 0.95  # of the memory of a device
_OWN_UNITS = frozenset({"fp8", "mxfp8", "fp32"})


@dataclass(frozen=True, slots=True)
class Use:
    """How a model is served: on how many devices, of these data-parallel `replicas` of attention, `batch` at once.

    `output` tokens are generated per request of a `task`; its prompt has `prompt` tokens, by default as usual.
    """

    devices: float
    batch: float
    output: float
    task: str
    precision: str = "bf16"
    replicas: float = 1.0
    prompt: float = 0.0

    def __post_init__(self) -> None:
        if self.precision not in BYTES:
            raise UnknownNameError.of("precision", self.precision, BYTES)
        counts = {"devices": self.devices, "sequences at once": self.batch, "output tokens": self.output}
        wrong = next((name for name, value in counts.items() if not value >= 1), None)
        if wrong:
            raise BadInputError(f"A service has {counts[wrong]:g} {wrong}.", "give one or more.")

    @property
    def asked(self) -> float:
        """Tokens of a prompt."""
        return self.prompt or PROMPTS.get(self.task, _OTHER_PROMPT)

    def weights_byte(self, shape: Shape) -> float:
        """Bytes of all parameters, once."""
        dense, expert = BYTES[self.precision]
        return (shape.parameters - shape.experts) * dense + shape.experts * expert


def served_of(shapes: Sequence[Shape], devices: Sequence[Accelerator], uses: Sequence[Use]) -> Served:
    """The services (n,) of n models on n devices, used in n ways."""
    names = ("layers", "active", "parameters", "experts", "sent", "state_byte", "latent")
    of_models = {name: np.array([getattr(each, name) for each in shapes], dtype=np.float64) for name in names}
    of_uses = {name: np.array([getattr(each, name) for each in uses], dtype=np.float64) for name in _USED}
    kept = [
        shape.kept_number(round(use.asked + use.output / 2)) * _NUMBER_BYTE
        for shape, use in zip(shapes, uses, strict=True)
    ]
    return Served(
        **of_models,
        **of_uses,
        dense_byte=np.array([BYTES[each.precision][0] for each in uses]),
        expert_byte=np.array([BYTES[each.precision][1] for each in uses]),
        kept_byte=np.array(kept),
        prompt=np.array([each.asked for each in uses], dtype=np.float64),
        task=np.array([each.task for each in uses], dtype=np.str_),
        busy_w=np.array([each.busy_w for each in devices]),
        flop_s=np.array([rate(each, use.precision) for each, use in zip(devices, uses, strict=True)]),
        blackwell=np.array([float("fp4" in each.flop_s) for each in devices]),
        precision=np.array([each.precision for each in uses], dtype=np.str_),
    )


_USED = ("devices", "replicas", "batch", "output")


def must_fit(name: str, shape: Shape, device: Accelerator, use: Use) -> None:
    """Refuse a model whose weights alone are more than the devices' memory."""
    room = _USABLE * device.memory_byte
    needed = use.weights_byte(shape)
    if needed > room * use.devices:
        least = int(np.ceil(needed / room))
        raise BadInputError(
            f"The weights of {name} in {use.precision} take {needed / 1e9:.0f} GB, and {use.devices:g} × "
            f"{device.name} have {device.memory_byte * use.devices / 1e9:.0f} GB.",
            f"use {least} or more of them, or fewer bits.",
        )


@lru_cache(maxsize=1024)
def rate(device: Accelerator, precision: str) -> float:
    """Peak FLOP per second of products whose weights have this precision; four bits are widened to 16 first."""
    return device.peak(precision if precision in _OWN_UNITS else "bf16")
