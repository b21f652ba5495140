"""What is told of every round, and what came out in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Round:
    """Round `number` of `of`: who took part, what is known of the loss, what went over the wire, what it exposed.

    `asked` and `counted` are numbers of clients; `said` are sentences about those that failed. `loss` is the mean
    training loss of the clients, None where it is secret; `quality` is the judge's. `down_byte` and `up_byte` are the
    bytes the server has sent and received in this round, all of them; `cpu_s` are CPU seconds of the clients.
    `epsilon` is what has been spent of the privacy budget up to here, None without one.
    """

    number: int
    of: int
    asked: int
    counted: int
    loss: float | None
    quality: float | None
    down_byte: int
    up_byte: int
    cpu_s: float
    epsilon: float | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Federated:
    """A model trained on data that stayed where it is, all rounds, and why it ended."""

    model: Any
    rounds: tuple[Round, ...]
    why: str

    @property
    def wire_byte(self) -> int:
        """All bytes that went over the wire."""
        return sum(each.down_byte + each.up_byte for each in self.rounds)

    @property
    def epsilon(self) -> float | None:
        """What was spent of the privacy budget."""
        return self.rounds[-1].epsilon if self.rounds else None
