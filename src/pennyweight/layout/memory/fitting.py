"""Does it fit on a device, and if not, which change of settings would make it fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.layout.memory import training as memory
from pennyweight.layout.memory.remedies import Serving, Training, Use, Wish, changes
from pennyweight.layout.memory.serving import WEIGHT_BYTE, Setting, serving

if TYPE_CHECKING:
    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.core.dims import Dims
    from pennyweight.core.layout import Layout
    from pennyweight.cost.columns import Number, Sizes

__all__ = [
    "FITS",
    "TIGHT",
    "TOO_LARGE",
    "Fit",
    "Held",
    "Remedy",
    "Serving",
    "Training",
    "Use",
    "counted",
    "fit",
    "held",
    "predict",
]

FITS, TIGHT, TOO_LARGE = "fits", "tight", "does not fit"
# Within a node (first) and over several (second): what the allocator holds beside what it hands out, what
# communicators hold, and how much more than all that it may be. What is counted is within 2% of what PyTorch's
# allocator hands out, and nine times in ten at most 5% below it (632 runs of Megatron-LM's tests, not corrected); that
# it holds a tenth more is an assumption. On several nodes 95% of 103 sweeps of BigScience, read from the driver, were
# below the margin.
_UNUSED = (0.10, 0.15)
_LINK_BYTE = (1.5e9, 4e9)
_MARGIN = (1.2, 1.3)
_WORKSPACE_BYTE = 1e8
_CONTEXT_BYTE = 6e8
# An engine plans its own memory when it starts and gives what is left to the cache: less can go wrong.
_SERVING_MARGIN = 1.08


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change of settings, in words, how many devices one copy of the model then takes, and what is predicted."""

    change: str
    devices: int
    total_byte: float
    high_byte: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a model fits on one device: bytes by `parts`, their sum, its upper end and what the device offers.

    `verdict` is "fits" where the upper end fits, "tight" where only the sum does, else "does not fit". `remedies` are
    changes with which it would fit, the mildest first: single ones, or else one that combines several.
    """

    accelerator: str
    parts: dict[str, float]
    total_byte: float
    high_byte: float
    capacity_byte: float
    verdict: str
    remedies: tuple[Remedy, ...] = ()


class Held(NamedTuple):
    """Bytes of one device while a model is trained; each a number, or an array of many layouts'.

    `context` is of the driver and of communicators, `unused` what the allocator holds beside what it hands out; they
    are part of the `total`, which may be `high` at most.
    """

    context: Number
    unused: Number
    total: Number
    high: Number

    def fits(self, accelerator: Accelerator) -> Number:
        """Whether the upper end fits on a device; what is no number does not."""
        return np.less_equal(self.high, accelerator.memory_byte)


def counted(dims: Sizes, setting: memory.Setting) -> memory.Parts:
    """Bytes that a device holds by arithmetic, of one layout or many; every stage is taken as full as the fullest."""
    chunks = setting.pp * setting.chunks
    fuller = np.ceil(dims.layers / chunks - 1e-9) * chunks / dims.layers
    parts = memory.training(dims, setting)
    return memory.Parts(**{each.name: getattr(parts, each.name) * fuller for each in fields(parts)})


def held(total: Number, devices: Number, accelerator: Accelerator) -> Held:
    """What a device holds in all where `total` bytes are counted and `devices` train; numbers or arrays that broadcast.

    The margins are assumptions and errors of published runs; see the comment at `_UNUSED` for which.
    """
    far = np.greater(devices, accelerator.node_devices)
    unused = np.where(far, *reversed(_UNUSED)) * total
    context = _CONTEXT_BYTE + np.greater(devices, 1) * np.where(far, *reversed(_LINK_BYTE))
    whole = total + unused + context + _WORKSPACE_BYTE
    return Held(context, unused, whole, whole * np.where(far, *reversed(_MARGIN)))


def fit(dims: Dims, accelerator: Accelerator, layout: Layout, use: Use) -> Fit:
    """Predict the memory of training or serving `dims` so laid out, and look for changes if it does not surely fit."""
    wish = Wish(dims, layout, use)
    _check(wish)
    found = predict(wish, accelerator)
    if found.verdict == FITS:
        return found
    return replace(found, remedies=_remedies(wish, accelerator))


def predict(wish: Wish, accelerator: Accelerator) -> Fit:
    """The memory of one device, without looking for changes."""
    if isinstance(wish.use, Training):
        parts, high = _training(wish, wish.use, accelerator)
        capacity = accelerator.memory_byte
    else:
        parts = _serving(wish, wish.use)
        high, capacity = sum(parts.values()) * _SERVING_MARGIN, accelerator.memory_byte * wish.use.utilization
    total = sum(parts.values())
    verdict = FITS if high <= capacity else TIGHT if total <= capacity else TOO_LARGE
    return Fit(accelerator.name, parts, total, high, capacity, verdict)


def _training(wish: Wish, use: Training, accelerator: Accelerator) -> tuple[dict[str, float], float]:
    """Bytes by part, and at most."""
    parts = counted(wish.dims, memory.setting_of(wish.layout, use.seq, scores=int(not use.fused_attention)))
    beside = held(parts.total, wish.layout.devices, accelerator)
    whole = replace(parts, workspace=_WORKSPACE_BYTE, context=beside.context, unused=beside.unused)
    return {name: float(value) for name, value in asdict(whole).items()}, float(beside.high)


def _serving(wish: Wish, use: Serving) -> dict[str, float]:
    parts = serving(
        wish.dims,
        Setting(
            batch=use.batch,
            context=use.context,
            tp=wish.layout.tp,
            pp=wish.layout.pp,
            ep=wish.layout.ep,
            weight_byte=WEIGHT_BYTE[wish.layout.precision],
            cache_byte=WEIGHT_BYTE[use.cache_precision],
        ),
    )
    return {name: float(value) for name, value in asdict(parts).items()}


def _remedies(wish: Wish, accelerator: Accelerator) -> tuple[Remedy, ...]:
    """Single changes that fit; if there are none, changes one after the other until it fits, each that helps most."""
    single = [(words, changed, predict(changed, accelerator)) for words, changed in changes(wish, accelerator)]
    fitting = [_remedy(words, then, found) for words, then, found in single if found.verdict == FITS]
    return tuple(fitting) or _combined(wish, accelerator)


def _combined(wish: Wish, accelerator: Accelerator) -> tuple[Remedy, ...]:
    said: list[str] = []
    found = predict(wish, accelerator)
    while found.verdict != FITS:
        tried = [(words, changed, predict(changed, accelerator)) for words, changed in changes(wish, accelerator)]
        better = [each for each in tried if each[2].total_byte < found.total_byte]
        if not better:
            return ()
        words, wish, found = min(better, key=lambda each: each[2].total_byte)
        said.append(words)
    return (_remedy(", ".join(_last_of_each(said)), wish, found),)


def _last_of_each(said: list[str]) -> list[str]:
    """Of changes to one setting the last only: `tp 2`, `tp 4` is `tp 4`."""
    last = {words.rsplit(" ", 1)[0]: words for words in said}
    return list(last.values())


def _remedy(words: str, wish: Wish, found: Fit) -> Remedy:
    return Remedy(words, wish.layout.devices, found.total_byte, found.high_byte, found.verdict)


def _check(wish: Wish) -> None:
    layout, dims = wish.layout, wish.dims
    if layout.tp > dims.heads or dims.heads % layout.tp:
        raise BadInputError(
            f"{dims.name} has {dims.heads} heads, which {layout.tp} devices cannot share.",
            "give a tensor parallelism (--tp) that divides the heads.",
        )
    if layout.pp > dims.layers:
        raise BadInputError(
            f"{dims.name} has {dims.layers} layers, too few for {layout.pp} stages.", "give fewer stages (--pp)."
        )
    if layout.ep > 1 and (not dims.experts or dims.experts % layout.ep):
        raise BadInputError(
            f"{dims.name} has {dims.experts} experts, which {layout.ep} devices cannot share.",
            "give an expert parallelism (--ep) that divides the experts.",
        )
