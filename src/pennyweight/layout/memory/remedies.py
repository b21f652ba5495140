"""Changes of settings that save memory, the mildest first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from pennyweight.errors import BadInputError
from pennyweight.layout.memory.serving import WEIGHT_BYTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.core.dims import Dims
    from pennyweight.core.layout import Layout

_FULL_UTILIZATION = 0.95
_NARROWER = ("fp8", "int4")


@dataclass(frozen=True, slots=True)
class Training:
    """Training on sequences of `seq` tokens; `fused_attention` is a kernel that keeps no square of scores."""

    seq: int = 4096
    fused_attention: bool = True

    def __post_init__(self) -> None:
        if self.seq < 1:
            raise BadInputError(f"Sequences have {self.seq} tokens.", "give one or more (--seq).")


@dataclass(frozen=True, slots=True)
class Serving:
    """Serving `batch` sequences of `context` tokens at once.

    The engine takes a share `utilization` of the device (vLLM's `gpu_memory_utilization`); keys and values are cached
    in `cache_precision`.
    """

    batch: int = 16
    context: int = 8192
    utilization: float = 0.9
    cache_precision: str = "bf16"

    def __post_init__(self) -> None:
        if min(self.batch, self.context) < 1:
            raise BadInputError(
                f"{self.batch} sequences of {self.context} tokens cannot be served.", "give one or more of each."
            )
        if not 0 < self.utilization <= 1:
            raise BadInputError(
                f"An engine cannot take {self.utilization:g} of a device.", "give a share above 0, at most 1."
            )
        if self.cache_precision not in WEIGHT_BYTE:
            raise BadInputError(
                f"Keys and values cannot be cached in {self.cache_precision}.", f"use one of: {', '.join(WEIGHT_BYTE)}."
            )


Use: TypeAlias = Training | Serving


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall fit: a model, laid out so, for this use."""

    dims: Dims
    layout: Layout
    use: Use


def changes(wish: Wish, accelerator: Accelerator) -> Iterator[tuple[str, Wish]]:
    """Each change that is possible, in words, and what is then wished; the mildest first."""
    if isinstance(wish.use, Training):
        yield from _when_training(wish, wish.use, accelerator.node_devices // wish.layout.devices)
    else:
        yield from _when_serving(wish, wish.use)
    for name, most in (("tp", accelerator.node_devices), ("pp", wish.dims.layers)):
        degree = 2 * getattr(wish.layout, name)
        if degree <= most and (name == "pp" or not wish.dims.heads % degree):
            yield f"{name} {degree}", _laid(wish, **{name: degree})
    if isinstance(wish.use, Training) and wish.layout.offload == "none":
        yield "offload optimizer", _laid(wish, offload="optimizer")


def _when_training(wish: Wish, use: Training, devices: int) -> Iterator[tuple[str, Wish]]:
    layout = wish.layout
    if not use.fused_attention:
        yield "attention fused", replace(wish, use=replace(use, fused_attention=True))
        if layout.recompute == "none":
            yield "recompute selective", _laid(wish, recompute="selective")
    if layout.tp > 1 and not layout.sequence_parallel:
        yield "sequence parallel", _laid(wish, sequence_parallel=True)
    if layout.micro_batch > 1:
        yield f"micro-batch {layout.micro_batch // 2}", _laid(wish, micro_batch=layout.micro_batch // 2)
    yield from _sharded(wish, devices)
    if layout.recompute != "full":
        yield "recompute full", _laid(wish, recompute="full")
    if layout.precision == "fp32":
        yield "precision bf16", _laid(wish, precision="bf16")


def _sharded(wish: Wish, devices: int) -> Iterator[tuple[str, Wish]]:
    """One stage more of what is sharded over replicas, or as many replicas as there are `devices`."""
    layout = wish.layout
    if layout.dp * layout.cp > 1 and layout.zero < 3:
        yield f"zero {layout.zero + 1}", _laid(wish, zero=layout.zero + 1)
    if layout.dp * layout.cp == 1 and devices > 1:
        yield f"zero 3, dp {devices}", _laid(wish, dp=devices, zero=3)


def _when_serving(wish: Wish, use: Serving) -> Iterator[tuple[str, Wish]]:
    if use.utilization < _FULL_UTILIZATION:
        yield f"utilization {_FULL_UTILIZATION:g}", replace(wish, use=replace(use, utilization=_FULL_UTILIZATION))
    if WEIGHT_BYTE[use.cache_precision] > 1:
        yield "cache fp8", replace(wish, use=replace(use, cache_precision="fp8"))
    if use.batch > 1:
        yield f"batch {use.batch // 2}", replace(wish, use=replace(use, batch=use.batch // 2))
    for narrower in _NARROWER:
        if WEIGHT_BYTE[narrower] < WEIGHT_BYTE[wish.layout.precision]:
            yield f"precision {narrower}", _laid(wish, precision=narrower)


def _laid(wish: Wish, **changed: Any) -> Wish:
    return replace(wish, layout=replace(wish.layout, **changed))
