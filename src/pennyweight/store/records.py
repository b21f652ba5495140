"""What the ledger holds: one entry per cost, one record per plan carried out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pennyweight.core.bill import Basis, Cost, Phase
from pennyweight.cost.count import data_byte
from pennyweight.cost.price import Parts, bill
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.core import Bill, Count, Demand, Score, Spec
    from pennyweight.cost.price import PriceSheet

_NOTHING = Cost()


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that cost something: who (`session`, `job`, its `fingerprint`), for which plan, and what it took.

    `lever` names the lever whose doing it was (empty: the job itself); `cost` is in seconds and joules, its dollars
    are not kept: they follow from `sheet`, the id of a price sheet. `joule_basis` says how the energy is known
    ("rapl", "nvml", "estimated" …). `at_utc` (ISO 8601) and `id` are given by the ledger when they are empty.
    """

    session: str
    job: str
    phase: Phase
    cost: Cost
    fingerprint: str = ""
    plan_key: str = ""
    plan_text: str = ""
    lever: str = ""
    basis: Basis = Basis.MEASURED
    joule_basis: str = ""
    peak_byte: float = 0.0
    count: Count | None = None
    sheet: str = ""
    note: dict[str, Any] = field(default_factory=dict)
    at_utc: str = ""
    id: int | None = None

    def __post_init__(self) -> None:
        _refuse_negative("cost", self.cost.device_s, self.cost.wall_s, self.cost.joule, self.peak_byte)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A plan carried out, with all that is needed to know its outcome again without doing it again.

    `unit` is the cost of one prediction, `train` and `tune` what training and compressing took; `memory_byte` is what
    serving holds, `train_byte` what training held (None: as much), `disk_byte` what the artifact takes; `error` is the
    relative half-width of a 95% interval. `predicted` is the same as foreseen before. Dollars in any of them are not
    kept: `bill` and `foreseen` work them out for a demand and a price sheet. `note` holds further facts, as JSON.
    """

    plan_key: str
    fingerprint: str
    job: str
    spec: Spec
    score: Score
    unit: Cost
    train: Cost = _NOTHING
    tune: Cost = _NOTHING
    memory_byte: float = 0.0
    disk_byte: float = 0.0
    train_byte: float | None = None
    error: float = 0.0
    predicted: Parts | None = None
    plan_text: str = ""
    fidelity: float = 1.0
    seed: int = 0
    others: tuple[Score, ...] = ()
    artifact: str = ""
    sheet: str = ""
    session: str = ""
    note: dict[str, Any] = field(default_factory=dict)
    at_utc: str = ""
    id: int | None = None

    def __post_init__(self) -> None:
        for parts in filter(None, (self.measured, self.predicted)):
            for cost in (parts.unit, parts.train, parts.tune):
                _refuse_negative("cost", cost.device_s, cost.wall_s, cost.joule)
            _refuse_negative("size", parts.memory_byte, parts.train_byte or 0.0, parts.disk_byte)

    @property
    def measured(self) -> Parts:
        """What the measured bill is made of, before dollars."""
        held = self.memory_byte, self.train_byte, self.disk_byte
        return Parts(self.unit, self.train, self.tune, *held, self.error, data_byte(self.spec))

    def bill(self, demand: Demand, sheet: PriceSheet) -> Bill:
        """What the plan costs over the horizon, from what was measured."""
        return bill(Basis.MEASURED, demand, self.measured, sheet)

    def foreseen(self, demand: Demand, sheet: PriceSheet) -> Bill | None:
        """What the plan was predicted to cost over the horizon, before it was carried out."""
        return bill(Basis.PREDICTED, demand, self.predicted, sheet) if self.predicted else None


def parts_of(predicted: Bill, memory_byte: float, disk_byte: float, train_data_byte: float = 0.0) -> Parts:
    """What a predicted bill is made of: its unit, its lines and the memory and disk that were foreseen."""
    once = (predicted.line(Phase.TRAIN), predicted.line(Phase.COMPRESS))
    return Parts(predicted.unit, *once, memory_byte, None, disk_byte, predicted.error, train_data_byte)


@dataclass(frozen=True, slots=True)
class Spent:
    """The summed measured cost of the `entries` that share a `key`; `unpriced` of them have no known price sheet."""

    key: str
    cost: Cost
    entries: int
    unpriced: int = 0


def _refuse_negative(what: str, *numbers: float) -> None:
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise BadInputError(
            f"A ledger cannot hold a {what} of {', '.join(f'{number:g}' for number in numbers)}.",
            "measure again; every number must be finite and not negative.",
        )
