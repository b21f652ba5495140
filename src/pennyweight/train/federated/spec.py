"""How a federated training goes: clients and rounds, by which rule, in how few bytes, how secret and how private."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pennyweight.core import TrainSpec
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.train.federated.weights import codec

if TYPE_CHECKING:
    from pennyweight.train.federated.privacy import Privacy

RULES = {"fedavg": None, "fedprox": 0.1, "fedavgm": 0.9, "fedadam": 0.03}
_LOCAL = TrainSpec(epochs=1, batch=16, optimizer="sgd", lr=0.1, momentum=0.0)


@dataclass(frozen=True, slots=True)
class FederatedSpec:
    """`clients` train `rounds` times on their own data, a `share` of them in each round, as `local` says.

    `rule` is "fedavg", "fedprox:MU", "fedavgm:MOMENTUM" or "fedadam:RATE". `alpha` cuts data so that clients see the
    classes unevenly, in shares drawn from a Dirichlet distribution (Hsu et al. 2019; small is uneven); None cuts
    evenly. With `secure` the server sees sums of updates only. `compress` names the compressor of updates and of the
    server's moves ("int8", "topk:0.1+int8", as for gradients); what it loses is told the next time. `deadline_s` is
    what a client may take for one answer; a round counts with at least the share `quorum` of those asked.
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
    compress: str = ""

    def __post_init__(self) -> None:
        if self.clients < 2 or self.rounds < 1 or not 0 < self.share <= 1 or not 0 < self.quorum <= 1:
            raise BadInputError(
                f"{self.clients} clients in {self.rounds} rounds, each with a share of {self.share:g}, cannot be.",
                "use at least two clients, one round and a share above 0, up to 1.",
            )
        if self.alpha is not None and not self.alpha > 0:
            raise BadInputError(f"An alpha of {self.alpha:g} is no Dirichlet distribution.", "use more than 0.")
        self._check_secrets()
        _ = self.method, codec(self.compress)

    def _check_secrets(self) -> None:
        """Refuse secrecy and privacy that would not hold."""
        if self.secure and self.clients < 3:
            raise BadInputError("A sum of two updates tells each of the two the other.", "use at least three clients.")
        if self.secure and self.compress:
            raise BadInputError("Compressed updates have no sum to be hidden in.", "leave out secure or compress.")
        private = self.privacy
        if private is None:
            return
        if private.unit == "client" and private.delta * self.clients >= 1:
            raise BadInputError(
                f"With {self.clients} clients, delta {private.delta:g} lets one be exposed.",
                f"use less than {1 / self.clients:.2g}.",
            )
        if private.unit == "example" and self.local.optimizer != "sgd":
            raise BadInputError(
                f"Examples cannot be hidden from the optimiser {self.local.optimizer!r}.", 'use optimizer="sgd".'
            )

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
        most = 1.0 if name == "fedavgm" else math.inf
        if usual is None or not 0 < number < most:
            raise BadInputError(
                f"The rule {self.rule!r} cannot be read.", "write fedavg, fedprox:0.1, fedavgm:0.9 or fedadam:0.03."
            )
        return name, number
