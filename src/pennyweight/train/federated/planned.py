"""What every round of one training is: who is drawn, what they are told, how noisy it is, what it spends."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.train.federated.masks import needed
from pennyweight.train.federated.privacy import Budget
from pennyweight.train.federated.tenant import plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from pennyweight.train.federated.gathering import Gathered
    from pennyweight.train.federated.spec import FederatedSpec


@final
@dataclass(frozen=True, slots=True)
class Planned:
    """The rounds of `spec` over clients with so many `rows` each, and models of so many `numbers`.

    `looks` is how often one round looks at a sample: once at each client where clients are private, at every step of
    the longest local training where examples are.
    """

    spec: FederatedSpec
    rows: Mapping[int, int]
    numbers: int
    budget: Budget | None = None
    looks: int = 1

    @classmethod
    def of(cls, spec: FederatedSpec, rows: Mapping[int, int], numbers: int) -> Self:
        """The plan, with as little noise as keeps within the budget to the end."""
        if spec.privacy is None:
            return cls(spec, rows, numbers)
        if spec.privacy.unit == "client":
            return cls(spec, rows, numbers, Budget(spec.privacy, spec.share, spec.rounds))
        batches = [max(1, round(count / spec.local.batch)) for count in rows.values()]
        looks = max(max(1, round(spec.local.epochs * count)) for count in batches)
        return cls(spec, rows, numbers, Budget(spec.privacy, 1 / min(batches), spec.rounds * looks), looks)

    def allows(self) -> bool:
        """Whether one more round keeps within the budget."""
        return self.budget is None or self.budget.allows(self.looks)

    def spend(self) -> None:
        """Say that a round was made."""
        if self.budget is not None:
            self.budget.spend(self.looks)

    @property
    def epsilon(self) -> float | None:
        """What was spent so far."""
        return None if self.budget is None else self.budget.after()

    @property
    def hides_clients(self) -> bool:
        """Whether privacy is that of whole clients."""
        return self.budget is not None and self.budget.privacy.unit == "client"

    def drawn(self, rng: np.random.Generator, there: Collection[int]) -> list[int]:
        """Who is asked: a fixed number, or, where clients are private, each by chance, which nobody can foresee."""
        numbers = sorted(set(there) & set(self.rows))
        if self.hides_clients:
            return [each for each in numbers if secrets.SystemRandom().random() < self.spec.share]
        count = max(1, round(self.spec.share * len(numbers))) if numbers else 0
        return sorted(int(each) for each in rng.permutation(numbers)[:count])

    def told(self, number: int, client: int, asked: int) -> dict[str, Any]:
        """What a client is told beside the weights."""
        name, strength = self.spec.method
        facts: dict[str, Any] = {"local": plain(self.spec.local), "round": number}
        if self.spec.compress:
            facts["compress"] = self.spec.compress
        if name == "fedprox":
            facts["mu"] = strength
        if self.spec.secure:
            facts |= {"masked": True, "clients": asked, "weight": self.weight(client)}
        if self.budget is None:
            return facts
        clip, noise = self.budget.privacy.clip, self.budget.noise
        if not self.hides_clients:
            return {**facts, "example_clip": clip, "example_noise": noise}
        part = noise * clip / math.sqrt(self.least(asked)) if self.spec.secure else 0.0
        return {**facts, "clip": clip, "noise": part}

    def least(self, asked: int) -> int:
        """How many clients must be left for a round to count."""
        return max(1, math.ceil(self.spec.quorum * asked), needed(asked) if self.spec.secure else 0)

    def weight(self, client: int) -> float:
        """How much a client counts: by its rows; where clients are private, as much as any other."""
        return 1.0 if self.hides_clients else self.rows[client] / max(self.rows.values())

    def mean(self, come: Gathered) -> NDArray[np.float64] | None:
        """The mean update (N,) of a round, with the server's noise if nobody has added any; None if there is none.

        Where clients are private the sum is divided by how many are expected, not by how many came (McMahan et al.
        2018).
        """
        if not self.hides_clients:
            return come.total / come.weight if come.weight > 0 else None
        budget = self.budget
        if budget is None:
            raise RuntimeError
        total = come.total.copy()
        if not self.spec.secure:
            generator = np.random.default_rng(secrets.randbits(128))
            total += generator.normal(0.0, budget.noise * budget.privacy.clip, len(total))
        return total / (self.spec.share * len(self.rows))
