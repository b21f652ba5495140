"""Joules per token, watts, time between tokens and tokens per second of a service: physics, and what is alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from pennyweight.cost.learn.boosted import Boosted, Growth
from pennyweight.cost.learn.process import Part, Process
from pennyweight.cost.learn.sums import Noise, Sum
from pennyweight.errors import CorruptError
from pennyweight.layout.energy.joules import PARTS, features, question, traits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.energy.joules import Served

    Numbers = NDArray[np.float64]

JOULE: Final = "joule_token"
POWER: Final = "power_w"
ITL: Final = "itl_s"
TOKENS: Final = "tokens_s"
TARGETS: Final = {JOULE: "J", POWER: "W", ITL: "s", TOKENS: "1/s"}
# Chosen by the error on models left out. Small noise and the absolute error keep rows that were measured in trouble,
# such as those that waited for a busy host, from bending the rest.
_DOUBT = Noise(0.1, 0.3)
_GROWTH = Growth(60, 4, 0.12, 12, 5.0, "absolute_error", features=0.5)
_NEAR = {"batch": 3.0, "devices": 1.5, "active": 2.0, "parameters": 2.0}
_ALIKE = (
    Part(0.3),
    Part(0.1, ("task",)),
    Part(0.1, ("kind",)),
    Part(0.1, ("device",)),
    Part(0.1, ("device", "task")),
    Part(0.1, ("kind", "device")),
    Part(0.1, near=_NEAR),
    Part(0.1, ("device",), _NEAR),
    Part(0.1, ("device", "kind"), _NEAR),
    Part(0.1, ("device", "kind", "task"), {**_NEAR, "output": 2.0}),
)
_NOISE = 0.15


@dataclass(frozen=True, slots=True)
class Watts:
    """The energy of a token as a sum of parts; the load of a device, and the pace of tokens.

    The load is watts over the power limit: likeness with measured services around the `usual` logarithm. The pace is
    the time between two tokens of one sequence over the mean time per token and sequence: below one where prompts are
    computed in between.
    """

    physics: Sum
    load: Process
    usual: float
    pace: Boosted

    @classmethod
    def fit(cls, served: Served, measured: Mapping[str, Numbers]) -> Self:
        """Learn from services (n,) and all four targets measured on them."""
        physics = Sum.fit(PARTS, question(served), measured[JOULE], _DOUBT)
        loads = np.log(measured[POWER] / served.devices / served.busy_w)
        usual = float(np.median(loads))
        load = Process(_ALIKE, _NOISE, traits(served), loads - usual)
        pace = Boosted.fit(features(served), np.log(measured[ITL] * measured[TOKENS] / served.batch), _GROWTH)
        return cls(physics, load, usual, pace)

    def predict(self, served: Served) -> dict[str, Numbers]:
        """The four targets (n,)."""
        joule = self.physics.predict(question(served))
        load = np.minimum(np.exp(self.usual + self.load.at(traits(served))[0]), 1.0)
        power = load * served.devices * served.busy_w
        tokens, pace = power / joule, np.exp(self.pace.predict(features(served)))
        return {JOULE: joule, POWER: power, ITL: served.batch / tokens * pace, TOKENS: tokens}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {name: getattr(self, name).to_dict() for name in ("physics", "load", "pace")} | {"usual": self.usual}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        try:
            load = Process.restore(_ALIKE, _NOISE, body["load"])
            physics, pace = Sum.restore(PARTS, body["physics"]), Boosted.from_dict(body["pace"])
            return cls(physics, load, float(body["usual"]), pace)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"This is no model of a service's energy: {error!r}.", "fit it again.") from error
