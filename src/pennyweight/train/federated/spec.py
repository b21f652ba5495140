"""How a federated training goes: how many clients and rounds, by which rule, how secret and how private."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self

from pennyweight.core import TrainSpec
from pennyweight.errors import BadInputError, UnknownNameError

RULES = {"fedavg": None, "fedprox": 0.1, "fedadam": 0.03}
UNITS = ("client", "example")
_LOCAL = TrainSpec(epochs=1, batch=16, optimizer="sgd", lr=0.1, momentum=0.0)


@dataclass(frozen=True, slots=True)
class Privacy:
    """Differential privacy: at most `epsilon` at `delta`, of whole clients or of single examples (`unit`).

    An update (of a client) or a gradient (of an example) is shortened to the norm `clip` before Gaussian noise is
    added, of `noise` times `clip` per round or step; None: as little as keeps within `epsilon` to the end.
    """

    epsilon: float
    delta: float = 1e-3
    clip: float = 1.0
    unit: str = "client"
    noise: float | None = None

    def __post_init__(self) -> None:
        numbers = (self.epsilon, self.delta, self.clip, 1.0 if self.noise is None else self.noise)
        if not all(math.isfinite(each) and each > 0 for each in numbers) or self.delta >= 1:
            raise BadInputError(
                f"A privacy of epsilon {self.epsilon:g} at delta {self.delta:g}, clipped at {self.clip:g}, cannot be.",
                "use numbers above 0, delta below 1.",
            )
        if self.unit not in UNITS:
            raise UnknownNameError.of("unit of privacy", self.unit, UNITS)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "epsilon=8" or "epsilon=8,delta=1e-3,clip=1,unit=example,noise=1.1"."""
        found: dict[str, float | str] = {}
        for part in text.split(","):
            name, _, value = (each.strip() for each in part.partition("="))
            if name not in {"epsilon", "delta", "clip", "unit", "noise"}:
                raise UnknownNameError.of("setting of privacy", name, ("epsilon", "delta", "clip", "unit", "noise"))
            try:
                found[name] = value if name == "unit" else float(value)
            except ValueError as error:
                raise BadInputError(f"{part!r} gives no number.", "write epsilon=8, for example.") from error
        if "epsilon" not in found:
            raise BadInputError(f"{text!r} does not say how private.", "write epsilon=8, for example.")
        return cls(**found)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class FederatedSpec:
    """`clients` train `rounds` times on their own data, a `share` of them in each round, as `local` says.

    `rule` is "fedavg", "fedprox:MU" or "fedadam:RATE". `alpha` cuts data so that clients see the classes unevenly, in
    shares drawn from a Dirichlet distribution (Hsu et al. 2019; small is uneven); None cuts evenly. With `secure` the
    server sees sums of updates only. `deadline_s` is what a client may take for one answer; a round counts with at
    least the share `quorum` of those asked.
    """

    clients: int = 20
    rounds: int = 20
    rule: str = "fedavg"
    alpha: float | None = None
    share: float = 1.0
    secure: bool = False
    privacy: Privacy | None = None
    local: TrainSpec = field(default=_LOCAL)
    deadline_s: float = 60.0
    quorum: float = 0.5

    def __post_init__(self) -> None:
        if self.clients < 2 or self.rounds < 1 or not 0 < self.share <= 1 or not 0 < self.quorum <= 1:
            raise BadInputError(
                f"{self.clients} clients in {self.rounds} rounds, each with a share of {self.share:g}, cannot be.",
                "use at least two clients, one round and a share above 0, up to 1.",
            )
        if self.alpha is not None and not self.alpha > 0:
            raise BadInputError(f"An alpha of {self.alpha:g} is no Dirichlet distribution.", "use more than 0.")
        if self.secure and self.clients < 3:
            raise BadInputError("A sum of two updates tells each of the two the other.", "use at least three clients.")
        private = self.privacy
        if private is not None and private.unit == "client" and private.delta * self.clients >= 1:
            raise BadInputError(
                f"With {self.clients} clients, delta {private.delta:g} lets one be exposed.",
                f"use less than {1 / self.clients:.2g}.",
            )
        _ = self.method

    @property
    def method(self) -> tuple[str, float]:
        """The rule's name and its number."""
        name, colon, text = self.rule.partition(":")
        if name not in RULES:
            raise UnknownNameError.of("federated rule", self.rule, RULES)
        usual = RULES[name]
        if not colon:
            return name, usual or 0.0
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if usual is None or not (math.isfinite(number) and number > 0):
            raise BadInputError(f"The rule {self.rule!r} cannot be read.", "write fedavg, fedprox:0.1 or fedadam:0.03.")
        return name, number
