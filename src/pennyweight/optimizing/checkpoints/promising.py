"""What a candidate may save, before it is made: predicted on accelerators, by its bytes on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.runtimes.base import installed
from pennyweight.runtimes.hf.taking import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pennyweight.optimizing.checkpoints.candidates import Planned
    from pennyweight.optimizing.checkpoints.pricing import Price
    from pennyweight.optimizing.checkpoints.scene import Scene

_WORTH = 0.995
_OPENED = ("int4", "int8")  # what OpenVINO computes with as it lies, layer by layer


@final
@dataclass(frozen=True, slots=True)
class Promise:
    """The price as a share of the original's, where it is least; prices on accelerators, predicted."""

    share: float
    prices: tuple[Price, ...]

    @property
    def saves(self) -> bool:
        """Whether anything would be saved."""
        return self.share < _WORTH


def promised(planned: Planned, scene: Scene) -> Promise:
    """What a candidate promises on the devices that were asked for."""
    kinds = planned.candidate.among or (planned.candidate.to,)
    prices = predicted(planned.candidate.to, planned.plan.byte, scene)
    control = {each.device: each.usd for each in predicted("", scene.source.byte, scene)}
    shares = [each.usd / control[each.device] for each in prices if each.device in control]
    if scene.here and opens(scene.source.config, kinds):
        shares.append(planned.plan.byte / scene.source.byte)
    fits_only_so = [0.0 for each in prices if each.device not in control]
    return Promise(min([*shares, *fits_only_so], default=1.0), tuple(prices))


def predicted(to: str, byte: float, scene: Scene) -> list[Price]:
    """The prices on accelerators of weights rounded `to` these numbers ("": not rounded)."""
    return scene.predictor.prices(scene.dims, to, byte) if scene.dims is not None else []


def opens(config: Mapping[str, object], kinds: Iterable[str]) -> bool:
    """Whether a runtime of this machine will compute with weights of such kinds as they lie."""
    known = all(kind in _OPENED for kind in kinds)
    return known and config.get("model_type") in FAMILIES and installed("openvino")
